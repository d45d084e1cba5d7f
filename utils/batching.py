"""Minibatches of a long sequence of token ids: random windows and sequential windows."""

import torch

from utils.runtime import check_positive


def random_windows(ids, batch_size, num_steps):
    """Return an iterator over minibatches (X, Y) of disjoint windows in random order.

    ids: (num_tokens,) LongTensor; X and Y: (batch_size, num_steps), Y one token ahead of X.
    A random offset in 0..num_steps-1 moves the windows from pass to pass; windows that do not
    fill a minibatch are left out of this pass. Raises ValueError when ids is too short for one.
    """
    check_windows(ids, batch_size, num_steps)
    offset = torch.randint(num_steps, ()).item()
    num_windows = (len(ids) - 1 - offset) // num_steps
    kept = torch.randperm(num_windows)[: num_windows // batch_size * batch_size]  # (num_kept,)
    starts = offset + num_steps * kept.reshape(-1, batch_size, 1)  # (num_batches, batch_size, 1)
    index = starts + torch.arange(num_steps)  # (num_batches, batch_size, num_steps)
    return ((ids[i], ids[i + 1]) for i in index.to(ids.device))


def sequential_windows(ids, batch_size, num_steps):
    """Return an iterator over minibatches (X, Y) whose rows go on where the last ones ended.

    ids: (num_tokens,) LongTensor; X and Y: (batch_size, num_steps), Y one token ahead of X.
    The text after a random offset in 0..num_steps-1 is cut into batch_size long rows, which are
    read side by side. Raises ValueError when ids is too short for one minibatch.
    """
    check_windows(ids, batch_size, num_steps)
    offset = torch.randint(num_steps, ()).item()
    num_batches = (len(ids) - 1 - offset) // (batch_size * num_steps)
    length = batch_size * num_batches * num_steps
    X = ids[offset : offset + length].reshape(batch_size, -1)  # (batch_size, row_length)
    Y = ids[offset + 1 : offset + 1 + length].reshape(batch_size, -1)  # (batch_size, row_length)
    return zip(X.split(num_steps, dim=1), Y.split(num_steps, dim=1), strict=True)


def check_windows(ids, batch_size, num_steps):
    """Raise an error that names the argument unless ids fills one minibatch at every offset."""
    check_positive(batch_size=batch_size, num_steps=num_steps)
    if not isinstance(ids, torch.Tensor):
        raise TypeError(f"ids must be a tensor, got {type(ids).__name__}")
    if ids.dim() != 1:
        raise ValueError(f"ids must be one-dimensional, got shape {tuple(ids.shape)}")
    needed = (batch_size + 1) * num_steps
    if len(ids) < needed:
        raise ValueError(
            f"ids must hold at least (batch_size + 1) * num_steps = {needed} tokens, got {len(ids)}"
        )
