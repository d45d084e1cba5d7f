"""Checkpoints: written whole or not at all, read as data, refused where they do not fit."""

import copy
import errno
import io
import math
import os
import pickle
import re
import tarfile
import zipfile
from collections import Counter, OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from utils import training
from utils.batching import pad, random_windows
from utils.models import Classifier, GRUScratch, LanguageModel, max_and_mean
from utils.training import History, load_checkpoint, save_checkpoint

OPTIMIZERS = {
    "SGD": partial(torch.optim.SGD, lr=0.5),
    "momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "Adam": partial(torch.optim.Adam, lr=0.02),
    "AdamW": partial(torch.optim.AdamW, lr=0.02, amsgrad=True),
    "Adafactor": partial(torch.optim.Adafactor, lr=0.02),
}
IDS = torch.arange(5).repeat(40)


class Reader(nn.Module):
    """A classifier with a fixed answer to nothing but X, so that every model is called alike."""

    def __init__(self):
        super().__init__()
        layers = [nn.GRU(3, 4), nn.LSTM(3, 4)]
        self.model = Classifier(nn.Embedding(5, 3), layers, max_and_mean, nn.Linear(16, 1))

    def forward(self, X):
        return self.model(*pad(list(X)))


MODELS = {
    "GRU": lambda: LanguageModel(nn.GRU(3, 4), 5),
    "LSTM": lambda: LanguageModel(nn.LSTM(3, 4, num_layers=2), 5),
    "scratch": lambda: LanguageModel(GRUScratch(3, 4), 5),
    "classifier": Reader,
}


def make(model="GRU", optimizer="Adam", steps=2, seed=0):
    """Return a model and its optimizer after a few steps."""
    torch.manual_seed(seed)
    model = MODELS[model]()
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    for _ in range(steps):
        out = model(torch.randint(5, (2, 6)))
        optimizer.zero_grad()
        (out[0] if isinstance(out, tuple) else out).square().sum().backward()
        optimizer.step()
    return model, optimizer


def snapshot(model, optimizer):
    return copy.deepcopy((model.state_dict(), optimizer.state_dict()))


def same(a, b):
    """Say whether a and b are of the same types and values, down to the last bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or a != a  # not a number


def refused(path, model, optimizer, message):
    """Check that a ValueError names the path and that nothing was loaded."""
    before = snapshot(model, optimizer)
    with pytest.raises(ValueError, match=f"^path must be {message}") as error:
        load_checkpoint(path, model, optimizer)
    assert str(path) in str(error.value)
    assert same(snapshot(model, optimizer), before)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for the examples of a property."""
    return tmp_path_factory.mktemp("checkpoints")


# --- Round trips -----------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", MODELS)
def test_weights_and_optimizer_come_back_to_the_last_bit(model, optimizer, path):
    saved = make(model, optimizer)
    save_checkpoint(path, *saved)
    for steps in (0, 3):  # into an optimizer without any state, and over another one
        fresh = make(model, optimizer, steps=steps, seed=1)
        assert not same(snapshot(*fresh), snapshot(*saved))
        assert load_checkpoint(path, *fresh) == {}
        assert same(snapshot(*fresh), snapshot(*saved))
    assert all(p is q for p, q in zip(fresh[0].parameters(), flat(fresh[1]), strict=True))


def flat(optimizer):
    return [p for group in optimizer.param_groups for p in group["params"]]


def test_saving_changes_nothing_and_a_later_step_does_not_reach_the_file(path):
    saved = make()
    before = snapshot(*saved)
    save_checkpoint(path, *saved, weights=saved[0].output.bias)
    assert same(snapshot(*saved), before)
    with torch.no_grad():
        saved[0].output.bias += 1
    extra = load_checkpoint(path, *saved)
    assert same(snapshot(*saved), before)
    assert torch.equal(extra["weights"], saved[0].output.bias)


def test_settings_of_the_optimizer_come_from_the_checkpoint(path):
    saved, fresh = make(), make()
    saved[1].param_groups[0]["lr"] = 0.125
    save_checkpoint(path, *saved)
    load_checkpoint(path, *fresh)
    assert fresh[1].param_groups[0]["lr"] == 0.125


