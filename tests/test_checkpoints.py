"""Checkpoints: written whole or not at all, read as data, refused where they do not fit."""

import copy
import math
import os
import pickle
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from utils import training
from utils.models import LanguageModel
from utils.training import load_checkpoint, save_checkpoint

OPTIMIZERS = {
    "SGD": partial(torch.optim.SGD, lr=0.5),
    "momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "Adam": partial(torch.optim.Adam, lr=0.02),
    "AdamW": partial(torch.optim.AdamW, lr=0.02, amsgrad=True),
    "Adamax": partial(torch.optim.Adamax, lr=0.02),
    "Adafactor": partial(torch.optim.Adafactor, lr=0.02),
}


def go_on(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randint(5, (2, 6)))[0].square().sum().backward()
        optimizer.step()


def make(optimizer="Adam", steps=2, seed=0, layer=None):
    """Return a model and its optimizer after a few steps."""
    torch.manual_seed(seed)
    model = LanguageModel(layer or nn.LSTM(3, 4, num_layers=2), 5)
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    go_on(model, optimizer, steps)
    return model, optimizer


def snapshot(model, optimizer):
    return copy.deepcopy((model.state_dict(), optimizer.state_dict()))


def same(a, b):
    """Say whether a and b are of the same types and values, down to the last bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def refused(path, model, optimizer, *words):
    """Check that a ValueError names the path and holds the words, and that nothing was loaded."""
    before = snapshot(model, optimizer)
    with pytest.raises(ValueError, match=r"^path must be ") as error:
        load_checkpoint(path, model, optimizer)
    assert [word for word in (str(path), *words) if word not in str(error.value)] == []
    assert same(snapshot(model, optimizer), before)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pt"


# --- Round trips
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
    for both in (saved, fresh):
        torch.manual_seed(2)
        go_on(*both, steps=1)
    assert same(snapshot(*saved), snapshot(*fresh)), "training goes on as if it had never stopped"


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


def test_extra_comes_back_as_it_was(path):
    saved = make()
    extra = {
        "done": False,
        "note": 'naïve 春 "quoted"\n',
        "config": {"num_hiddens": 4, 7: ["a", {"b": [None]}, (math.inf, 3)]},
        "rng": torch.get_rng_state(),
        "states": saved[0].state_dict(),
    }
    save_checkpoint(path, *saved, **extra)
    assert same(load_checkpoint(str(path), *make()), extra)


NOT_DATA = np.float64(0.5), np.zeros(2), Path("x"), print, lambda: 0, iter(()), {1: print}.items()


@pytest.mark.parametrize("value", NOT_DATA, ids=range(7))
def test_what_could_not_be_read_back_is_named_and_not_written(path, value):
    """A numpy number is a float, is pickled as code, and would make the file unreadable."""
    save_checkpoint(path, *make(), step=1)
    for note in (value, [value], {"a": {"b": value}}):
        with pytest.raises(TypeError, match=r"^note must be made of "):
            save_checkpoint(path, *make(), step=2, note=note)
    model, optimizer = make()
    optimizer.param_groups[0]["lr"] = value
    with pytest.raises(TypeError, match=r"^optimizer must be made of "):
        save_checkpoint(path, model, optimizer)
    assert os.listdir(path.parent) == ["model.pt"]
    assert load_checkpoint(path, *make()) == {"step": 1}


# --- Whole or not at all
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_save_that_fails_halfway_leaves_the_old_file_whole(path, monkeypatch, error):
    old, new = make(), make(seed=1)

    def save(states, file):
        Path(file).write_bytes(b"PK")
        raise error

    for files in ([], ["model.pt"]):
        with monkeypatch.context() as failing, pytest.raises(error):
            failing.setattr(training, "torch", SimpleNamespace(save=save, __version__="2"))
            save_checkpoint(path, *new, step=2)
        assert os.listdir(path.parent) == files
        if not files:
            save_checkpoint(path, *old, step=1)
    assert load_checkpoint(path, *new) == {"step": 1}
    assert same(snapshot(*new), snapshot(*old))


def test_what_is_not_there_is_named_and_not_made(tmp_path):
    for use in (save_checkpoint, load_checkpoint):
        with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "nowhere"))):
            use(tmp_path / "nowhere" / "model.pt", *make())
        with pytest.raises(OSError, match=re.escape(str(tmp_path))):
            use(tmp_path, *make())
    assert not list(tmp_path.iterdir())


# --- Damaged files, and files of another kind
def test_any_flipped_byte_is_refused_or_does_not_matter_and_half_a_file_is_refused(path):
    """Of two torch.load does not notice: a weight's, and the mark of a folder before its name."""
    both = make(layer=nn.RNN(1, 1))
    before = snapshot(*both)
    save_checkpoint(path, *both, step=1)
    whole, weight, name = path.read_bytes(), both[0].output.weight.detach(), "checkpoint/data/0"
    unnoticed = {whole.index(weight.numpy().tobytes()) + 7: "data/"}
    unnoticed[whole.rindex(name.encode()) - 8] = name
    for place in [*unnoticed, *range(0, len(whole), len(whole) // 97)]:
        flipped = whole[place] ^ (0x10 if place in unnoticed else 1 + place % 255)
        path.write_bytes(whole[:place] + bytes([flipped]) + whole[place + 1 :])
        try:
            assert load_checkpoint(path, *both) == {"step": 1} and place not in unnoticed
        except ValueError as error:
            words = "path must be ", str(path), unnoticed.get(place, "")
            assert [word for word in words if word not in str(error)] == []
        assert same(snapshot(*both), before)
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, *both, "whole checkpoint")


class Evil(str):
    """A pickle of this makes a folder of this name when it is read as code."""

    def __reduce__(self):
        return os.mkdir, (str(self),)


def test_a_pickle_that_would_run_code_does_not_run(path):
    ran, (model, optimizer) = path.parent / "ran", make()
    save_checkpoint(path, model, optimizer)
    for content in (Evil(ran), torch.load(path) | {"extra": {"step": Evil(ran)}}):
        for write in (torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))):
            write(content, path)
            refused(path, model, optimizer, "whole checkpoint")
    assert not ran.exists()


