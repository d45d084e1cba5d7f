"""How fast the panels write and how long they hold up the browser: python -m benchmarks.browser.

A model of chapter 10's size with random weights, in Chromium, without a window. What it prints
depends on the machine and on what else it does, so no test judges it.
"""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from playwright.sync_api import sync_playwright
from torch import nn

from utils import live, ngrams
from utils.models import LanguageModel
from utils.text import Vocab

STATIC = Path(__file__).parents[1] / "_static/live"
SCRIPTS = ["lstm", "load", "panel", "write"]
PAGE = """<!doctype html><meta charset="utf8">{}
<style>.live-text {{ overflow-wrap: anywhere }}</style>
<div class="live" data-panel="write" data-model="verne" data-size="it" data-weights="{}">
<div class="live-recorded"></div></div>"""
MEASURE = """async () => {
  const [box, seen] = [document.querySelector(".live"), { long: [0], times: [] }];
  const button = (name) => [...box.querySelectorAll("button")].find((b) => b.textContent === name);
  const until = async (fits) => {
    while (!fits()) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  button("Start (loads it)").click();
  await until(() => button("Write"));
  const observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) seen.long.push(duration);
  });
  observer.observe({ type: "longtask" });
  const text = box.querySelector(".live-text");
  new MutationObserver(() => seen.times.push(performance.now())).observe(text, { childList: true });
  const begin = performance.now();
  button("Write").click();
  await until(() => button("Write"));
  const [first, last] = [seen.times[0] - begin, seen.times.at(-1) - begin];
  await new Promise((resolve) => setTimeout(resolve, 200));
  return [(1000 * text.childElementCount) / last, first, Math.max(...seen.long)];
}"""


def make(folder):
    """Write a page with the panel that writes, and a model of random weights beside it."""
    chars = [chr(33 + i) for i in range(79)]
    model, vocab = LanguageModel(nn.LSTM(256, 512), 80), Vocab(chars)
    for file in STATIC.glob("*.js"):
        shutil.copy(file, folder)
    os.environ["COURSE_LIVE"] = str(folder)
    live.export("verne", model, vocab, {}, ngrams.KneserNey(3, 80).fit(vocab[chars]))
    sha256 = (folder / "verne-weights-1.js").read_text().split('"')[3]
    scripts = "".join(f'<script defer src="{name}.js"></script>' for name in SCRIPTS)
    (folder / "index.html").write_text(PAGE.format(scripts, sha256))


def main():
    """Print the figures of three runs."""
    torch.manual_seed(0)
    program = next(filter(None, map(shutil.which, ["chromium", "google-chrome"])))
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        make(Path(folder))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for _ in range(3):
            page = browser.new_page()
            page.goto((Path(folder) / "index.html").as_uri())
            speed, first, longest = page.evaluate(MEASURE)
            shown = f"{longest:.0f} ms" if longest else "below 50 ms"
            print(
                f"{speed:.0f} characters a second, the first after {first:.0f} ms, "
                f"longest frame {shown}"
            )
        browser.close()


if __name__ == "__main__":
    main()
