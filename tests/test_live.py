"""The panels: a browser computes what PyTorch does, tells damaged files, and needs no mouse."""

import re
from shutil import copytree
from types import SimpleNamespace

import browser as checks
import live as extension
import pytest
import torch
from compare import code_cells, printed
from notebooks import ROOT, SITE, read
from site_pages import served
from test_browser import NARROW, WIDE, chromium, needs_browser, new_page, show  # noqa: F401
from torch import nn

from utils import live, models, ngrams, sampling
from utils.text import Vocab

pytestmark = [needs_browser, pytest.mark.xdist_group("browser 1")]
TEXT, PAGE = "“Are we rising?”\n“No. On the contrary.” " * 9, "pages/try_it.html"
PROBS = """async ([model, weights, text]) => {
  const it = await live.load({ dataset: { model, weights } }, "weights", () => 0);
  const probs = ({ state }) => [...live.probabilities(it.logits(state))];
  return Array.from(live.generate(it, live.ids(it, [...text])), probs); }"""
COUNT = """([files, ids]) => Promise.all(files.map(async (file) => {
  const counts = await live.run(new live.KneserNey().build(file));
  return ids.map((token, t) => counts.probability(token, ids.slice(0, t))); }))"""
DRAW = """([logits, settings]) => {
  const [probs, random] = [live.probabilities(logits, ...settings), live.generator(1)];
  return [[...probs], Array.from({ length: 4000 }, () => live.draw(probs, random))]; }"""


def press(panel):
    """Press the button of a panel by its key; return the panel when that has done its work."""
    button = panel.locator(".live-panel > button")
    button.press("Enter")
    button.filter(has_text=re.compile("Start|Write|Read")).wait_for()
    return panel


def probs(model, vocab, text):
    return model(torch.tensor([vocab[list(text)]]))[0][:, 0].softmax(dim=1).detach()