def test_a_checkpoint_of_another_make(path):
    save_checkpoint(path, *make())
    states = torch.load(path)
    parts = [{"epoch": 3}, {"model": 3}, {"optimizer": None}, {"written_by": "Adam"}]
    for content in (3, {"model": states["model"]}, *(states | part for part in parts)):
        torch.save(content, path)
        refused(path, *make(seed=1), "a file of save_checkpoint")
    parts = [{"state": None}, {"param_groups": []}, {"param_groups": [{}]}]
    parts += [{"state": {number: {"exp_avg": torch.zeros(9)}}} for number in (0, 99)]
    for part in parts:
        torch.save(states | {"optimizer": states["optimizer"] | part}, path)
        refused(path, *make(seed=1), "a checkpoint of this optimizer, Adam over")


# --- Another model, another optimizer, another version
def test_a_checkpoint_of_another_architecture_and_the_other_way_round(path):
    gru, adam = make(layer=nn.GRU(3, 4))
    for layer, words in [
        (nn.GRU(3, 6), "layer.bias_hh_l0 of shape (18,), got (12,)"),
        (nn.GRU(3, 4, 2), "layer.bias_hh_l1 of shape (12,), got None"),
    ]:
        other, others_adam = make(layer=layer)
        save_checkpoint(path, gru, adam)
        refused(path, other, others_adam, "a checkpoint of this model", words)
        refused(path, gru, others_adam, "a checkpoint of this optimizer")
        save_checkpoint(path, other, others_adam)
        refused(path, gru, adam, "a checkpoint of this model")


def test_a_checkpoint_of_another_class_of_optimizer(path):
    """torch loads Adam's state into Adamax without a word; its next step would fail."""
    save_checkpoint(path, *make("Adam"))
    for ours in ("Adamax", "SGD"):
        refused(path, *make(ours, seed=1), f"this optimizer, {ours}: ", "is of Adam")
    save_checkpoint(path, *make("momentum"))
    load_checkpoint(path, *(both := make("SGD")))  # of one class
    go_on(*both, steps=1)


def test_a_file_of_another_version_fits_or_is_said_to_be_one(path):
    """A setting that was not there yet keeps its default."""
    save_checkpoint(path, *make())
    other = make(layer=nn.GRU(3, 4))
    with pytest.raises(ValueError, match="this model") as error:
        load_checkpoint(path, *other)
    assert "PyTorch" not in str(error.value)
    states = torch.load(path)
    states["written_by"] = "Adam", "1.2.3"
    for group in states["optimizer"]["param_groups"]:
        del group["maximize"], group["eps"]
    torch.save(states, path)
    refused(path, *other, "PyTorch 1.2.3", torch.__version__)
    refused(path, *make("Adamax"), "of Adam", "PyTorch 1.2.3")
    model, _ = make(seed=1)
    adam = torch.optim.Adam(model.parameters(), lr=0.5, eps=0.125, maximize=True)
    load_checkpoint(path, model, adam)
    (group,) = adam.param_groups
    assert (group["lr"], group["eps"], group["maximize"]) == (0.02, 0.125, True)
    go_on(model, adam, steps=1)
