"""Text from a trained language model, one token after another."""

import torch

from utils import checks


def greedy(logits):
    """Return the index of the largest of the logits (vocab_size,)."""
    return logits.argmax().item()


def probabilities(logits, temperature=1.0, top_k=None, top_p=1.0):
    """Return the probabilities (vocab_size,) of softmax(logits / temperature), its tail cut off.

    top_k keeps the k most probable tokens. top_p, in (0, 1], keeps the fewest of them that
    together have at least that probability. What is kept is scaled to a sum of 1.
    Logits of log(0.5), log(0.3), log(0.2) with top_k=2 → 0.625, 0.375, 0.
    Raises TypeError or ValueError where a setting is out of its range or a logit is not finite.
    Source of top_p: Holtzman et al. (2020), arXiv:1904.09751
    """
    checks.check_settings(temperature, top_k, top_p)
    checks.check_logits(logits)
    scores, order = logits.double().sort(descending=True, stable=True)
    probs = ((scores - scores[0]) / temperature).softmax(dim=0)  # at most 0: no overflow
    probs[len(probs) if top_k is None else top_k :] = 0
    probs /= probs.sum()
    if top_p < 1:
        mass_before = probs.cumsum(dim=0) - probs  # of all tokens that are more probable
        probs[mass_before >= top_p] = 0
    return torch.zeros_like(probs).scatter(0, order, probs / probs.sum())


def sampler(temperature=1.0, top_k=None, top_p=1.0):
    """Return a function that draws an index from probabilities(logits, ...) on the CPU.

    Raises TypeError or ValueError where a setting is out of its range.
    """
    checks.check_settings(temperature, top_k, top_p)

    def pick(logits):
        return probabilities(logits.cpu(), temperature, top_k, top_p).multinomial(1).item()

    return pick


@torch.no_grad()
def generate(model, vocab, prefix, num_tokens, pick=greedy):
    """Return prefix and num_tokens characters after it, each picked from the model's logits.

    The prefix is read in one call (warm-up), then every picked token is fed back. Its characters
    outside the vocabulary are read as unknown ones.
    pick: logits (vocab_size,) → index. The model is left in its evaluation mode.
    Raises TypeError or ValueError where prefix is no string or an empty one, and ValueError where
    the model's logits are not finite.
    """
    checks.check_positive(num_tokens=num_tokens)
    checks.check_prefix(prefix)
    model.eval()
    device = next(model.parameters()).device
    X, state, ids = vocab[list(prefix)], None, []
    for _ in range(num_tokens):
        logits, state = model(torch.tensor([X], device=device), state)
        checks.check_logits(logits[-1, 0])
        X = [pick(logits[-1, 0])]
        ids += X
    return prefix + "".join(vocab.to_tokens(ids))
