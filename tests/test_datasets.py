"""The data layer against files, folders, disks and servers that misbehave."""

import errno
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import tracemalloc
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from bad_server import CONTENT, bad_server

from utils import datasets
from utils.datasets import REGISTRY, DataError, File, SampleWarning, Unavailable

SHA256 = hashlib.sha256(CONTENT).hexdigest()
TEXTS = [name for name in REGISTRY if name != "imdb"]
SEVERAL = (("missing", "good"), ("hang", "good"), ("wrong", "good"), ("trickle", "good"))


@pytest.fixture(scope="module")
def server():
    with bad_server() as server:
        yield server


@pytest.fixture(autouse=True)
def surroundings(request, monkeypatch, tmp_path):
    """An empty cache, no COURSE_ variables, no memory of failures, and little patience."""
    for name in [name for name in os.environ if name.startswith("COURSE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(datasets, "_failures", {})
    monkeypatch.setattr(datasets, "PAUSES", (0, 0.01))
    for patience in ("OPEN_SECONDS", "SILENCE_SECONDS", "SLOW_SECONDS"):
        monkeypatch.setattr(datasets, patience, 1.5)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def serve(server, monkeypatch):
    """A function that gives the course one text, tiny.txt, served in the ways it is told."""

    def serve(*kinds):
        server.requests.clear()
        urls = tuple(f"{server.url}/{kind}/tiny.txt" for kind in kinds)
        files = (File("tiny.txt", len(CONTENT), SHA256, urls),)
        monkeypatch.setitem(REGISTRY, "time_machine", tiny := replace(BASE, files=files))
        return tiny

    return serve


BASE = REGISTRY["time_machine"]


@pytest.fixture
def unprivileged():
    """Act as a user whom permissions bind, in a folder of that user's own; yield the folder."""
    with tempfile.TemporaryDirectory() as folder:
        is_root = os.geteuid() == 0
        if is_root:
            os.chown(folder, 65534, -1)
            os.seteuid(65534)
        try:
            if is_root and not os.access(folder, os.W_OK, effective_ids=True):
                pytest.skip("root runs the tests, and other users cannot reach its folders")
            yield Path(folder)
            os.chmod(folder, 0o700)
        finally:
            if is_root:
                os.seteuid(0)


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()] + list(folder.glob("recurrent*"))


def load_sample():
    """Load the tiny text where it cannot be had; return the sample and the warning's text."""
    with pytest.warns(SampleWarning) as caught:
        corpus = datasets.load_text("time_machine")
    assert len(caught) == 1
    return corpus, str(caught[0].message)


# --- Downloads that succeed ------------------------------------------------------------------


def test_download_is_verified_cached_and_reported(serve, server, cache, capsys):
    serve("good")
    corpus = datasets.load_text("time_machine")
    assert corpus.text == CONTENT.decode() and corpus.sha256 == SHA256
    assert not corpus.is_sample and corpus.source == f"tiny.txt from {server.url}/good/tiny.txt"
    assert [path.name for path in cache.iterdir()] == ["tiny.txt"]
    assert "tiny.txt: 100%" in capsys.readouterr().err  # the progress bar
    assert datasets.load_text("time_machine").source == "tiny.txt from cache"
    assert server.requests["good"] == 1


@pytest.mark.parametrize("kind", ["moved", "encoded", "flaky"])
def test_download_gets_over_redirects_wrong_headers_and_one_500(serve, kind):
    serve(kind)
    assert datasets.fetch("time_machine").read_bytes() == CONTENT


def test_a_broken_off_transfer_is_tried_again(serve, server, cache):
    serve("truncated")
    with pytest.raises(Unavailable, match="broke off"):
        datasets.fetch("time_machine")
    assert server.requests["truncated"] == 2 and not files_in(cache)


@pytest.mark.parametrize("kinds", SEVERAL)
def test_mirrors_are_asked_in_order(serve, server, kinds):
    serve(*kinds)
    assert datasets.fetch("time_machine").read_bytes() == CONTENT
    assert server.requests == dict.fromkeys(kinds, 1)


def test_the_first_good_mirror_ends_the_search(serve, server):
    serve("good", "missing")
    datasets.fetch("time_machine")
    assert server.requests == {"good": 1}


WATCH = """
import json, os, sys
from dataclasses import replace
from pathlib import Path
from utils import datasets

written, WRITING = [], os.O_WRONLY | os.O_RDWR | os.O_CREAT


def watch(event, args):
    if event == "open" and args[2] & WRITING or event == "os.mkdir":
        written.append([event, str(args[0])])
    if event == "os.rename":
        written.append([event, str(args[1])])


sys.addaudithook(watch)
"""

FETCH = f"""{WATCH}
datasets.OPEN_SECONDS = 60  # each waits for the other one
files = (datasets.File("tiny.txt", int(sys.argv[2]), sys.argv[3], (sys.argv[1],)),)
datasets.REGISTRY["lyrics"] = replace(datasets.REGISTRY["lyrics"], files=files)
print(json.dumps([str(datasets.fetch("lyrics")), written]))
"""


def fetching(url):
    """Start a process that fetches the tiny text from url."""
    command = [sys.executable, "-c", FETCH, url, str(len(CONTENT)), SHA256]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=datasets.ROOT, **pipes)


def check_written(written, cache, file):
    """Check that a process wrote into the cache alone, and moved the file whole into its place."""
    assert all(path.startswith(f"{cache}") for _, path in written), written
    assert [event for event, path in written if path == f"{file}"] == ["os.rename"]


def test_two_processes_may_fetch_at_once_and_write_into_the_cache_alone(server, cache):
    running = [fetching(f"{server.url}/together/tiny.txt") for _ in range(2)]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        path, written = json.loads(out)
        assert path == str(cache / "tiny.txt")
        check_written(written, cache, cache / "tiny.txt")
    assert [path.name for path in cache.iterdir()] == ["tiny.txt"]
    assert (cache / "tiny.txt").read_bytes() == CONTENT


# --- Downloads that fail ---------------------------------------------------------------------

