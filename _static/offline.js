// The search shows excerpts of the pages that it finds, which it may not read from a folder.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
