"""Checkpoints: written whole or not at all, read as data, refused where they do not fit."""

import copy
import math
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from utils import training
from utils.batching import random_windows
from utils.models import GRUScratch, LanguageModel
from utils.training import load_checkpoint, save_checkpoint

OPTIMIZERS = {
    "SGD": partial(torch.optim.SGD, lr=0.5),
    "momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "Adam": partial(torch.optim.Adam, lr=0.02),
    "AdamW": partial(torch.optim.AdamW, lr=0.02, amsgrad=True),
    "Adamax": partial(torch.optim.Adamax, lr=0.02),
    "RAdam": partial(torch.optim.RAdam, lr=0.02),
    "Adafactor": partial(torch.optim.Adafactor, lr=0.02),
}
IDS = torch.arange(5).repeat(40)


def make(optimizer="Adam", steps=2, seed=0, layer=None):
    """Return a model and its optimizer after a few steps."""
    torch.manual_seed(seed)
    model = LanguageModel(layer or nn.LSTM(3, 4, num_layers=2), 5)
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randint(5, (2, 6)))[0].square().sum().backward()
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
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or a != a  # not a number


def refused(path, model, optimizer, *words):
    """Check that a ValueError names the path and holds the words, and that nothing was loaded."""
    before = snapshot(model, optimizer)
    with pytest.raises(ValueError, match=r"^path must be ") as error:
        load_checkpoint(path, model, optimizer)
    for word in (str(path), *words):
        assert word in str(error.value)
    assert same(snapshot(model, optimizer), before)


def rewrite(path, change):
    """Change the content of a checkpoint, as another program or another version might."""
    states = torch.load(path)
    torch.save(change(states) or states, path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pt"


# --- Round trips -----------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_and_optimizer_come_back_to_the_last_bit(optimizer, path):
    saved = make(optimizer)
    before = snapshot(*saved)
    save_checkpoint(path, *saved)
    assert same(snapshot(*saved), before), "saving changes nothing"
    for steps in (0, 3):  # into an optimizer without any state, and over another one
        fresh = make(optimizer, steps=steps, seed=1)
        assert not same(snapshot(*fresh), before)
        assert load_checkpoint(path, *fresh) == {}
        assert same(snapshot(*fresh), before)
    given = [p for group in fresh[1].param_groups for p in group["params"]]
    assert all(p is q for p, q in zip(fresh[0].parameters(), given, strict=True))


def test_several_groups_of_parameters_and_their_settings(path):
    def build():
        model, _ = make()
        groups = [{"params": model.layer.parameters()}, {"params": model.output.parameters()}]
        return model, torch.optim.Adam(groups, 0.01)

    saved, fresh = build(), build()
    saved[1].param_groups[1]["lr"] = 0.5
    save_checkpoint(path, *saved)
    load_checkpoint(path, *fresh)
    assert [group["lr"] for group in fresh[1].param_groups] == [0.01, 0.5]
    refused(path, *make(), "optimizer", "Adam over groups of [11] parameters")


def test_extra_comes_back_as_it_was_and_a_later_step_does_not_reach_the_file(path):
    saved = make()
    extra = {
        "done": False,
        "note": 'naïve 春 "quoted"\n',
        "config": {"num_hiddens": 4, 7: ["a", {"b": [None]}, (math.inf, 3)]},
        "rng": torch.get_rng_state(),
        "states": saved[0].state_dict(),
        "model_": "names of the arguments are free but for path, model, optimizer",
    }
    expected = copy.deepcopy(extra)
    save_checkpoint(path, *saved, **extra)
    with torch.no_grad():
        saved[0].output.bias += 1
    assert same(load_checkpoint(str(path), *make()), expected)
    assert os.listdir(path.parent) == ["model.pt"]


@pytest.mark.parametrize(
    "value",
    [np.float64(0.5), np.zeros(2), Path("x"), training.History(), print],
    ids=lambda value: type(value).__name__,
)
def test_what_could_not_be_read_back_is_not_written(path, value):
    """A numpy number is a float, is pickled as code, and would make the file unreadable."""
    save_checkpoint(path, *make(), step=1)
    for extra in (value, [value], (0, value), {"a": {"b": value}}, OrderedDict(a=value)):
        with pytest.raises(TypeError, match=r"^extra must be made of "):
            save_checkpoint(path, *make(), step=2, extra=extra)
    assert os.listdir(path.parent) == ["model.pt"]
    assert load_checkpoint(path, *make()) == {"step": 1}


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


# --- Whole or not at all ---------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_a_save_that_fails_halfway_leaves_the_old_file_whole(path, monkeypatch, error, first):
    old, new = make(), make(seed=1)
    if not first:
        save_checkpoint(path, *old, step=1)

    def save(states, file):
        Path(file).write_bytes(b"PK")
        raise error

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(error):
        save_checkpoint(path, *new, step=2)
    assert os.listdir(path.parent) == ([] if first else ["model.pt"])
    if not first:
        assert load_checkpoint(path, *new) == {"step": 1}
        assert same(snapshot(*new), snapshot(*old))


def test_what_is_not_there_is_named_and_not_made(tmp_path):
    for use in (save_checkpoint, load_checkpoint):
        with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "nowhere"))):
            use(tmp_path / "nowhere" / "model.pt", *make())
        with pytest.raises(OSError, match=re.escape(str(tmp_path))):
            use(tmp_path, *make())
    assert not list(tmp_path.iterdir())


