"""The built site in a real browser: each page loads, can be read by everybody, and works offline.

Each page is opened once, looked at wide and narrow, light and dark, and used as a reader would;
pictures of it land in _build/screenshots. `make test` builds the site before.
"""

import re
import shutil
import sys
import threading
from functools import cache, partial
from html import unescape
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import browser as checks
import nbformat
import pytest
import yaml
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "_ext"))

SITE = ROOT / "_build/html"
PICTURES = ROOT / "_build/screenshots"
PROGRAM = next(filter(None, map(shutil.which, ["chromium", "google-chrome"])), None)
WIDE, NARROW = 1400, 375  # pixels
CHAPTER, PROSE = 3_500_000, 1_000_000  # bytes that a page loads, all in all and not compressed

TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))
PAGES = [TOC["root"], *(page["file"] for part in TOC["parts"] for page in part["chapters"])]
CHAPTERS = [page for page in PAGES if page.startswith("chapters/")]
PAGES.sort(key=lambda page: page not in CHAPTERS)  # by its place pytest knows that a page is open

needs_browser = pytest.mark.skipif(not PROGRAM, reason="no Chromium or Google Chrome was found")


def spread(pages, *more):
    """Return pages as parameters that go to two workers in turn, one browser each."""
    return [
        pytest.param(page, *more, marks=pytest.mark.xdist_group(f"browser {PAGES.index(page) % 2}"))
        for page in pages
    ]


class Handler(SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *_):
        """Print nothing."""


def serve(folder):
    """Return a server of the folder on a free port of this machine, already at work."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def address():
    """Return the address of the built site."""
    missing = [page for page in PAGES if not (SITE / f"{page}.html").exists()]
    assert not missing, f"make book comes first; not built: {missing}"
    server = serve(SITE)
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def chromium():
    """Return a running browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        yield browser
        browser.close()


def new_page(chromium, width=WIDE, theme="light"):
    """Return an empty page, patient enough for a machine that has other things to do."""
    size = {"width": width, "height": 1000}
    page = chromium.new_page(viewport=size, color_scheme=theme, reduced_motion="reduce")
    page.set_default_timeout(180_000)  # milliseconds
    return page


@pytest.fixture
def tab(chromium):
    """Return an empty page of the browser that may use the clipboard."""
    page = new_page(chromium)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield page
    page.close()


@pytest.fixture(scope="module", params=spread(PAGES))
def opened(request, chromium, address):
    """Return a page as a reader opens it, with what went wrong on the way."""
    page = new_page(chromium)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    troubles = checks.listen(page, address)
    page.goto(f"{address}/{request.param}.html")
    checks.settle(page)
    yield SimpleNamespace(name=request.param, page=page, troubles=troubles)
    page.close()


@pytest.fixture
def view(opened, width, theme):
    """Return an open page at this width of the window, for a reader with this theme."""
    opened.page.set_viewport_size({"width": width, "height": 1000})
    opened.page.emulate_media(color_scheme=theme)
    opened.page.locator(f"html[data-theme={theme}]").wait_for()  # a script of the page sets it
    checks.settle(opened.page)
    return opened


@pytest.fixture
def laid_open(view):
    """Return an open page with all its solutions open, which are closed again afterwards."""
    view.page.evaluate(checks.TOGGLE_SOLUTIONS)
    yield view
    view.page.evaluate(checks.TOGGLE_SOLUTIONS)


EACH_WIDTH = pytest.mark.parametrize("width", [WIDE, NARROW])
EACH_THEME = pytest.mark.parametrize("theme", ["light", "dark"])


@needs_browser
@EACH_WIDTH
@EACH_THEME
def test_page_is_whole_and_legible(laid_open):
    page = laid_open.page
    assert checks.unset_formulas(page) + checks.poor_images(page) == []
    assert checks.too_wide(page) + checks.wrong_stops(page) == []


