"""Training and evaluation: perplexity, clipping, carried state, token weighting."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from utils import d2l, training
from utils.batching import random_windows, sequential_windows
from utils.models import RNNScratch


@pytest.fixture
def model():
    torch.manual_seed(0)
    return RNNScratch(vocab_size=5, num_hiddens=8, sigma=0.3)


@pytest.fixture
def ids():
    torch.manual_seed(1)
    return torch.randint(5, (200,))


class Fixed(nn.Module):
    """Give every token of a vocabulary of four the same probability, or be sure of token 0."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, X, state=None):
        return self.logits.expand(X.shape[1], X.shape[0], len(self.logits)), None


def test_uniform_model_has_the_perplexity_of_its_vocabulary():
    assert training.evaluate(Fixed([0.0] * 4), torch.arange(4)) == pytest.approx(4)


def test_perfect_model_has_perplexity_one():
    ids = torch.zeros(10, dtype=torch.long)
    assert training.evaluate(Fixed([100.0, 0, 0, 0]), ids) == pytest.approx(1)


def test_perplexity_is_the_geometric_mean_of_inverse_probabilities():
    p = torch.tensor([0.5, 0.1, 0.25])
    geometric = (1 / p).prod().item() ** (1 / 3)
    assert training.perplexity(-p.log().sum().item(), 3) == pytest.approx(geometric)


def test_perplexity_is_not_the_mean_of_exp_loss():
    """d2l 1.x plots the mean of exp(loss): a number above the perplexity."""
    losses = [1.0, 3.0]
    ours = training.perplexity(sum(losses), len(losses))
    assert ours == pytest.approx(math.exp(2))
    assert sum(map(math.exp, losses)) / 2 > ours + 3
    module = d2l.RNNLMScratch(d2l.RNNScratch(4, 4), 4)
    plotted = []
    module.plot = lambda name, value, train: plotted.append(value.item())
    batches = [(torch.zeros(1, 3, dtype=torch.long), torch.full((1, 3), k)) for k in (0, 1)]
    with torch.no_grad():
        module.b_q += torch.tensor([4.0, 0.0, 0.0, 0.0])
        losses = [module.training_step(batch).item() for batch in batches]
    book, true = sum(plotted) / 2, training.perplexity(3 * sum(losses), 6)
    assert book == pytest.approx(sum(map(math.exp, losses)) / 2)
    assert book > 1.5 * true


def test_evaluate_weights_windows_by_their_tokens(model, ids):
    """A last window that is shorter counts for less; the split does not change the result."""
    whole = training.evaluate(model, ids, num_steps=199)
    assert training.evaluate(model, ids, num_steps=150) == pytest.approx(whole, rel=1e-5)
    assert training.evaluate(model, ids, num_steps=7) == pytest.approx(whole, rel=1e-5)


def test_evaluate_leaves_no_gradient(model, ids):
    training.evaluate(model, ids)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("length", [0, 1])
def test_evaluate_needs_two_tokens(model, length):
    with pytest.raises(ValueError, match=f"ids must hold at least 2 tokens, got {length}"):
        training.evaluate(model, torch.zeros(length, dtype=torch.long))


def test_perplexity_of_a_diverged_model_is_infinite_or_no_number():
    assert training.perplexity(1e6, 10) == math.inf
    assert math.isnan(training.perplexity(math.nan, 10))


@pytest.mark.parametrize("num_tokens", [0, -1])
def test_perplexity_of_no_tokens_is_an_error(num_tokens):
    with pytest.raises(ValueError, match="num_tokens"):
        training.perplexity(1.0, num_tokens)