# --- Damaged files, and files of another kind ------------------------------------------------


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(path, share):
    save_checkpoint(path, *make(), step=1)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refused(path, *make(seed=1), "whole checkpoint")


def test_a_flipped_byte_of_a_weight_or_of_the_optimizers_state(path):
    """torch.load does not look at the checksums: it would read another number."""
    saved = make()
    save_checkpoint(path, *saved)
    whole = path.read_bytes()
    for part in (saved[0].output.weight, saved[1].state[saved[0].output.weight]["exp_avg"]):
        place = whole.index(part.detach().numpy().tobytes()) + 7
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        refused(path, *make(seed=1), "data/", "is damaged")


def test_a_member_marked_as_a_folder(path):
    """torch.load does not read it, and takes whatever lies in the memory for the weights."""
    save_checkpoint(path, *make())
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data/0"))
    marks = whole.rindex(name.encode()) - 8  # the outer attributes, eight bytes before the name
    path.write_bytes(whole[:marks] + b"\x10" + whole[marks + 1 :])
    refused(path, *make(seed=1), f"{name} is damaged")


def test_any_flipped_byte_is_refused_or_does_not_matter(path):
    other = make(layer=nn.RNN(1, 1))
    before = snapshot(*other)
    save_checkpoint(path, *other, step=1)
    whole = path.read_bytes()
    for place in range(0, len(whole), len(whole) // 97):
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ 1 + place % 255]) + whole[place + 1 :]
        )
        try:
            assert load_checkpoint(path, *other) == {"step": 1}
        except ValueError as error:
            assert str(error).startswith("path must be ") and str(path) in str(error)
    assert same(snapshot(*other), before)