@needs_browser
@pytest.mark.parametrize("width", [WIDE])
@EACH_THEME
def test_figures_stand_out(laid_open):
    assert checks.faint_figures(laid_open.page) == []


@needs_browser
@pytest.mark.parametrize(("width", "theme"), [(WIDE, "light"), (NARROW, "dark")])
def test_a_picture_is_taken(view, width, theme):
    PICTURES.mkdir(exist_ok=True)
    path = PICTURES / f"{view.name.rpartition('/')[2]}-{width}-{theme}.jpg"
    path.unlink(missing_ok=True)
    view.page.screenshot(path=path, full_page=True, quality=80)
    assert path.stat().st_size > 10_000


def chapter(name):
    """Return the notebook of a chapter."""
    return nbformat.read(ROOT / f"{name}.ipynb", as_version=4)


def title(name):
    """Return the title of a chapter, without signs."""
    heading = chapter(name).cells[0].source.splitlines()[0]
    return "".join(c for c in heading if c.isalnum() or c in " -").strip()


@needs_browser
@pytest.mark.parametrize("name", spread(CHAPTERS))
def test_search_finds_every_chapter_by_its_title(tab, address, name):
    assert f"{name}.html" in checks.found_by_search(tab, address, title(name))


@needs_browser
@pytest.mark.xdist_group("browser 0")
@pytest.mark.parametrize(
    ("words", "meaning"), [("困惑度", "equally likely"), ("门控循环单元", "reset gate")]
)
def test_search_in_chinese_finds_what_a_term_means(tab, address, words, meaning):
    assert set(checks.found_by_search(tab, address, words)) == {"pages/glossary.html"}
    assert meaning in tab.locator("#search-results li p.context").first.inner_text()


@needs_browser
@pytest.mark.xdist_group("browser 0")
def test_search_shows_passages_of_the_article(tab, address):
    pages = checks.found_by_search(tab, address, "perplexity")
    excerpts = tab.locator("#search-results li p.context")
    excerpts.nth(5).wait_for(timeout=30_000)
    for excerpt in excerpts.all():
        page = excerpt.locator("xpath=..").locator("a").get_attribute("href")
        article = (SITE / page.partition("#")[0]).read_text("utf8").partition("<article")[2]
        text = unescape(re.sub(r"<[^>]*>", "", article.partition("</article>")[0]))
        passage = excerpt.inner_text().strip(". ")
        assert "".join(passage.split()) in "".join(text.replace("#", "").split()), passage
    assert len(pages) > 5


@needs_browser
@pytest.mark.parametrize("opened", spread(CHAPTERS), indirect=True)
@pytest.mark.parametrize(("width", "theme"), [(WIDE, "light")])
def test_copy_button_copies_a_cell(view):
    first = next(cell for cell in chapter(view.name).cells if cell.cell_type == "code")
    cell = view.page.locator(".cell_input").first
    cell.hover()
    cell.locator("button.copybtn").click()
    copied = view.page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == first.source.strip()


@needs_browser
@pytest.mark.parametrize("opened", spread(CHAPTERS), indirect=True)
@pytest.mark.parametrize(("width", "theme"), [(WIDE, "light")])
def test_solutions_open_and_close_by_mouse_and_by_key(view):
    solutions = view.page.locator(".solution.dropdown").all()
    assert len(solutions) >= 3
    for solution in solutions:
        button, last = solution.locator("button.toggle-button"), solution.locator("> *").last
        assert not last.is_visible()
        button.click()
        assert last.is_visible() and button.get_attribute("aria-expanded") == "true"
        button.press("Enter")
        assert not last.is_visible() and button.get_attribute("aria-expanded") == "false"


