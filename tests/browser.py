"""What the tests of the site ask a page in the browser; each check returns a list of complaints."""

import re

from axe_playwright_python.sync_playwright import Axe

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
UNSET_FORMULAS = """() => [
  ...[...document.querySelectorAll(".math")]
    .filter((math) => !math.querySelector("mjx-container"))
    .map((math) => `not typeset: ${math.textContent.slice(0, 60)}`),
  ...[...document.querySelectorAll("mjx-merror")].map((error) => `error: ${error.textContent}`),
]"""
POOR_IMAGES = """() => [...document.images].flatMap((image) => {
  const name = image.getAttribute("src");
  return [
    ...(image.complete && image.naturalWidth ? [] : [`not loaded: ${name}`]),
    ...(image.alt.trim().split(/\\s+/).length > 2 && !/\\.(png|svg)$/.test(image.alt)
      ? [] : [`no words for ${name}`]),
  ];
})"""
TOO_WIDE = """() => {
  const page = document.scrollingElement;
  if (page.scrollWidth <= page.clientWidth) return [];
  return [...document.querySelectorAll("body *")]
    .filter((element) => element.getBoundingClientRect().right > page.clientWidth + 1)
    .map((element) => `too wide: ${element.outerHTML.slice(0, 80)}`);
}"""
# The lightest and the darkest dot of each figure, as it is shown on the ground below it.
FAINT_FIGURES = """() => [...document.querySelectorAll(".bd-article :is(figure img, img.wide)")]
  .filter((image) => image.offsetWidth)
  .flatMap((image) => {
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    const context = new OffscreenCanvas(width, height).getContext("2d");
    for (const below of [document.body, image]) {
      context.fillStyle = getComputedStyle(below).backgroundColor;
      context.fillRect(0, 0, width, height);
    }
    context.drawImage(image, 0, 0, width, height);
    const dots = context.getImageData(0, 0, width, height).data;
    const linear = (byte) => ((byte / 255 + 0.055) / 1.055) ** 2.4;
    let [lightest, darkest] = [0, 1];
    for (let i = 0; i < dots.length; i += 4) {
      const [red, green, blue] = [linear(dots[i]), linear(dots[i + 1]), linear(dots[i + 2])];
      const light = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
      [lightest, darkest] = [Math.max(lightest, light), Math.min(darkest, light)];
    }
    const contrast = (lightest + 0.05) / (darkest + 0.05);
    return contrast < 4.5 ? [`contrast ${contrast.toFixed(1)}: ${image.alt.slice(0, 60)}`] : [];
  })"""

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

    def note(request):
        if not request.url.startswith((address, "data:", "blob:")):
            complaints.append(f"asks {request.url}")

    page.on("request", note)
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on(
        "response",
        lambda answer: answer.status < 400 or complaints.append(f"{answer.status}: {answer.url}"),
    )
    page.on(
        "console",
        lambda line: line.type in ("error", "warning") and complaints.append(f"says: {line.text}"),
    )
    return complaints


def settle(page):
    """Wait until all is loaded and every formula is typeset."""
    page.wait_for_load_state("networkidle")
    page.evaluate("() => window.MathJax?.startup?.promise")


def unset_formulas(page):
    """Return the formulas that are not typeset, or wrong."""
    return page.evaluate(UNSET_FORMULAS)


def poor_images(page):
    """Return the images that are not loaded, or have no words for those who do not see them."""
    return page.evaluate(POOR_IMAGES)


def too_wide(page):
    """Return what reaches beyond the right edge, where the page can be scrolled sideways."""
    return page.evaluate(TOO_WIDE)


def faint_figures(page):
    """Return the figures whose lightest and darkest dots have a contrast below 4.5."""
    return page.evaluate(FAINT_FIGURES)


def barriers(page):
    """Return the violations that axe-core finds, each with the first place; thins out the code."""
    page.evaluate(ONE_OF_EACH_KIND)
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
