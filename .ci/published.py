"""Whether what is published is there: asked before and after each deployment.

published.py holds FOLDER ENDING   ends with an error where a page or a chapter has no such file
published.py serves URL COMMIT     waits until the site at an address is that of a commit
"""

import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen


def holds(folder, ending):
    """End with an error unless each chapter, and of a site each page, has a file with words."""
    sources = [*Path("chapters").glob("*.ipynb")]
    if ending == ".html":
        sources += [Path("index.md"), *Path("pages").glob("*.md")]
    files = [Path(folder, source.with_suffix(ending)) for source in sources]
    if missing := [str(path) for path in files if not path.exists() or path.stat().st_size < 1000]:
        sys.exit(f"Nothing is published, since these are missing or empty: {' '.join(missing)}")
    print(f"{folder} holds all {len(files)} pages.")


def serves(url, commit, tries=30, pause=10):
    """Wait until the site says that it is the one of a commit; end with an error where not."""
    for _ in range(int(tries)):
        try:
            with urlopen(f"{url.rstrip('/')}/commit.txt?{time.time()}", timeout=20) as answer:
                found = answer.read(100).decode("ascii", "replace").strip()
        except (URLError, OSError) as error:
            found = str(error)
        if found == commit:
            print(f"{url} is the site of {commit}.")
            return
        time.sleep(float(pause))
    sys.exit(f"{url} is not the site of {commit}: {found}")


if __name__ == "__main__":
    {"holds": holds, "serves": serves}[sys.argv[1]](*sys.argv[2:])