FAILURES = {
    "missing": "HTTP 404",
    "broken": "HTTP 500",
    "wrong": f"expected {SHA256} but got {hashlib.sha256(CONTENT.swapcase()).hexdigest()}",
    "truncated": "the connection broke off",
    "cut": f"expected {SHA256} but got",
    "endless": f"more than the {len(CONTENT):,} bytes",
    "loop": "redirects",
    "hang": "no answer in time",
    "hang-midway": "no answer in time",
    "trickle": "too slow",
    "trickle-headers": "no answer in time",
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_bad_server_leads_to_the_sample_with_the_reason(serve, server, cache, kind):
    serve(kind)
    start = time.monotonic()
    corpus, message = load_sample()
    assert time.monotonic() - start < 30
    assert corpus.is_sample and corpus.text == (datasets.SAMPLES / "story.txt").read_text("utf-8")
    assert corpus.source.startswith("sample: ") and FAILURES[kind] in corpus.source
    assert "story.txt is a SAMPLE" in message and FAILURES[kind] in message
    assert "COURSE_DATA is not set" in message and "tiny.txt is not there" in message
    assert "python -m utils.datasets fetch time_machine" in message
    assert not files_in(cache)


FAIL = f"""{WATCH}
datasets.PAUSES = (0, 0.01)
datasets.OPEN_SECONDS = datasets.SILENCE_SECONDS = datasets.SLOW_SECONDS = 1.5
for url in sys.argv[3:]:
    files = (datasets.File("tiny.txt", int(sys.argv[1]), sys.argv[2], (url,)),)
    datasets.REGISTRY["lyrics"] = replace(datasets.REGISTRY["lyrics"], files=files)
    datasets._failures.clear()
    assert datasets.load_text("lyrics").is_sample
print(json.dumps(written))
"""


def test_bad_servers_make_nobody_write_outside_the_cache(server, cache):
    """In a process of its own: a hook that watches its files cannot be taken off again."""
    urls = [f"{server.url}/{kind}/tiny.txt" for kind in FAILURES]
    command = [sys.executable, "-c", FAIL, str(len(CONTENT)), SHA256, *urls]
    run = subprocess.run(command, cwd=datasets.ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    written = [path for _, path in json.loads(run.stdout)]
    assert len(written) > len(FAILURES)
    assert all(path.startswith(f"{cache}") for path in written), written


@pytest.mark.parametrize("kind, times", {"missing": 1, "wrong": 1, "broken": 2}.items())
def test_only_passing_failures_are_tried_again(serve, server, kind, times):
    serve(kind)
    with pytest.raises(Unavailable):
        datasets.fetch("time_machine")
    assert server.requests[kind] == times


def test_no_server_and_no_secure_server(server, monkeypatch):
    insecure = f"{server.url}/good/tiny.txt".replace("http:", "https:")
    problems = {"http://127.0.0.1:1/tiny.txt": "no connection", insecure: "no secure connection"}
    files = (File("tiny.txt", len(CONTENT), SHA256, tuple(problems)),)
    monkeypatch.setitem(REGISTRY, "time_machine", replace(BASE, files=files))
    message = load_sample()[1]
    assert all(f"{url}: {problem}" in message for url, problem in problems.items())


def test_a_name_server_that_hangs_is_not_waited_for(serve, monkeypatch):
    serve("good")
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: time.sleep(30))
    start = time.monotonic()
    assert "no answer in time" in load_sample()[1]
    assert time.monotonic() - start < 20


def test_a_failure_is_remembered_until_fetch_is_asked_for(serve, server):
    serve("missing")
    assert load_sample() and load_sample()
    assert server.requests["missing"] == 1
    with pytest.raises(Unavailable):
        datasets.fetch("time_machine")
    assert server.requests["missing"] == 2


def test_require_data_turns_the_sample_into_an_error(serve, server, cache, monkeypatch, tmp_path):
    serve("missing", "broken")
    monkeypatch.setenv("COURSE_REQUIRE_DATA", "1")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    with pytest.raises(DataError) as error:
        datasets.load_text("time_machine")
    looked_at = [tmp_path / "tiny.txt", cache / "tiny.txt"]
    looked_at += [f"{server.url}/{kind}/tiny.txt" for kind in ("missing", "broken")]
    assert all(f"{place}" in str(error.value) for place in looked_at)
    monkeypatch.setenv("COURSE_REQUIRE_DATA", "0")
    assert load_sample()[0].is_sample


def test_the_sample_is_announced_at_the_callers_line(serve):
    serve("missing")
    with pytest.warns(SampleWarning) as caught:
        datasets.load_text("time_machine")
    assert caught[0].filename == __file__


def test_the_sample_is_announced_again_when_a_cell_is_run_again():
    code = (
        "from utils import datasets; datasets.PAUSES = ()\n"
        "for _ in range(2): datasets.load_text('lyrics')\n"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=datasets.ROOT, capture_output=True, text=True, check=True)
    assert run.stderr.count("SampleWarning") == 2


# --- Disks and folders that misbehave --------------------------------------------------------


class FullDisk(io.FileIO):
    """A file on a disk with room for 4 kB."""

    def write(self, data):
        if self.tell() + len(data) > 4096:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


def test_a_full_disk_leaves_nothing_behind(serve, server, cache, monkeypatch):
    serve("good", "moved")
    monkeypatch.setattr(datasets, "open", FullDisk, raising=False)
    message = load_sample()[1]
    assert "No space left" in message and "make room there, or set COURSE_CACHE" in message
    assert server.requests == {"good": 1} and not files_in(cache)


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a disk of its own with room for 8 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(["mount", *options], check=False).returncode:
        pytest.skip("only root can mount a small disk (a stand-in is tested in any case)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_real_full_disk_leaves_nothing_behind(serve, server, small_disk, monkeypatch):
    serve("good", "moved")
    monkeypatch.setenv("COURSE_CACHE", str(small_disk))
    message = load_sample()[1]
    assert "No space left" in message and "make room there, or set COURSE_CACHE" in message
    assert server.requests == {"good": 1} and not list(small_disk.iterdir())


def test_an_interrupted_download_leaves_nothing_behind(serve, cache, monkeypatch):
    serve("good")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets.tqdm, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        datasets.fetch("time_machine")
    assert not files_in(cache)


def test_what_a_killed_download_left_is_removed_by_the_next(serve, server, cache):
    serve("good")
    with fetching(f"{server.url}/hang-midway/tiny.txt") as process:
        while not list(cache.glob("*/*")):  # the unfinished file
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    (left,) = cache.iterdir()
    others = [cache / "theirs", cache / f"{datasets.TEMPORARY}alive"]
    for folder in others:
        folder.mkdir()
    for folder in (left, others[0]):
        os.utime(folder, (0, 0))  # a very old one
    datasets.fetch("time_machine")
    assert sorted(cache.iterdir()) == sorted([*others, cache / "tiny.txt"])


def test_a_cache_that_cannot_be_written(serve, unprivileged, monkeypatch):
    serve("good")
    monkeypatch.setenv("COURSE_CACHE", str(unprivileged))
    unprivileged.chmod(0o500)
    with pytest.raises(Unavailable, match="set COURSE_CACHE to another folder") as error:
        datasets.fetch("time_machine")
    assert f"{unprivileged}: " in str(error.value) and "Permission denied" in str(error.value)


def test_a_file_in_the_place_of_the_cache_is_no_place_for_a_download(serve, cache, monkeypatch):
    serve("good")
    cache.write_text("mine")
    for place in (cache, cache / "below"):
        monkeypatch.setenv("COURSE_CACHE", str(place))
        assert "set COURSE_CACHE to another folder" in load_sample()[1]
        datasets._failures.clear()
    assert cache.read_text() == "mine"


def test_a_wrong_file_in_the_cache_is_replaced(serve, cache):
    serve("good")
    cache.mkdir()
    (cache / "tiny.txt").write_bytes(CONTENT[:-1])
    assert datasets.locate("time_machine") is None
    assert datasets.load_text("time_machine").text == CONTENT.decode()


def test_a_wrong_file_in_the_cache_is_never_read(serve, cache):
    serve("missing")
    cache.mkdir()
    (cache / "tiny.txt").write_bytes(CONTENT[:-1])
    assert f"expected {SHA256}" in load_sample()[1]


def test_course_data_comes_first_and_is_not_written_to(serve, server, cache, monkeypatch, tmp_path):
    serve("good")
    datasets.fetch("time_machine")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "tiny.txt").write_bytes(CONTENT)
    monkeypatch.setenv("COURSE_DATA", str(folder))
    assert datasets.load_text("time_machine").source == "tiny.txt from COURSE_DATA"
    assert datasets.locate("time_machine") == folder / "tiny.txt"
    (folder / "tiny.txt").unlink()
    assert datasets.locate("time_machine") == cache / "tiny.txt"
    assert server.requests["good"] == 1 and not list(folder.iterdir())


@pytest.mark.parametrize("content", [CONTENT.swapcase(), CONTENT[:-1], b""])
def test_a_wrong_file_in_course_data_is_an_error(serve, cache, monkeypatch, tmp_path, content):
    serve("good")
    (tmp_path / "tiny.txt").write_bytes(content)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    found = hashlib.sha256(content).hexdigest()
    for use in (datasets.load_text, datasets.locate, datasets.fetch):
        with pytest.raises(DataError, match="Replace the file") as error:
            use("time_machine")
        parts = (str(tmp_path / "tiny.txt"), f"has sha256 {found}", f"expected {SHA256}")
        assert all(part in str(error.value) for part in parts)
    assert not cache.exists()


def test_course_data_must_be_a_folder(serve, monkeypatch, tmp_path):
    serve("good")
    (tmp_path / "file").touch()
    for folder in (tmp_path / "nowhere", tmp_path / "file"):
        monkeypatch.setenv("COURSE_DATA", str(folder))
        with pytest.raises(DataError, match=f"COURSE_DATA must be a folder .* got {folder}"):
            datasets.load_text("time_machine")


def test_an_unreadable_file_or_folder_in_course_data(serve, unprivileged, monkeypatch):
    serve("good")
    monkeypatch.setenv("COURSE_DATA", str(unprivileged))
    path = unprivileged / "tiny.txt"
    path.write_bytes(CONTENT)
    assert datasets.locate("time_machine") == path
    for locked in (path, unprivileged):
        locked.chmod(0)
        with pytest.raises(DataError, match="Permission denied"):
            datasets.load_text("time_machine")
        locked.chmod(0o700)


def test_relative_folders_start_at_the_projects_root(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", "utils/samples")
    monkeypatch.chdir(tmp_path)
    assert datasets._places()["COURSE_DATA"].samefile(datasets.SAMPLES)


# --- Names -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["timemachine", "", None, 3, ["imdb"]])
@pytest.mark.parametrize("use", ["load_text", "load_reviews", "locate", "fetch"])
def test_an_unknown_name_lists_the_names(use, name):
    with pytest.raises(ValueError, match=f"one of {', '.join(REGISTRY)}; got") as error:
        getattr(datasets, use)(name)
    assert repr(name) in str(error.value)


def test_text_and_reviews_are_not_mixed_up():
    with pytest.raises(ValueError, match="imdb is read by load_reviews"):
        datasets.load_text("imdb")
    with pytest.raises(ValueError, match="lyrics is read by load_text"):
        datasets.load_reviews("lyrics")


def test_every_data_set_is_described():
    names = [file.name for data_set in REGISTRY.values() for file in data_set.files]
    assert len(set(names)) == len(names)
    for name, data_set in REGISTRY.items():
        assert data_set.name == name and data_set.title and data_set.citation and data_set.licence
        assert any(file.urls for file in data_set.files)
        assert all(len(file.sha256) == 64 and file.size > 0 for file in data_set.files)
    assert "copyrighted" in REGISTRY["lyrics"].licence


# --- Samples ---------------------------------------------------------------------------------


def without_mirrors(monkeypatch, name):
    files = tuple(replace(file, urls=()) for file in REGISTRY[name].files)
    monkeypatch.setitem(REGISTRY, name, replace(REGISTRY[name], files=files))


@pytest.mark.parametrize("name", TEXTS)
def test_every_text_has_a_sample(monkeypatch, name):
    without_mirrors(monkeypatch, name)
    with pytest.warns(SampleWarning, match=REGISTRY[name].title):
        corpus = datasets.load_text(name)
    assert corpus.is_sample and corpus.name == name and len(corpus.text) > 1000
    assert corpus.text[:20] not in repr(corpus) and len(repr(corpus)) < 1000
    sample = datasets.SAMPLES / REGISTRY[name].sample
    assert corpus.sha256 == hashlib.sha256(sample.read_bytes()).hexdigest()


def test_the_reviews_have_a_sample(monkeypatch):
    without_mirrors(monkeypatch, "imdb")
    with pytest.warns(SampleWarning, match="reviews.tsv"):
        reviews = datasets.load_reviews()
    assert reviews.is_sample and len(reviews.train) + len(reviews.test) >= 600
    assert reviews.train[0][0] not in repr(reviews)
    for split in (reviews.train, reviews.test):
        assert {label for _, label in split} == {0, 1}
        assert all(isinstance(text, str) and text.strip() for text, _ in split)


# --- Files and archives ----------------------------------------------------------------------


def test_texts_have_plain_newlines_and_no_byte_order_mark(tmp_path):
    path = tmp_path / "windows.txt"
    path.write_bytes("\ufeffeins\r\nzwei é\r\n".encode())
    assert datasets._read_text(path) == "eins\nzwei é\n"


def test_poems_stand_one_a_line(tmp_path):
    path = tmp_path / "poems.json"
    poems = [{"paragraphs": ["春，", "夏。"]}, {"paragraphs": ["秋（一作：冬）"]}]
    content = [{"content": poems}, {"content": poems[:1]}]
    path.write_text(json.dumps({"content": content}), encoding="utf-8")
    assert datasets._read_poems(path) == "春，夏。\n秋（一作：冬）\n春，夏。"


def test_a_zipped_text_is_read_as_it_is(tmp_path):
    with zipfile.ZipFile(tmp_path / "text.zip", "w") as archive:
        archive.writestr("text.txt", "春\n夏")
    assert datasets._read_zip(tmp_path / "text.zip") == "春\n夏"


def review_archive(path, names, text="fine", mode="w:gz"):
    """Write a tar archive with a small review, ending in its own name, at each of the names."""
    with tarfile.open(path, mode) as archive:
        for name in names:
            data = f"{text} {name}".encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def review_names(ids=(2, 10)):
    kinds = [f"aclImdb/{split}/{label}" for split in ("train", "test") for label in ("pos", "neg")]
    return [f"{kind}/{i}_7.txt" for kind in kinds for i in ids]


def test_reviews_are_sorted_and_other_members_ignored(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "REVIEWS_PER_CLASS", 2)
    others = ["aclImdb/README", "aclImdb/train/unsup/0_0.txt", "aclImdb/train/pos/../../evil_1.txt"]
    others += ["aclImdb/train/pos/3_7.txt~", "old/aclImdb/train/pos/3_7.txt"]
    found = [
        datasets._read_reviews(review_archive(tmp_path / "tiny.tar.gz", names))
        for names in (review_names() + others, others + review_names()[::-1])
    ]
    assert found[0] == found[1]
    names = ["neg/2", "neg/10", "pos/2", "pos/10"]  # by label, then by number
    wanted = [(f"fine aclImdb/test/{name}_7.txt", int(name[:3] == "pos")) for name in names]
    assert found[0]["test"] == wanted and len(found[0]["train"]) == 4


@pytest.mark.parametrize("missing", review_names())
def test_reviews_out_of_balance_are_an_error(monkeypatch, tmp_path, missing):
    monkeypatch.setattr(datasets, "REVIEWS_PER_CLASS", 2)
    names = [name for name in review_names() if name != missing]
    with pytest.raises(DataError, match=f"{missing.split('/')[1]} in .* 2 reviews of each class"):
        datasets._read_reviews(review_archive(tmp_path / "tiny.tar.gz", names))


LINKS = [tarfile.SYMTYPE, tarfile.LNKTYPE]
DEVICES = [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
NO_PLAIN_FILES = [*LINKS, *DEVICES, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE]


def hostile_members(secret):
    """Return members that try to get out of the archive's folder, or another file into it."""
    names = [f"aclImdb/train/pos/{i}_9.txt" for i in range(100, 107)]
    members = [tarfile.TarInfo(name) for name in ("../evil.txt", f"{secret.parent}/evil.txt")]
    members += [tarfile.TarInfo(f"aclImdb/train/pos/../../../evil/{names[0]}")]
    for name, kind in zip(names, NO_PLAIN_FILES, strict=True):
        members.append(member := tarfile.TarInfo(name))
        member.type, member.linkname = kind, str(secret)
    return members


def test_a_hostile_archive_writes_nothing_and_reads_no_other_file(monkeypatch, tmp_path, cache):
    monkeypatch.setattr(datasets, "REVIEWS_PER_CLASS", 2)
    (secret := tmp_path / "secret.txt").write_text("secret")
    path = review_archive(tmp_path / "tiny.tar", review_names(), mode="w")
    clean = datasets._read_archive(path)
    with tarfile.open(path, "a") as archive:
        for member in hostile_members(secret):
            archive.addfile(member)
    before = sorted(tmp_path.rglob("*"))
    assert datasets._read_reviews(path) == clean and "secret" not in str(clean)
    assert sorted(set(tmp_path.rglob("*")) - set(before)) == [cache, *cache.iterdir()]
    assert not (tmp_path.parent / "evil.txt").exists()


@pytest.mark.parametrize("again", review_names())
def test_a_repeated_name_does_not_stand_in_for_a_missing_review(monkeypatch, tmp_path, again):
    monkeypatch.setattr(datasets, "REVIEWS_PER_CLASS", 2)
    names = [name for name in review_names() if name != again]
    names += [name for name in names if name.startswith(os.path.dirname(again))]
    with pytest.raises(DataError, match="2 reviews of each class"):
        datasets._read_reviews(review_archive(tmp_path / "tiny.tar.gz", names))


def at_hand(monkeypatch, name, path):
    """Make the file at path, in COURSE_DATA, the right one of a data set; return its hash."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    files = (File(path.name, path.stat().st_size, sha256),)
    monkeypatch.setitem(REGISTRY, name, replace(REGISTRY[name], files=files))
    monkeypatch.setenv("COURSE_DATA", str(path.parent))
    return sha256


def load_refused(monkeypatch, name, path, problem):
    """Check that loading this file is an error that names it, and that nothing is written."""
    monkeypatch.setattr(datasets, "REVIEWS_PER_CLASS", 2)
    at_hand(monkeypatch, name, path)
    before = sorted(path.parent.rglob("*"))
    load = datasets.load_reviews if name == "imdb" else datasets.load_text
    with pytest.raises(DataError, match=problem) as error:
        load(name)
    assert type(error.value) is DataError and str(path) in str(error.value)
    assert sorted(path.parent.rglob("*")) == before


def bomb(path, size):
    """Write a zip archive whose one file is `size` zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.txt", bytes(size))
    return path


def test_a_zip_bomb_is_refused(monkeypatch, tmp_path):
    path = bomb(tmp_path / "bomb.zip", datasets.MAX_MEMBER + 1)
    assert path.stat().st_size < 20_000
    load_refused(monkeypatch, "lyrics", path, r"bomb\.txt in .* more than 16,777,216 bytes")


def test_a_zip_bomb_is_not_unpacked(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "MAX_MEMBER", 2**20)
    path = bomb(tmp_path / "bomb.zip", 2**25)
    tracemalloc.start()
    try:
        load_refused(monkeypatch, "lyrics", path, "more than 1,048,576 bytes")
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_a_zip_bomb_that_calls_itself_small_is_not_unpacked(monkeypatch, tmp_path):
    path = bomb(tmp_path / "bomb.zip", 2**25)
    path.write_bytes(path.read_bytes().replace((2**25).to_bytes(4, "little"), bytes([9, 0, 0, 0])))
    tracemalloc.start()
    try:
        load_refused(monkeypatch, "lyrics", path, r"cannot be read \(BadZipFile: Bad CRC-32")
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_a_huge_review_is_refused(monkeypatch, tmp_path, mode):
    monkeypatch.setattr(datasets, "MAX_MEMBER", 2**20)
    path = review_archive(tmp_path / "bomb.tar", review_names(), "0" * 2**20, mode)
    load_refused(monkeypatch, "imdb", path, r"aclImdb/train/pos/2_7\.txt .* more than 1,048,576")


def test_an_archive_of_a_huge_file_is_refused_before_it_is_read(monkeypatch, tmp_path):
    """The file is none of the reviews: only its header says how long it is."""
    with tarfile.open(path := tmp_path / "bomb.tar.xz", "w:xz") as archive:
        member = tarfile.TarInfo("aclImdb/README")
        member.size = datasets.MAX_ARCHIVE
        archive.addfile(member)
    load_refused(monkeypatch, "imdb", path, "holds more than 1,073,741,824 bytes")


@pytest.mark.parametrize("name", ["aclImdb/train/pos/1_7.txt", "aclImdb/README"])
def test_an_archive_of_too_many_files_is_refused(monkeypatch, tmp_path, name):
    monkeypatch.setattr(datasets, "MAX_ARCHIVE", 2**16)
    path = review_archive(tmp_path / "bomb.tar.xz", [name] * 2**7, mode="w:xz")
    load_refused(monkeypatch, "imdb", path, "holds more than 65,536 bytes")


def zipped(**texts):
    """Return a zip archive of these texts, by name."""
    with zipfile.ZipFile(file := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return file.getvalue()


def tarred(mode):
    """Return a tar archive of eight reviews."""
    with tempfile.TemporaryDirectory() as folder:
        return review_archive(Path(folder) / "tiny.tar", review_names(), mode=mode).read_bytes()


def half(data):
    return data[: len(data) // 2]


def flipped(data):
    return half(data) + bytes([data[len(data) // 2] ^ 16]) + data[len(data) // 2 + 1 :]


OTHER_FILES = {
    "a text that is not UTF-8": ("time_machine", b"\xff", "cannot be read .UnicodeDecodeError"),
    "poems in no JSON": ("tang_poems", b"{", "cannot be read .JSONDecodeError"),
    "poems without content": ("tang_poems", b"{}", "cannot be read .KeyError: 'content'"),
    "poems that are numbers": ("tang_poems", b'{"content": [3]}', "cannot be read .TypeError"),
    "poems without end": ("tang_poems", b"[" * 100_000, "cannot be read .RecursionError"),
    "lyrics in no zip": ("lyrics", b"lyrics", "cannot be read .BadZipFile"),
    "half a zip": ("lyrics", half(zipped(a="a")), "cannot be read .BadZipFile"),
    "a damaged zip": (
        "lyrics",
        flipped(zipped(a="".join(map(str, range(1000))))),
        "cannot be read",
    ),
    "a zip that is not UTF-8": ("lyrics", zipped(a=b"\xff"), "cannot be read .UnicodeDecodeError"),
    "an empty zip": ("lyrics", zipped(), "must hold one file, got 0"),
    "a zip of two files": ("lyrics", zipped(a="a", b="b"), "must hold one file, got 2"),
    "reviews in no tar": ("imdb", b"reviews" * 1000, "cannot be read .ReadError"),
    "an empty file": ("imdb", b"", "cannot be read .ReadError"),
    "half a tar": ("imdb", half(tarred("w")), "must hold 2 reviews of each class"),
    "half a tar.gz": ("imdb", half(tarred("w:gz")), "reviews of each class|cannot be read"),
    "half a tar.xz": ("imdb", half(tarred("w:xz")), "reviews of each class|cannot be read"),
    "a damaged tar.xz": ("imdb", flipped(tarred("w:xz")), "cannot be read .ReadError"),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_a_file_with_the_right_hash_and_a_wrong_content_is_an_error(monkeypatch, tmp_path, kind):
    name, content, problem = OTHER_FILES[kind]
    (path := tmp_path / "file").write_bytes(content)
    load_refused(monkeypatch, name, path, problem)


def test_a_real_archive_whose_reader_is_named_by_the_registry(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "REVIEWS_PER_CLASS", 2)
    path = review_archive(tmp_path / "tiny.tar.gz", review_names())
    sha256 = at_hand(monkeypatch, "imdb", path)
    reviews = datasets.load_reviews("imdb")
    assert len(reviews.train) == 4 and reviews.sha256 == sha256 and not reviews.is_sample
    assert reviews.source == "tiny.tar.gz from COURSE_DATA"


# --- The reviews as read before --------------------------------------------------------------

LABELS = {"neg": 0, "pos": 1}


@pytest.fixture
def archive(monkeypatch, tmp_path):
    """A right archive of eight reviews, in a folder of its own."""
    monkeypatch.setattr(datasets, "REVIEWS_PER_CLASS", 2)
    (tmp_path / "data").mkdir()
    return review_archive(tmp_path / "data" / "tiny.tar.gz", review_names())


def kept_for(archive, cache):
    """Return where the copy of an archive's reviews lies."""
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    return cache / f"reviews-{sha256[:16]}.json.gz"


def eight(text="fine"):
    """Return the reviews that review_archive writes by default, as they are to be read."""
    kinds = [(label, number) for label in LABELS for number in (2, 10)]
    return {
        split: [
            (f"{text} aclImdb/{split}/{label}/{number}_7.txt", LABELS[label])
            for label, number in kinds
        ]
        for split in ("train", "test")
    }


def read_without_the_archive(monkeypatch, archive):
    """Read the reviews where opening a tar archive is an error."""

    def refuse(*_, **__):
        raise AssertionError("the archive was opened again")

    with monkeypatch.context() as patch:
        patch.setattr(datasets.tarfile, "open", refuse)
        return datasets._read_reviews(archive)


def test_reviews_are_read_once_and_then_from_the_cache(monkeypatch, archive, cache):
    first = datasets._read_reviews(archive)
    again = read_without_the_archive(monkeypatch, archive)
    assert first == again == eight()
    for splits in (first, again):
        assert list(splits) == ["train", "test"]
        for pairs in splits.values():
            assert type(pairs) is list
            assert all(tuple(map(type, pair)) == (str, int) for pair in pairs)
            assert all(type(pair) is tuple for pair in pairs)
    assert list(cache.rglob("*")) == [kept_for(archive, cache)]
    assert list(archive.parent.iterdir()) == [archive]


@pytest.mark.parametrize(
    "text", ["", "naïve 春 \U0001f600", '<br />"a\\b"\t', "\r\n \r\u2028\x00\x7f\n", "\ufeffa"]
)
def test_every_character_comes_back_from_the_cache(monkeypatch, archive, text):
    review_archive(archive, review_names(), text)
    assert datasets._read_reviews(archive) == eight(text)
    assert read_without_the_archive(monkeypatch, archive) == eight(text)


def test_load_reviews_returns_the_same_from_the_cache(monkeypatch, archive, cache):
    sha256 = at_hand(monkeypatch, "imdb", archive)
    first = datasets.load_reviews()
    monkeypatch.setattr(datasets.tarfile, "open", None)
    again = datasets.load_reviews()
    assert again == first and again.train == eight()["train"] and again.test == eight()["test"]
    assert again.source == "tiny.tar.gz from COURSE_DATA" and again.sha256 == sha256
    assert datasets.locate("imdb") == archive

    archive.unlink()  # the copy alone is no data set: its hash is not known
    with pytest.warns(SampleWarning):
        assert datasets.load_reviews().is_sample


def test_another_archive_has_another_copy(monkeypatch, archive, cache):
    other = review_archive(archive.with_name("other.tar.gz"), review_names(), "dull")
    renamed = archive.with_name("renamed.tar.gz")
    renamed.write_bytes(archive.read_bytes())
    assert datasets._read_reviews(archive) == eight()
    assert datasets._read_reviews(other) == eight("dull")
    for path, text in ((archive, "fine"), (other, "dull"), (renamed, "fine")):
        assert read_without_the_archive(monkeypatch, path) == eight(text)
    assert sorted(cache.iterdir()) == sorted(kept_for(path, cache) for path in (archive, other))


def packed(content):
    """Return content, text or what json can write, as bytes of a gzip file."""
    text = content if isinstance(content, str) else json.dumps(content)
    return gzip.compress(text.encode())


GOOD = packed(eight())
DAMAGED = {
    "empty": b"",
    "junk": os.urandom(300),
    "truncated by a byte": GOOD[:-1],
    "truncated by its checksum": GOOD[:-8],
    "half": half(GOOD),
    "a header": GOOD[:10],
    "a flipped byte": flipped(GOOD),
    "a wrong checksum": GOOD[:-5] + bytes([GOOD[-5] ^ 1]) + GOOD[-4:],
    "something behind": GOOD + b"junk",
    "not packed": json.dumps(eight()).encode(),
    "not UTF-8": gzip.compress(b'{"train": "\xff'),
    "no JSON": packed("no JSON"),
    "JSON without end": packed("[" * 100_000),
    "broken JSON": packed(json.dumps(eight())[:-3]),
    "nothing": packed(""),
    "null": packed("null"),
    "a number": packed(3),
    "a string": packed('"train test"'),
    "a list": packed([eight()["train"], eight()["test"]]),
    "no splits": packed({}),
    "one split": packed({"train": eight()["train"]}),
    "empty splits": packed({"train": [], "test": []}),
    "splits of null": packed({"train": None, "test": None}),
    "splits of numbers": packed({"train": 1, "test": 2}),
    "texts alone": packed({split: [text for text, _ in pairs] for split, pairs in eight().items()}),
    "three parts": packed(
        {split: [[*pair, 0] for pair in pairs] for split, pairs in eight().items()}
    ),
    "the wrong way round": packed(
        {split: [pair[::-1] for pair in pairs] for split, pairs in eight().items()}
    ),
    "labels in lists": packed(
        {split: [[text, [label]] for text, label in pairs] for split, pairs in eight().items()}
    ),
    "labels in words": packed(
        {split: [[text, str(label)] for text, label in pairs] for split, pairs in eight().items()}
    ),
    "one review too few": packed(eight() | {"test": eight()["test"][1:]}),
    "one review too many": packed(eight() | {"train": eight()["train"] + eight()["train"][:1]}),
    "one class": packed(eight() | {"test": [(text, 1) for text, _ in eight()["test"]]}),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_copy_is_read_again_and_mended(monkeypatch, archive, cache, damage):
    kept = kept_for(archive, cache)
    cache.mkdir()
    kept.write_bytes(DAMAGED[damage])
    assert datasets._read_reviews(archive) == eight()
    assert read_without_the_archive(monkeypatch, archive) == eight()
    assert json.loads(gzip.decompress(kept.read_bytes())) == json.loads(json.dumps(eight()))
    assert list(cache.rglob("*")) == [kept]


def test_an_archive_out_of_balance_is_not_kept(monkeypatch, archive, cache):
    review_archive(archive, review_names()[1:])
    for _ in range(2):
        with pytest.raises(DataError, match=f"train in {archive} must hold 2 reviews of each"):
            datasets._read_reviews(archive)
    assert not files_in(cache)


def test_a_cache_for_reviews_that_cannot_be_written(monkeypatch, archive, unprivileged):
    theirs = review_archive(unprivileged / archive.name, review_names())
    folder = unprivileged / "cache"
    folder.mkdir()
    folder.chmod(0o500)
    for place in (folder, folder / "below"):
        monkeypatch.setenv("COURSE_CACHE", str(place))
        assert datasets._read_reviews(theirs) == eight()
        assert not list(folder.iterdir())
    folder.chmod(0o700)
    monkeypatch.setenv("COURSE_CACHE", str(folder))
    kept = kept_for(theirs, folder)
    kept.write_bytes(GOOD)
    kept.chmod(0)  # there, and not to be read: a new one takes its place
    assert datasets._read_reviews(theirs) == eight()
    assert read_without_the_archive(monkeypatch, theirs) == eight()


def test_a_file_in_the_place_of_the_cache(monkeypatch, archive, cache):
    cache.write_text("mine")
    for place in (cache, cache / "below"):
        monkeypatch.setenv("COURSE_CACHE", str(place))
        assert datasets._read_reviews(archive) == eight()
    assert cache.read_text() == "mine"
    assert sorted(cache.parent.iterdir()) == [cache, archive.parent]


def test_a_folder_in_the_place_of_the_copy(archive, cache):
    kept = kept_for(archive, cache)
    (kept / "mine").mkdir(parents=True)
    assert datasets._read_reviews(archive) == eight()
    assert list(cache.rglob("*")) == [kept, kept / "mine"]


@pytest.fixture
def full_disk(monkeypatch):
    """What is packed with gzip goes to a disk with room for 4 kB."""
    gzip_open, files = gzip.open, []

    def open_on_full_disk(path, mode, *args, **kwargs):
        if "w" in mode:
            files.append(path := FullDisk(path, "wb"))
        return gzip_open(path, mode, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(gzip, "open", open_on_full_disk)
        yield patch
    for file in files:  # gzip closes only what it has opened
        file.close()


def test_a_full_disk_costs_the_copy_and_no_more(monkeypatch, archive, cache, full_disk):
    text = os.urandom(20_000).hex()
    review_archive(archive, review_names(), text)
    for _ in range(2):
        assert datasets._read_reviews(archive) == eight(text)
        assert not files_in(cache)
    full_disk.undo()
    datasets._read_reviews(archive)
    assert read_without_the_archive(monkeypatch, archive) == eight(text)


def test_a_real_full_disk_costs_the_copy_and_no_more(monkeypatch, archive, small_disk):
    monkeypatch.setenv("COURSE_CACHE", str(small_disk))
    text = os.urandom(20_000).hex()
    review_archive(archive, review_names(), text)
    assert datasets._read_reviews(archive) == eight(text)
    assert not list(small_disk.iterdir())


def test_a_full_disk_leaves_a_damaged_copy_where_it_was(archive, cache, full_disk):
    review_archive(archive, review_names(), os.urandom(20_000).hex())
    cache.mkdir()
    kept = kept_for(archive, cache)
    kept.write_bytes(GOOD[:-1])
    datasets._read_reviews(archive)
    assert kept.read_bytes() == GOOD[:-1] and list(cache.rglob("*")) == [kept]


def test_an_interrupted_copy_leaves_nothing_behind(monkeypatch, archive, cache):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        datasets._read_reviews(archive)
    assert not files_in(cache)


READ = f"""{WATCH}
datasets.REVIEWS_PER_CLASS = 2
os_replace = os.replace


def together(*paths):
    print("ready", flush=True)
    input()  # the other process is ready, too
    os_replace(*paths)


os.replace = together
reviews = datasets._read_reviews(Path(sys.argv[1]))
print(json.dumps([reviews, written]))
"""


def reading(archive):
    """Start a process that reads the reviews, and reports them and where it has written."""
    command = [sys.executable, "-c", READ, str(archive)]
    pipes = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.PIPE)
    return subprocess.Popen(command, cwd=datasets.ROOT, text=True, **pipes)


def test_two_processes_may_read_at_once_and_write_into_the_cache_alone(monkeypatch, archive, cache):
    running = [reading(archive) for _ in range(2)]
    ready = [process.stdout.readline() for process in running]
    for process in running:
        out, err = process.communicate("\n", timeout=60)
        assert process.returncode == 0, err
        reviews, written = json.loads(out)
        assert reviews == json.loads(json.dumps(eight()))
        assert ready == ["ready\n"] * 2
        check_written(written, cache, kept_for(archive, cache))
        assert "aclImdb" not in str(written), "nothing is unpacked"
    assert list(cache.rglob("*")) == [kept_for(archive, cache)]
    assert read_without_the_archive(monkeypatch, archive) == eight()


def test_readers_see_a_whole_copy_or_none(monkeypatch, archive, cache):
    """While one thread writes the copy over and over, no reader meets half of it."""
    opened, tar_open = [], datasets.tarfile.open
    datasets._read_reviews(archive)
    kept, stop = kept_for(archive, cache), threading.Event()

    def write():
        while not stop.is_set():
            datasets._keep(eight(), kept)

    monkeypatch.setattr(datasets.tarfile, "open", lambda *a: opened.append(a) or tar_open(*a))
    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(100):
        assert datasets._read_reviews(archive) == eight()
    stop.set()
    writer.join()
    assert not opened and list(cache.rglob("*")) == [kept]


def official_archive(path, per_class):
    """Write an archive laid out as the official one, half of its reviews without a label."""
    folders = dict.fromkeys(("test/neg", "test/pos", "train/neg", "train/pos"), per_class)
    with tarfile.open(path, "w:gz", compresslevel=1, format=tarfile.GNU_FORMAT) as archive:

        def add(name, data=b"", kind=tarfile.REGTYPE):
            member = tarfile.TarInfo(f"aclImdb{name}")
            member.size, member.type, member.linkname = len(data), kind, "../README"
            archive.addfile(member, io.BytesIO(data))

        add("", kind=tarfile.DIRTYPE)
        for name in ("imdb.vocab", "imdbEr.txt", "README", "train/labeledBow.feat"):
            add(f"/{name}", b"9 0:9 1:1\n" * 1000)
        for folder, count in (folders | {"train/unsup": 4 * per_class}).items():
            split, kind = folder.split("/")
            add(f"/{split}/urls_{kind}.txt", b"http://www.imdb.com/title/tt0064354/usercomments\n")
            add(f"/{folder}", kind=tarfile.DIRTYPE)
            add(f"/{folder}/._0_9.txt", b"a file of another system")
            add(f"/{folder}/999999_9.txt", kind=tarfile.SYMTYPE)
            for number in reversed(range(count)):
                add(f"/{folder}/{number}_{number % 10}.txt", f"{folder} {number}<br />é".encode())
        add("/train/unsupBow.feat", b"0 0:8 1:6\n" * 1000)
    return path


def test_an_archive_laid_out_as_the_official_one(monkeypatch, archive):
    """A twentieth of it: 5,000 reviews, half of them unlabelled, and the lists beside them."""
    monkeypatch.setattr(datasets, "REVIEWS_PER_CLASS", 625)
    official_archive(archive, 625)
    wanted = {
        split: [
            (f"{split}/{kind} {number}<br />é", LABELS[kind])
            for kind in LABELS
            for number in range(625)
        ]
        for split in ("train", "test")
    }
    assert datasets._read_reviews(archive) == wanted
    assert read_without_the_archive(monkeypatch, archive) == wanted


# --- The real data sets, where they are at hand -------------------------------------------------

REAL = {name: datasets.locate(name) for name in REGISTRY}


def real(name):
    """Mark a test that needs a real data set."""
    return pytest.mark.skipif(REAL[name] is None, reason=f"{name} is not at hand")


def load_real(monkeypatch, name):
    monkeypatch.setenv("COURSE_DATA", str(REAL[name].parent))
    monkeypatch.setenv("COURSE_REQUIRE_DATA", "1")
    return datasets.load_reviews(name) if name == "imdb" else datasets.load_text(name)


@real("time_machine")
def test_time_machine(monkeypatch):
    corpus = load_real(monkeypatch, "time_machine")
    assert corpus.text.count("\n") == 3221 and corpus.text.startswith("The Time Machine, by H. G.")
    assert not corpus.is_sample and corpus.source == "timemachine.txt from COURSE_DATA"


@real("mysterious_island")
def test_mysterious_island(monkeypatch):
    text = load_real(monkeypatch, "mysterious_island").text
    start, end = text.find("THE MYSTERIOUS ISLAND"), text.find("End of the Project Gutenberg")
    assert end - start == 1_112_350 and len(set(text[start:end])) == 80
    assert text.startswith("The Project Gutenberg EBook")


@real("tang_poems")
def test_tang_poems(monkeypatch):
    text = load_real(monkeypatch, "tang_poems").text
    assert (len(text), len(set(text)), len(set(text[:10_000]))) == (23_776, 2543, 1585)
    assert len(text.split("\n")) == 320


@real("lyrics")
def test_lyrics(monkeypatch):
    text = load_real(monkeypatch, "lyrics").text
    length, distinct = len(text), len(set(text[:10_000].replace("\n", " ")))
    del text  # a failed assertion must not print it
    assert (length, distinct) == (63_282, 1027)


@real("imdb")
def test_imdb(monkeypatch):
    reviews = load_real(monkeypatch, "imdb")
    monkeypatch.setattr(datasets.tarfile, "open", None)
    assert load_real(monkeypatch, "imdb") == reviews, "the copy in the cache equals the archive"
    for split in (reviews.train, reviews.test):
        assert Counter(label for _, label in split) == {0: 12_500, 1: 12_500}
    texts = {text for text, _ in reviews.train + reviews.test}
    assert len(texts) == 49_582 and all(texts)


# --- The command line ------------------------------------------------------------------------


def test_the_list_names_every_data_set_and_where_it_is(serve, server, cache, capsys):
    serve("good")
    assert datasets.main([]) == 0
    out = capsys.readouterr().out
    for data_set in REGISTRY.values():
        assert data_set.name in out and data_set.licence in out and data_set.citation in out
    assert f"cache: {cache}/tiny.txt is not there" in out
    datasets.fetch("time_machine")
    capsys.readouterr()
    assert datasets.main([]) == 0
    assert f"    cache: {cache}/tiny.txt\n" in capsys.readouterr().out
    assert server.requests["good"] == 1  # listing asks no server


def test_the_list_shows_a_wrong_file(serve, monkeypatch, tmp_path, capsys):
    serve("good")
    (tmp_path / "tiny.txt").touch()
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    assert datasets.main([]) == 0
    assert f"{tmp_path}/tiny.txt has sha256" in capsys.readouterr().out


def test_fetch_gets_what_is_named(serve, server, cache, capsys):
    serve("good")
    assert datasets.main(["fetch", "time_machine"]) == 0
    out = capsys.readouterr().out
    assert f"{server.url}/good/tiny.txt: {cache}/tiny.txt" in out
    assert (cache / "tiny.txt").read_bytes() == CONTENT and "imdb" not in out


def test_fetch_without_names_gets_all_and_fails_when_one_fails(serve, monkeypatch, cache, capsys):
    serve("good")
    for name in ("mysterious_island", "tang_poems", "lyrics", "imdb"):
        without_mirrors(monkeypatch, name)
    assert datasets.main(["fetch"]) == 1
    assert (cache / "tiny.txt").exists()
    assert capsys.readouterr().out.count("NOT FOUND: ") == 4


@pytest.mark.parametrize("arguments", [["fetch", "tolstoy"], ["get"]])
def test_the_command_line_refuses_what_it_does_not_know(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        datasets.main(arguments)
    assert exit_.value.code == 2 and arguments[-1] in capsys.readouterr().err


def test_the_module_runs_as_a_command(tmp_path):
    command = [sys.executable, "-m", "utils.datasets"]
    out = subprocess.run(command, cwd=datasets.ROOT, capture_output=True, text=True, check=True)
    assert all(name in out.stdout for name in REGISTRY)
