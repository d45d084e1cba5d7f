"""The course's data sets: found, fetched, verified and read; a sample where that fails.

A data set is looked for in COURSE_DATA (a folder of yours, never written to), then in the cache
(COURSE_CACHE, or the system's place for caches), then downloaded into the cache. Nothing is read
before its hash is checked. Relative folders start at the root of the project. As a command::

    python -m utils.datasets                 lists the data sets, and where each one is
    python -m utils.datasets fetch NAME ...  gets those named, or all of them
"""

import argparse
import csv
import json
import os
import re
import shutil
import tarfile
import threading
import time
import tomllib
import warnings
import zipfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import requests
import urllib3
from tqdm import tqdm

from utils.runtime import switch

with warnings.catch_warnings():  # pooch looks for a notebook bar that the course does not use
    warnings.filterwarnings("ignore", "IProgress not found")
    import pooch

ROOT = Path(__file__).parents[1]
SAMPLES = Path(__file__).parent / "samples"
FACTS = Path(__file__).with_suffix(".toml")
MISSING = "is not there"
UNSET = {"COURSE_DATA": "COURSE_DATA is not set", "cache": "no home for a cache: set COURSE_CACHE"}
HOMELESS = "no home is known for COURSE_CACHE={}: name a folder without ~"
TEMPORARY = "recurrent-networks-download-"  # how the folders of unfinished downloads begin
STALE_SECONDS = 86_400  # one as old as this belongs to no living process

OPEN_SECONDS = 6  # from the look-up of a server's name to the end of its headers
SILENCE_SECONDS = 6  # the longest pause within a file
SLOW_SECONDS, SLOW_SPEED = 20, 10_000  # after 20 s, at least 10 kB a second on average
PAUSES = (0, 1)  # seconds before each round through the mirrors: one retry

MAX_MEMBER = 2**24  # bytes of one file in an archive
MAX_ARCHIVE = 2**30  # bytes of an archive when unpacked, about three times what IMDb takes
SPLITS = "train", "test"
REVIEWS_PER_CLASS = 12_500
REVIEW = re.compile(r"aclImdb/(train|test)/(pos|neg)/(\d+)_\d+\.txt")
ENTRY = re.compile(r"(\S+)((?: [A-Z]+[012]?)+)")  # a word and its sounds, vowels with their stress

pooch.get_logger().setLevel("WARNING")  # or a notebook would store where the cache lies


class SampleWarning(UserWarning):
    """A sample stands in for a data set."""


warnings.simplefilter("always", SampleWarning, append=True)  # also when a cell is run again


class DataError(RuntimeError):
    """A data set is wrong, or cannot be had; the message says what to do."""


class Unavailable(DataError):
    """A data set is in none of the places looked at; ``problems`` has a line for each of them."""

    def __init__(self, data_set, problems):
        self.problems = problems
        fetch = f"python -m utils.datasets fetch {data_set.name}"
        files = " or ".join(file.name for file in data_set.files)
        lines = [f"{data_set.title} is not at hand:", *(f"- {problem}" for problem in problems)]
        advice = f"To get it, run `{fetch}` with a network, or set COURSE_DATA to a folder"
        super().__init__("\n".join([*lines, f"{advice} that holds {files}."]))


class _MirrorError(Exception):
    """A mirror does not serve a file: the reason, and whether another try may help."""


@dataclass(frozen=True)
class File:
    """A file that holds a whole data set: name, size in bytes, hash, and its mirrors in order."""

    name: str
    size: int
    sha256: str
    urls: Sequence[str] = ()


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set: any of its files will do; ``read`` names one of READERS.

    ``loader`` is the function that returns it: load_text, load_reviews or load_pronunciations.
    """

    name: str
    title: str
    licence: str
    citation: str
    sample: str
    loader: str
    read: str
    files: Sequence[File]


@dataclass(frozen=True)
class Corpus:
    """A text, and where it comes from; sha256 is the hash of the file it was read from."""

    text: str = field(repr=False)
    name: str
    is_sample: bool
    source: str
    sha256: str


@dataclass(frozen=True)
class Reviews:
    """Lists of (text, label), label 1 for praise and 0 for blame; sha256 is that of the file."""

    train: list = field(repr=False)
    test: list = field(repr=False)
    name: str
    is_sample: bool
    source: str
    sha256: str


@dataclass(frozen=True)
class Pronunciations:
    """A list of (word, tuple of its sounds), and where it comes from; sha256 is the file's."""

    words: list = field(repr=False)
    name: str
    is_sample: bool
    source: str
    sha256: str


