"""Training and evaluation: perplexity, clipping, carried state, token weighting."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from utils import d2l, training
from utils.batching import random_windows, sequential_windows
from utils.models import LanguageModel, RNNScratch


@pytest.fixture
def model():
    torch.manual_seed(0)
    return RNNScratch(vocab_size=5, num_hiddens=8, sigma=0.3)


@pytest.fixture
def ids():
    torch.manual_seed(1)
    return torch.randint(5, (200,))


def sgd(model, lr=1.0):
    return torch.optim.SGD(model.parameters(), lr)


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


def test_evaluate_builds_no_graph(model, ids):
    graphs = []
    model.register_forward_hook(lambda module, args, out: graphs.append(out[0].requires_grad))
    training.evaluate(model, ids)
    assert graphs == [False, False]
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
    training.train_epoch(spy, sequential_windows(ids, 4, 10), sgd(model), 1.0, carry_state)
    assert len(spy.states) > 2
    assert spy.states[0] is None
    for state in spy.states[1:]:
        assert (state is not None) == carry_state
        assert state is None or not state[0].requires_grad


def test_training_learns_a_cycle_and_reports_each_epoch(model):
    ids = torch.arange(5).repeat(40)
    seen = []
    batches = partial(random_windows, ids, 4, 10)
    history = training.train(model, batches, 40, sgd(model), on_epoch=seen.append)
    assert seen == list(range(1, 41)) and len(history.perplexities) == 40
    assert history.perplexities[-1] < 1.3 < history.perplexities[0]


def test_training_repeats_itself(ids):
    def run():
        torch.manual_seed(3)
        model = RNNScratch(5, 8)
        batches = partial(random_windows, ids, 4, 10)
        return training.train(model, batches, 3, sgd(model)).perplexities

    assert run() == run()


@pytest.mark.parametrize(
    "make_optimizer",
    [
        partial(torch.optim.SGD, lr=0.5),
        partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        partial(torch.optim.Adam, lr=0.02),
    ],
    ids=["SGD", "momentum", "Adam"],
)
def test_takes_the_steps_of_the_optimizer_it_is_given(model, ids, make_optimizer):
    """Three passes equal the bare loop: the optimizer's memory lasts from pass to pass."""
    by_hand = copy.deepcopy(model)
    batches = list(random_windows(ids, 4, 10))
    optimizer = make_optimizer(model.parameters())
    training.train(model, lambda: batches, 3, optimizer, clip=1e9)
    optimizer = make_optimizer(by_hand.parameters())
    for X, Y in batches * 3:
        optimizer.zero_grad()
        F.cross_entropy(by_hand(X)[0].permute(1, 2, 0), Y).backward()
        optimizer.step()
    for ours, other in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, other, rtol=0, atol=1e-5)


def test_optimizers_differ_and_parameters_not_given_stay(model, ids):
    batches = list(random_windows(ids, 4, 10))
    adam, frozen = copy.deepcopy(model), model.W_xh.clone()
    training.train(adam, lambda: batches, 1, torch.optim.Adam(adam.parameters(), 0.01))
    others = [p for p in model.parameters() if p is not model.W_xh]
    training.train(model, lambda: batches, 1, torch.optim.SGD(others, 0.01))
    assert torch.equal(model.W_xh, frozen)
    assert not torch.allclose(model.W_hh, adam.W_hh)


@pytest.mark.parametrize("clip", [0.1, 0.01])
def test_one_step_of_descent_is_no_longer_than_the_clipped_gradient(model, ids, clip):
    batches = [next(random_windows(ids, 4, 10))]
    before = nn.utils.parameters_to_vector(model.parameters())
    training.train(model, lambda: batches, 1, sgd(model, 2.0), clip=clip)
    moved = nn.utils.parameters_to_vector(model.parameters()) - before
    assert moved.norm().item() == pytest.approx(2 * clip, rel=1e-3)


