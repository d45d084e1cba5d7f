"""Guards against bad input: each raises an error that names the argument and what was expected."""

import math
import zipfile
from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import nn

PLAIN = int, float, bool, str, type(None)  # what an extra of a checkpoint may be, besides tensors


def check_positive(**named):
    """Raise TypeError or ValueError, naming the argument, unless each value is an int above 0."""
    for name, value in named.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be a positive integer, got {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value}")


def check_number(**named):
    """Raise TypeError or ValueError, naming the argument, unless each value is a number above 0."""
    for name, value in named.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, got {value!r}")
        if not value > 0:
            raise ValueError(f"{name} must be a number above 0, got {value}")


def _check_tensor(name, value, num_dims, floats=False):
    """Raise TypeError or ValueError unless value is a tensor of so many dimensions, not empty."""
    kind = "floats" if floats else "torch.int64"
    is_tensor = isinstance(value, torch.Tensor)
    if not is_tensor or not (value.is_floating_point() if floats else value.dtype == torch.int64):
        got = value.dtype if is_tensor else type(value).__name__
        raise TypeError(f"{name} must be a tensor of {kind}, got {got}")
    if value.dim() != num_dims or not value.numel():
        expected = f"must have {num_dims} dimension(s) and not be empty"
        raise ValueError(f"{name} {expected}, got shape {tuple(value.shape)}")


def _check_range(name, values, low, high):
    """Raise ValueError unless the values lie in low..high; a GPU is not made to wait for that."""
    if values.device.type == "cpu":
        least, most = (bound.item() for bound in values.aminmax())
        if least < low or most > high:
            raise ValueError(f"{name} must lie in {low}..{high}, got {least}..{most}")


# Text and counts


def check_text(text):
    """Raise TypeError unless text is a string."""
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__}")


def check_kind(kind):
    """Raise ValueError unless kind is "word" or "char"."""
    if kind not in ("word", "char"):
        raise ValueError(f"kind must be 'word' or 'char', got {kind!r}")


def check_tokens(**named):
    """Raise TypeError, naming the argument, unless each value holds tokens in a fixed order.

    A string would count as its characters, and a set has another order in every process: both are
    refused. Every token of a list or a tuple must be hashable.
    """
    for name, value in named.items():
        got = type(value).__name__
        if isinstance(value, str | bytes | set | frozenset) or not isinstance(value, Iterable):
            raise TypeError(f"{name} must be a list of tokens (or an ordered iterable), got {got}")
        try:
            set(value if isinstance(value, list | tuple) else ())
        except TypeError as error:
            raise TypeError(f"{name} must be a flat {got} of hashable tokens: {error}") from error


def check_token(token, vocab):
    """Raise TypeError or ValueError where what is looked up is many tokens and not one.

    A tensor or a generator would count as one unknown token, and so would a word where every
    token is a character.
    """
    if token in vocab:
        return
    if isinstance(token, Iterable) and not isinstance(token, str | bytes | tuple | frozenset):
        raise TypeError(f"tokens must be one token or a list of them, got {type(token).__name__}")
    characters = (isinstance(known, str) and len(known) == 1 for known in vocab.counts)
    if isinstance(token, str) and len(token) > 1 and vocab.counts and all(characters):
        raise ValueError(f"tokens must be characters, as list({token!r}) is; got {token!r}")


def check_index(index, size):
    """Raise IndexError unless index is an int from 0 to size - 1."""
    if not isinstance(index, int) or not 0 <= index < size:
        raise IndexError(f"indices must be ints in 0..{size - 1}, got {index!r}")


def check_id_list(ids, vocab_size):
    """Raise TypeError or ValueError unless ids is a list of int from 0 to vocab_size - 1."""
    if not isinstance(ids, list):
        raise TypeError(f"ids must be a list of integers, got {type(ids).__name__}")
    for token in ids:
        if type(token) is not int:
            raise TypeError(f"ids must hold integers, got {token!r}")
        if not 0 <= token < vocab_size:
            raise ValueError(f"ids must lie in 0..{vocab_size - 1}, got {token}")


# Minibatches


def check_long_text(ids, num_tokens):
    """Raise TypeError or ValueError unless ids is a LongTensor of at least num_tokens tokens."""
    _check_tensor("ids", ids, 1)
    if len(ids) < num_tokens:
        raise ValueError(f"ids must hold at least {num_tokens} tokens, got {len(ids)}")


def check_windows(ids, batch_size, num_steps, overlapping=False):
    """Raise TypeError or ValueError unless ids fills one minibatch, at every offset if disjoint."""
    check_positive(batch_size=batch_size, num_steps=num_steps)
    disjoint = (batch_size + 1) * num_steps
    check_long_text(ids, batch_size + num_steps if overlapping else disjoint)


