"""The data layer against files, folders, disks, settings and servers that misbehave."""

import hashlib
import io
import itertools
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
from dataclasses import replace

import pytest
from bad_server import CONTENT, bad_server

from utils import datasets
from utils.datasets import REGISTRY, DataError, File, SampleWarning, Unavailable

NUMBERS = itertools.count()
LIMITS = {"REVIEWS_PER_CLASS": 2, "MAX_MEMBER": 2**20, "MAX_ARCHIVE": 2**21}  # for small files


def hash_of(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def server():
    with bad_server() as server:
        yield server


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache; no other COURSE_ variables, and little patience."""
    for name in [name for name in os.environ if name.startswith("COURSE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    patience = dict.fromkeys(["OPEN_SECONDS", "SILENCE_SECONDS", "SLOW_SECONDS"], 1.5)
    for name, value in {"PAUSES": (0, 0.01), **patience}.items():
        monkeypatch.setattr(datasets, name, value)
    return tmp_path / "cache"


@pytest.fixture
def data(tmp_path, monkeypatch):
    (folder := tmp_path / "data").mkdir()
    monkeypatch.setenv("COURSE_DATA", str(folder))
    return folder


@pytest.fixture
def serve(server, monkeypatch):
    """A function that adds a data set like another one, in tiny.txt, and returns its name.

    It is looked for at the urls, then at the server, which serves it in the ways it is told.
    """

    def serve(*kinds, urls=(), content=CONTENT, like="time_machine"):
        server.requests.clear()
        name = f"{like}_{next(NUMBERS)}"
        urls = [*urls, *(f"{server.url}/{kind}/tiny.txt" for kind in kinds)]
        files = (File("tiny.txt", len(content), hash_of(content), urls),)
        monkeypatch.setitem(REGISTRY, name, replace(REGISTRY[like], name=name, files=files))
        return name

    return serve


@pytest.fixture
def put(data, serve, monkeypatch):
    """A function that adds a data set whose file, of this content, is in COURSE_DATA."""

    def put(content, like="time_machine"):
        for limit, value in LIMITS.items():
            monkeypatch.setattr(datasets, limit, value)
        (data / "tiny.txt").write_bytes(content)
        return serve(content=content, like=like)

    return put


def load_sample(name):
    """Load a data set that cannot be had; return the sample and the warning's text."""
    with pytest.warns(SampleWarning) as caught:
        sample = getattr(datasets, REGISTRY[name].loader)(name)
    assert sample.is_sample and len(caught) == 1 and caught[0].filename == __file__
    return sample, str(caught[0].message)


LOAD = f"""
import json, os, sys
from dataclasses import replace
from utils import datasets

sources, written, WRITING = [], [], os.O_WRONLY | os.O_RDWR | os.O_CREAT

def watch(event, args):
    if event in ("os.mkdir", "os.rename") or event == "open" and args[2] & WRITING:
        written.append([event, str(args[event == "os.rename"])])

datasets.PAUSES = (0, 0.01)
datasets.OPEN_SECONDS = datasets.SILENCE_SECONDS = datasets.SLOW_SECONDS = 60
sys.addaudithook(watch)
for url in sys.argv[1:]:
    files = [datasets.File("tiny.txt", {len(CONTENT)}, "{hash_of(CONTENT)}", [url])]
    datasets.REGISTRY[url] = replace(datasets.REGISTRY["time_machine"], name=url, files=files)
    sources.append(datasets.load_text(url).source)
print(json.dumps([sources, written]))
"""


def loading(*urls):
    """Start a process that loads tiny.txt from each url and says where it has written."""
    command = [sys.executable, "-c", LOAD, *urls]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(command, cwd=datasets.ROOT, env=environment, **pipes)


# --- Downloads
REQUESTS = {(kind, "good"): {kind: 1, "good": 1} for kind in ("missing", "hang", "broken")}
REQUESTS |= {(kind, "missing"): {kind: 1} for kind in ("good", "encoded", "packed")}
REQUESTS |= {("moved",): {"moved": 1, "good": 1}, ("flaky",): {"flaky": 2}}


@pytest.mark.parametrize("kinds", REQUESTS)
def test_each_mirror_is_asked_once_and_then_the_cache(serve, server, cache, capsys, kinds):
    corpus = datasets.load_text(name := serve(*kinds))
    assert corpus.text == CONTENT.decode() and corpus.sha256 == hash_of(CONTENT)
    served = "good" if "good" in kinds else kinds[0]
    assert corpus.source == f"tiny.txt from {server.url}/{served}/tiny.txt" and not corpus.is_sample
    assert [path.name for path in cache.iterdir()] == ["tiny.txt"]
    assert "tiny.txt: 100%" in capsys.readouterr().err  # the progress bar
    assert datasets.load_text(name).source == "tiny.txt from cache"
    assert server.requests == REQUESTS[kinds]


def test_two_processes_may_fetch_at_once_and_write_into_the_cache_alone(server, cache):
    kinds = ["missing", "wrong", "truncated", "missing", "together"]  # the last waits for both
    urls = [f"{server.url}/{kind}/tiny.txt" for kind in kinds]
    for process in [loading(*urls) for _ in range(2)]:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0 and err.count("SampleWarning: ") == 4, err
        sources, written = json.loads(out)
        assert sources.pop() == f"tiny.txt from {urls[-1]}"
        assert all(source.startswith("sample: ") for source in sources)
        assert all(path.startswith(f"{cache}") for _, path in written), written
        moved = [event for event, path in written if path == f"{cache / 'tiny.txt'}"]
        assert moved == ["os.rename"], "the file comes whole into its place"
    assert [path.name for path in cache.iterdir()] == ["tiny.txt"]
    assert (cache / "tiny.txt").read_bytes() == CONTENT


FAILURES = {  # what a server does: the reason to be given, and how often it is asked
    "missing": ("HTTP 404", 1),
    "broken": ("HTTP 500", 2),
    "wrong": (hash_of(CONTENT.swapcase()), 1),
    "truncated": ("the connection broke off", 2),
    "endless": (f"more than the {len(CONTENT):,} bytes", 1),
    "hang-midway": ("no answer in time", 1),
    "trickle": ("too slow", 1),
    "trickle-headers": ("no answer in time", 1),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_bad_server_leads_to_the_sample_with_the_reason(serve, server, cache, kind):
    reason, times = FAILURES[kind]
    name = serve(kind)
    corpus, message = load_sample(name)
    assert corpus.text == (datasets.SAMPLES / "story.txt").read_text("utf-8")
    assert corpus.source.startswith("sample: ") and reason in corpus.source
    assert "story.txt is a SAMPLE" in message and f"{kind}/tiny.txt: " in message
    assert "COURSE_DATA is not set" in message and f"{cache}/tiny.txt is not there" in message
    assert f"python -m utils.datasets fetch {name}" in message
    assert server.requests[kind.replace("-", "_")] == times
    assert not list(cache.iterdir())


UNREACHABLE = [  # a setting of the network, a server, and the reason to be given
    ("NO_PROXY", "127.0.0.1", "http://127.0.0.1:1", "no connection"),
    ("NO_PROXY", "127.0.0.1", "https://{}", "no secure connection"),
    ("REQUESTS_CA_BUNDLE", "/nonexistent", "https://localhost:1", "/nonexistent"),
]


@pytest.mark.parametrize(("name", "value", "host", "reason"), UNREACHABLE)
def test_who_cannot_be_reached(serve, server, monkeypatch, name, value, host, reason):
    monkeypatch.setenv(name, value)
    bad = f"{host.format(server.url.removeprefix('http://'))}/good/tiny.txt"
    message = load_sample(serve(urls=[bad]))[1]
    assert f"{bad}: " in message and reason in message and "COURSE_CACHE" not in message
    assert datasets.fetch(serve("good", urls=[bad])).read_bytes() == CONTENT


def test_missing_data_are_asked_for_once_or_an_error(serve, server, cache, data, monkeypatch):
    name = serve("missing", "broken")
    monkeypatch.setenv("COURSE_REQUIRE_DATA", "1")
    with pytest.raises(Unavailable) as error:
        datasets.load_text(name)
    places = [data, cache, f"{server.url}/missing", f"{server.url}/broken"]
    assert all(f"{place}/tiny.txt" in str(error.value) for place in places)
    for no in ("0", ""):
        monkeypatch.setenv("COURSE_REQUIRE_DATA", no)
        load_sample(name)
    assert server.requests["missing"] == 1
    with pytest.raises(Unavailable):
        datasets.fetch(name)
    assert server.requests["missing"] == 2
    (data / "tiny.txt").write_bytes(CONTENT)
    for value in ("false", "2", "01", " 1"):  # an error also where the data are at hand
        monkeypatch.setenv("COURSE_REQUIRE_DATA", value)
        with pytest.raises(ValueError, match=f"COURSE_REQUIRE_DATA must be 0 or 1, got '{value}'"):
            datasets.load_text(name)


# --- Disks and folders
def test_the_disks_fault_ends_the_search(serve, server, cache):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # no file may be longer
    try:
        message = load_sample(serve("good", "moved"))[1]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"cache: {cache}: " in message and "File too large; set COURSE_CACHE to a " in message
    assert server.requests == {"good": 1} and not list(cache.iterdir())
    cache.rmdir()
    cache.write_text("mine")
    assert f"cache: {cache}: " in load_sample(serve("good", "moved"))[1] and not server.requests
    assert cache.read_text() == "mine"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_what_an_ended_download_leaves_is_removed_sooner_or_later(serve, server, cache, how):
    with loading(f"{server.url}/hang-midway/tiny.txt") as process:
        while not list(cache.glob("*/*")):  # the unfinished file
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(how)
    left = list(cache.iterdir())
    assert len(left) == (how == signal.SIGKILL)
    others = [cache / "theirs", cache / f"{datasets.TEMPORARY}alive"]
    for folder in others:
        folder.mkdir()
    for folder in (*left, others[0]):
        os.utime(folder, (0, 0))  # a very old one
    datasets.fetch(serve("good"))
    assert sorted(cache.iterdir()) == sorted([*others, cache / "tiny.txt"])


def test_course_data_comes_before_the_cache_and_stays_as_it_is(serve, server, cache, data):
    missing, name = serve("missing"), serve("good")
    datasets.fetch(name)
    (data / "tiny.txt").write_bytes(CONTENT)
    assert datasets.load_text(name).source == "tiny.txt from COURSE_DATA"
    assert datasets.locate(name) == data / "tiny.txt"
    (data / "tiny.txt").unlink()
    assert datasets.locate(name) == cache / "tiny.txt"
    (cache / "tiny.txt").write_bytes(CONTENT[:-1])
    assert datasets.locate(name) is None
    assert f"expected {hash_of(CONTENT)}" in load_sample(missing)[1]
    assert datasets.load_text(name).text == CONTENT.decode()
    assert server.requests["good"] == 2 and not list(data.iterdir())


@pytest.mark.parametrize("content", [b"wrong", None], ids=["file", "folder"])
def test_a_wrong_file_in_course_data_is_an_error(serve, cache, data, content):
    path, name = data / "tiny.txt", serve("good")
    path.write_bytes(content) if content else path.mkdir()
    problem = f"has sha256 {hash_of(content)}, expected" if content else "cannot be read"
    for use in (datasets.load_text, datasets.locate, datasets.fetch):
        with pytest.raises(DataError, match=f"{path} {problem}"):
            use(name)
    assert not cache.exists()


@pytest.mark.parametrize("folder", ["/nowhere", __file__, "~nobody-of-this-name/data"])
def test_course_data_must_be_a_folder(serve, monkeypatch, folder):
    monkeypatch.setenv("COURSE_DATA", folder)
    with pytest.raises(DataError, match=f"COURSE_DATA must be a folder .* got .*{folder}"):
        datasets.load_text(serve("good"))


@pytest.mark.parametrize("folder", ["", "~/cache", "~nobody-of-this-name/cache"])
def test_a_user_without_a_home(serve, server, monkeypatch, folder):
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COURSE_CACHE", folder)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # KeyError: nobody knows this user
    before = sorted(datasets.ROOT.iterdir())
    said = f"no home is known for COURSE_CACHE={folder}: name a folder without ~"
    said = said if folder else "no home for a cache: set COURSE_CACHE"
    assert f"\n- {said}\n" in load_sample(serve("good"))[1] + "\n"
    assert sorted(datasets.ROOT.iterdir()) == before and not server.requests


def test_folders_start_at_the_projects_root_or_at_home(put, data, monkeypatch, tmp_path):
    name = put(CONTENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in (os.path.relpath(data, datasets.ROOT), "~/data"):
        monkeypatch.setenv("COURSE_DATA", folder)
        assert datasets.locate(name).samefile(data / "tiny.txt")
        monkeypatch.setenv("COURSE_CACHE", folder)
        monkeypatch.delenv("COURSE_DATA")
        assert datasets.locate(name).samefile(data / "tiny.txt")


# --- Names, registry, samples
OTHER_KIND = {"load_text": "imdb", "load_reviews": "lyrics", "load_pronunciations": "imdb"}


@pytest.mark.parametrize("use", [*OTHER_KIND, "locate", "fetch"])
def test_a_name_that_is_unknown_or_of_the_other_kind_is_refused(use):
    other = OTHER_KIND.get(use)
    for name in filter(None, ("timemachine", ["imdb"], other)):
        expected = "is read by" if name == other else f"one of {', '.join(REGISTRY)}; got"
        with pytest.raises(ValueError, match=expected) as error:
            getattr(datasets, use)(name)
        assert str(name) in str(error.value)


def test_the_registry_is_complete_and_what_lies_on_github_is_pinned_and_has_three_mirrors():
    files, found = [file for data_set in REGISTRY.values() for file in data_set.files], []
    assert len({file.name for file in files}) == len(files)
    assert all(len(file.sha256) == 64 and file.size > 0 for file in files)
    for data_set in REGISTRY.values():
        assert data_set.title and data_set.citation and any(file.urls for file in data_set.files)
    for url in [url for file in files for url in file.urls if re.search("github|jsdelivr", url)]:
        match = re.fullmatch(r"https://([a-z.]+)/(?:gh/)?(\S+?)[/@]([0-9a-f]{40}/[!-~]+)", url)
        assert match, f"{url} is not pinned to a commit, or not in ASCII"
        found.append(match.groups())
    hosts = ["raw.githubusercontent.com", "cdn.jsdelivr.net", "fastly.jsdelivr.net"]
    paths = list(dict.fromkeys((repository, path) for _, repository, path in found))
    assert len(paths) == 5 and found == [(host, *path) for path in paths for host in hosts]


@pytest.mark.parametrize("like", sorted(REGISTRY))
def test_every_data_set_has_a_sample(serve, like):
    sample, message = load_sample(serve(like=like))
    path = datasets.SAMPLES / REGISTRY[like].sample
    assert REGISTRY[like].title in message and path.name in message
    assert sample.sha256 == hash_of(path.read_bytes()) and len(repr(sample)) < 1000
    assert like != "imdb" or {label for _, label in sample.train} == {0, 1}


# --- Files and archives
def zipped(**texts):
    with zipfile.ZipFile(file := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return file.getvalue()


POEM = '{"paragraphs": ["春，", "夏（一作：秋）。"]}'
POEMS = f'{{"content": [{{"content": [{POEM}, {POEM}]}}, {{"content": [{POEM}]}}]}}'.encode()
TEXTS = {
    "time_machine": ("\ufeffeins\r\nzwei é\r\n".encode(), "eins\nzwei é\n"),
    "tang_poems": (POEMS, "\n".join(3 * ["春，夏（一作：秋）。"])),
    "lyrics": (zipped(a="春\n夏"), "春\n夏"),
}


def test_texts_are_read_as_they_are(put):
    for like, (content, text) in TEXTS.items():
        assert datasets.load_text(put(content, like)).text == text


DICTIONARY = b"# 1993\n\n'm EH1 M\nread R EH1 D # past\nread(2) R IY1 D\nad AE0 D"


def test_words_of_a_to_z_are_read_with_their_first_pronunciation_and_without_stress(put):
    words = datasets.load_pronunciations(put(DICTIONARY, "cmudict")).words
    assert words == [("read", ("R", "EH", "D")), ("ad", ("AE", "D"))]


NAMES = ["train/pos", "train/neg", "test/pos", "test/neg"]
NAMES = [f"aclImdb/{kind}/{number}_7.txt" for kind in NAMES for number in (2, 10)]


def tarred(names, text="é<br />", mode="w:gz", odd=()):
    """Return a tar archive with a review, ending in its own name, at each name; then odd ones."""
    with tarfile.open(fileobj=(file := io.BytesIO()), mode=mode) as archive:
        for name in names:
            content = f"{text} {name}".encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in odd:
            archive.addfile(member)
    return file.getvalue()


def reviews_of(split):
    names = [f"{label}/{i}" for label in ("neg", "pos") for i in (2, 10)]  # by label and number
    return [(f"é<br /> aclImdb/{split}/{name}_7.txt", int(name[:3] == "pos")) for name in names]


OTHERS = ["README", "train/unsup/0_0.txt", "train/urls_pos.txt", "train/pos/../../evil_1.txt"]
OTHERS += ["train/pos/._0_9.txt", "train/pos/3_7.txt~", "old/aclImdb/train/pos/3_7.txt"]
OTHERS = [f"aclImdb/{name}" for name in OTHERS] + ["../evil.txt"]
ODD_TYPES = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE]


def test_reviews_are_sorted_and_what_else_an_archive_holds_is_left_alone(put, tmp_path):
    (secret := tmp_path / "secret.txt").write_text("secret")
    odd = [tarfile.TarInfo(f"{secret.parent}/evil.txt"), tarfile.TarInfo("../../evil.txt")]
    for i, kind in enumerate(ODD_TYPES):
        odd.append(member := tarfile.TarInfo(f"aclImdb/train/pos/{100 + i}_9.txt"))
        member.type, member.linkname = kind, str(secret)
    archives = [tarred(OTHERS + NAMES, mode="w", odd=odd)]
    archives += [tarred(NAMES[::-1] + OTHERS, mode=f"w:{kind}") for kind in ("gz", "xz")]
    for content in archives:
        name = put(content, "imdb")
        before = sorted(tmp_path.parent.rglob("*"))
        reviews = datasets.load_reviews(name)
        assert reviews.train == reviews_of("train") and reviews.test == reviews_of("test")
        assert reviews.source == "tiny.txt from COURSE_DATA" and not reviews.is_sample
        assert reviews.sha256 == hash_of(content)
        assert sorted(tmp_path.parent.rglob("*")) == before, "nothing is written"


ZEROS = zipped(bomb=bytes(2**25))
HUGE = tarfile.TarInfo("aclImdb/README")  # none of the reviews: its header says how long it is
HUGE.size = 2**21
MANY, MORE = "holds more than 2,097,152 bytes", r"train/pos/2_7\.txt in .* more than 1,048,576"
REFUSED = {
    "a text that is not UTF-8": ("time_machine", b"\xff", "cannot be read .UnicodeDecodeError"),
    "poems without content": ("tang_poems", b"{}", "cannot be read .KeyError: 'content'"),
    "poems without end": ("tang_poems", b"[" * 100_000, "cannot be read .RecursionError"),
    "an empty zip": ("lyrics", zipped(), "must hold one file, got 0"),
    "a zip of two files": ("lyrics", zipped(a="a", b="b"), "must hold one file, got 2"),
    "a bomb": ("lyrics", ZEROS, "bomb in .* holds more than 1,048,576 bytes"),
    "called small": ("lyrics", ZEROS.replace(bytes([0, 0, 0, 2]), bytes([9, 0, 0, 0])), "CRC"),
    "no words": ("cmudict", DICTIONARY[:17], "has the right hash, but no words"),
    "no sounds": ("cmudict", DICTIONARY + b"\nno", "line 7 must be .* sounds, got 'no'"),
    "half a tar": ("imdb", tarred(NAMES, mode="w")[:5120], "must hold 2 reviews"),
    "half a tar.xz": ("imdb", tarred(NAMES, mode="w:xz")[:150], "cannot be read|2 reviews of"),
    "a huge review": ("imdb", tarred(NAMES, "0" * 2**20), MORE),
    "a huge file": ("imdb", tarred([], odd=[HUGE]), MANY),
    "many reviews": ("imdb", tarred(["aclImdb/train/pos/1_7.txt"] * 3_000), MANY),
}
for missing in NAMES[::2]:  # one of each class, and the other one of its class twice
    names = [name for name in NAMES if name != missing] + [missing.replace("/2_", "/10_")]
    problem = f"{missing.split('/')[1]} in .* must hold 2 reviews of each class, got"
    REFUSED[f"{missing} missing"] = ("imdb", tarred(names), problem)


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_of_the_right_hash_and_a_wrong_content_is_an_error(put, data, cache, kind):
    like, content, problem = REFUSED[kind]
    name = put(content, like)
    tracemalloc.start()
    with pytest.raises(DataError, match=problem) as error:
        getattr(datasets, REGISTRY[name].loader)(name)
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not isinstance(error.value, Unavailable) and f"{data}/tiny.txt" in str(error.value)
    assert [*data.iterdir()] == [data / "tiny.txt"] and not cache.exists(), "nothing is written"
    assert memory < (2**23 if "xz" not in kind else 2**25), "nothing is unpacked at once"


# --- The command
def test_the_list_asks_no_server_and_fetch_gets_all_or_what_is_named(
    serve, server, cache, monkeypatch, capsys
):
    missing, good = serve("missing"), serve("good")
    assert datasets.main([]) == 0 and not server.requests
    out = capsys.readouterr().out
    for data_set in REGISTRY.values():
        assert data_set.name in out and data_set.licence in out and data_set.citation in out
    assert f"cache: {cache}/tiny.txt is not there" in out
    for name in {*REGISTRY} - {missing, good}:
        monkeypatch.delitem(REGISTRY, name)
    assert datasets.main(["fetch"]) == 1  # one of the two cannot be had
    out = capsys.readouterr().out
    assert "NOT FOUND: " in out and f"{server.url}/good/tiny.txt: {cache}/tiny.txt" in out
    assert datasets.main(["fetch", good]) == 0
    out = capsys.readouterr().out
    assert f"    cache: {cache}/tiny.txt\n" in out and missing not in out
    with pytest.raises(SystemExit, match="2"):
        datasets.main(["fetch", "tolstoy"])
    assert "got 'tolstoy'" in capsys.readouterr().err


def test_the_module_runs_as_a_command(monkeypatch):
    monkeypatch.setenv("COURSE_DATA", "/nowhere")
    command = [sys.executable, "-m", "utils.datasets", "fetch", "imdb", "lyrics"]
    run = subprocess.run(command, cwd=datasets.ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 1 and run.stdout.count("NOT FOUND: COURSE_DATA must be a ") == 2