@needs_browser
@pytest.mark.parametrize("opened", spread(CHAPTERS[:1]), indirect=True)
@pytest.mark.parametrize(("width", "theme"), [(WIDE, "light")])
def test_code_that_only_draws_opens_and_closes_by_mouse_and_by_key(view):
    cell = view.page.locator("div.cell:has(> details.hide)").first
    prompt, code, button = map(cell.locator, ["summary", ".cell_input", "button.copybtn"])
    assert cell.locator("figure").is_visible() and not code.is_visible()
    prompt.click()
    assert prompt.inner_text() == "Hide the code"
    code.hover()
    button.click()
    copied = view.page.evaluate("navigator.clipboard.readText()")
    assert copied in {one.source for one in chapter(view.name).cells}
    prompt.press("Enter")
    assert prompt.inner_text() == "Show the code" and not code.is_visible()


@needs_browser
def test_page_asks_no_other_host_and_says_no_error(opened):
    assert opened.troubles == []


@needs_browser
def test_page_is_light(opened):
    allowed = CHAPTER if opened.name in CHAPTERS else PROSE
    assert 100_000 < opened.page.evaluate(checks.BYTES) <= allowed


@needs_browser
def test_font_of_formulas_has_all_their_letters(opened):
    assert checks.strange_letters(opened.page) == []


@needs_browser
@pytest.mark.parametrize("name", spread(PAGES))
def test_nothing_moves_when_images_come_last(chromium, address, name):
    page = new_page(chromium, NARROW)
    height = checks.open_while_images_wait(page, f"{address}/{name}.html")
    assert abs(checks.article_height(page) - height) < 10  # an image may be rounded
    assert page.evaluate("shifts") <= 0.1
    page.close()


@needs_browser
@pytest.mark.parametrize("width", [WIDE])
@EACH_THEME
def test_axe_finds_no_barrier(laid_open):
    assert checks.barriers(laid_open.page) == []


# --- Links, read off the files ---


class Anchors(HTMLParser):
    """Collects the ids of a page, the addresses of its links, and what its head says of it."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.metas = {"", "top"}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note the id of a tag, where it leads, what it says."""
        attrs = dict(attrs)
        self.ids.add(attrs.get("id"))
        if tag == "meta":
            self.metas.append((attrs.get("name") or attrs.get("property"), attrs.get("content")))
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])


@cache
def anchors(path):
    """Return the Anchors of a file."""
    return Anchors(path.read_text(encoding="utf8"))


def leads_to(target, place, site):
    """Say whether the site has such a file, with such a place in it where it is a page."""
    there = target.is_relative_to(site) and target.is_file()
    return there and (target.suffix != ".html" or place in anchors(target).ids)


def dead_links(page, site):
    """Return the links of a page to files or places that its site does not have."""
    dead = []
    for href in anchors(page).links:
        link = urlsplit(href)
        target = (page.parent / unquote(link.path)).resolve() if link.path else page
        if not (link.scheme or link.netloc or leads_to(target, unquote(link.fragment), site)):
            dead.append(href)
    return dead


@pytest.mark.parametrize("name", PAGES)
def test_links_within_the_site_lead_somewhere(address, name):
    page = SITE / f"{name}.html"
    assert len(anchors(page).links) > 20
    assert dead_links(page, SITE) == []


@pytest.mark.parametrize("name", PAGES)
def test_head_says_what_the_page_is_about(name):
    metas = anchors(SITE / f"{name}.html").metas
    said = dict(metas)
    assert [key for key, _ in metas].count("viewport") == 1
    assert 50 < len(said["description"]) <= 200
    assert said["og:description"] == said["description"]
    assert said["og:title"]
    assert (SITE / name).parent.joinpath(said["og:image"]).resolve().is_file()


# --- The packed site ---