def load_text(name):
    """Return the Corpus of a data set, or of its sample: text with ``"\\n"`` at the end of lines.

    Where the sample stands in, a SampleWarning says why. Raises ValueError when no text has this
    name, or when COURSE_REQUIRE_DATA is neither 0 nor 1, and DataError on a wrong file in
    COURSE_DATA or when COURSE_REQUIRE_DATA=1 rules out the sample.
    """
    text, *source = _load(_named(name, "load_text"), _read_text)
    return Corpus(text, name, *source)


def load_reviews(name="imdb"):
    """Return the Reviews of a data set, or of its sample, by label and number in each split.

    Warns and raises as load_text does; DataError also when a class is not complete.
    Source: Maas et al. (2011), https://aclanthology.org/P11-1015
    """
    splits, *source = _load(_named(name, "load_reviews"), _read_sample_reviews)
    return Reviews(splits["train"], splits["test"], name, *source)


def load_pronunciations(name="cmudict"):
    """Return the Pronunciations of a data set, or of its sample, in the order of the file.

    Each word of a-z has the first of its pronunciations: sounds such as ``"AH"``, without stress.
    Warns and raises as load_text does; DataError also on a line that is no word with its sounds.
    Source: Carnegie Mellon University, https://github.com/cmusphinx/cmudict
    """
    words, *source = _load(_named(name, "load_pronunciations"), _read_pronunciations)
    return Pronunciations(words, name, *source)


def locate(name):
    """Return the Path of a data set's verified file, or None; never uses the network.

    Raises ValueError on an unknown name, DataError on a wrong file in COURSE_DATA.
    """
    with suppress(Unavailable):
        return _search(_named(name))[0]


def fetch(name):
    """Return the Path of a data set's verified file, downloaded where it is not at hand.

    Raises ValueError on an unknown name, DataError when the data set cannot be had.
    """
    data_set = _named(name)
    _failures.pop(name, None)
    return _obtain(data_set)[0]


def _named(name, loader=None):
    """Return the data set of this name; raise ValueError where none has it, or not this loader."""
    if name not in list(REGISTRY):
        raise ValueError(f"name must be one of {', '.join(REGISTRY)}; got {name!r}")
    data_set = REGISTRY[name]
    if loader not in (None, data_set.loader):
        raise ValueError(f"{name} is read by {data_set.loader}, not by {loader}")
    return data_set


def _load(data_set, read_sample):
    """Return (content, is_sample, source, sha256) of a data set, or of its sample."""
    required = switch("COURSE_REQUIRE_DATA")
    try:
        path, place = _obtain(data_set)
        return _read(data_set, path), False, f"{path.name} from {place}", pooch.file_hash(path)
    except Unavailable as error:
        if required:
            raise
        path = SAMPLES / data_set.sample
        warnings.warn(f"{path.name} is a SAMPLE. {error}", SampleWarning, stacklevel=3)
        source = "sample: " + "; ".join(error.problems)
        return read_sample(path), True, source, pooch.file_hash(path)


_failures = {}  # name → problems of its download, so that a process tries only once


def _obtain(data_set):
    """Return (path, place) of a right file, after a download where need be, or raise DataError."""
    try:
        return _search(data_set)
    except Unavailable as missing:
        if data_set.name not in _failures:
            try:
                return _download(data_set)
            except Unavailable as error:
                _failures[data_set.name] = error.problems
        raise Unavailable(data_set, missing.problems + _failures[data_set.name]) from None


def _places():
    """Return {place: folder}, in the order of the search; no cache where no home is known."""
    data, cache = os.environ.get("COURSE_DATA"), os.environ.get("COURSE_CACHE")
    places = {"COURSE_DATA": ROOT / os.path.expanduser(data)} if data else {}
    with suppress(RuntimeError):
        folder = Path(cache or pooch.os_cache("recurrent-networks-course"))
        places["cache"] = ROOT / folder.expanduser()
    return places


def _search(data_set):
    """Return (path, place) of the first right file on this machine, or raise DataError.

    A wrong file in COURSE_DATA ends the search, because only the reader can mend it; a wrong one
    in the cache does not, because the next download replaces it.
    """
    places = _places()
    problems = [problem for place, problem in UNSET.items() if place not in places]
    if (cache := os.environ.get("COURSE_CACHE")) and "cache" not in places:
        problems[-1] = HOMELESS.format(cache)
    for place, folder in places.items():
        if place == "COURSE_DATA" and not os.path.isdir(folder):
            raise DataError(f"COURSE_DATA must be a folder that can be read, got {folder}")
        for path, file in ((folder / file.name, file) for file in data_set.files):
            problem = _check(path, file)
            if not problem:
                return path, place
            if place == "COURSE_DATA" and problem != MISSING:
                advice = "Replace the file, take it away, or unset COURSE_DATA."
                raise DataError(f"In COURSE_DATA, {path} {problem}. {advice}")
            problems.append(f"{place}: {path} {problem}")
    raise Unavailable(data_set, problems)