def test_several_groups_of_parameters(path):
    def build():
        model, _ = make()
        groups = [{"params": model.layer.parameters()}, {"params": model.output.parameters()}]
        return model, torch.optim.Adam(groups, 0.01)

    model, optimizer = build()
    optimizer.param_groups[1]["lr"] = 0.5
    save_checkpoint(path, model, optimizer)
    fresh = build()
    load_checkpoint(path, *fresh)
    assert [group["lr"] for group in fresh[1].param_groups] == [0.01, 0.5]
    refused(path, *make(), "a checkpoint of this optimizer")


def test_extra_comes_back_as_it_was(path):
    extra = {
        "step": 12,
        "seconds": 0.1,
        "done": False,
        "note": 'naïve 春 "quoted"\n',
        "best": None,
        "perplexities": [3.5, math.inf],
        "shape": (2, 3),
        "config": {"num_hiddens": 4, 7: ["a", {"b": []}]},
        "rng": torch.get_rng_state(),
        "weights": [torch.randn(2, 3, dtype=torch.float64), torch.arange(3)],
        "states": make()[0].state_dict(),
        "model_": "names of the arguments are free but for path, model, optimizer",
    }
    save_checkpoint(path, *make(), **extra)
    assert same(load_checkpoint(path, *make()), extra)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
