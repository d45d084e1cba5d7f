"""The panels: a browser computes what PyTorch does, tells damaged files, and needs no mouse."""

import re
from shutil import copytree
from types import SimpleNamespace

import browser as checks
import live as extension
import pytest
import torch
from notebooks import ROOT, SITE
from test_browser import NARROW, WIDE, chromium, needs_browser, new_page, serve, show  # noqa: F401

from utils import live, models, ngrams, sampling, text

pytestmark = [needs_browser, pytest.mark.xdist_group("browser 1")]
TEXT, PAGE = "“Are we rising?”\n“No. On the contrary.” " * 9, "pages/try_it.html"
PROBS = """([model, weights, text]) => live.load({ dataset: { model, weights } }, "weights", isNaN)
  .then((it) => Array.from(live.generate(it, live.ids(it, [...text])),
    ({ state }) => [...live.probabilities(it.logits(state))]))"""
COUNT = """([files, ids]) => files.map((file) => { const it = new live.KneserNey(); for (const _ of
  it.build(file)); return ids.map((token, t) => it.probability(token, ids.slice(0, t))); })"""
DRAW = """(given) => { const [probs, random] = [live.probabilities(...given), live.generator(1)];
  return [[...probs], Array.from({ length: 4000 }, () => live.draw(probs, random))]; }"""


def press(panel, **fields):
    """Fill fields of a panel, press its button by its key; return the panel when it has worked."""
    for name, value in fields.items():
        panel.get_by_label(name).fill(value)
    (button := panel.locator(".live-panel > button")).press("Enter")
    button.filter(has_text=re.compile("Start|Write|Read")).wait_for()
    return panel


def probs(model, ids):
    return model(torch.tensor([ids]))[0][:, 0].softmax(dim=1).detach()


@pytest.fixture(scope="module")
def site(chromium, tmp_path_factory):  # noqa: F811
    """Return a copy of the site, whose panels run a small model and are started by their keys."""
    torch.manual_seed(0)
    folder, vocab = copytree(SITE, tmp_path_factory.mktemp("it") / "html"), text.Vocab(list(TEXT))
    model, ids = models.LanguageModel(torch.nn.LSTM(8, 24), len(vocab)).eval(), vocab[list(TEXT)]
    model.load_state_dict({name: 4 * weight for name, weight in model.state_dict().items()})
    rounded, counted = live.rounded(model), ngrams.KneserNey(4, len(vocab)).fit(ids)
    given = {"model": model, "vocab": vocab, "units": {"marks": 3}, "counted": counted}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_LIVE", str(folder / extension.FOLDER))
        live.export("exact", **given, exact=True)
        live.export("verne", **given)
    tag, html = r'<div class="live" .*data-panel="(\w+)".*>', (folder / PAGE).read_text("utf8")
    html = re.sub(tag, lambda found: extension.opening(folder, found[1]), html)
    (folder / PAGE).write_text(html, "utf8")
    there = f"http://127.0.0.1:{serve(folder).server_port}/{PAGE}"
    (page := new_page(chromium)).goto(there)
    writer, reader, cell = (page.locator(f"[data-panel={name}]") for name in extension.NEEDS)
    assert press(writer).locator("input:focus").count() and press(reader)
    return SimpleNamespace(**locals())


def test_probabilities_are_those_of_python_and_draws_follow_them(site, monkeypatch):
    for name, model in {"exact": site.model, "verne": site.rounded}.items():
        monkeypatch.setattr(extension, "MODEL", name)
        there = site.page.evaluate(PROBS, [name, extension.found(site.folder, "weights")[0], TEXT])
        assert (torch.tensor(there) - probs(model, site.ids)).abs().max() <= 1e-5
        assert (torch.tensor(there) - probs(site.model, site.ids)).abs().max() <= 0.02
    texts = [[0, 1] * 4, [5] * 60 + [4], *(torch.randint(n, (99,)).tolist() for n in (2, 4, 6))]
    fitted = [ngrams.KneserNey(order, 6).fit(ids) for order in range(1, 7) for ids in texts]
    files = [{"vocab_size": 6, "discount": it.discount, **live._grams(it)} for it in fitted]
    here = [[it.probability(x, texts[3][:t]) for t, x in enumerate(texts[3])] for it in fitted]
    assert torch.tensor(site.page.evaluate(COUNT, [files, texts[3]])).allclose(torch.tensor(here))
    for settings in [(), (3.0,), (1.0, 3), (1.0, 5, 0.9), (1.5, 3, 0.9), (1, 1)]:
        logits = torch.tensor([0.3, 1.0, -1.0, 0.0, 1.0], dtype=torch.float64)
        here = sampling.probabilities(logits, *settings).tolist()
        there, drawn = site.page.evaluate(DRAW, [logits.tolist(), *settings])
        assert there == pytest.approx(here, abs=1e-12)
        assert [drawn.count(i) / 4000 for i in range(5)] == pytest.approx(here, abs=0.03)