def test_clips_at_one_unless_told_otherwise(model):
    batches = [(torch.zeros(1, 20, dtype=torch.long),) * 2]
    with torch.no_grad():
        model.W_hq *= 1e3
    before = nn.utils.parameters_to_vector(model.parameters())
    training.train(model, lambda: batches, 1, sgd(model))
    moved = nn.utils.parameters_to_vector(model.parameters()) - before
    assert moved.norm().item() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_state_of_every_layer_is_carried_detached_with_all_its_parts(ids, kind):
    torch.manual_seed(0)
    model = LanguageModel(kind(6, 8, num_layers=2), 5)
    spy = Spy(model)
    minibatches = list(sequential_windows(ids, 4, 10))
    training.train_epoch(spy, minibatches, sgd(model, 0.0), 1.0, True)
    _, expected = model(minibatches[0][0])
    assert len(spy.states[1]) == len(expected) == (2 if kind is nn.LSTM else 1)
    for part, other in zip(spy.states[1], expected, strict=True):
        assert torch.equal(part, other) and not part.requires_grad


def test_history_holds_the_perplexity_of_each_pass_over_all_its_tokens(model, ids):
    """Minibatches of unequal size count by their tokens; with a learning rate of zero none learns.

    Of the three tokens of the small one the model is far less sure than of the others.
    """
    X, Y = next(random_windows(ids, 4, 10))
    unlikely = model(X[:1, :3])[0].argmin(dim=-1).T  # (1, 3)
    batches = [(X, Y), (X[:1, :3], unlikely)]
    losses = [training.sequence_loss(model(X)[0], Y).item() for X, Y in batches]
    total_loss = 40 * losses[0] + 3 * losses[1]
    assert training.train_epoch(model, batches, sgd(model, 0.0), 1.0, False) == (
        pytest.approx(total_loss),
        43,
    )
    history = training.train(model, lambda: batches, 3, sgd(model, 0.0))
    assert history.perplexities == pytest.approx([math.exp(total_loss / 43)] * 3)
    assert abs(sum(losses) / 2 - total_loss / 43) > 0.05, "the sizes make a difference here"


def test_speed_is_that_of_all_passes_without_what_follows_each(model, ids, monkeypatch):
    """By a clock that stands still but for the minibatches and on_epoch."""
    batch, now, seconds_of_passes = next(random_windows(ids, 4, 10)), [0.0], iter([1, 3])

    def make_batches():
        now[0] += next(seconds_of_passes)
        yield batch

    def evaluation(epoch):
        now[0] += 100

    monkeypatch.setattr(training.time, "perf_counter", lambda: now[0])
    history = training.train(model, make_batches, 2, sgd(model), on_epoch=evaluation)
    assert history.tokens_per_second == 2 * 40 / (1 + 3)


def test_training_drops_out_and_evaluation_does_not(ids):
    torch.manual_seed(0)
    model = LanguageModel(nn.GRU(6, 8), 5, dropout=0.5)
    modes = []
    model.register_forward_hook(lambda module, args, out: modes.append(module.training))
    batches = partial(random_windows, ids, 4, 10)
    training.train(
        model, batches, 2, sgd(model), on_epoch=lambda epoch: training.evaluate(model, ids)
    )
    per_epoch = [True] * len(list(batches())) + [False] * 2  # 199 tokens in windows of 100
    assert modes == per_epoch * 2
    assert not model.training
    model.train()
    assert training.evaluate(model, ids) == training.evaluate(model, ids)
    assert not model.training


@pytest.mark.parametrize(("num_epochs", "error"), [(0, ValueError), (1.0, TypeError)])
def test_bad_number_of_epochs(model, ids, num_epochs, error):
    with pytest.raises(error, match="num_epochs"):
        training.train(model, partial(random_windows, ids, 4, 10), num_epochs, sgd(model))


def test_a_memorised_text_says_nothing_about_new_text():
    """Training perplexity near 1 on pure noise, and a held-out perplexity above a uniform guess."""
    torch.manual_seed(0)
    noise, new_noise = torch.randint(5, (165,)), torch.randint(5, (400,))
    model = RNNScratch(5, 64, sigma=0.1)
    batches = partial(sequential_windows, noise, 4, 10)
    history = training.train(model, batches, 200, sgd(model), carry_state=True)
    assert history.perplexities[-1] < 1.5
    assert training.evaluate(model, new_noise) > 5