def check_sequences(sequences):
    """Raise TypeError or ValueError unless sequences is a list of one-dimensional LongTensors."""
    if not isinstance(sequences, list):
        raise TypeError(f"sequences must be a list of tensors, got {type(sequences).__name__}")
    if not sequences:
        raise ValueError("sequences must hold at least one tensor, got an empty list")
    for sequence in sequences:
        _check_tensor("sequences", sequence, 1)


def check_lengths(lengths):
    """Raise TypeError or ValueError unless lengths is (batch_size,) integers above 0."""
    _check_tensor("lengths", lengths, 1)
    if lengths.min() < 1:
        raise ValueError(f"lengths must be above 0, got {lengths.min().item()}")


def check_batches(batches):
    """Raise ValueError unless batches is a list of at least one minibatch of indices."""
    if not isinstance(batches, list | tuple) or not batches:
        raise ValueError(f"batches must be a list of at least one minibatch, got {batches!r}")


# Models


def check_ids(X, vocab_size):
    """Raise TypeError or ValueError unless X is (batch_size, num_steps) ids below vocab_size."""
    _check_tensor("X", X, 2)
    _check_range("X", X, 0, vocab_size - 1)


def check_inputs(inputs, input_size):
    """Raise TypeError or ValueError unless inputs is (num_steps, batch_size, input_size)."""
    _check_tensor("inputs", inputs, 3, floats=True)
    if inputs.shape[2] != input_size:
        expected = f"(num_steps, batch_size, {input_size})"
        raise ValueError(f"inputs must have shape {expected}, got {tuple(inputs.shape)}")


def check_state(state, *shape, num_parts=None):
    """Raise TypeError or ValueError unless state is None, or a tensor of that shape.

    With num_parts it must be a tuple of so many of them. For the layers that are written out here:
    those of PyTorch check their own states.
    """
    if state is None:
        return
    parts = (state,) if num_parts is None else state
    expected = f"a tensor of shape {shape}" if num_parts is None else f"{num_parts} of {shape}"
    if not isinstance(parts, tuple) or not all(isinstance(part, torch.Tensor) for part in parts):
        raise TypeError(f"state must be {expected}, got {type(state).__name__}")
    shapes = [tuple(part.shape) for part in parts]
    if shapes != [shape] * (num_parts or 1):
        raise ValueError(f"state must be {expected}, got {shapes}")


def check_layer(layer):
    """Raise TypeError or ValueError unless layer is recurrent, with time first."""
    sizes = "input_size", "hidden_size", "bidirectional"
    if not isinstance(layer, nn.Module) or not all(hasattr(layer, size) for size in sizes):
        raise TypeError(f"layer must be a recurrent layer, got {type(layer).__name__}")
    if getattr(layer, "batch_first", False) or getattr(layer, "proj_size", 0):
        raise ValueError("layer must have batch_first=False and proj_size=0")


def check_directions(layers):
    """Raise TypeError or ValueError unless layers are one or two, each reading in one direction."""
    if not isinstance(layers, list | tuple):
        raise TypeError(f"layers must be a list of recurrent layers, got {type(layers).__name__}")
    if len(layers) not in (1, 2):
        raise ValueError(f"layers must be one or two, one for each direction, got {len(layers)}")
    for layer in layers:
        check_layer(layer)
        if layer.bidirectional:
            raise ValueError("layers must have bidirectional=False: give one for each direction")


def check_texts(X, lengths, model):
    """Raise TypeError or ValueError unless X are padded ids of the model's table, of such lengths.

    What turns ids into vectors without a table has to look at them itself.
    """
    _check_tensor("X", X, 2)
    _check_tensor("lengths", lengths, 1)
    if len(lengths) != len(X):
        raise ValueError(f"lengths must be {len(X)}, one for each row of X, got {len(lengths)}")
    _check_range("lengths", lengths, 1, X.shape[1])
    for table in [part for part in model.modules() if isinstance(part, nn.Embedding)][:1]:
        _check_range("X", X, 0, table.num_embeddings - 1)


# Training


def check_loss(total_loss, num_tokens):
    """Raise TypeError or ValueError unless these are what a perplexity is made of."""
    check_positive(num_tokens=num_tokens)
    if isinstance(total_loss, bool) or not isinstance(total_loss, int | float):
        raise TypeError(f"total_loss must be a number, got {type(total_loss).__name__}")


def check_gradients(grads, theta):
    """Raise TypeError or ValueError unless there are gradients, and theta is a number above 0."""
    check_number(theta=theta)
    if not grads:
        raise ValueError("parameters must have gradients (call backward first), got none")


def check_training(model, optimizer, clip):
    """Raise TypeError or ValueError unless optimizer and clip are such that the model can learn."""
    check_number(clip=clip)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"optimizer must be one of torch.optim, got {type(optimizer).__name__}")
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not any(id(p) in held for p in model.parameters()):
        raise ValueError("optimizer must hold the parameters of this model, got another model's")