@pytest.fixture(scope="module")
def site(chromium, tmp_path_factory):  # noqa: F811
    """Return a copy of the site, whose panels run a small model and are started by their keys."""
    torch.manual_seed(0)
    folder, vocab = tmp_path_factory.mktemp("copy") / "html", Vocab(list(TEXT))
    model = models.LanguageModel(nn.LSTM(8, 24), len(vocab)).eval()
    model.load_state_dict({name: 4 * weight for name, weight in model.state_dict().items()})
    nn.init.zeros_(model.embedding.weight[0])  # has no scale
    rounded, counted = live.rounded(model), ngrams.KneserNey(4, len(vocab)).fit(vocab[list(TEXT)])
    given = {"model": model, "vocab": vocab, "units": {"marks": 3}, "counted": counted}
    copytree(SITE, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_LIVE", str(folder / extension.FOLDER))
        live.export("exact", **given, exact=True)
        live.export("verne", **given)
    html, needs = (folder / PAGE).read_text("utf8"), extension.NEEDS
    for name in needs:
        html = re.sub(rf'<div class="live" .*"{name}".*>', extension.opening(folder, name), html)
    (folder / PAGE).write_text(html, "utf8")
    with served(folder) as address:
        page, there = new_page(chromium), f"{address}/{PAGE}"
        page.goto(there)
        writer, reader, cell = (page.locator(f"[data-panel={name}]") for name in needs)
        assert press(writer).locator("input:focus").count() and press(reader)
        yield SimpleNamespace(**locals())


def test_probabilities_are_those_of_python(site, monkeypatch):
    for name, model in {"exact": site.model, "verne": site.rounded}.items():
        monkeypatch.setattr(extension, "MODEL", name)
        sha256, _ = extension.found(site.folder, "weights")
        there = torch.tensor(site.page.evaluate(PROBS, [name, sha256, TEXT]))
        for other, far in [(model, 1e-5), (site.model, 0.02)]:
            assert (there - probs(other, site.vocab, TEXT)).abs().max() <= far
    texts = [torch.randint(2 + n % 4, (10 * n,)).tolist() for n in range(1, 9)]
    texts += [[0, 1] * 4, [5] * 60 + [4]]  # some come to their start again
    fitted = [ngrams.KneserNey(order, 6).fit(text) for order in range(1, 7) for text in texts]
    files = [{"vocab_size": 6, "discount": it.discount, **live._grams(it)} for it in fitted]
    ids = texts[1] + texts[2] + texts[-1]
    here = [[it.probability(token, ids[:t]) for t, token in enumerate(ids)] for it in fitted]
    assert torch.tensor(site.page.evaluate(COUNT, [files, ids])).allclose(torch.tensor(here))


@pytest.mark.parametrize("settings", [(), (3.0,), (1.0, 3), (1.0, 5, 0.9), (1.5, 3, 0.9), (1, 1)])
def test_draws_with_the_right_frequencies(site, settings):
    logits = [0.3, 1.0, -1.0, 0.0, 1.0]
    here = sampling.probabilities(torch.tensor(logits, dtype=torch.float64), *settings).tolist()
    there, drawn = site.page.evaluate(DRAW, [logits, settings])
    assert there == pytest.approx(here, abs=1e-12)
    assert site.page.evaluate("live.draw([0.2, 0.3], () => 0.9)") == 1  # sums may be below 1
    assert [drawn.count(i) / 4000 for i in range(5)] == pytest.approx(here, abs=0.03)


def test_writes_by_keys_alone(site):
    panel, keyboard = site.writer, site.page.keyboard

    def write(prompt, seed, said):
        panel.get_by_label("Begin with").fill(prompt)
        panel.get_by_label("Seed").fill(seed)
        assert said in press(panel).get_by_role("status").inner_text()
        return panel.locator(".live-text").text_content()

    assert write("", "1", "at least one") == write("A", "x", "whole number") == ""
    assert write("é“A", "7", "has no é") == write("é“A", "7", "603") != write("é“A", "8", "603")
    panel.locator("[aria-valuetext=all]").press("Home")
    text = sampling.generate(site.rounded, site.vocab, "é“A", 600)
    assert write("é“A", "7", "603") == text
    assert panel.locator(".live-unknown").first.inner_text() == "é"
    for key in ("Tab", "End", "Home", "ArrowLeft", "ArrowDown", "ArrowUp", *["ArrowRight"] * 4):
        keyboard.press(key)
    p, spot = probs(site.rounded, site.vocab, text)[3].max(), panel.locator("span[tabindex='0']")
    assert spot.get_attribute("style") == f"--strength: {-p.log2() / 8:.3f};"
    said = f"{-p.log2():.2f} bits.likeliestprobabilityas drawn.{100 * p:.1f} %100.0 %(.+ %){{8}}$"
    assert re.search(said, panel.locator("[aria-live]").text_content())
    site.page.evaluate("() => { let now = 0; performance.now = () => (now += 6); }")
    for motion in ("no-preference", "reduce"):
        site.page.emulate_media(reduced_motion=motion)
        panel.locator(".live-panel > button").press("Enter")  # some characters a frame
        assert bool(panel.locator(".live-text span").count()) == (motion != "reduce")
        assert press(panel).locator(".live-text span").count() < 603
    site.page.evaluate("delete performance.now")


def test_reads_and_counts_bits_and_one_cell_has_the_chapters_numbers(site):
    panel, text = site.reader, "“Are\téwe rising?”"
    panel.get_by_label("Colour by").select_option("H")
    assert "Infinity" not in panel.inner_text()  # nothing has been read
    panel.get_by_label("Text").fill(text)
    said = press(panel).get_by_role("status").inner_text()
    ids, lstm = site.vocab[list(text)], probs(site.rounded, site.vocab, text)
    known = [t for t in range(1, len(ids)) if ids[t]]
    counts = [site.counted.probability(ids[t], ids[:t]) for t in known]
    bits = [-torch.tensor(p).log2().mean() for p in ([lstm[t - 1, ids[t]] for t in known], counts)]
    assert re.findall(r"\d\.\d+|U\+\w+", said) == [*map("{:.2f}".format, bits), "U+0009"]
    X, (W_x, W_h, b, c) = site.rounded.embedding(torch.tensor(ids)), site.rounded.layer.parameters()
    H = site.rounded.layer(X[:, None])[0][:, 0]
    sums = X @ W_x.T + nn.functional.pad(H, (0, 0, 1, -1)) @ W_h.T + b + c
    i, f, _, o = sums.sigmoid().chunk(4, dim=1)
    for place, values in enumerate((H / o, H, i, f, o), 1):  # the cell itself comes before these
        panel.get_by_label("Colour by").select_option(index=place)
        high, low = (f"{it:.2f}".replace("-", "−") for it in values[:, 3].aminmax()[::-1])
        assert re.search(f"value is {high}, .*, the smallest {low}, ", panel.inner_text())
        assert panel.locator(".live-below").count() == (values[:, 3] < 0).sum()
    record = "\n".join(printed(*code_cells(read("chapters/08_lstm.ipynb"))))
    cell, shown = re.search(r"^cell (\S+), shown (\S+)$", record, re.M).groups()
    assert re.search(f"= {cell}, and H .* = {shown}\\.", site.cell.inner_text())
    for name, last in {"Keep": "0.70", "Forget": "0.00", "Count": "5.70"}.items():
        site.cell.get_by_role("button", name=name).press("Enter")
        assert f" {last}. H:" in site.cell.get_by_role("img").get_attribute("aria-label")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_panels_at_work_can_be_read_by_everybody(site, width, theme):
    for panel in (site.writer, site.reader):
        press(panel).locator(".live-text span").nth(9).press("ArrowLeft")
    page = show(site, width, theme)
    assert page.evaluate(checks.TOO_WIDE) + checks.barriers(page) == []


@pytest.mark.parametrize("of", ["http", "file"])
def test_damaged_files_are_refused_in_words_and_may_be_loaded_again(site, of):
    file, page = site.folder / extension.FOLDER / "verne-weights-3.js", new_page(site.chromium)
    page.goto(site.there if of == "http" else (site.folder / PAGE).as_uri())
    panel, whole = page.locator("[data-panel=write]"), file.read_text("utf8")
    for harmed in (whole[:300] + "?" + whole[301:], re.sub(r"\b\w{64}\b", "0", whole), None):
        file.write_text(harmed, "utf8") if harmed else file.unlink()
        said = press(panel).get_by_role("alert").inner_text()
        assert said.startswith("The files verne-weights are missing or damaged.")
    file.write_text(whole, "utf8")
    sha256 = panel.get_attribute("data-weights")
    for wanted, refused in [("f00", 1), (sha256, 0)]:
        panel.evaluate("(panel, sha256) => (panel.dataset.weights = sha256)", wanted)
        assert press(panel).get_by_role("alert").count() == refused


def test_an_export_says_its_hashes_and_refuses_what_no_panel_can_run(site, capsys):
    live.export("verne", **site.given)
    hashes = [extension.found(site.folder, kind)[0][:12] for kind in site.needs["read"]]
    assert re.findall(r"sha256 (\w+)", capsys.readouterr().out) == hashes
    cells = nn.GRU(8, 24), nn.LSTM(8, 24, 2), nn.LSTM(8, 24)
    gru, deep, broken = (models.LanguageModel(cell, 5) for cell in cells)
    nn.init.constant_(broken.output.bias, torch.nan)
    for name, cases in {
        "model": [(gru, "around an nn.LSTM"), (deep, "of one layer"), (broken, "finite weights")],
        "vocab": [(Vocab(["ab"]), "hold characters"), (Vocab(["a"]), "vocab and counted must")],
        "units": [({"a": 24}, "must be ints in 0..23"), ({"a\nb": 1}, "units must be one line")],
        "counted": [(ngrams.KneserNey(4, len(site.vocab)), "counted must be fitted")],
        "name": [("../verne", "name must be one of a file")],
    }.items():
        for value, words in cases:
            with pytest.raises((TypeError, ValueError, IndexError), match=words):
                live.export(**{"name": "verne"} | site.given | {name: value})


def test_what_was_recorded_stands_there_without_javascript(site):
    page = site.chromium.new_page(java_script_enabled=False)
    page.goto(site.there)
    assert [box.is_visible() for box in page.locator(".live-recorded").all()] == [True] * 3
    assert page.locator(".live-panel").count() == 0
    sample = page.locator("[data-panel=write] pre").inner_text().strip()
    assert sample in "\n".join(printed(*code_cells(read(extension.RECORD))))
    for name in ("index", "chapters/07_gru", "pages/running"):
        assert "static/live/" not in (SITE / f"{name}.html").read_text("utf8")


def test_the_shipped_files_are_those_of_the_record(site):
    """Where this fails: make record NOTEBOOKS=chapters/10_verne.ipynb."""
    assert extension.origin(ROOT, "read").count("sha256") == 2
    copytree(ROOT / "chapters", site.folder / "chapters", dirs_exist_ok=True)
    with pytest.raises(ValueError, match="verne-weights is not what"):
        extension.origin(site.folder, "write")
    site.page.goto((SITE / PAGE).as_uri())
    said = press(press(site.reader)).get_by_role("status").inner_text()
    lstm, counts = map(float, re.findall(r"\d\.\d+", said))
    assert max(lstm, counts) < 2.5, "both know how Verne writes"
