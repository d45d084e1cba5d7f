"""Training and evaluation: perplexity, clipping, carried state, token weighting."""

import copy
import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from utils import training
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


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=30))
def test_perplexity_is_the_geometric_mean_of_inverse_probabilities(ps):
    geometric = math.prod(p ** (-1 / len(ps)) for p in ps)
    assert training.perplexity(-sum(map(math.log, ps)), len(ps)) == pytest.approx(geometric)


def test_perplexity_of_a_diverged_model_is_infinite_or_no_number():
    assert training.perplexity(1e6, 10) == training.perplexity(math.inf, 7) == math.inf
    assert math.isnan(training.perplexity(math.nan, 10))


@pytest.mark.parametrize("num_steps", [7, 150, 199, 1000])
def test_evaluate_by_hand(model, ids, num_steps):
    """A last window that is shorter counts for less; the split does not change the result."""
    whole = F.cross_entropy(model(ids[None, :-1])[0][:, 0], ids[1:]).exp().item()
    assert training.evaluate(model, ids, num_steps) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("theta", [0.01, 1.0, 1e6])
def test_clipping_equals_torch_and_leaves_short_gradients_alone(model, ids, theta):
    X, Y = next(random_windows(ids, 4, 10))
    training.sequence_loss(model(X)[0], Y).backward()
    model.extra = nn.Parameter(torch.ones(2))  # without a gradient: passed over
    ours, torchs = copy.deepcopy(model), copy.deepcopy(model)
    for copied in (ours, torchs):
        for p, original in zip(copied.parameters(), model.parameters(), strict=True):
            p.grad = None if original.grad is None else original.grad.clone()
    norm = training.clip_gradients(ours.parameters(), theta)
    assert norm == pytest.approx(nn.utils.clip_grad_norm_(torchs.parameters(), theta).item())
    for p, other, before in zip(*(m.parameters() for m in (ours, torchs, model)), strict=True):
        if before.grad is not None:
            torch.testing.assert_close(p.grad, other.grad, rtol=1e-3, atol=1e-8)
            assert norm > theta or torch.equal(p.grad, before.grad)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("carry_state", [True, False])
def test_state_is_carried_detached_with_all_its_parts_or_fresh(ids, kind, carry_state):
    torch.manual_seed(0)
    model = LanguageModel(kind(6, 8, num_layers=2), 5)
    states, minibatches = [], list(sequential_windows(ids, 4, 10))
    model.register_forward_pre_hook(lambda _, args: states.append(args[1]))
    training.train_epoch(model, minibatches, sgd(model, 0.0), 1.0, carry_state)
    assert [state is None for state in states] == [True] + [not carry_state] * (len(states) - 1)
    assert len(states) > 2
    if carry_state:
        _, expected = model(minibatches[0][0], None)
        assert type(states[1]) is type(expected)
        pairs = (states[1], expected) if kind is nn.LSTM else ([states[1]], [expected])
        for part, other in zip(*pairs, strict=True):
            assert torch.equal(part, other) and not part.requires_grad and other.requires_grad
    assert training.detach(None) is None


@pytest.mark.parametrize("clip", [None, 0.1, 0.01])
def test_one_step_of_descent_is_no_longer_than_the_clipped_gradient(model, clip):
    batches = [(torch.zeros(1, 20, dtype=torch.long),) * 2]
    with torch.no_grad():
        model.W_hq *= 1e3
    before = nn.utils.parameters_to_vector(model.parameters())
    training.train(model, lambda: batches, 1, sgd(model, 2.0), **({"clip": clip} if clip else {}))
    moved = nn.utils.parameters_to_vector(model.parameters()) - before
    assert moved.norm().item() == pytest.approx(2 * (clip or 1), rel=1e-3)


def test_takes_the_steps_of_the_optimizer_it_is_given(model, ids):
    """Three passes equal the bare loop: the optimizer's memory lasts from pass to pass."""
    by_hand, batches = copy.deepcopy(model), list(random_windows(ids, 4, 10))
    adam = torch.optim.Adam(model.parameters(), lr=0.02)
    training.train(model, lambda: batches, 3, adam, clip=1e9)
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=0.02)
    for X, Y in batches * 3:
        optimizer.zero_grad()
        F.cross_entropy(by_hand(X)[0].permute(1, 2, 0), Y).backward()
        optimizer.step()
    for ours, other in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, other, rtol=0, atol=1e-5)


def test_history_holds_the_perplexity_of_each_pass_over_all_its_tokens(model, ids):
    """Minibatches of unequal size count by their tokens; with a learning rate of zero none learns.

    Of the three tokens of the small one the model is far less sure than of the others.
    """
    X, Y = next(random_windows(ids, 4, 10))
    unlikely = model(X[:1, :3])[0].argmin(dim=-1).T  # (1, 3)
    batches = [(X, Y), (X[:1, :3], unlikely)]
    losses = [training.sequence_loss(model(X)[0], Y).item() for X, Y in batches]
    total_loss = 40 * losses[0] + 3 * losses[1]
    found = training.train_epoch(model, batches, sgd(model, 0.0), 1.0, False)
    assert found == pytest.approx((total_loss, 43))
    seen = []
    history = training.train(model, lambda: batches, 3, sgd(model, 0.0), on_epoch=seen.append)
    assert seen == [1, 2, 3]
    assert history.perplexities == pytest.approx([math.exp(total_loss / 43)] * 3)
    assert abs(sum(losses) / 2 - total_loss / 43) > 0.05, "the sizes make a difference here"


def test_speed_is_that_of_all_passes_without_what_follows_each(model, ids, monkeypatch):
    batch, now, seconds_of_passes = next(random_windows(ids, 4, 10)), [0.0], iter([1, 3])

    def make_batches():
        now[0] += next(seconds_of_passes)
        yield batch

    def evaluation(epoch):
        now[0] += 100

    monkeypatch.setattr(training.time, "perf_counter", lambda: now[0])
    history = training.train(model, make_batches, 2, sgd(model), on_epoch=evaluation)
    assert history.tokens_per_second == 2 * 40 / (1 + 3)


def test_training_drops_out_and_evaluation_does_not_nor_builds_a_graph(ids):
    torch.manual_seed(0)
    model = LanguageModel(nn.GRU(6, 8), 5, dropout=0.5)
    seen, batches = [], partial(random_windows, ids, 4, 10)

    def watch(module, _, out):
        seen.append(module.training)
        assert out[0].requires_grad == module.training, "no graph in evaluation"

    model.register_forward_hook(watch)
    training.train(
        model, batches, 2, sgd(model), on_epoch=lambda epoch: training.evaluate(model, ids)
    )
    per_epoch = [True] * len(list(batches())) + [False] * 2  # 199 tokens in windows of 100
    assert seen == per_epoch * 2
    model.train()
    assert training.evaluate(model, ids) == training.evaluate(model, ids)
    assert not model.training
