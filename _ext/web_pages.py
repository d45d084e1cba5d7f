"""Sphinx extension: formulas are MathML, images keep their place, the address is known."""

import os
import re
from pathlib import Path

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.util import logging
from sphinx.util.images import get_image_size
from sphinx.util.math import get_node_equation_number

MATHML = LatexToMathML(fancy_error=False)
SITEMAP = '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{}</urlset>\n'
# What docutils, myst-nb, sphinx-exercise and math-core write: what browser and reader need.
MENDED = {
    # Of a size in a style nothing is left where a style sheet narrows the image.
    r'style="width: (\d+)px; height: (\d+)px;"': r'width="\1" height="\2"',
    r' id="(exercise|solution)-content"': "",  # the same on every exercise of a page
    r'role="doc-biblioentry"': 'role="listitem"',  # they stand in a list
    r'<th class="([^"]*)"><p></p></th>': r'<td class="\1"></td>',  # a corner is no header
    r'<summary aria-label="[^"]*"': "<summary",  # another name than the one that is seen
    r'<p (class="(?:collapsed|expanded) .*)</p>': r"<span \1</span>",  # a summary is one line
    r'(<mtable[^>]*) scriptlevel="0"': r"\1",  # the validator knows older MathML
}
logger = logging.getLogger(__name__)


def visit_math(self, node):
    """Write a formula as MathML, with its number; one that cannot be typeset ends the build."""
    try:
        block = isinstance(node, nodes.math_block)
        formula = MATHML.convert_with_local_state(node.astext(), displaystyle=block)
    except LatexError as error:
        logger.warning("no formula: %s (%s)", node.astext(), error, location=node)
        raise nodes.SkipNode from None
    self.body.append(self.starttag(node, "div" if block else "span", "", CLASS="math"))
    if block and node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(f"<div>{formula}</div></div>\n" if block else f"{formula}</span>")
    raise nodes.SkipNode


def set_address(app, config):
    """Tell Sphinx and templates where the site will stand, if the environment does."""
    address = os.environ.get("COURSE_SITE_URL", "").rstrip("/")
    config.html_baseurl = address and f"{address}/"
    config.html_context = {**config.html_context, "address": config.html_baseurl}


def measure_images(app, doctree, docname):
    """Give every image its size, so that the text below has its place before the image is there."""
    for image in doctree.findall(nodes.image):
        size = get_image_size(Path(app.srcdir, image["uri"]))
        if size and not {"width", "height"} & set(image.attributes):
            image["width"], image["height"] = map(str, size)


def mend_page(app, pagename, templatename, context, doctree):
    """Give the page its description, and mend its HTML."""
    metas = doctree.findall(nodes.meta) if doctree else []
    words = [meta["content"] for meta in metas if meta.get("name") == "description"]
    context["description"] = "".join(words)
    for written, right in MENDED.items():
        context["body"] = re.sub(written, right, context.get("body", ""))


def write_sitemap(app, exception):
    """List the pages for search engines, which ask for whole addresses."""
    if app.config.html_baseurl and not exception:
        names = map(app.builder.get_target_uri, sorted(app.env.found_docs))
        urls = (f"<url><loc>{app.config.html_baseurl}{name}</loc></url>" for name in names)
        Path(app.outdir, "sitemap.xml").write_text(SITEMAP.format("".join(urls)), "utf8")


def setup(app):
    renderers = (visit_math, None)
    app.add_html_math_renderer("mathml", inline_renderers=renderers, block_renderers=renderers)
    app.connect("config-inited", set_address)
    app.connect("doctree-resolved", measure_images)
    app.connect("html-page-context", mend_page)
    app.connect("build-finished", write_sitemap)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
