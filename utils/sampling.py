"""Text from a trained language model, one token after another."""

import torch

from utils.runtime import check_positive


def greedy(logits):
    """Return the index of the largest of the logits (vocab_size,)."""
    return logits.argmax().item()


@torch.no_grad()
def generate(model, vocab, prefix, num_tokens, pick=greedy):
    """Return prefix and num_tokens characters after it, each picked from the model's logits.

    The prefix is read in one call (warm-up), then every picked token is fed back.
    pick: logits (vocab_size,) → index. Raises ValueError when the prefix is empty.
    """
    check_positive(num_tokens=num_tokens)
    if not prefix:
        raise ValueError("prefix must hold at least one token, got an empty one")
    device = next(model.parameters()).device
    ids, X, state = vocab[list(prefix)], vocab[list(prefix)], None
    for _ in range(num_tokens):
        logits, state = model(torch.tensor([X], device=device), state)
        X = [pick(logits[-1, 0])]
        ids += X
    return "".join(vocab.to_tokens(ids))
