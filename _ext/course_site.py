"""Sphinx extension: launch buttons, and the cell for Colab."""

import os

COLAB = """```ipython3
!git clone --depth 1 {} course
%cd course
%pip install -q pooch myst-nb
%pip install -q --no-deps -r requirements-nodeps.txt
```"""
NO_COLAB = (
    "*(This copy of the site was built without the address of its repository, so the cell cannot "
    "be shown. Set `COURSE_REPO_URL` and build again.)*"
)


def set_repository(app, config):
    """Show launch buttons, and the cell for Colab, where COURSE_REPO_URL is set."""
    url = os.environ.get("COURSE_REPO_URL", "").rstrip("/")
    options = {**config.html_theme_options, "launch_buttons": {}}
    if url:
        options |= {
            "repository_url": url,
            "repository_branch": os.environ.get("COURSE_REPO_BRANCH", "main"),
            "path_to_docs": os.environ.get("COURSE_REPO_PATH", ""),
            "launch_buttons": {"colab_url": "https://colab.research.google.com"},
            "use_repository_button": True,
            "use_issues_button": True,
        }
    config.html_theme_options = options
    colab = COLAB.format(url) if url else NO_COLAB
    config.myst_substitutions = {**config.myst_substitutions, "colab": colab}


def setup(app):
    """Connect the function above to Sphinx's events."""
    app.connect("config-inited", set_repository)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
