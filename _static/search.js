// The search page: what it shows of the pages that it finds.
document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return; // every other page
  // From a folder the browser may read no other page, so there are no excerpts.
  if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  // Sphinx looks for [role=main], in which this theme has its sidebar, too.
  Search.htmlToText = (html, anchor) => {
    const article = new DOMParser().parseFromString(html, "text/html").querySelector(".bd-article");
    article.querySelectorAll(".headerlink, .record-line, script, style").forEach((element) => element.remove());
    article.querySelectorAll("p, li, dt, dd, td, pre, h1, h2, h3").forEach((block) => block.append(" "));
    const found = (anchor && article.querySelector(anchor)) || article;
    if (!found.matches("dt")) return found.textContent;
    return found.parentElement.querySelector(`${anchor} ~ dd`).textContent; // what a term means
  };
});
