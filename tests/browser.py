"""What the tests of the site ask a page in the browser: scripts and functions that list faults."""

import re

from axe_playwright_python.sync_playwright import Axe

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
UNSET_FORMULAS = """() => {
  const found = [...document.querySelectorAll(".math")]
    .filter((formula) => !formula.querySelector("math > *") || formula.querySelector("merror"))
    .map((formula) => `not typeset: ${formula.textContent.slice(0, 60)}`);
  const article = document.querySelector(".bd-article");
  const texts = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { data, parentElement } = texts.currentNode;
    const typeset = parentElement.closest("pre, code, script, .math");
    if (!typeset && /\\$|\\\\([(\\[]|begin\\{)/.test(data)) found.push(`not typeset: ${data}`);
  }
  return found;
}"""
# Of formulas with the same letters one is enough.
MARK_LETTERS = """() => {
  const seen = new Set();
  for (const element of document.querySelectorAll("math :is(mi, mn, mo, mtext)")) {
    if (seen.has(element.textContent)) continue;
    seen.add(element.textContent);
    element.setAttribute("data-letters", "");
  }
}"""
# Formulas and code that scroll within themselves are stops of the Tab key, the others are none.
WRONG_STOPS = """() => [...document.querySelectorAll(".bd-article :is(pre, div.math > div)")]
  .filter((element) => element.checkVisibility())
  .filter((element) => element.scrollWidth > element.clientWidth !== element.tabIndex >= 0)
  .map((element) => `wrong stop: ${element.textContent.slice(0, 60)}`)
  .concat([...document.querySelectorAll("span.math [tabindex]")].map(() => "stop in a line"))"""
# Fonts that come after the style sheets, without which letters and icons would change or jump.
LATE_FONTS = """() => performance.getEntriesByType("resource")
  .map((entry) => entry.name).filter((name) => /\\.woff2?/.test(name))"""
BYTES = """() => ["navigation", "resource"]
  .flatMap((type) => performance.getEntriesByType(type))
  .reduce((sum, entry) => sum + entry.decodedBodySize, 0)"""
