"""The built site in a real browser: each page loads, can be read by everybody, and works offline.

Each page is opened once, looked at wide and narrow, light and dark, and used as a reader would;
pictures of it land in _build/screenshots. `make test` builds the site before.
"""

import shutil
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import browser as checks
import pytest
import yaml
from compare import code_cells
from notebooks import ROOT, SITE, read
from playwright.sync_api import sync_playwright
from site_pages import served, soup

PICTURES = ROOT / "_build/screenshots"
PROGRAM = next(filter(None, map(shutil.which, ["chromium", "google-chrome"])), None)
WIDE, NARROW = 1400, 375  # pixels
CHAPTER, PROSE = 3_500_000, 1_000_000  # bytes that a page loads, all in all and not compressed

TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))
PAGES = [TOC["root"], *(page["file"] for part in TOC["parts"] for page in part["chapters"])]
CHAPTERS = [page for page in PAGES if page.startswith("chapters/")]
PAGES.sort(key=lambda page: page not in CHAPTERS)  # by its place pytest knows that a page is open

needs_browser = pytest.mark.skipif(not PROGRAM, reason="no Chromium or Google Chrome was found")


def spread(pages):
    """Return pages as parameters that go to two workers in turn, one browser each."""
    return [
        pytest.param(page, marks=pytest.mark.xdist_group(f"browser {PAGES.index(page) % 2}"))
        for page in pages
    ]


@pytest.fixture(scope="module")
def address():
    missing = [page for page in PAGES if not (SITE / f"{page}.html").exists()]
    assert not missing, f"make book comes first; not built: {missing}"
    with served(SITE) as address:
        yield address


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        yield browser
        browser.close()


def new_page(chromium, width=WIDE, theme="light"):
    """Return an empty page, patient enough for a machine that has other things to do."""
    size = {"width": width, "height": 1000}
    page = chromium.new_page(viewport=size, color_scheme=theme, reduced_motion="reduce")
    page.set_default_timeout(180_000)  # milliseconds
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    return page


@pytest.fixture
def tab(chromium):
    page = new_page(chromium)
    yield page
    page.close()


@pytest.fixture(scope="module", params=spread(PAGES))
def opened(request, chromium, address):
    """Return a page as a reader opens it, with what went wrong on the way, and what moved."""
    page = new_page(chromium, NARROW)
    troubles = checks.listen(page, address)
    moved = checks.open_while_images_wait(page, f"{address}/{request.param}.html")
    yield SimpleNamespace(name=request.param, page=page, troubles=troubles, moved=moved)
    page.close()


def show(opened, width=WIDE, theme="light"):
    """Return an open page at this width of the window, for a reader with this theme."""
    opened.page.set_viewport_size({"width": width, "height": 1000})
    opened.page.emulate_media(color_scheme=theme)
    opened.page.locator(f"html[data-theme={theme}]").wait_for()  # a script of the page sets it
    checks.settle(opened.page)
    return opened.page


def chapter(name):
    return read(f"{name}.ipynb")


def title(name):
    """Return the title of a chapter, without signs."""
    heading = chapter(name).cells[0].source.splitlines()[0]
    return "".join(c for c in heading if c.isalnum() or c in " -").strip()


@needs_browser
def test_page_is_light_loads_without_a_word_and_keeps_still(opened):
    allowed = CHAPTER if opened.name in CHAPTERS else PROSE
    assert 100_000 < opened.page.evaluate(checks.BYTES) <= allowed
    assert opened.troubles + opened.moved == []
    assert checks.strange_letters(opened.page) + opened.page.evaluate(checks.LATE_FONTS) == []


@needs_browser
@pytest.mark.parametrize("opened", spread(CHAPTERS), indirect=True)
def test_code_fits_and_is_copied_and_solutions_open_and_close_by_mouse_and_by_key(opened):
    page = show(opened)
    cell = page.locator(".cell_input").first
    cell.hover()
    cell.locator("button.copybtn").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == code_cells(chapter(opened.name))[0].source.strip()
    solutions = page.locator(".solution.dropdown").all()
    assert len(solutions) >= 3
    for solution in solutions:
        button, last = solution.locator("button.toggle-button"), solution.locator("> *").last
        assert not last.is_visible()
        button.click()
        assert last.is_visible() and button.get_attribute("aria-expanded") == "true"
        button.press("Enter")
        assert not last.is_visible() and button.get_attribute("aria-expanded") == "false"
    wide = "els => els.filter(el => el.offsetWidth && el.scrollWidth > el.clientWidth).length"
    assert page.locator("div.cell_input pre:not(.admonition *)").evaluate_all(wide) == 0