class Evil:
    """A pickle of this creates a file when it is read as code."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_code_does_not_run(path):
    ran, (model, optimizer) = path.parent / "ran", make()
    save_checkpoint(path, model, optimizer)
    for content in (Evil(ran), torch.load(path) | {"extra": {"step": Evil(ran)}}):
        for write in (torch.save, partial(torch.save, _use_new_zipfile_serialization=False)):
            write(content, path)
            refused(path, model, optimizer, "whole checkpoint")
        path.write_bytes(pickle.dumps(content))
        refused(path, model, optimizer, "whole checkpoint")
    assert not ran.exists()
    torch.save(Evil(ran), path)
    torch.load(path, weights_only=False)
    assert ran.exists(), "the file was harmful"


@pytest.mark.parametrize("write", [Path.touch, lambda path: path.write_text("No.")])
def test_a_file_of_another_kind(path, write):
    write(path)
    refused(path, *make(), "whole checkpoint")


@pytest.mark.parametrize(
    "content",
    [
        lambda states: states["model"],  # a bare state_dict
        lambda states: {name: part for name, part in states.items() if name != "written_by"},
        lambda states: states | {"epoch": 3},
        lambda states: 3,
        lambda states: states | {"model": 3},
        lambda states: states | {"optimizer": None},
        lambda states: states | {"written_by": "Adam"},
    ],
)
def test_a_checkpoint_of_another_make(path, content):
    save_checkpoint(path, *make())
    rewrite(path, content)
    refused(path, *make(seed=1), "a file of save_checkpoint")


@pytest.mark.parametrize(
    "content",
    [
        {"state": None},
        {"param_groups": []},
        {"param_groups": [{}]},
        {"state": {0: {"exp_avg": torch.zeros(9)}}},
        {"state": {99: {"exp_avg": torch.zeros(9)}}},
    ],
)
def test_an_optimizers_state_of_another_make(path, content):
    save_checkpoint(path, *make())
    rewrite(path, lambda states: states["optimizer"].update(content))
    refused(path, *make(seed=1), "a checkpoint of this optimizer, Adam over")


# --- Another model, another optimizer, another version ---------------------------------------


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: LanguageModel(nn.GRU(3, 6), 5), "layer.bias_hh_l0 of shape (18,), got (12,)"),
        (lambda: LanguageModel(nn.GRU(3, 4, 2), 5), "layer.bias_hh_l1 of shape (12,), got None"),
        (lambda: LanguageModel(GRUScratch(3, 4), 5), "layer.W_h of shape (4, 12), got None"),
        (lambda: nn.Linear(3, 5), "bias of shape (5,), got None"),
    ],
)
def test_a_checkpoint_of_another_architecture_and_the_other_way_round(path, build, words):
    (gru, adam), other = make(layer=nn.GRU(3, 4)), build()
    others_adam = OPTIMIZERS["Adam"](other.parameters())
    save_checkpoint(path, gru, adam)
    refused(path, other, others_adam, "a checkpoint of this model", words)
    refused(path, gru, others_adam, "a checkpoint of this optimizer")
    save_checkpoint(path, other, others_adam)
    refused(path, gru, adam, "a checkpoint of this model")


@pytest.mark.parametrize("theirs", OPTIMIZERS)
@pytest.mark.parametrize("ours", OPTIMIZERS)
def test_a_checkpoint_of_another_class_of_optimizer(path, ours, theirs):
    """torch loads Adam's state into Adamax without a word; its next step would fail."""
    save_checkpoint(path, *make(theirs))
    model, optimizer = make(ours, seed=1)
    kinds = [type(make(name)[1]).__name__ for name in (ours, theirs)]
    if kinds[0] == kinds[1]:
        load_checkpoint(path, model, optimizer)
        training.train(model, partial(random_windows, IDS, 4, 10), 1, optimizer)
    else:
        refused(path, model, optimizer, "optimizer", *kinds)


def test_a_checkpoint_with_an_optimizer_of_fewer_parameters(path):
    model, whole = make()
    part = OPTIMIZERS["Adam"](model.output.parameters())
    save_checkpoint(path, model, part)
    refused(path, model, whole, "Adam over groups of [11] parameters")
    save_checkpoint(path, model, whole)
    refused(path, model, part, "Adam over groups of [2] parameters")


def of_another_version(states):
    """Take a setting away that an earlier version of PyTorch did not have."""
    states["written_by"] = "Adam", "1.2.3"
    for group in states["optimizer"]["param_groups"]:
        del group["maximize"], group["eps"]


def test_a_setting_that_another_version_did_not_write_keeps_its_default(path):
    save_checkpoint(path, *make())
    rewrite(path, of_another_version)
    model, _ = make(seed=1)
    adam = torch.optim.Adam(model.parameters(), lr=0.5, eps=0.125, maximize=True)
    load_checkpoint(path, model, adam)
    (group,) = adam.param_groups
    assert (group["lr"], group["eps"], group["maximize"]) == (0.02, 0.125, True)
    assert same(model.state_dict(), make()[0].state_dict())
    training.train(model, partial(random_windows, IDS, 4, 10), 1, adam)


def test_the_versions_are_named_where_they_differ_and_the_file_does_not_fit(path):
    save_checkpoint(path, *make())
    other = make(layer=nn.GRU(3, 4))
    with pytest.raises(ValueError, match="this model") as error:
        load_checkpoint(path, *other)
    assert "PyTorch" not in str(error.value)
    rewrite(path, of_another_version)
    refused(path, *other, "PyTorch 1.2.3", torch.__version__)
    refused(path, *make("RAdam"), "of Adam", "PyTorch 1.2.3")