def _check(path, file):
    """Return what is wrong with the file at path, or None."""
    try:
        sha256 = pooch.file_hash(path)
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if sha256 == file.sha256 else f"has sha256 {sha256}, expected {file.sha256}"


def _download(data_set):
    """Return (path, url) from the first mirror that serves a right file; two rounds in all."""
    if not (cache := _places().get("cache")):
        raise Unavailable(data_set, [])  # the search has said why
    waiting = {url: file for file in data_set.files for url in file.urls}
    problems = {}
    for pause in PAUSES:
        time.sleep(pause if waiting else 0)
        for url, file in list(waiting.items()):
            try:
                return _retrieve(url, file, cache), url
            except _MirrorError as error:
                problems[url], again = error.args
                if not again:
                    del waiting[url]
            except OSError as error:  # the disk's: no other mirror will do better
                advice = "set COURSE_CACHE to a folder that can be written and has room"
                raise Unavailable(data_set, [f"cache: {cache}: {error}; {advice}"]) from error
    raise Unavailable(data_set, [f"{url}: {problem}" for url, problem in problems.items()])


def _retrieve(url, file, cache):
    """Return the path of a file fetched into the cache, whole and verified, or not at all.

    Until pooch has checked its hash, the file lies in a folder of its own, which goes away with
    any error; what a killed process leaves is known by its name, and the next download removes it.
    Raises _MirrorError where the mirror is at fault, and OSError where the disk is.
    """
    cache.mkdir(parents=True, exist_ok=True)
    for folder in cache.glob(f"{TEMPORARY}*"):
        with suppress(FileNotFoundError):  # another process may be done with it by now
            if time.time() - folder.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
    with TemporaryDirectory(prefix=TEMPORARY, dir=cache, ignore_cleanup_errors=True) as folder:
        downloader = partial(_save, size=file.size)
        try:
            path = pooch.retrieve(url, file.sha256, file.name, folder, downloader=downloader)
        except ValueError as error:  # pooch's word for a wrong hash
            raise _MirrorError(str(error), False) from error
        os.replace(path, cache / file.name)  # atomic: within one file system
    return cache / file.name


def _save(url, path, _, size):
    """Write what url serves to path."""
    with open(path, "wb") as file, closing(_stream(url, size)) as chunks:
        file.writelines(chunks)


def _stream(url, size):
    """Yield what url serves, at most size bytes, with an end to every wait.

    All that goes wrong in here is a _MirrorError, and what goes wrong outside is none: settings of
    the network raise OSError just as the disk does.
    """
    headers = {"Accept-Encoding": "identity"}  # the file as it is, or its hash would differ
    get = partial(requests.get, url, stream=True, timeout=SILENCE_SECONDS, headers=headers)
    try:
        with _within(OPEN_SECONDS, get) as response:
            response.raise_for_status()
            start, name = time.monotonic(), url.rpartition("/")[2]
            with tqdm(desc=name, total=size, unit="B", unit_scale=True, ncols=80) as bar:
                while chunk := response.raw.read1(2**16, decode_content=False):
                    bar.update(len(chunk))
                    seconds = time.monotonic() - start
                    if bar.n > size:
                        raise ValueError(f"sends more than the {size:,} bytes expected")
                    if seconds > SLOW_SECONDS and bar.n < seconds * SLOW_SPEED:
                        raise TimeoutError
                    yield chunk
    except Exception as error:
        raise _MirrorError(*_explain(error)) from error


def _explain(error):
    """Return why a mirror failed, and whether it is worth another try."""
    match error:
        case requests.HTTPError(response=response):
            return f"HTTP {response.status_code}", response.status_code in (429, 500, 502, 503, 504)
        case requests.Timeout() | urllib3.exceptions.ReadTimeoutError() | TimeoutError():
            return "no answer in time, or too slow", False
        case requests.exceptions.SSLError():
            return "no secure connection (its certificate, or a proxy on the way)", False
        case requests.ConnectionError():
            return "no connection", True
        case urllib3.exceptions.HTTPError():
            return "the connection broke off", True
    return str(error), False  # a file too long, redirects without end, settings that are wrong


def _within(seconds, call):
    """Return call(), or raise TimeoutError when it takes longer.

    requests limits each wait for a byte, not their sum, and the look-up of a name not at all.
    """
    future = Future()

    def run():
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result(seconds)


def _read(data_set, path):
    """Return what the file of a data set holds; raise DataError where it holds something else."""
    try:
        return READERS[data_set.read](path)
    except DataError:
        raise
    except Exception as error:  # of many kinds, by what the file holds
        problem = f"({type(error).__name__}: {error})"
        raise DataError(f"{path} has the right hash, but cannot be read {problem}") from error


def _read_text(path):
    """Return the text of a UTF-8 file."""
    return path.read_text(encoding="utf-8-sig")


