"""Pack the built site into one file: `python _ext/pack.py`."""

from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

BUILD = Path(__file__).parents[1] / "_build"
ARCHIVE = BUILD / "recurrent-networks-course.zip"


def pack(site, archive):
    """Write a site into a zip archive, in one folder of the archive's name."""
    with ZipFile(archive, "w", ZIP_DEFLATED) as file:
        for path in sorted(site.rglob("*")):
            file.write(path, Path(archive.stem) / path.relative_to(site))


if __name__ == "__main__":
    pack(BUILD / "html", ARCHIVE)
    print(f"The site is packed in {ARCHIVE.relative_to(BUILD.parent)}.")