@needs_browser
@pytest.mark.parametrize("opened", spread(CHAPTERS[:1]), indirect=True)
def test_code_that_only_draws_opens_and_closes_by_mouse_and_by_key(opened):
    page = show(opened)
    cell = page.locator("div.cell:has(> details.hide)").first
    prompt, code, button = map(cell.locator, ["summary", ".cell_input", "button.copybtn"])
    assert cell.locator("figure").is_visible() and not code.is_visible()
    prompt.click()
    assert prompt.inner_text() == "Hide the code"
    code.hover()
    button.click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied in {one.source for one in chapter(opened.name).cells}
    prompt.press("Enter")
    assert prompt.inner_text() == "Show the code" and not code.is_visible()


@needs_browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_page_is_whole_and_legible_for_everybody(opened, width, theme):
    page = show(opened, width, theme)
    if (width, theme) in [(WIDE, "light"), (NARROW, "dark")]:
        PICTURES.mkdir(exist_ok=True)
        path = PICTURES / f"{opened.name.rpartition('/')[2]}-{width}-{theme}.jpg"
        page.screenshot(path=path, full_page=True, quality=80)
    page.evaluate(checks.TOGGLE_SOLUTIONS)
    complaints = page.evaluate(checks.UNSET_FORMULAS) + page.evaluate(checks.POOR_IMAGES)
    complaints += page.evaluate(checks.TOO_WIDE) + page.evaluate(checks.WRONG_STOPS)
    if width == WIDE:
        complaints += page.evaluate(checks.FAINT_FIGURES) + checks.barriers(page)
    page.evaluate(checks.TOGGLE_SOLUTIONS)
    assert complaints == []


@needs_browser
@pytest.mark.xdist_group("browser 0")
def test_a_click_on_the_picture_of_a_card_opens_its_chapter(tab, address):
    tab.goto(f"{address}/index.html")
    tab.locator(".cards img").nth(1).scroll_into_view_if_needed()
    first, second = (tab.locator(".cards img").nth(i).bounding_box() for i in range(2))
    assert first["y"] == second["y"]  # one beside the other
    tab.mouse.click(second["x"] + 50, second["y"] + 50)
    tab.wait_for_url(f"{address}/{CHAPTERS[1]}.html")


@needs_browser
@pytest.mark.xdist_group("browser 1")
def test_search_finds_chapters_and_what_a_chinese_term_means_and_shows_passages(tab, address):
    for name in CHAPTERS:
        assert f"{name}.html" in checks.found_by_search(tab, address, title(name))
    for words, meaning in {"困惑度": "equally likely", "门控循环单元": "reset gate"}.items():
        assert set(checks.found_by_search(tab, address, words)) == {"pages/glossary.html"}
        assert meaning in tab.locator("#search-results li p.context").first.inner_text()
    pages = checks.found_by_search(tab, address, "perplexity")
    excerpts = tab.locator("#search-results li p.context")
    excerpts.nth(5).wait_for(timeout=30_000)
    for excerpt in excerpts.all():
        page = excerpt.locator("xpath=..").locator("a").get_attribute("href")
        article = soup(SITE / page.partition("#")[0]).article.get_text()
        passage = excerpt.inner_text().strip(". ")
        assert "".join(passage.split()) in "".join(article.replace("#", "").split()), passage
    assert len(pages) > 5


# --- What is read off the files
# HTML that browsers, screen readers or the validator take for something else.
WRONG = "[role=doc-biblioentry], summary[aria-label], summary p, th > p:empty, [scriptlevel], "
WRONG += "img[style*=width]"


def leads_to(target, place, site):
    """Say whether the site has such a file, with such a place in it where it is a page."""
    if not (target.is_relative_to(site) and target.is_file()):
        return False
    return target.suffix != ".html" or place in ("", "top") or soup(target).find(id=place)


def dead_links(page, site):
    """Return the links of a page to files or places that its site does not have."""
    dead = []
    for href in [link["href"] for link in soup(page).select("a[href]")]:
        link = urlsplit(href)
        target = (page.parent / unquote(link.path)).resolve() if link.path else page
        if not (link.scheme or link.netloc or leads_to(target, unquote(link.fragment), site)):
            dead.append(href)
    return dead


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere_and_the_head_says_what_the_page_is_about(name):
    page = SITE / f"{name}.html"
    html = soup(page)
    assert len(html.select("a[href]")) > 20 and dead_links(page, SITE) == []
    ids = [tag["id"] for tag in html.select("[id]")]
    assert len(set(ids)) == len(ids) and html.select(WRONG) == []
    metas = [(meta.get("name") or meta.get("property"), meta) for meta in html.select("meta")]
    said = {key: meta["content"] for key, meta in metas if key}
    assert [key for key, _ in metas].count("viewport") == 1
    assert 50 < len(said["description"]) <= 200
    assert said["og:description"] == said["description"] and said["og:title"]
    assert (page.parent / said["og:image"]).resolve().is_file()


