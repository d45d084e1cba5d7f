"""An interpolated n-gram model: the baseline of every recurrent model in the course."""

import math
from collections import Counter, defaultdict
from itertools import islice

import torch

from utils import checks


class NGramModel:
    """Counts of the next token after contexts of 0..order-1 tokens, mixed from short to long.

    p(x | c) = (N(c, x) + D(c) · p(x | shorter c)) / (N(c) + D(c)), at the bottom 1 / vocab_size,
    with N(c, x) and N(c) how often x and anything follow the context c, D(c) the distinct tokens.
    Source: "method C" in Witten and Bell (1991), https://doi.org/10.1109/18.87000
    """

    def __init__(self, order, vocab_size):
        checks.check_positive(order=order, vocab_size=vocab_size)
        self.order, self.vocab_size = order, vocab_size
        self.counts = defaultdict(Counter)

    def fit(self, ids):
        """Add the counts of one text, a list of ids, to the model; return the model."""
        checks.check_id_list(ids, self.vocab_size)
        for t, token in enumerate(ids):
            for length in range(min(t, self.order - 1) + 1):
                self.counts[tuple(ids[t - length : t])][token] += 1
        return self

    def followers(self, context):
        """Return the counts of what followed the last 0, 1, 2, ... tokens of the list context.

        The list ends at the longest context that the text holds, order - 1 tokens at most.
        """
        lengths = range(min(len(context), self.order - 1) + 1)
        counts = (self.counts.get(tuple(context[len(context) - length :])) for length in lengths)
        return [counter for counter in counts if counter]

    def probability(self, token, context):
        """Return p(token | the last order - 1 tokens of the list context).

        Raises TypeError or ValueError where token or context is no id.
        """
        checks.check_id_list([token, *context], self.vocab_size)
        p = 1 / self.vocab_size
        for counts in self.followers(context):
            p = (counts[token] + len(counts) * p) / (counts.total() + len(counts))
        return p

    def loss(self, ids):
        """Return the sum of −log p in nats over a list of ids, each given the ids before it."""
        contexts = (ids[max(0, t - self.order + 1) : t] for t in range(len(ids)))
        return -sum(math.log(p) for p in map(self.probability, ids, contexts))


class KneserNey(NGramModel):
    """An n-gram model whose shorter contexts count the distinct tokens before them, not the text.

    p(x | c) = (max(N(c, x) − d, 0) + d · D(c) · p(x | shorter c)) / N(c), at the bottom
    1 / vocab_size; N counts the text for the longest contexts alone. It is fitted once.
    Source: Kneser and Ney (1995), https://doi.org/10.1109/ICASSP.1995.479394
    """

    discount = 0.9  # taken off every count

    def fit(self, ids):
        """Count one text, a list of ids; return the model. Raises ValueError the second time."""
        checks.check_unfitted(self.counts)
        counts = super().fit(ids).counts
        self.counts = {c: x for c, x in counts.items() if len(c) == self.order - 1}
        for context, following in counts.items():
            if context:
                self.counts.setdefault(context[1:], Counter()).update(following.keys())
        return self

    def probability(self, token, context):
        """Return p(token | the last order - 1 tokens of the list context).

        Raises TypeError or ValueError where token or context is no id.
        """
        checks.check_id_list([token, *context], self.vocab_size)
        p = 1 / self.vocab_size
        for counts in self.followers(context):
            left = max(counts[token] - self.discount, 0)
            p = (left + self.discount * len(counts) * p) / counts.total()
        return p


def sample(model, context, num_tokens):
    """Return num_tokens ids drawn from an NGramModel one after another, each given those before.

    context: list of ids, may be empty. Draws from PyTorch's generator, integers only, so that
    one seed gives one text on every machine.
    """
    checks.check_positive(num_tokens=num_tokens)
    checks.check_id_list(context, model.vocab_size)
    ids = list(context)
    for _ in range(num_tokens):
        ids.append(draw(model, ids))
    return ids[len(context) :]


def draw(model, context):
    """Return one id drawn from p(· | context): a seen follower, or else ask a shorter context."""
    for counts in reversed(model.followers(context)):
        ticket = torch.randint(counts.total() + len(counts), ()).item()
        if ticket < counts.total():
            return next(islice(counts.elements(), ticket, None))
    return torch.randint(model.vocab_size, ()).item()