def check_pass(epoch, total_loss, num_tokens):
    """Raise ValueError unless a pass of training read tokens and ended with a finite loss."""
    if not num_tokens:
        problem = f"pass {epoch} got no minibatch"
        raise ValueError(f"make_batches must return a new iterable for each pass: {problem}")
    if not math.isfinite(total_loss):
        remedy = "try a smaller learning rate or a smaller clip"
        raise ValueError(f"the loss of pass {epoch} is {total_loss}: {remedy}")


# Sampling


def check_settings(temperature, top_k, top_p):
    """Raise TypeError or ValueError, naming the argument, where a setting is out of its range."""
    check_number(temperature=temperature, top_p=top_p)
    if temperature == math.inf:
        raise ValueError(f"temperature must be finite, got {temperature}")
    if top_p > 1:
        raise ValueError(f"top_p must be in (0, 1], got {top_p}")
    if top_k is not None:
        check_positive(top_k=top_k)


def check_prefix(prefix):
    """Raise TypeError or ValueError unless prefix is a string of at least one character."""
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a string, got {type(prefix).__name__}")
    if not prefix:
        raise ValueError("prefix must hold at least one character, got an empty string")


def check_logits(logits):
    """Raise ValueError unless the largest logit is finite, as that of a diverged model is not."""
    largest = logits.max().item()
    if not math.isfinite(largest):
        raise ValueError(f"logits must be finite (did training diverge?), got {largest}")


# Checkpoints


def check_extra(value):
    """Raise TypeError unless value is made of what load_checkpoint can read back."""
    if type(value) in (list, tuple, dict, OrderedDict):
        for part in [*value, *value.values()] if isinstance(value, dict) else value:
            check_extra(part)
    elif not (isinstance(value, torch.Tensor) or type(value) in PLAIN):
        kinds = "numbers, strings, tensors, or lists and dicts of these"
        raise TypeError(f"extra must be made of {kinds}, got {type(value).__name__}")


def check_checkpoint(path, model, optimizer):
    """Raise ValueError unless path is a whole checkpoint of such a model and such an optimizer."""
    states = _read_checkpoint(path)
    kinds = {"model": dict, "optimizer": dict, "extra": dict, "written_by": tuple}
    if not (
        isinstance(states, dict)
        and states.keys() == kinds.keys()
        and all(isinstance(states[name], kind) for name, kind in kinds.items())
    ):
        raise ValueError(f"path must be a file of save_checkpoint, got {path}: of another kind")
    written_by, version = states["written_by"]
    problem = _other_model(path, states["model"], model)
    problem = problem or _other_optimizer(path, states["optimizer"], written_by, optimizer)
    if problem:
        here = torch.__version__
        versions = "" if version == here else f" (written by PyTorch {version}, this is {here})"
        raise ValueError(f"path must be a checkpoint of this {problem}{versions}")


def _other_model(path, states, model):
    """Return in which tensor the states are not those of the model, or None."""
    saved, wanted = _shapes(states), _shapes(model.state_dict())
    for name in sorted(saved.keys() | wanted.keys(), key=str):
        if saved.get(name) != wanted.get(name):
            expected = f"{name} of shape {wanted.get(name)}, got {saved.get(name)}"
            return f"model: {path} has to hold {expected}"
    return None


def _other_optimizer(path, states, written_by, optimizer):
    """Return in what the states are not those of the optimizer, or None."""
    name = type(optimizer).__name__
    if written_by != name:
        return f"optimizer, {name}: {path} is of {written_by}"
    groups = [group["params"] for group in optimizer.state_dict()["param_groups"]]
    shapes = [p.shape for group in optimizer.param_groups for p in group["params"]]
    try:
        same = [group["params"] for group in states["param_groups"]] == groups
        for number, parts in states["state"].items():
            for shape in _shapes(parts).values():
                same &= torch.broadcast_shapes(shape, shapes[number]) == shapes[number]
    except (AttributeError, LookupError, RuntimeError, TypeError):  # by what stands there instead
        same = False
    over = f"over groups of {[len(group) for group in groups]} parameters"
    return None if same else f"optimizer, {name} {over}: {path} is of others"


def _shapes(states):
    """Return {name: shape} of the tensors of a state, with () for what is no tensor."""
    return {name: tuple(getattr(part, "shape", ())) for name, part in states.items()}


def _read_checkpoint(path):
    """Return what a checkpoint holds; raise ValueError where it is damaged or more than data.

    torch.load does not look at the checksums of the archive, nor into a member that is marked as a
    folder: it would read other numbers than were written.
    """
    whole = f"path must be a whole checkpoint, got {path}"
    with open(path, "rb") as file:
        try:
            archive = zipfile.ZipFile(file)
            folders = [member.filename for member in archive.infolist() if member.external_attr]
            damaged = archive.testzip() or ", ".join(folders)
        except Exception as error:  # of many kinds, by where the damage is
            raise ValueError(f"{whole}: no archive") from error
    if damaged:
        raise ValueError(f"{whole}: {damaged} is damaged")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, by what the file holds
        raise ValueError(f"{whole}: not readable") from error