HEIGHT = "() => document.querySelector('.bd-article').scrollHeight"
WATCH_SHIFTS = """
window.shifts = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shifts += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
POOR_IMAGES = """() => [...document.images].flatMap((image) => {
  const name = image.getAttribute("src");
  const ratio = (image.width / image.height) / (image.naturalWidth / image.naturalHeight);
  return [
    ...(Math.abs(ratio - 1) > 0.03 && image.offsetWidth ? [`out of shape: ${name}`] : []),
    ...(image.complete && image.naturalWidth ? [] : [`not loaded: ${name}`]),
    ...(image.alt.trim().split(/\\s+/).length > 2 && !/\\.(png|svg)$/.test(image.alt)
      ? [] : [`no words for ${name}`]),
  ];
})"""
TOO_WIDE = """() => {
  const page = document.scrollingElement;
  if (page.scrollWidth <= page.clientWidth) return [];
  const wide = [...document.querySelectorAll("body *")]
    .filter((element) => element.getBoundingClientRect().right > page.clientWidth + 1)
    .map((element) => `too wide: ${element.outerHTML.slice(0, 80)}`);
  return [`${page.scrollWidth} pixels wide`, ...wide];
}"""
# The dots of a figure that stand out on white, for which it was drawn, but not where it is shown,
# and the figures whose white is not the ground of the page.
# The picture of the landing page was drawn for each theme.
FAINT_FIGURES = """() => {
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  const linear = Float64Array.from(bytes, (byte) => ((byte / 255 + 0.055) / 1.055) ** 2.4);

  function lights(image, grounds, style) {  // of each dot, or of the ground alone
    const [width, height] = image ? [image.naturalWidth, image.naturalHeight] : [1, 1];
    const context = new OffscreenCanvas(width, height).getContext("2d");
    for (const ground of grounds) {
      context.fillStyle = ground;
      context.fillRect(0, 0, width, height);
    }
    if (style?.mixBlendMode === "screen") context.globalCompositeOperation = "screen";
    if (style) context.filter = style.filter;
    if (image) context.drawImage(image, 0, 0, width, height);
    const dots = context.getImageData(0, 0, width, height).data;
    const found = new Float64Array(width * height);
    for (let i = 0; i < found.length; i++) {
      const [red, green, blue] = [dots[4 * i], dots[4 * i + 1], dots[4 * i + 2]];
      found[i] = 0.05 + 0.2126 * linear[red] + 0.7152 * linear[green] + 0.0722 * linear[blue];
    }
    return found;
  }

  const contrast = (light, ground) => Math.max(light / ground, ground / light);
  return [...document.querySelectorAll(".bd-article :is(figure, .cards) img, img.wide")]
    .filter((image) => image.offsetWidth)
    .flatMap((image) => {
      const around = [];
      for (let one = image.parentElement; one; one = one.parentElement)
        around.unshift(getComputedStyle(one).backgroundColor);
      const style = getComputedStyle(image);
      const [page] = lights(null, around);
      const shown = lights(image, [...around, style.backgroundColor], style);
      const drawn = image.matches(".wide") ? shown : lights(image, ["white"]);
      let [ink, faint] = [0, 0];
      for (let i = 0; i < drawn.length; i++) {
        if (contrast(drawn[i], drawn[0]) <= 4.5) continue;
        ink += 1;
        faint += contrast(shown[i], shown[0]) <= 4.5;
      }
      const name = image.alt.slice(0, 60);
      return [
        ...(faint < 0.02 * ink ? [] : [`${faint} of ${ink} dots are faint: ${name}`]),
        ...(contrast(shown[0], page) < 1.05 ? [] : [`a plate: ${name}`]),
      ];
    });
}"""

# Their text fades in, and has its colour only then. What is not seen, such as the buttons of
# code that waits for a click, never ends to fade.
TOGGLE_SOLUTIONS = """async () => {
  const buttons = document.querySelectorAll(".solution.dropdown button.toggle-button");
  buttons.forEach((button) => button.click());
  for (const _ of [1, 2]) await new Promise(requestAnimationFrame);  // until they have begun
  const moves = ({ effect, playState }) =>
    playState === "running" && effect.target.checkVisibility();
  while (document.getAnimations().some(moves)) await new Promise(requestAnimationFrame);
}"""

# A page has thousands of coloured words of code; of those that look alike, one is enough.
ONE_OF_EACH_KIND = """() => {
  const kinds = new Set();
  for (const word of document.querySelectorAll(".highlight span:not(:has(span))")) {
    const kind = `${word.className} in ${word.closest("[class*=highlight-]")?.className}`;
    if (kinds.has(kind)) word.replaceWith(word.textContent);
    kinds.add(kind);
  }
  document.body.normalize();
}"""


def listen(page, address):
    """Return a list that collects errors of the console, failed requests and foreign hosts."""
    complaints = []

    def expect(event, fine, words):
        page.on(event, lambda it: fine(it) or complaints.append(words(it)))

    own = (address, "data:", "blob:")
    expect("request", lambda it: it.url.startswith(own), lambda it: f"asks {it.url}")
    expect("requestfailed", lambda it: False, lambda it: f"failed: {it.url}")
    expect("pageerror", lambda it: False, lambda it: f"error: {it}")
    expect("response", lambda it: it.status < 400, lambda it: f"{it.status}: {it.url}")
    expect("console", lambda it: it.type not in ("error", "warning"), lambda it: f"says: {it.text}")
    return complaints


def settle(page):
    page.wait_for_load_state("networkidle")
    page.evaluate("() => document.fonts.ready.then(() => null)")


def strange_letters(page):
    """Return the letters of formulas that the page's font of formulas does not have."""
    page.evaluate(MARK_LETTERS)
    browser = page.context.new_cdp_session(page)
    browser.send("DOM.enable")
    browser.send("CSS.enable")
    root = browser.send("DOM.getDocument", {"depth": 0})["root"]["nodeId"]
    query = {"nodeId": root, "selector": "[data-letters]"}
    found = {}
    for node in browser.send("DOM.querySelectorAll", query)["nodeIds"]:
        fonts = browser.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
        if not all(font["isCustomFont"] for font in fonts):
            found[node] = browser.send("DOM.getOuterHTML", {"nodeId": node})["outerHTML"]
    browser.detach()
    return list(found.values())


def open_while_images_wait(page, url):
    """Open a page whose images come last; return what that moved."""
    images, waiting = re.compile(r"\.(png|svg|webp)$"), []
    page.add_init_script(WATCH_SHIFTS)
    page.route(images, lambda image: waiting.append(image))
    page.goto(url, wait_until="domcontentloaded")
    page.evaluate("() => new Promise(requestAnimationFrame)")
    before = page.evaluate(HEIGHT)
    page.route(images, lambda image: image.continue_())
    for image in waiting:
        image.continue_()
    settle(page)
    grown, shifts = abs(page.evaluate(HEIGHT) - before), page.evaluate("shifts")
    moved = [f"grows by {grown} pixels"] * (grown >= 10)  # an image may be rounded
    return moved + [f"shifts: {shifts}"] * (shifts > 0.1)


def barriers(page):
    """Return the violations that axe-core finds, each with the first place; thins out the code."""
    page.evaluate(ONE_OF_EACH_KIND)
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")  # nothing lies half under the header
    options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
    return [
        f"{found['id']}: {found['help']}: {found['nodes'][0]['html'][:100]}"
        for found in Axe().run(page, options=options).response["violations"]
    ]


def found_by_search(page, address, words):
    """Return the addresses of the pages that the site's own search finds, relative to the top."""
    page.goto(f"{address}/search.html?q={words.replace(' ', '+')}")
    page.locator(".search-summary", has_text=re.compile("finished|did not match")).wait_for()
    links = page.locator("#search-results li a").all()
    return [link.get_attribute("href").partition("#")[0] for link in links]