def test_clipping_equals_torch(model, ids):
    X, Y = next(random_windows(ids, 4, 10))
    training.sequence_loss(model(X)[0], Y).backward()
    before = [p.grad.clone() for p in model.parameters()]
    norm = training.clip_gradients(model.parameters(), 0.01)
    ours = [p.grad.clone() for p in model.parameters()]
    for p, grad in zip(model.parameters(), before, strict=True):
        p.grad = grad
    torch_norm = nn.utils.clip_grad_norm_(model.parameters(), 0.01)
    assert norm == pytest.approx(torch_norm.item())
    for p, grad in zip(model.parameters(), ours, strict=True):
        torch.testing.assert_close(p.grad, grad, rtol=1e-3, atol=1e-8)


def test_short_gradients_are_left_alone(model, ids):
    X, Y = next(random_windows(ids, 4, 10))
    training.sequence_loss(model(X)[0], Y).backward()
    before = [p.grad.clone() for p in model.parameters()]
    training.clip_gradients(model.parameters(), 1e6)
    for p, grad in zip(model.parameters(), before, strict=True):
        assert torch.equal(p.grad, grad)


def test_sequence_loss_pairs_each_logit_with_its_target():
    logits = torch.randn(3, 2, 5)  # (num_steps, batch_size, vocab_size)
    Y = torch.randint(5, (2, 3))  # (batch_size, num_steps)
    by_hand = [F.cross_entropy(logits[t, b], Y[b, t]) for t in range(3) for b in range(2)]
    torch.testing.assert_close(training.sequence_loss(logits, Y), torch.stack(by_hand).mean())


def test_detach_cuts_the_graph_and_keeps_the_values():
    H = torch.ones(2, 3, requires_grad=True) * 2
    (cut,) = training.detach((H,))
    assert torch.equal(cut, H) and not cut.requires_grad
    assert training.detach(None) is None


class Spy(nn.Module):
    """Record the states that a model is given."""

    def __init__(self, model):
        super().__init__()
        self.model, self.states = model, []

    def forward(self, X, state=None):
        self.states.append(state)
        return self.model(X, state)


@pytest.mark.parametrize("carry_state", [True, False])
def test_state_is_carried_detached_or_fresh(model, ids, carry_state):
    spy = Spy(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    training.train_epoch(spy, sequential_windows(ids, 4, 10), optimizer, 1.0, carry_state)
    assert len(spy.states) > 2
    assert spy.states[0] is None
    for state in spy.states[1:]:
        assert (state is not None) == carry_state
        assert state is None or not state[0].requires_grad


def test_training_learns_a_cycle_and_reports_each_epoch(model):
    ids = torch.arange(5).repeat(40)
    seen = []
    history = training.train(
        model, partial(random_windows, ids, 4, 10), 40, 1.0, on_epoch=seen.append
    )
    assert seen == list(range(1, 41)) and len(history.perplexities) == 40
    assert history.perplexities[-1] < 1.3 < history.perplexities[0]
    assert history.tokens_per_second > 0


def test_training_repeats_itself(ids):
    def run():
        torch.manual_seed(3)
        model = RNNScratch(5, 8)
        return training.train(model, partial(random_windows, ids, 4, 10), 3, 1.0).perplexities

    assert run() == run()


@pytest.mark.parametrize(("num_epochs", "error"), [(0, ValueError), (1.0, TypeError)])
def test_bad_number_of_epochs(model, ids, num_epochs, error):
    with pytest.raises(error, match="num_epochs"):
        training.train(model, partial(random_windows, ids, 4, 10), num_epochs, 1.0)


def test_a_memorised_text_says_nothing_about_new_text():
    """Training perplexity near 1 on pure noise, and a held-out perplexity above a uniform guess."""
    torch.manual_seed(0)
    noise, new_noise = torch.randint(5, (165,)), torch.randint(5, (400,))
    model = RNNScratch(5, 64, sigma=0.1)
    batches = partial(sequential_windows, noise, 4, 10)
    history = training.train(model, batches, 200, 1.0, carry_state=True)
    assert history.perplexities[-1] < 1.5
    assert training.evaluate(model, new_noise) > 5