def _read_poems(path):
    """Return the poems of chinese-poetry's JSON file, one a line, notes on variants included."""
    groups = json.loads(_read_text(path))["content"]
    return "\n".join("".join(poem["paragraphs"]) for group in groups for poem in group["content"])


def _read_zip(path):
    """Return the text of the one file in a zip archive."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(names) != 1:
            raise DataError(f"{path} must hold one file, got {len(names)}")
        with archive.open(names[0]) as member:
            size = archive.getinfo(names[0]).file_size
            return _read_member(member, size, f"{names[0]} in {path}")


def _read_reviews(path):
    """Return IMDb's reviews, {split: [(text, label)]}, from one pass over the archive.

    Nothing is unpacked to disk. A sparse member is left out: a header alone could ask for any
    number of zeros.
    """
    splits = {split: {} for split in SPLITS}
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            if member.offset_data + member.size > MAX_ARCHIVE:
                raise DataError(f"{path} holds more than {MAX_ARCHIVE:,} bytes")
            match = REVIEW.fullmatch(member.name)
            if match and member.isfile() and not member.issparse():
                file, name = archive.extractfile(member), f"{member.name} in {path}"
                text = _read_member(file, member.size, name)
                splits[match[1]][match[2] == "pos", int(match[3])] = text  # a repeated name: once
    return {split: _complete(texts, f"{split} in {path}") for split, texts in splits.items()}


def _complete(texts, name):
    """Return [(text, label)] in order, or raise DataError, with name, where some are missing."""
    pairs = [(text, int(label)) for (label, _), text in sorted(texts.items())]
    counts = Counter(label for _, label in pairs)
    if counts != {0: REVIEWS_PER_CLASS, 1: REVIEWS_PER_CLASS}:
        wanted = f"{REVIEWS_PER_CLASS:,} reviews of each class"
        raise DataError(f"{name} must hold {wanted}, got {dict(counts)}")
    return pairs


def _read_member(member, size, name):
    """Return the text of an open file of an archive; raise DataError, with name, if it is huge."""
    if size > MAX_MEMBER:
        raise DataError(f"{name} holds more than {MAX_MEMBER:,} bytes")
    return member.read(size).decode()


def _read_pronunciations(path):
    """Return [(word, sounds)] of a dictionary with a line for each pronunciation.

    Only words of a-z are read: the others are abbreviations, parts of words, and the alternatives,
    whose number makes them other words, as in ``read(2)``.
    """
    words = {}
    for number, line in enumerate(_read_text(path).splitlines(), 1):
        entry = line.partition("#")[0].rstrip()  # without its comment
        match = ENTRY.fullmatch(entry)
        if entry and not match:
            problem = f"line {number} must be a word and its sounds, got {entry[:40]!r}"
            raise DataError(f"{path} has the right hash, but {problem}")
        if entry and re.fullmatch("[a-z]+", match[1]):
            words.setdefault(match[1], tuple(re.sub("[012]", "", match[2]).split()))
    if not words:
        raise DataError(f"{path} has the right hash, but no words")
    return list(words.items())


def _read_sample_reviews(path):
    """Return the reviews of a table with the columns split, label and text."""
    splits = {split: [] for split in SPLITS}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            splits[row["split"]].append((row["text"], int(row["label"])))
    return splits


READERS = {
    "text": _read_text,
    "poems": _read_poems,
    "zip": _read_zip,
    "reviews": _read_reviews,
    "pronunciations": _read_pronunciations,
}
REGISTRY = {
    name: DataSet(name, **(facts | {"files": [File(**file) for file in facts["files"]]}))
    for name, facts in tomllib.loads(FACTS.read_text(encoding="utf-8")).items()
}


def main(arguments=None):
    """List all data sets, or fetch those named; return 1 where one cannot be had, else 0."""
    parser = argparse.ArgumentParser("python -m utils.datasets", description="The course's data.")
    parser.add_argument("command", nargs="?", choices=["fetch"], help="without it, list all")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(REGISTRY)}")
    options = parser.parse_args(arguments)
    try:
        chosen = [_named(name) for name in options.names] or REGISTRY.values()
    except ValueError as error:
        parser.error(str(error))
    found = [_report(data_set, _obtain if options.command else _search) for data_set in chosen]
    return int(options.command == "fetch" and not all(found))


def _report(data_set, find):
    """Print what a data set is and where ``find`` finds it, or why not; return whether it does."""
    size = data_set.files[-1].size / 1e6
    print(f"{data_set.name:<18}{size:>5.1f} MB  {data_set.licence}\n    {data_set.citation}")
    try:
        path, place = find(data_set)
    except DataError as error:
        print(f"    NOT FOUND: {error}".replace("\n", "\n    "))
        return False
    print(f"    {place}: {path}")
    return True


if __name__ == "__main__":
    raise SystemExit(main())