@needs_browser
@pytest.mark.xdist_group("browser 1")
def test_site_works_from_a_folder(tab):
    troubles = checks.listen(tab, SITE.as_uri())
    tab.goto((SITE / f"{CHAPTERS[3]}.html").as_uri())
    checks.settle(tab)
    assert tab.locator("math").count() > 5
    assert tab.evaluate(checks.UNSET_FORMULAS) == [] and tab.evaluate(checks.POOR_IMAGES) == []
    assert f"{CHAPTERS[3]}.html" in checks.found_by_search(tab, SITE.as_uri(), title(CHAPTERS[3]))
    assert troubles == []


# --- The checks themselves
FAULTY = f"""<!doctype html><html data-theme="dark"><head><title>Faults</title></head>
<body style="background: #121212; margin: 0"><main class="bd-article"><figure>
<img src="ink.svg" alt="ink.svg" style="width: 290px">
<img src="ink.svg" alt="A figure on a plate" style="background: white; height: 90px; width: 200px">
</figure>
<p style="color: #333; font-family: late">Dark on dark.</p>
<style>@font-face {{ font-family: late; src: url(late.woff2) }}</style>
<p><span class="math">\\(x_t\\)</span> and $y_t$ and \\begin{{align}}</p><p>{"very" * 50}long</p>
<div class="math"><math><merror><mi>z</mi></merror></math></div>
<div class="math"><div style="overflow: auto"><math><mtext>{"wide" * 50}</mtext></math></div></div>
<pre tabindex="0">short</pre><p><span class="math"><math tabindex="0"><mi>x</mi></math></span></p>
<img src="gone.png" alt="A picture that is gone"><div style="width: 900px">wide</div>
<a href="#nowhere">dead</a><a href="gone.html">dead</a><a href="../beside.html">outside</a>
<script>fetch("http://127.0.0.1:9/x").catch(() => 0); undefinedName;</script>
</main></body></html>"""
INK = """<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100">
<rect x="50" width="100" height="50" fill="#222"/>
<rect x="50" y="50" width="100" height="50" fill="#56B4E9"/></svg>"""


@needs_browser
@pytest.mark.xdist_group("browser 0")
def test_a_page_with_every_fault_is_noticed(tmp_path, chromium):
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text(FAULTY, encoding="utf8")
    (site / "ink.svg").write_text(INK, encoding="utf8")
    (tmp_path / "beside.html").touch()
    page = new_page(chromium, NARROW)
    with served(site) as address:
        troubles = checks.listen(page, address)
        moved = checks.open_while_images_wait(page, f"{address}/index.html")
    heard = "\n".join(troubles)
    assert "asks http://127.0.0.1:9/x" in heard and "undefinedName is not defined" in heard
    assert "404: " in heard and moved and page.evaluate("shifts") > 0
    formulas = page.evaluate(checks.UNSET_FORMULAS)
    assert len(formulas) == 3 and "$y_t$" in formulas[-1] and "align" in formulas[-1]
    assert len(checks.strange_letters(page)) == 3
    assert len(page.evaluate(checks.WRONG_STOPS)) == 3
    assert page.evaluate(checks.LATE_FONTS) == [f"{address}/late.woff2"]
    poor = sorted(line[:12] for line in page.evaluate(checks.POOR_IMAGES))
    assert poor == ["no words for", "not loaded: ", "out of shape"]
    assert any("900px" in line for line in page.evaluate(checks.TOO_WIDE))
    for style in ("900px", "overflow"):
        page.locator(f"[style*='{style}']").evaluate("element => element.remove()")
    assert len(page.evaluate(checks.TOO_WIDE)) == 1  # a long word widens no element
    plates = ["5000 of 5000 dots are faint: ink.svg", "a plate: A figure on a plate"]
    assert page.evaluate(checks.FAINT_FIGURES) == plates
    found = {barrier.partition(":")[0] for barrier in checks.barriers(page)}
    assert {"color-contrast", "html-has-lang"} <= found
    assert dead_links(site / "index.html", site) == ["#nowhere", "gone.html", "../beside.html"]
    page.close()