@needs_browser
@pytest.mark.xdist_group("browser 1")
def test_packed_site_works_from_a_folder(address, tab, tmp_path):
    shutil.make_archive(tmp_path / "course", "zip", root_dir=SITE.parent, base_dir="html")
    shutil.unpack_archive(tmp_path / "course.zip", tmp_path)
    folder = tmp_path / "html"
    troubles = checks.listen(tab, folder.as_uri())
    tab.goto((folder / f"{CHAPTERS[3]}.html").as_uri())
    checks.settle(tab)
    assert tab.locator("math").count() > 5
    assert checks.unset_formulas(tab) == [] and checks.poor_images(tab) == []
    found = checks.found_by_search(tab, folder.as_uri(), title(CHAPTERS[3]))
    assert f"{CHAPTERS[3]}.html" in found
    assert checks.found_by_search(tab, folder.as_uri(), "xylophonists") == []
    assert troubles == []


# --- The checks themselves ---

FAULTY = f"""<!doctype html><html data-theme="dark"><head><title>Faults</title></head>
<body style="background: #121212; margin: 0"><main class="bd-article">
<p style="color: #333">Dark on dark.</p>
<p><span class="math">\\(x_t\\)</span> and $y_t$ and \\begin{{align}}</p><p>{"very" * 50}long</p>
<div class="math"><math><merror><mi>z</mi></merror></math></div>
<div class="math"><div style="overflow: auto"><math><mtext>{"wide" * 50}</mtext></math></div></div>
<pre tabindex="0">short</pre><p><span class="math"><math tabindex="0"><mi>x</mi></math></span></p>
<figure><img src="ink.svg" alt="ink.svg" style="width: 200px">
<img src="ink.svg" alt="A figure on a plate" style="background: white; height: 90px; width: 200px">
</figure>
<img src="gone.png" alt="A picture that is gone"><div style="width: 900px">wide</div>
<a href="#nowhere">dead</a><a href="gone.html">dead</a><a href="../beside.html">outside</a>
<script>fetch("http://127.0.0.1:9/x").catch(() => 0); undefinedName;</script>
</main></body></html>"""
INK = """<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100">
<rect x="50" width="100" height="50" fill="#222"/>
<rect x="50" y="50" width="100" height="50" fill="#56B4E9"/></svg>"""


@pytest.fixture
def faulty(tmp_path, chromium):
    """Return a page that has every fault, and what was heard while it was loaded."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text(FAULTY, encoding="utf8")
    (site / "ink.svg").write_text(INK, encoding="utf8")
    (tmp_path / "beside.html").touch()
    server = serve(site)
    address = f"http://127.0.0.1:{server.server_port}"
    page = new_page(chromium, NARROW)
    troubles = checks.listen(page, address)
    page.goto(f"{address}/index.html")
    checks.settle(page)
    yield page, troubles, site
    page.close()
    server.shutdown()


@needs_browser
@pytest.mark.xdist_group("browser 0")
def test_a_page_with_every_fault_is_noticed(faulty):
    page, troubles, site = faulty
    heard = "\n".join(troubles)
    assert "asks http://127.0.0.1:9/x" in heard and "undefinedName is not defined" in heard
    assert "404: " in heard
    formulas = checks.unset_formulas(page)
    assert len(formulas) == 3 and "$y_t$" in formulas[-1] and "align" in formulas[-1]
    assert len(checks.strange_letters(page)) == 3
    assert len(checks.wrong_stops(page)) == 3
    assert sorted(line[:12] for line in checks.poor_images(page)) == [
        "no words for",
        "not loaded: ",
        "out of shape",
    ]
    assert any("900px" in line for line in checks.too_wide(page))
    for style in ("900px", "overflow"):
        page.locator(f"[style*='{style}']").evaluate("element => element.remove()")
    assert len(checks.too_wide(page)) == 1  # a long word widens no element
    assert checks.faint_figures(page) == [
        "5000 of 5000 dots are faint: ink.svg",
        "a plate: A figure on a plate",
    ]
    assert {"color-contrast", "html-has-lang"} <= {
        b.partition(":")[0] for b in checks.barriers(page)
    }
    assert dead_links(site / "index.html", site) == ["#nowhere", "gone.html", "../beside.html"]
