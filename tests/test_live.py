"""The panels: a browser computes what PyTorch does, tells damaged files, and needs no mouse."""

import json
import math
import re
import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import browser as checks
import live as extension
import nbformat
import pytest
import torch
from compare import code_cells, printed
from nbformat.v4 import new_output
from notebooks import ROOT, SITE, notebook, read
from site_pages import soup
from test_browser import NARROW, PICTURES, PROGRAM, WIDE, chromium, new_page, serve  # noqa: F401
from torch import nn

from utils import live, ngrams, sampling
from utils.models import LanguageModel
from utils.text import Vocab

needs_browser = pytest.mark.skipif(not PROGRAM, reason="no Chromium or Google Chrome was found")
pytestmark = [needs_browser, pytest.mark.xdist_group("browser 1")]
TEXT, FOLDER = "“Are we rising again?”\n“No. On the contrary.” " * 20, extension.FOLDER
PAGE = '<!doctype html><html lang="en" data-theme="light"><title>Live</title>{}{}</html>'
SCRIPT = f'<script defer src="{FOLDER}/{{}}.js"></script>'
# Load the model of a panel and read a text: the probabilities of what follows each character.
READ = """async ([kind, text]) => {
  const model = await live.load(document.querySelector("[data-panel=read]"), "weights", () => 0);
  const steps = [...live.generate(model, live.ids(model, [...text]))];
  return steps.map(({ state }) => [...live.probabilities(model.logits(state))]);
}"""
GREEDY = """async ([prompt, number]) => {
  const model = await live.load(document.querySelector("[data-panel=read]"), "weights", () => 0);
  const pick = (logits) => logits.indexOf(Math.max(...logits));
  const steps = [...live.generate(model, live.ids(model, [...prompt]), number, pick)];
  return steps.map(({ token }) => model.vocab[token]).join("");
}"""
COUNT = """async ([file, ids]) => {
  const counts = await live.run(new live.KneserNey().build(file));
  return ids.map((token, t) => counts.probability(token, ids.slice(0, t)));
}"""
DRAW = """([logits, settings, number]) => {
  const [probs, random] = [live.probabilities(logits, ...settings), live.generator(1)];
  return [[...probs], Array.from({ length: number }, () => live.draw(probs, random))];
}"""