def test_panels_work_by_keys_alone_and_can_be_read_by_everybody(site):
    panel, page, written = site.writer, site.page, site.writer.locator(".live-text")
    assert press(panel, begin="", seed="1").get_by_text("at least one").count()
    assert press(panel, begin="A", seed="x").get_by_text("whole number").count()
    wrote = [press(panel, begin="é“A", seed=seed) and written.text_content() for seed in "778"]
    assert wrote[0] == wrote[1] != wrote[2] and panel.get_by_text("has no é").count()
    panel.get_by_label("Top k").press("Home")
    press(panel)
    assert written.text_content() == sampling.generate(site.rounded, site.vocab, "é“A", 600)
    written.locator("span").nth(3).press("End")
    assert page.evaluate("document.activeElement.place") * panel.locator("td").count() == 602 * 15
    page.evaluate("() => { let now = 0; performance.now = () => (now += 6); }")
    panel.locator(".live-panel > button").press("Enter")  # one character a frame
    assert press(panel).locator(".live-text span").count() < 603
    page.evaluate("delete performance.now")
    line, count = "“Are éwe rising?”", site.counted.probability
    said = press(site.reader, text=line).get_by_role("status").inner_text()
    lstm = probs(site.rounded, ids := site.vocab[list(line)])
    both = [(lstm[t - 1, x], count(x, ids[:t])) for t, x in enumerate(ids) if t * x]
    bits = "LSTM needs {:.2f} bits a character, Kneser and Ney {:.2f}."
    assert bits.format(*-torch.tensor(both).log2().mean(dim=0)) in said
    site.reader.get_by_label("Colour by").select_option("forget gate F")
    assert site.reader.locator(".live-below").count() == 0  # of the cell there were
    assert re.search(r"= 0\.83, and H .* = 0\.41\.", site.cell.inner_text())  # as in chapter 08
    site.cell.get_by_role("button", name="Count").press("Enter")
    assert " 5.70. H:" in site.cell.get_by_role("img").get_attribute("aria-label")
    press(site.writer, begin="A", seed="1").locator(".live-text span").nth(9).press("ArrowLeft")
    for at in [(NARROW, "light"), (NARROW, "dark"), (WIDE, "light"), (WIDE, "dark")]:
        page = show(site, *at)
        assert page.evaluate(checks.TOO_WIDE) + checks.barriers(page) == [], at
    (page := site.chromium.new_page(java_script_enabled=False)).goto(site.there)
    assert [page.locator(it).count() for it in (".live-recorded:visible", ".live-panel")] == [3, 0]
    assert "static/live/" not in (SITE / "chapters/07_gru.html").read_text("utf8")


@pytest.mark.parametrize("of", ["http", "file"])
def test_damaged_files_are_refused_in_words_and_may_be_loaded_again(site, of):
    file, page = site.folder / extension.FOLDER / "verne-weights-3.js", new_page(site.chromium)
    page.goto(site.there if of == "http" else (site.folder / PAGE).as_uri())
    panel, whole = page.locator("[data-panel=write]"), file.read_text("utf8")
    good, name = panel.get_attribute("data-weights"), "(it, name) => (it.dataset.weights = name)"
    for content, wanted in [(whole.replace("A", "B", 1), good), (whole[:900], good), (whole, "0")]:
        file.write_text(content, "utf8")
        panel.evaluate(name, wanted)
        assert press(panel).get_by_text("The files verne-weights are missing or damaged.").count()
    panel.evaluate(name, good)
    assert press(panel).get_by_label("Begin with").is_visible()


def test_an_export_refuses_what_no_panel_can_run(site):
    size, cells = len(site.vocab), [torch.nn.GRU(8, 24), torch.nn.LSTM(8, 24, 2)]
    wrong = [[*(models.LanguageModel(cell, size) for cell in cells)], [text.Vocab(["ab"])]]
    wrong += [[{"a": 24}, {"a\nb": 1}], [ngrams.KneserNey(4, size)], ["../verne"]]
    for name, values in zip([*site.given, "name"], wrong, strict=True):
        for value in values:
            with pytest.raises((TypeError, ValueError, IndexError), match=" must "):
                live.export(**{"name": "verne"} | site.given | {name: value})


def test_the_shipped_files_are_those_of_the_record(site, monkeypatch):
    """Where this fails: make record NOTEBOOKS=chapters/10_verne.ipynb."""
    assert extension.origin(ROOT, "read").count("sha256") == 2
    monkeypatch.setattr(extension, "found", lambda *_: ("f00", 1))
    with pytest.raises(ValueError, match="verne-weights is not what"):
        extension.origin(ROOT, "write")
    site.page.goto((SITE / PAGE).as_uri())
    assert press(site.reader).get_by_role("alert").count() == 0
