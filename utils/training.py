"""Training and honest evaluation of recurrent language models, and checkpoints of them."""

import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.nn import functional as F

from utils import checks
from utils.runtime import progress


@dataclass
class History:
    """What a training run leaves behind: the perplexity of each epoch, and tokens a second."""

    perplexities: list = field(default_factory=list)
    tokens_per_second: float = 0.0


def perplexity(total_loss, num_tokens):
    """Return exp(sum of losses / number of tokens): the geometric mean of 1 / p.

    total_loss: sum of −log p in nats. 1 is perfect, the vocabulary's size is a uniform guess:
    perplexity(10 * math.log(28), 10) → 28.0. Raises TypeError or ValueError, naming the argument.
    Source: Jelinek et al. (1977), doi:10.1121/1.2016299
    """
    checks.check_positive(num_tokens=num_tokens)
    mean = total_loss / num_tokens
    return math.inf if mean > 700 else math.exp(mean)  # exp(710) is beyond the largest float


def clip_gradients(parameters, theta):
    """Scale all gradients in place so that their joint norm is at most theta; return the norm.

    g ← min(1, theta / ‖g‖) g, with g all gradients as one vector: (30, 40) with theta=1 → (0.6,
    0.8), and 50 is returned, a tensor (). Parameters without a gradient are passed over.
    Raises TypeError or ValueError where none has one, or theta is no number above 0.
    Source: Pascanu et al. (2013), arXiv:1211.5063
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    checks.check_gradients(grads, theta)
    norm = torch.sqrt(sum((grad**2).sum() for grad in grads))
    if norm > theta:
        for grad in grads:
            grad *= theta / norm
    return norm


def detach(state):
    """Return the state, a tensor or a tuple of them, cut off from the graph that made it."""
    if isinstance(state, tuple):
        return tuple(part.detach() for part in state)
    return None if state is None else state.detach()


def sequence_loss(logits, Y):
    """Return the mean cross-entropy of logits (num_steps, batch_size, vocab_size) at Y.

    Y: (batch_size, num_steps) ids.
    """
    return F.cross_entropy(logits.flatten(0, 1), Y.T.flatten())


def train_epoch(model, batches, optimizer, clip, carry_state):
    """Update the model on each minibatch (X, Y); return the total loss and number of tokens.

    Each minibatch counts with its number of tokens. The arguments are those of train.
    """
    checks.check_training(model, optimizer, clip)
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

    make_batches() starts a pass: it returns a new iterable of minibatches (X, Y), each
    (batch_size, num_steps). optimizer: one of torch.optim over the model's parameters. clip: the
    largest norm of the gradient, math.inf for none. carry_state hands the detached state from one
    minibatch to the next (sequential windows). on_epoch(epoch), where given, is called after each
    pass; its time is not counted.
    Raises TypeError or ValueError that names the argument, and ValueError where a pass has no
    minibatch or ends with a loss that is not finite.
    """
    checks.check_positive(num_epochs=num_epochs)
    history, all_tokens, seconds = History(), 0, 0.0
    for epoch in progress(range(1, num_epochs + 1), "epochs"):
        start = time.perf_counter()
        total_loss, num_tokens = train_epoch(model, make_batches(), optimizer, clip, carry_state)
        seconds += time.perf_counter() - start
        checks.check_pass(epoch, total_loss, num_tokens)
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
    Raises TypeError or ValueError unless ids is a LongTensor of at least two tokens.
    """
    checks.check_positive(num_steps=num_steps)
    checks.check_long_text(ids, num_tokens=2)
    model.eval()
    total_loss, state = 0.0, None
    for X, Y in zip(ids[:-1].split(num_steps), ids[1:].split(num_steps), strict=True):
        logits, state = model(X[None], state)
        total_loss += sequence_loss(logits, Y[None]).item() * len(Y)
    return perplexity(total_loss, len(ids) - 1)


def save_checkpoint(path, model, optimizer, **extra):
    """Write the weights, the optimizer's state and extra to a file, whole or not at all.

    extra: numbers, strings, tensors, or lists and dicts of these, such as the step reached.
    Raises TypeError that names what could not be read back as data, before anything is written. A
    file that was there stays until the new one is whole.
    """
    states = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "extra": extra}
    checks.check_extra(model=states["model"], optimizer=states["optimizer"], **extra)
    states["written_by"] = type(optimizer).__name__, str(torch.__version__)
    with TemporaryDirectory(dir=Path(path).parent) as folder:
        torch.save(states, Path(folder) / "checkpoint")
        os.replace(Path(folder) / "checkpoint", path)  # atomic: within one file system


def load_checkpoint(path, model, optimizer):
    """Put a checkpoint's weights and state into model and optimizer; return its extra as a dict.

    The file is read as data and runs no code. A setting that another version of PyTorch did not
    write yet is taken from the optimizer. Raises FileNotFoundError where there is no file, and
    ValueError, with model and optimizer as they were, where it is damaged or of another model or
    class of optimizer.
    """
    checks.check_checkpoint(path, model, optimizer)
    states = torch.load(path, map_location="cpu", weights_only=True)
    groups = states["optimizer"]["param_groups"]
    states["optimizer"]["param_groups"] = [optimizer.defaults | group for group in groups]
    optimizer.load_state_dict(states["optimizer"])
    model.load_state_dict(states["model"])
    return states["extra"]