def make(folder, exact=False):
    """Write a page with all panels and a small model beside it; return what the test compares."""
    torch.manual_seed(0)
    vocab = Vocab(list(TEXT))
    model = LanguageModel(nn.LSTM(8, 24), len(vocab)).eval()
    for weight in model.parameters():
        weight.data *= 4
    counted = ngrams.KneserNey(4, len(vocab)).fit(vocab[list(TEXT)])
    shutil.copytree(ROOT / FOLDER, folder / FOLDER, ignore=shutil.ignore_patterns("*-*.js"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_LIVE", str(folder / FOLDER))
        live.export("verne", model, vocab, {"quotation marks": 3}, counted, exact)
    recorded = f'<div class="live-recorded"><pre>{TEXT[:60]}</pre></div></div>'
    panels = "".join(extension.opening(folder, name) + recorded for name in extension.NEEDS)
    scripts = map(SCRIPT.format, ["lstm", "load", "panel", *extension.NEEDS])
    (folder / "index.html").write_text(PAGE.format("".join(scripts), panels), "utf8")
    return SimpleNamespace(folder=folder, model=model, vocab=vocab, counted=counted)


@pytest.fixture
def small(tmp_path):
    return make(tmp_path)


@pytest.fixture
def tab(chromium):  # noqa: F811
    page = new_page(chromium)
    page.set_default_timeout(60_000)
    yield page
    page.close()


def visit(tab, small):
    tab.goto((small.folder / "index.html").as_uri())
    return tab


def start(tab, name):
    """Start a panel; return it."""
    panel = tab.locator(f"[data-panel={name}]")
    panel.get_by_role("button", name="Start").click()
    panel.locator(".live-fields, [role=alert]").wait_for()
    return panel


@torch.no_grad()
def probs(model, vocab, text):
    return model(torch.tensor([vocab[list(text)]]))[0][:, 0].softmax(dim=1)


def far(tab, model, vocab, text):
    """Return how far the browser's probabilities are from PyTorch's."""
    there = torch.tensor(tab.evaluate(READ, ["", text]))
    return (there - probs(model, vocab, text)).abs().max().item()


def stored(folder):
    """Return model, vocabulary and hashes that the files in a folder hold."""
    found, hashes, values = {}, {}, {pair: n - 2048 for n, pair in enumerate(live.PAIRS)}
    for kind in ("weights", "ngrams"):
        files = [folder / f"verne-{kind}-{part + 1}.js" for part in range(live.PARTS)]
        calls = [json.loads(f"[{file.read_text('utf8')[13:-3]}]") for file in files]
        found[kind], hashes[kind] = json.loads("".join(call[4] for call in calls)), calls[0][3]
    vocab, tensors = Vocab(found["weights"]["vocab"][1:]), found["weights"]["tensors"]
    vectors, layer = (
        len(tensors[k][0][1]) // 2 for k in ("embedding.weight", "layer.weight_hh_l0")
    )
    model = LanguageModel(nn.LSTM(vectors, layer), len(vocab)).eval()
    for name, weight in model.state_dict().items():
        rows = [[s * values[d[i : i + 2]] for i in range(0, len(d), 2)] for s, d in tensors[name]]
        weight.copy_(torch.tensor(rows, dtype=torch.float64).reshape(weight.shape))
    return model, vocab, hashes


# --- What it computes
@pytest.mark.parametrize("exact", [True, False])
def test_probabilities_and_greedy_text_are_pytorchs(tab, tmp_path, exact):
    small = make(tmp_path, exact)
    rounded = small.model if exact else live.rounded(small.model)
    visit(tab, small)
    assert far(tab, rounded, small.vocab, TEXT[:200]) <= 1e-5
    assert far(tab, small.model, small.vocab, TEXT[:200]) <= (1e-5 if exact else 0.02)
    text = sampling.generate(rounded, small.vocab, "“Are", 200)
    assert tab.evaluate(GREEDY, ["“Are", 200]) == text
    if not exact:
        read = stored(tmp_path / FOLDER)[0].state_dict()
        assert all(weight.equal(read[name]) for name, weight in rounded.state_dict().items())


def test_counts_give_the_same_bits(tab, small):
    """Of texts short and long, whose start comes again or not."""
    visit(tab, small)
    texts = [torch.randint(2 + seed % 4, (10 * seed,)).tolist() for seed in range(1, 9)]
    for order in range(1, 7):
        for text in [[0, 1, 0, 1, 0, 1, 0, 1], [5] * 60 + [4], *texts]:
            counted = ngrams.KneserNey(order, 6).fit(text)
            file = {"vocab_size": 6, "discount": counted.discount, **live._grams(counted)}
            for ids in (text, texts[-1]):
                expected = [counted.probability(x, ids[:t]) for t, x in enumerate(ids)]
                assert tab.evaluate(COUNT, [file, ids]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("settings", [(), (3.0,), (1.0, 3), (1.0, 5, 0.9), (1.5, 3, 0.9), (1, 1)])
def test_draws_with_the_right_frequencies(tab, small, settings):
    logits, number = [0.3, 1.0, -1.0, 0.0, 1.0], 4_000
    there, drawn = visit(tab, small).evaluate(DRAW, [logits, settings, number])
    expected = sampling.probabilities(torch.tensor(logits, dtype=torch.float64), *settings)
    assert there == pytest.approx(expected.tolist(), abs=1e-12)
    counts, kept = torch.tensor(drawn).bincount(minlength=5), expected > 0
    assert not counts[~kept].any()
    squares = (counts - number * expected)[kept] ** 2 / (number * expected[kept])
    assert squares.sum() < 18.5  # chi squared with four degrees of freedom: one in 1,000


# --- Files
def test_an_export_is_whole_says_its_hash_and_refuses_what_no_panel_can_run(
    small, capsys, monkeypatch
):
    _, _, hashes = stored(small.folder / FOLDER)
    given = {"name": "verne", "model": small.model, "vocab": small.vocab, "units": {"a": 3}}
    given |= {"counted": small.counted}
    monkeypatch.delenv("COURSE_LIVE", raising=False)
    capsys.readouterr()
    live.export(**given | {"units": {"quotation marks": 3}})
    assert re.findall(r"sha256 (\w+)", capsys.readouterr().out) == [h[:12] for h in hashes.values()]
    broken = live.rounded(small.model)
    broken.output.bias.data[0] = torch.nan
    for wrong, words in [
        ({"model": LanguageModel(nn.GRU(8, 24), 5)}, "model must be around an nn.LSTM"),
        ({"model": LanguageModel(nn.LSTM(8, 24, 2), 5)}, "of one layer"),
        ({"model": broken}, "model must have finite weights"),
        ({"vocab": Vocab(["ab"])}, "vocab must hold characters"),
        ({"vocab": Vocab(["a"])}, "vocab and counted must have"),
        ({"units": {"a": 24}}, "indices must be ints in 0..23"),
        ({"units": {"a\nb": 1}}, "units must be one line"),
        ({"counted": ngrams.KneserNey(4, len(small.vocab))}, "counted must be fitted"),
        ({"name": "../verne"}, "name must be one of a file"),
    ]:
        with pytest.raises((TypeError, ValueError, IndexError), match=words):
            live.export(**given | wrong)


def flip(text):
    return text[:300] + ("A" if text[300] != "A" else "B") + text[301:]


@pytest.mark.parametrize("of", ["file", "http"])
@pytest.mark.parametrize("harm", [flip, lambda text: text[: len(text) // 2], lambda text: None])
def test_damaged_files_get_a_message_and_another_try(tab, small, of, harm):
    server = serve(small.folder)
    file = small.folder / FOLDER / "verne-weights-3.js"
    whole = file.read_text("utf8")
    file.write_text(harm(whole), "utf8") if harm(whole) else file.unlink()
    http = f"http://127.0.0.1:{server.server_port}/index.html"
    tab.goto(http if of == "http" else (small.folder / "index.html").as_uri())
    panel = start(tab, "write")
    said = "The files verne-weights are missing or damaged. Reload the page to try again."
    assert panel.get_by_role("alert").inner_text() == said
    file.write_text(whole, "utf8")
    assert start(tab, "write").get_by_label("Begin with").is_visible()
    server.shutdown()


def test_a_page_and_a_record_of_other_files_are_noticed(tab, small):
    visit(tab, small).locator("[data-panel=write]").evaluate("box => (box.dataset.weights = 'f00')")
    assert start(tab, "write").get_by_role("alert").is_visible()
    (small.folder / "chapters").mkdir()
    made = notebook("pass")
    made.metadata["record"] = {"date": "2026-01-02"}
    for kind, line in [(ValueError, "other"), (None, "verne-weights  0 MB  sha256 {:.12}")]:
        sha256, _ = extension.found(small.folder, "weights")
        made.cells[0].outputs = [new_output("stream", text=line.format(sha256))]
        nbformat.write(made, small.folder / extension.RECORD)
        with pytest.raises(kind) if kind else nullcontext():
            assert "2026-01-02" in extension.origin(small.folder, "write")


# --- For everybody
def test_writes_by_keyboard_alone_and_refuses_in_words(tab, small):
    panel = visit(tab, small).locator("[data-panel=write]")
    panel.get_by_role("button", name="Start").press("Enter")
    prompt, status = panel.get_by_label("Begin with"), panel.get_by_role("status")
    prompt.wait_for()
    assert prompt.evaluate("input => input === document.activeElement")
    button = panel.get_by_role("button")
    for text, seed, words in [("", "1", "at least one"), ("A", "x", "whole number")]:
        prompt.fill(text)
        panel.get_by_label("Seed").fill(seed)
        button.press("Enter")
        assert words in status.inner_text()
    prompt.fill("é“A")
    panel.get_by_label("Seed").fill("7")
    panel.get_by_label("Temperature").press("ArrowLeft")
    assert "0.6" in panel.inner_text()
    button.press("Enter")
    tab.wait_for_function("document.querySelector('[role=status]').textContent.includes('603')")
    assert "has no é" in status.inner_text()
    tab.keyboard.press("Tab")
    for _ in range(2):
        tab.keyboard.press("ArrowRight")
    focused = "document.activeElement.place"
    assert tab.evaluate(focused) == 2 and panel.locator("td").count() == 15
    assert panel.locator(".live-text [tabindex='0']").count() == 1
    tab.keyboard.press("End")
    assert tab.evaluate(focused) == 602
    first = panel.locator(".live-text").inner_text()
    button.press("Enter")
    tab.wait_for_function("document.querySelector('[role=status]').textContent.includes('603')")
    assert panel.locator(".live-text").inner_text() == first, "the same seed, the same text"


def test_reads_colours_and_counts_bits(tab, small):
    visit(tab, small)
    panel = start(tab, "read")
    text = panel.get_by_label("Text").input_value()
    panel.get_by_role("button").click()
    said = panel.get_by_role("status", name="").filter(has_text="bits")
    ids, given = small.vocab[list(text)], probs(live.rounded(small.model), small.vocab, text)
    lstm = -sum(given[t - 1, ids[t]].log2().item() for t in range(1, len(ids))) / (len(ids) - 1)
    counts = [small.counted.probability(ids[t], ids[:t]) for t in range(1, len(ids))]
    counted = -sum(map(math.log2, counts)) / len(counts)
    assert f"{lstm:.2f} bits a character, Kneser and Ney {counted:.2f}" in said.inner_text()
    shades = "spans => spans.map((span) => span.style.getPropertyValue('--strength'))"
    before = panel.locator(".live-text span").evaluate_all(shades)
    panel.get_by_label("Colour by").select_option("forget gate F")
    assert panel.locator(".live-text span").evaluate_all(shades) != before


def test_one_cell_gives_the_chapters_numbers_and_counts(tab, small):
    panel = visit(tab, small).locator("[data-panel=cell]")
    record = printed(*code_cells(read("chapters/08_lstm.ipynb")))
    cell, shown = re.search(r"^cell (\S+), shown (\S+)$", "\n".join(record), re.M).groups()
    assert f"= {cell}, and H" in panel.inner_text() and f"= {shown}." in panel.inner_text()
    for name, last in {"Keep": "0.70", "Count": "5.70"}.items():
        panel.get_by_role("button", name=name).click()
        label = panel.get_by_role("img").get_attribute("aria-label")
        assert re.search(rf" {last}\. H:", label), label


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_the_page_with_its_panels_at_work_can_be_read_by_everybody(chromium, small, width, theme):  # noqa: F811
    server, page = serve(SITE), new_page(chromium, width, theme)
    files = small.folder / FOLDER
    page.route(
        "**/verne-*",
        lambda it: it.fulfill(path=files / it.request.url.rsplit("/")[-1].split("?")[0]),
    )
    page.goto(f"http://127.0.0.1:{server.server_port}/pages/try_it.html")
    for box in page.locator(".live[data-weights]").all():
        hashes = {kind: extension.found(small.folder, kind)[0] for kind in ("weights", "ngrams")}
        box.evaluate("(box, hashes) => Object.assign(box.dataset, hashes)", hashes)
    for name in ("write", "read"):
        panel = start(page, name)
        panel.get_by_role("button", name=name).click()
        panel.get_by_role("button", name=name).wait_for()
        panel.locator(".live-text span").nth(9).click()
    page.get_by_role("button", name="Count").click()
    checks.settle(page)
    PICTURES.mkdir(exist_ok=True, parents=True)
    page.screenshot(path=PICTURES / f"live-{width}-{theme}.png", full_page=True)
    assert page.evaluate(checks.TOO_WIDE) + checks.barriers(page) == []
    page.close()
    server.shutdown()


def test_what_was_recorded_stands_there_without_javascript_and_on_paper(chromium, tab, small):  # noqa: F811
    page = chromium.new_page(java_script_enabled=False)
    page.goto((SITE / "pages/try_it.html").as_uri())
    assert [box.is_visible() for box in page.locator(".live-recorded").all()] == [True] * 3
    assert page.get_by_role("button", name="Start").count() == 0
    page.close()
    sample = (
        soup(SITE / "pages/try_it.html").select_one("[data-panel=write] pre").get_text().strip()
    )
    record = "\n".join(printed(*code_cells(read(extension.RECORD))))
    assert sample in record, f"a page that {extension.RECORD} recorded belongs into pages/try_it.md"


def test_pages_without_panels_carry_none_of_it():
    for page in ("index", "chapters/07_gru", "pages/running"):
        assert "static/live/" not in (SITE / f"{page}.html").read_text("utf8")
    scripts = [path.read_text() for path in (ROOT / FOLDER).glob("*.js") if "-" not in path.name]
    lines = [line.strip() for script in scripts for line in script.splitlines()]
    assert len([line for line in lines if line and not line.startswith("//")]) <= 400


# --- The model that is shipped
def test_the_shipped_files_are_those_of_the_record_and_compute_what_pytorch_does(tab, tmp_path):
    """Where this fails: make record NOTEBOOKS=chapters/10_verne.ipynb."""
    model, vocab, hashes = stored(ROOT / FOLDER)
    record = "\n".join(printed(*code_cells(read(extension.RECORD))))
    for kind, sha256 in hashes.items():
        assert re.search(rf"^verne-{kind} .* sha256 {sha256[:12]}$", record, re.M)
    size = sum(file.stat().st_size for file in (ROOT / FOLDER).glob("verne-weights-*.js"))
    assert size <= 3_500_000
    tab.goto((SITE / "pages/try_it.html").as_uri())
    text = soup(SITE / "pages/try_it.html").select_one("[data-panel=read] pre").get_text()
    assert far(tab, model, vocab, text) <= 1e-4
    expected = sampling.generate(model, vocab, "The island", 200)
    assert tab.evaluate(GREEDY, ["The island", 200]) == expected
