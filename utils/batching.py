"""Minibatches: windows of one long text, and whole texts of many lengths, padded."""

import torch
from torch.nn.utils.rnn import pad_sequence

from utils import checks


def random_windows(ids, batch_size, num_steps):
    """Return an iterator over minibatches (X, Y) of disjoint windows in random order.

    ids: (num_tokens,) LongTensor; X and Y: (batch_size, num_steps), Y one token ahead of X.
    A random offset in 0..num_steps-1 moves the windows from pass to pass; windows that do not
    fill a minibatch are left out of this pass. Raises ValueError when ids is too short for one.
    """
    checks.check_windows(ids, batch_size, num_steps)
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
    checks.check_windows(ids, batch_size, num_steps)
    offset = torch.randint(num_steps, ()).item()
    num_batches = (len(ids) - 1 - offset) // (batch_size * num_steps)
    length = batch_size * num_batches * num_steps
    X = ids[offset : offset + length].reshape(batch_size, -1)  # (batch_size, row_length)
    Y = ids[offset + 1 : offset + 1 + length].reshape(batch_size, -1)  # (batch_size, row_length)
    return zip(X.split(num_steps, dim=1), Y.split(num_steps, dim=1), strict=True)


def overlapping_windows(ids, batch_size, num_steps):
    """Return an iterator over minibatches (X, Y) of the windows that begin at every token.

    ids: (num_tokens,) LongTensor; X and Y: (batch_size, num_steps), Y one token ahead of X.
    The order is random, each window comes at most once, and the last minibatch is left out where
    it is not full. No window is stored: only where it begins. ids of 0..5 with batch_size=2 and
    num_steps=4 → X [[1, 2, 3, 4], [0, 1, 2, 3]] and Y [[2, 3, 4, 5], [1, 2, 3, 4]], or these rows
    the other way round. Raises TypeError or ValueError that names the argument, where ids holds
    fewer than batch_size + num_steps tokens, too.
    """
    checks.check_windows(ids, batch_size, num_steps, overlapping=True)
    num_windows = len(ids) - num_steps
    kept = torch.randperm(num_windows)[: num_windows // batch_size * batch_size]  # (num_kept,)
    starts = kept.reshape(-1, batch_size, 1).to(ids.device)  # (num_batches, batch_size, 1)
    steps = torch.arange(num_steps, device=ids.device)  # (num_steps,)
    index = (start + steps for start in starts)  # each (batch_size, num_steps)
    return ((ids[i], ids[i + 1]) for i in index)


def pad(sequences, value=0):
    """Return X (batch_size, num_steps), each row a sequence and then ``value``, and the lengths.

    sequences: one-dimensional LongTensors; lengths: (batch_size,) LongTensor on the CPU.
    Raises TypeError or ValueError where one of them is no such tensor, or is empty.
    """
    checks.check_sequences(sequences)
    lengths = torch.tensor([len(sequence) for sequence in sequences])  # (batch_size,)
    return pad_sequence(sequences, batch_first=True, padding_value=value), lengths


def bucket(lengths, batch_size, num_batches=1):
    """Return minibatches of the indices of all lengths, in random order.

    The indices are shuffled and dealt into buckets of num_batches * batch_size. Within a bucket
    they are sorted by length and then cut, so that texts of like length meet; with num_batches=1
    every minibatch is drawn at random. lengths: (num_texts,) LongTensor; the last minibatch of a
    bucket may be smaller. Lengths 9, 2, 8, 3 with batch_size=2 and num_batches=2 → [1, 3] and
    [2, 0], in either order. Raises TypeError or ValueError, naming the argument.
    Source: Khomenko et al. (2016), arXiv:1708.05604
    """
    checks.check_positive(batch_size=batch_size, num_batches=num_batches)
    checks.check_lengths(lengths)
    buckets = torch.randperm(len(lengths)).split(num_batches * batch_size)
    ordered = [indices[lengths[indices].argsort(stable=True)] for indices in buckets]
    batches = [batch for indices in ordered for batch in indices.split(batch_size)]
    return [batches[i] for i in torch.randperm(len(batches)).tolist()]


def padding_share(lengths, batches):
    """Return the share of padding, 0 to 1, among all the places of the minibatches of indices.

    lengths: (num_texts,) LongTensor; batches: what bucket returns. Lengths 2 and 4 side by side in
    one minibatch fill 6 of 8 places → 0.25. Raises TypeError or ValueError, naming the argument.
    """
    checks.check_lengths(lengths)
    checks.check_batches(batches, len(lengths))
    places = sum(len(batch) * lengths[batch].max().item() for batch in batches)
    tokens = sum(lengths[batch].sum().item() for batch in batches)
    return 1 - tokens / places
