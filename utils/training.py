"""Training and honest evaluation of recurrent language models, and checkpoints of them."""

import math
import os
import time
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.nn import functional as F

from utils.runtime import check_positive, progress

PLAIN = int, float, bool, str, type(None)  # what an extra of a checkpoint may be, besides tensors


@dataclass
class History:
    """What a training run leaves behind: the perplexity of each epoch, and tokens a second."""

    perplexities: list = field(default_factory=list)
    tokens_per_second: float = 0.0


def perplexity(total_loss, num_tokens):
    """Return exp(sum of losses / number of tokens): the geometric mean of 1 / p.

    Losses are −log p in nats. 1 is perfect, the vocabulary's size is a uniform guess.
    Source: Jelinek et al. (1977), doi:10.1121/1.2016299
    """
    check_positive(num_tokens=num_tokens)
    mean = total_loss / num_tokens
    return math.inf if mean > 700 else math.exp(mean)  # exp(710) is beyond the largest float


def clip_gradients(parameters, theta):
    """Scale all gradients in place so that their joint norm is at most theta; return the norm.

    g ← min(1, theta / ‖g‖) g. Source: Pascanu et al. (2013), arXiv:1211.5063
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    norm = torch.sqrt(sum((grad**2).sum() for grad in grads))
    if norm > theta:
        for grad in grads:
            grad *= theta / norm
    return norm


def detach(state):
    """Return the state cut off from the graph of the minibatch that made it."""
    return None if state is None else tuple(part.detach() for part in state)


def sequence_loss(logits, Y):
    """Return the mean cross-entropy of logits (num_steps, batch_size, vocab_size) at Y.

    Y: (batch_size, num_steps) ids.
    """
    return F.cross_entropy(logits.flatten(0, 1), Y.T.flatten())


def train_epoch(model, batches, optimizer, clip, carry_state):
    """Update the model on each minibatch (X, Y); return the total loss and number of tokens."""
    model.train()
    total_loss, num_tokens, state = 0.0, 0, None
    for X, Y in batches:
        logits, state = model(X, detach(state) if carry_state else None)
        loss = sequence_loss(logits, Y)
        optimizer.zero_grad()
        loss.backward()
        clip_gradients(model.parameters(), clip)
        optimizer.step()
        total_loss += loss.item() * Y.numel()
        num_tokens += Y.numel()
    return total_loss, num_tokens


def train(
    model, make_batches, num_epochs, optimizer, *, clip=1.0, carry_state=False, on_epoch=None
):
    """Train the model for num_epochs passes; return a History.

    make_batches() starts a pass over minibatches (X, Y), each (batch_size, num_steps).
    optimizer: one of torch.optim over the model's parameters. carry_state hands the detached
    state from one minibatch to the next (sequential windows).
    on_epoch(epoch), where given, is called after each pass; its time is not counted.
    """
    check_positive(num_epochs=num_epochs)
    history, all_tokens, seconds = History(), 0, 0.0
    for epoch in progress(range(1, num_epochs + 1), "epochs"):
        start = time.perf_counter()
        total_loss, num_tokens = train_epoch(model, make_batches(), optimizer, clip, carry_state)
        seconds += time.perf_counter() - start
        all_tokens += num_tokens
        history.perplexities.append(perplexity(total_loss, num_tokens))
        if on_epoch:
            on_epoch(epoch)
    history.tokens_per_second = all_tokens / seconds
    return history


@torch.no_grad()
def evaluate(model, ids, num_steps=100):
    """Return the perplexity of the model on ids (num_tokens,), read once from left to right.

    The state is carried from window to window, so every token but the first is predicted from
    all the tokens before it. The model is left in its evaluation mode.
    Raises ValueError when ids holds fewer than two tokens.
    """
    check_positive(num_steps=num_steps)
    if len(ids) < 2:
        raise ValueError(f"ids must hold at least 2 tokens, got {len(ids)}")
    model.eval()
    total_loss, state = 0.0, None
    for X, Y in zip(ids[:-1].split(num_steps), ids[1:].split(num_steps), strict=True):
        logits, state = model(X[None], state)
        total_loss += sequence_loss(logits, Y[None]).item() * len(Y)
    return perplexity(total_loss, len(ids) - 1)


def save_checkpoint(path, model, optimizer, **extra):
    """Write the weights, the optimizer's state and extra to a file, whole or not at all.

    extra: numbers, strings, tensors, or lists and dicts of these, such as the step reached.
    Raises TypeError where extra holds anything else. A file that was there stays until the new one
    is whole.
    """
    check_extra(extra)
    states = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "extra": extra}
    with TemporaryDirectory(dir=Path(path).parent) as folder:
        torch.save(states, Path(folder) / "checkpoint")
        os.replace(Path(folder) / "checkpoint", path)  # atomic: within one file system


def load_checkpoint(path, model, optimizer):
    """Put a checkpoint's weights and state into model and optimizer; return its extra as a dict.

    The file is read as data and runs no code. Raises FileNotFoundError where there is none, and
    ValueError, with model and optimizer as they were, where it is damaged or of another model
    or optimizer.
    """
    check_archive(path)
    try:
        states = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, by what the file holds
        raise ValueError(f"path must be a whole checkpoint, got {path}: not readable") from error
    check_checkpoint(path, states, model, optimizer)
    optimizer.load_state_dict(states["optimizer"])
    model.load_state_dict(states["model"])
    return states["extra"]


def check_extra(value):
    """Raise TypeError unless value is made of what load_checkpoint can read back."""
    if type(value) in (list, tuple, dict, OrderedDict):
        for part in [*value, *value.values()] if isinstance(value, dict) else value:
            check_extra(part)
    elif not (isinstance(value, torch.Tensor) or type(value) in PLAIN):
        kinds = "numbers, strings, tensors, or lists and dicts of these"
        raise TypeError(f"extra must be made of {kinds}, got {type(value).__name__}")


def check_archive(path):
    """Raise ValueError unless path is an archive whose members have their checksums.

    torch.load does not look at the checksums, nor into a member that is marked as a folder: it
    would read other numbers than were written.
    """
    with open(path, "rb") as file:
        try:
            archive = zipfile.ZipFile(file)
            folders = [member.filename for member in archive.infolist() if member.external_attr]
            damaged = archive.testzip() or ", ".join(folders)
        except Exception as error:  # of many kinds, by where the damage is
            raise ValueError(f"path must be a whole checkpoint, got {path}: no archive") from error
    if damaged:
        raise ValueError(f"path must be a whole checkpoint, got {path}: {damaged} is damaged")


def check_checkpoint(path, states, model, optimizer):
    """Raise ValueError unless states are a checkpoint of such a model and such an optimizer."""
    parts = [states, *states.values()] if isinstance(states, dict) else [states]
    names = {"model", "optimizer", "extra"}
    if not all(isinstance(part, dict) for part in parts) or set(states) != names:
        raise ValueError(f"path must be a file of save_checkpoint, got {path}: of another kind")
    saved, wanted = _shapes(states["model"]), _shapes(model.state_dict())
    for name in sorted(saved.keys() | wanted.keys(), key=str):
        if saved.get(name) != wanted.get(name):
            expected = f"{name} of shape {wanted.get(name)}, got {saved.get(name)}"
            problem = f"{path} has to hold {expected}"
            raise ValueError(f"path must be a checkpoint of this model: {problem}")
    check_optimizer(path, states["optimizer"], optimizer)


def check_optimizer(path, states, optimizer):
    """Raise ValueError unless states are those of an optimizer like this one."""
    groups = optimizer.state_dict()["param_groups"]
    numbers = [group["params"] for group in groups]
    shapes = [p.shape for group in optimizer.param_groups for p in group["params"]]
    try:
        same = [group["params"] for group in states["param_groups"]] == numbers and all(
            optimizer.defaults.keys() <= group.keys() for group in states["param_groups"]
        )
        for number, parts in states["state"].items():
            for shape in _shapes(parts).values():
                same &= torch.broadcast_shapes(shape, shapes[number]) == shapes[number]
    except (AttributeError, LookupError, RuntimeError, TypeError):  # by what stands there instead
        same = False
    if not same:
        kind = f"{type(optimizer).__name__} over {[len(group) for group in numbers]} parameters"
        raise ValueError(f"path must be a checkpoint of this optimizer, {kind}; got {path}")


def _shapes(states):
    """Return {name: shape} of the tensors of a state, with () for what is no tensor."""
    return {name: tuple(getattr(part, "shape", ())) for name, part in states.items()}