EXTRAS = st.recursive(
    PLAIN,
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.tuples(parts, parts)
        | st.dictionaries(st.text() | st.integers(), parts, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=40)
@given(
    extra=st.dictionaries(st.text(), EXTRAS, max_size=3).filter(
        lambda extra: not extra.keys() & {"path", "model", "optimizer"}
    )
)
def test_any_extra_that_is_written_comes_back(folder, extra):
    saved = nn.Linear(2, 1)
    sgd = torch.optim.SGD(saved.parameters(), 0.1)
    save_checkpoint(folder / "extra.pt", saved, sgd, **extra)
    assert same(load_checkpoint(folder / "extra.pt", saved, sgd), extra)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.float64(0.5), "float64"),
        (np.zeros(2), "ndarray"),
        (History(), "History"),
        (Path("x"), r"\w*Path"),
        ({1, 2}, "set"),
        (Counter("a"), "Counter"),
        (b"bytes", "bytes"),
        (print, "builtin_function_or_method"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_could_not_be_read_back_is_not_written(path, value, kind):
    """A numpy number is a float, is pickled as code, and would make the file unreadable."""
    save_checkpoint(path, *make(), step=1)
    for extra in (value, [value], (0, value), {"a": {"b": value}}, OrderedDict(a=value)):
        with pytest.raises(TypeError, match=f"^extra must be made of .*, got {kind}$"):
            save_checkpoint(path, *make(), step=2, extra=extra)
    assert load_checkpoint(path, *make()) == {"step": 1}


def test_keys_are_checked_too(path):
    with pytest.raises(TypeError, match=r"extra must be made of .*, got bytes"):
        save_checkpoint(path, *make(), names={b"a": 1})
    assert not path.exists()


def test_path_may_be_a_string_and_lie_in_the_working_folder(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    saved = make()
    save_checkpoint("model.pt", *saved, step=1)
    assert load_checkpoint(str(path), *make()) == {"step": 1}
    assert os.listdir(path.parent) == ["model.pt"]


@pytest.mark.parametrize("optimizer", ["momentum", "Adam"])
def test_training_on_from_a_checkpoint_equals_never_stopping(path, optimizer):
    """Weights and perplexities agree bit for bit: dropout and the order of windows included."""

    def build():
        model = LanguageModel(nn.GRU(3, 8), 5, dropout=0.3)
        return model, OPTIMIZERS[optimizer](model.parameters())

    def go_on(model, adam):
        return training.train(model, partial(random_windows, IDS, 4, 10), 2, adam).perplexities

    torch.manual_seed(0)
    never_stopped = build()
    go_on(*never_stopped)
    save_checkpoint(path, *never_stopped, epoch=2, rng=torch.get_rng_state())
    expected = go_on(*never_stopped)

    torch.manual_seed(1)
    stopped = build()
    torch.set_rng_state(load_checkpoint(path, *stopped)["rng"])
    assert go_on(*stopped) == expected
    assert same(snapshot(*stopped), snapshot(*never_stopped))

    forgetful = build()  # the weights alone are not enough
    forgetful[0].load_state_dict(torch.load(path)["model"])
    torch.set_rng_state(torch.load(path)["extra"]["rng"])
    assert go_on(*forgetful) != expected


# --- Whole or not at all ---------------------------------------------------------------------


def write_half(states, file):
    """Stand in for torch.save on a disk that is full halfway."""
    whole = io.BytesIO()
    TORCH_SAVE(states, whole)
    Path(file).write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupt(states, file):
    Path(file).write_bytes(b"PK")
    raise KeyboardInterrupt


TORCH_SAVE = torch.save


@pytest.mark.parametrize(("save", "error"), [(write_half, OSError), (interrupt, KeyboardInterrupt)])
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_a_save_that_fails_leaves_the_old_file_whole(path, monkeypatch, save, error, first):
    old, new = make(), make(seed=1)
    if not first:
        save_checkpoint(path, *old, step=1)
    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(error):
        save_checkpoint(path, *new, step=2)
    assert os.listdir(path.parent) == ([] if first else ["model.pt"])
    if not first:
        assert load_checkpoint(path, *new) == {"step": 1}
        assert same(snapshot(*new), snapshot(*old))


def test_a_real_lack_of_room_leaves_the_old_file_whole(path):
    """The system allows files of 2 kB; the checkpoint is larger."""
    resource = pytest.importorskip("resource")
    old, new = make(), make(seed=1)
    save_checkpoint(path, *old, step=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
    try:
        with pytest.raises((OSError, RuntimeError)):
            save_checkpoint(path, *new, step=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(path.parent) == ["model.pt"]
    assert load_checkpoint(path, *new) == {"step": 1}
    assert same(snapshot(*new), snapshot(*old))


def test_the_old_file_is_there_until_the_new_one_takes_its_place(path, monkeypatch):
    save_checkpoint(path, *make(), step=1)
    seen = []

    def replace(new, old):
        seen.append(load_checkpoint(old, *make())["step"])
        seen.append(load_checkpoint(new, *make())["step"])
        assert Path(old).parent in Path(new).parents, "the same file system, always"
        os_replace(new, old)

    os_replace = os.replace
    monkeypatch.setattr(os, "replace", replace)
    save_checkpoint(path, *make(), step=2)
    assert seen == [1, 2] and load_checkpoint(path, *make()) == {"step": 2}
    assert os.listdir(path.parent) == ["model.pt"]


def test_a_missing_folder_is_named_and_not_made(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "nowhere"))):
        save_checkpoint(tmp_path / "nowhere" / "model.pt", *make())
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_place_of_the_file(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "kept").touch()
    for use in (save_checkpoint, load_checkpoint):
        with pytest.raises(OSError, match=re.escape(str(path))):
            use(path, *make())
    assert [p.name for p in tmp_path.rglob("*")] == ["folder", "kept"]


def test_a_missing_file_is_named(path):
    model, optimizer = make()
    before = snapshot(model, optimizer)
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        load_checkpoint(path, model, optimizer)
    assert same(snapshot(model, optimizer), before)


# --- Damaged files, and files of another kind ------------------------------------------------


@pytest.mark.parametrize("share", [*(i / 10 for i in range(10)), 0.999])
def test_a_truncated_file(path, share):
    save_checkpoint(path, *make(), step=1)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refused(path, *make(seed=1), "a whole checkpoint")


def test_a_flipped_byte_of_a_weight_or_of_the_optimizers_state(path):
    """torch.load does not look at the checksums: it would read another number."""
    saved = make()
    save_checkpoint(path, *saved)
    whole = path.read_bytes()
    parts = [saved[0].output.weight, saved[1].state[saved[0].output.weight]["exp_avg"]]
    other = make(seed=1)
    for part in parts:
        place = whole.index(part.detach().numpy().tobytes())
        for i in range(place, place + 4 * part.numel(), 7):
            path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
            refused(path, *other, "a whole checkpoint, got .* .*data/.* is damaged")


def test_a_member_marked_as_a_folder(path):
    """torch.load does not read it, and takes whatever lies in the memory for the weights."""
    save_checkpoint(path, *make())
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data/0"))
    marks = whole.rindex(name.encode()) - 8  # the outer attributes, eight bytes before the name
    path.write_bytes(whole[:marks] + b"\x10" + whole[marks + 1 :])
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo(name).external_attr == 0x10 and archive.testzip() is None
    refused(path, *make(seed=1), f"a whole checkpoint, got .*{name} is damaged")


def tiny():
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    adam = torch.optim.Adam(model.parameters(), 0.1)
    model(torch.ones(1, 2)).sum().backward()
    adam.step()
    return model, adam


@settings(max_examples=150)
@given(place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
def test_any_flipped_byte_is_refused_or_does_not_matter(folder, place, bits):
    path, other = folder / "flipped.pt", tiny()
    before = snapshot(*other)
    save_checkpoint(path, *other, step=1)
    whole = bytearray(path.read_bytes())
    whole[int(place * len(whole))] ^= bits
    path.write_bytes(whole)
    try:
        assert load_checkpoint(path, *other) == {"step": 1}
    except ValueError as error:
        assert str(error).startswith("path must be ") and str(path) in str(error)
    assert same(snapshot(*other), before)


@settings(max_examples=150)
@given(
    start=st.sampled_from([b"", b"\x80", b"\x80\x02", b"PK\x03\x04", b"PK\x05\x06", b"\x8a\x0al"]),
    rest=st.binary(max_size=80),
)
def test_random_bytes(folder, start, rest):
    path = folder / "random.pt"
    path.write_bytes(start + rest)
    refused(path, *tiny(), "a whole checkpoint")


class Evil:
    """A pickle of this creates a file when it is read as code."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_code_does_not_run(path):
    ran = path.parent / "ran"
    model, optimizer = make()
    states = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    evil = [Evil(ran), states | {"extra": {"step": Evil(ran)}}, states | {"extra": Evil(ran)}]
    for content in evil:
        for write in (torch.save, partial(torch.save, _use_new_zipfile_serialization=False)):
            write(content, path)
            refused(path, model, optimizer, "a whole checkpoint")
        path.write_bytes(pickle.dumps(content))
        refused(path, model, optimizer, "a whole checkpoint")
    assert not ran.exists()
    torch.save(evil[0], path)
    torch.load(path, weights_only=False)
    assert ran.exists(), "the file was harmful"


def text(path):
    path.write_text("Not a checkpoint.\n" * 100)


def other_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.txt", "春")


def empty_zip(path):
    zipfile.ZipFile(path, "w").close()


def tar(path):
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))


def torchscript(path):
    torch.jit.trace(nn.Linear(2, 1), torch.ones(1, 2)).save(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("write", [Path.touch, text, other_zip, empty_zip, tar, torchscript])
def test_a_file_of_another_kind(path, write):
    write(path)
    refused(path, *make(), "a whole checkpoint")


def test_another_ending_does_not_make_another_reader(path):
    other = path.with_suffix(".safetensors")
    save_checkpoint(path, *make())
    path.rename(other)
    refused(other, *make(seed=1), "a whole checkpoint")


@pytest.mark.parametrize(
    "content",
    [
        lambda states: states["model"],  # a bare state_dict
        lambda states: states["optimizer"],
        lambda states: {"model": states["model"], "optimizer": states["optimizer"]},
        lambda states: states | {"epoch": 3},
        lambda states: list(states.values()),
        lambda states: states["model"]["output.bias"],
        lambda states: 3,
        lambda states: None,
        lambda states: states | {"model": 3},
        lambda states: states | {"model": list(states["model"].values())},
        lambda states: states | {"optimizer": None},
        lambda states: states | {"extra": [1]},
    ],
)
def test_a_checkpoint_of_another_make(path, content):
    model, optimizer = make()
    states = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "extra": {}}
    torch.save(content(states), path)
    refused(path, *make(seed=1), "a file of save_checkpoint, got .*: of another kind")


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"state": {}},
        {"param_groups": []},
        {"state": {}, "param_groups": 3},
        {"state": {}, "param_groups": [3]},
        {"state": {}, "param_groups": [{}]},
        {"state": [1], "param_groups": None},
    ],
)
def test_an_optimizers_state_of_another_make(path, content):
    model, _ = make()
    torch.save({"model": model.state_dict(), "optimizer": content, "extra": {}}, path)
    refused(path, *make(seed=1), "a checkpoint of this optimizer, Adam over")


@pytest.mark.parametrize("content", [3, {"exp_avg": torch.zeros(9)}, None])
def test_an_optimizers_state_that_does_not_fit_its_parameter(path, content):
    model, optimizer = make()
    states = optimizer.state_dict()
    for number in (0, 99):
        broken = states | {"state": states["state"] | {number: content}}
        torch.save({"model": model.state_dict(), "optimizer": broken, "extra": {}}, path)
        refused(path, *make(seed=1), "a checkpoint of this optimizer, Adam over")


# --- Another model, another optimizer --------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LanguageModel(nn.GRU(3, 6), 5), r"layer.bias_hh_l0 .*\(18,\), got \(12,\)"),
        (lambda: LanguageModel(nn.GRU(3, 4), 6), r"embedding.weight .*\(6, 3\), got \(5, 3\)"),
        (lambda: LanguageModel(nn.LSTM(3, 4), 5), r"layer.bias_hh_l0 .*\(16,\), got \(12,\)"),
        (lambda: LanguageModel(nn.RNN(3, 4), 5), r"layer.bias_hh_l0 .*\(4,\), got \(12,\)"),
        (lambda: LanguageModel(nn.GRU(3, 4, 2), 5), r"layer.bias_hh_l1 .*\(12,\), got None"),
        (lambda: LanguageModel(GRUScratch(3, 4), 5), r"layer.W_h .*\(4, 12\), got None"),
        (lambda: nn.Linear(3, 5), r"bias of shape \(5,\), got None"),
    ],
)
def test_a_checkpoint_of_another_architecture(path, build, message):
    save_checkpoint(path, *make())
    model = build()
    adam = OPTIMIZERS["Adam"](model.parameters())
    where = re.escape(f"{path} has to hold ")
    refused(path, model, adam, f"a checkpoint of this model: {where}{message}")


def test_a_checkpoint_of_a_larger_model_of_the_same_kind(path):
    """What the file holds too much is named as well."""
    deep = LanguageModel(nn.GRU(3, 4, 2), 5)
    save_checkpoint(path, deep, OPTIMIZERS["Adam"](deep.parameters()))
    refused(
        path, *make(), r"a checkpoint of this model: .*layer.bias_hh_l1 of shape None, got \(12,\)"
    )


@pytest.mark.parametrize("theirs", OPTIMIZERS)
@pytest.mark.parametrize("ours", OPTIMIZERS)
def test_a_checkpoint_of_another_optimizer(path, ours, theirs):
    """torch loads SGD's state into Adam without a word; its next step would fail."""
    kinds = {"momentum": "SGD", "AdamW": "Adam"}  # these two pairs share their settings
    save_checkpoint(path, *make(optimizer=theirs))
    model, optimizer = make(optimizer=ours, seed=1)
    if kinds.get(ours, ours) == kinds.get(theirs, theirs):
        load_checkpoint(path, model, optimizer)
        training.train(model, partial(random_windows, IDS, 4, 10), 1, optimizer)
    else:
        kind = type(optimizer).__name__
        refused(path, model, optimizer, f"a checkpoint of this optimizer, {kind} over")


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("steps", [0, 2])
def test_a_checkpoint_with_an_optimizer_of_fewer_parameters(path, optimizer, steps):
    model, whole = make(optimizer=optimizer, steps=steps)
    part = OPTIMIZERS[optimizer](model.output.parameters())
    save_checkpoint(path, model, part)
    refused(path, model, whole, r"a checkpoint of this optimizer, \w+ over \[7\] parameters; got")
    save_checkpoint(path, model, whole)
    refused(path, model, part, r"a checkpoint of this optimizer, \w+ over \[2\] parameters; got")


def test_an_optimizer_of_another_model_with_as_many_parameters(path):
    save_checkpoint(path, *make())
    wider = LanguageModel(nn.GRU(3, 6), 5)
    adam = OPTIMIZERS["Adam"](wider.parameters())
    refused(path, make(seed=1)[0], adam, "a checkpoint of this optimizer, Adam over")
