"""Guards against bad input: each raises an error that names the argument and what was expected."""

import io
import math
import zipfile
from collections import OrderedDict
from collections.abc import Iterable

import torch
from torch import nn

FLOATS = torch.float32, torch.float64, torch.float16, torch.bfloat16


def _demand(fits, error, expected, got):
    """Raise the error, which says what was expected and what came, unless what came fits."""
    if not fits:
        raise error(f"{expected}, got {got}")


def _kind(value):
    """Return what a value is: the type of a tensor's numbers, or the name of its class."""
    return value.dtype if isinstance(value, torch.Tensor) else type(value).__name__


def check_positive(kind=int, **named):
    """Raise TypeError or ValueError, naming the argument, unless each value is an int above 0.

    With kind=int | float it may be any number above 0.
    """
    for name, value in named.items():
        expected = f"{name} must be a positive {'integer' if kind is int else 'number'}"
        fits = isinstance(value, kind) and not isinstance(value, bool)
        _demand(fits, TypeError, expected, repr(value))
        _demand(value > 0, ValueError, expected, value)


def _check_tensor(name, value, num_dims, dtypes=(torch.int64,)):
    """Raise TypeError or ValueError unless value is a tensor of so many dimensions, not empty."""
    fits = isinstance(value, torch.Tensor) and value.dtype in dtypes
    _demand(fits, TypeError, f"{name} must be a tensor of {dtypes[0]}", _kind(value))
    fits = value.dim() == num_dims and value.numel()
    expected = f"{name} must have {num_dims} dimension(s) and not be empty"
    _demand(fits, ValueError, expected, f"shape {tuple(value.shape)}")


def _check_range(name, values, low, high):
    """Raise ValueError unless the values lie in low..high; a GPU is not made to wait for that."""
    if values.device.type == "cpu":
        least, most = (bound.item() for bound in values.aminmax())
        expected = f"{name} must lie in {low}..{high}"
        _demand(low <= least and most <= high, ValueError, expected, f"{least}..{most}")


def check_line(**named):
    """Raise TypeError or ValueError, naming the argument, unless each value is one line of text."""
    for name, value in named.items():
        _demand(isinstance(value, str), TypeError, f"{name} must be a string", repr(value))
        fits = value.splitlines() == [value]
        _demand(fits, ValueError, f"{name} must be one line of text", repr(value))


# Text and counts


def check_text(text, kind="word"):
    """Raise TypeError unless text is a string, ValueError unless kind is "word" or "char"."""
    _demand(isinstance(text, str), TypeError, "text must be a string", type(text).__name__)
    _demand(kind in ("word", "char"), ValueError, "kind must be 'word' or 'char'", repr(kind))


def check_tokens(**named):
    """Raise TypeError, naming the argument, unless each value holds tokens in a fixed order.

    A string would count as its characters, and a set has another order in every process: both are
    refused. Every token of a list or a tuple must be hashable.
    """
    for name, value in named.items():
        got, unordered = type(value).__name__, isinstance(value, str | bytes | set | frozenset)
        expected = f"{name} must be a list of tokens (or an ordered iterable)"
        _demand(isinstance(value, Iterable) and not unordered, TypeError, expected, got)
        try:
            kinds = {type(token) for token in set(value if isinstance(value, list | tuple) else ())}
        except TypeError as error:
            raise TypeError(f"{name} must be a flat {got} of hashable tokens: {error}") from error
        tensors = isinstance(value, torch.Tensor) or torch.Tensor in kinds
        _demand(not tensors, TypeError, expected, "tensors, of which no two are the same token")


def check_token(token, vocab):
    """Raise TypeError or ValueError where what is looked up, and not there, is many tokens.

    A tensor or a generator would count as one unknown token, and so would a word where every
    token counted is a character.
    """
    expected = "tokens must be one token or a list of them"
    try:
        if token in vocab.token_to_idx:
            return
    except TypeError as error:  # not hashable, as a dict
        raise TypeError(f"{expected}, got {type(token).__name__}") from error
    if isinstance(token, str):
        words = (not isinstance(known, str) or len(known) > 1 for known in vocab.counts)
        fits = len(token) < 2 or not vocab.counts or any(words)
        _demand(fits, ValueError, "tokens must be characters, as list(text) is", repr(token))
    else:
        many = isinstance(token, Iterable | slice)
        single = isinstance(token, bytes | tuple | frozenset) or not many
        _demand(single, TypeError, expected, type(token).__name__)


def check_index(index, size):
    """Raise IndexError unless index is an int from 0 to size - 1."""
    fits = isinstance(index, int) and 0 <= index < size
    _demand(fits, IndexError, f"indices must be ints in 0..{size - 1}", repr(index))


def check_id_list(ids, vocab_size):
    """Raise TypeError or ValueError unless ids is a list of int from 0 to vocab_size - 1."""
    _demand(isinstance(ids, list), TypeError, "ids must be a list of integers", _kind(ids))
    kinds = {type(token) for token in ids}
    _demand(kinds <= {int}, TypeError, "ids must hold integers", kinds)
    outside = [token for token in ids if not 0 <= token < vocab_size]
    _demand(not outside, ValueError, f"ids must lie in 0..{vocab_size - 1}", outside)


def check_unfitted(counts):
    """Raise ValueError unless counts is empty: a Kneser-Ney model takes one text."""
    _demand(not counts, ValueError, "fit takes one text, once", f"{len(counts)} contexts before")


# Minibatches


def check_long_text(ids, num_tokens):
    """Raise TypeError or ValueError unless ids is a LongTensor of at least num_tokens tokens."""
    _check_tensor("ids", ids, 1)
    expected = f"ids must hold at least {num_tokens} tokens"
    _demand(len(ids) >= num_tokens, ValueError, expected, len(ids))


def check_windows(ids, batch_size, num_steps, overlapping=False):
    """Raise TypeError or ValueError unless ids fills one minibatch, at every offset if disjoint."""
    check_positive(batch_size=batch_size, num_steps=num_steps)
    disjoint = (batch_size + 1) * num_steps
    check_long_text(ids, batch_size + num_steps if overlapping else disjoint)


def check_sequences(sequences):
    """Raise TypeError or ValueError unless sequences is a list of one-dimensional LongTensors."""
    expected = "sequences must be a list of at least one tensor"
    _demand(isinstance(sequences, list), TypeError, expected, type(sequences).__name__)
    _demand(sequences, ValueError, expected, "an empty list")
    for sequence in sequences:
        _check_tensor("sequences", sequence, 1)


def check_lengths(lengths):
    """Raise TypeError or ValueError unless lengths is (batch_size,) integers above 0."""
    _check_tensor("lengths", lengths, 1)
    _demand(lengths.min() > 0, ValueError, "lengths must be above 0", lengths.min().item())


def check_batches(batches, num_texts):
    """Raise TypeError or ValueError unless batches is a list of LongTensors of indices of texts."""
    fits = isinstance(batches, list | tuple) and batches
    _demand(fits, ValueError, "batches must be a list of at least one minibatch", repr(batches))
    for batch in batches:
        _check_tensor("batches", batch, 1)
        _check_range("batches", batch, 0, num_texts - 1)


# Models


def check_ids(X, vocab_size):
    """Raise TypeError or ValueError unless X is (batch_size, num_steps) ids below vocab_size."""
    _check_tensor("X", X, 2)
    _check_range("X", X, 0, vocab_size - 1)


def check_inputs(inputs, input_size):
    """Raise TypeError or ValueError unless inputs is (num_steps, batch_size, input_size)."""
    _check_tensor("inputs", inputs, 3, FLOATS)
    expected = f"inputs must have shape (num_steps, batch_size, {input_size})"
    _demand(inputs.shape[2] == input_size, ValueError, expected, tuple(inputs.shape))


def check_state(state, *shape, num_parts=None):
    """Raise ValueError unless state is None, or a tensor of that shape.

    With num_parts it must be a tuple of so many of them. For the layers that are written out here:
    those of PyTorch check their own states.
    """
    if state is not None:
        parts = state if num_parts and isinstance(state, tuple) else (state,)
        shapes = [tuple(p.shape) if isinstance(p, torch.Tensor) else _kind(p) for p in parts]
        expected = f"state must be {num_parts or 'a'} tensor(s) of shape {shape}"
        _demand(shapes == [shape] * (num_parts or 1), ValueError, expected, shapes)


def check_layer(layer):
    """Raise TypeError or ValueError unless layer is recurrent, with time first."""
    fits = {"input_size", "hidden_size", "bidirectional"} <= set(dir(layer))
    _demand(fits, TypeError, "layer must be a recurrent layer", type(layer).__name__)
    fits = not getattr(layer, "batch_first", False) and not getattr(layer, "proj_size", 0)
    _demand(fits, ValueError, "layer must have batch_first=False and proj_size=0", layer)


def check_directions(layers):
    """Raise TypeError or ValueError unless layers are one or two, each reading in one direction."""
    expected = "layers must be a list of one recurrent layer for each direction, one or two"
    _demand(isinstance(layers, list | tuple), TypeError, expected, type(layers).__name__)
    _demand(len(layers) in (1, 2), ValueError, expected, len(layers))
    for layer in layers:
        check_layer(layer)
        _demand(not layer.bidirectional, ValueError, expected, layer)


def check_texts(X, lengths, model):
    """Raise TypeError or ValueError unless X are padded ids of the model's table, of such lengths.

    What turns ids into vectors without a table has to look at them itself.
    """
    _check_tensor("X", X, 2)
    _check_tensor("lengths", lengths, 1)
    expected = f"lengths must be {len(X)} numbers, one for each row of X"
    _demand(len(lengths) == len(X), ValueError, expected, len(lengths))
    _check_range("lengths", lengths, 1, X.shape[1])
    for table in [part for part in model.modules() if isinstance(part, nn.Embedding)][:1]:
        _check_range("X", X, 0, table.num_embeddings - 1)


# Training


def check_gradients(grads, theta):
    """Raise TypeError or ValueError unless there are gradients, and theta is a number above 0."""
    check_positive(int | float, theta=theta)
    _demand(grads, ValueError, "parameters must have gradients (call backward first)", "none")


def check_training(model, optimizer, clip):
    """Raise TypeError or ValueError unless optimizer and clip are such that the model can learn."""
    check_positive(int | float, clip=clip)
    fits, got = isinstance(optimizer, torch.optim.Optimizer), type(optimizer).__name__
    _demand(fits, TypeError, "optimizer must be one of torch.optim", got)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    own = {id(p): p.requires_grad for p in model.parameters()}
    fits = held <= own.keys() and any(own[p] for p in held)
    expected = "optimizer must hold parameters of this model that can learn, and no others"
    _demand(fits, ValueError, expected, "others, or none")


def check_pass(epoch, total_loss, num_tokens):
    """Raise ValueError unless a pass of training read tokens and ended with a finite loss."""
    expected = "make_batches must return a new iterable for each pass"
    _demand(num_tokens, ValueError, expected, f"no minibatch in pass {epoch}")
    expected = f"the loss of pass {epoch} must be finite (try a smaller learning rate or clip)"
    _demand(math.isfinite(total_loss), ValueError, expected, total_loss)


# Sampling


def check_settings(temperature, top_k, top_p):
    """Raise TypeError or ValueError, naming the argument, where a setting is out of its range."""
    check_positive(int | float, temperature=temperature, top_p=top_p)
    check_positive(top_k=1 if top_k is None else top_k)
    _demand(temperature < math.inf, ValueError, "temperature must be finite", temperature)
    _demand(top_p <= 1, ValueError, "top_p must be in (0, 1]", top_p)


def check_prefix(prefix):
    """Raise TypeError or ValueError unless prefix is a string of at least one character."""
    expected = "prefix must be a string of at least one character"
    _demand(isinstance(prefix, str), TypeError, expected, type(prefix).__name__)
    _demand(prefix, ValueError, expected, "an empty one")


def check_logits(logits):
    """Raise TypeError or ValueError unless logits is (vocab_size,) numbers, the largest finite.

    That of a model that diverged is not.
    """
    _check_tensor("logits", logits, 1, (*FLOATS, torch.int64))
    largest = logits.max().item()
    expected = "logits must be finite (did training diverge?)"
    _demand(math.isfinite(largest), ValueError, expected, largest)


# Models for the site


def check_live(name, model, vocab, units, counted):
    """Raise TypeError or ValueError, naming it, unless each is what the others and a file need."""
    _demand(str(name).isidentifier(), ValueError, "name must be one of a file", repr(name))
    layer = getattr(model, "layer", None)
    fits = isinstance(layer, nn.LSTM) and len(layer.state_dict()) == 4 and not layer.proj_size
    _demand(fits, TypeError, "model must be around an nn.LSTM of one layer with biases", layer)
    finite = all(weight.isfinite().all() for weight in model.parameters())
    _demand(finite, ValueError, "model must have finite weights", "others (did it diverge?)")
    size, long = model.output.out_features, [t for t in vocab.counts if len(t) != 1]
    _demand(not long, ValueError, "vocab must hold characters", long[:1])
    sizes = {len(vocab), counted.vocab_size}
    _demand(sizes == {size}, ValueError, f"vocab and counted must have {size} tokens", sizes)
    for label, unit in units.items():
        check_line(units=label)
        check_index(unit, layer.hidden_size)
    fits = counted.order - 1 in map(len, counted.counts) and size**counted.order < 2**53
    _demand(fits, ValueError, "counted must be fitted, of an order that fits", counted.order)


# Checkpoints


def check_extra(**named):
    """Raise TypeError, naming the argument, unless each value can be written and read as data."""
    for name, value in named.items():
        try:
            torch.save(value, file := io.BytesIO())
            file.seek(0)
            torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # of many kinds, by what stands there
            kinds = "numbers, strings, tensors, or lists and dicts of these"
            raise TypeError(f"{name} must be made of {kinds}, got what is none of these") from error


def check_checkpoint(path, model, optimizer):
    """Raise ValueError unless path is a whole checkpoint of such a model and such an optimizer."""
    states = _read_checkpoint(path)
    kinds = {"model": OrderedDict, "optimizer": dict, "extra": dict, "written_by": tuple}
    fits = isinstance(states, dict) and {name: type(states[name]) for name in states} == kinds
    kind = "path must be a file of save_checkpoint"
    _demand(fits, ValueError, kind, f"{path}: of another kind")
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
