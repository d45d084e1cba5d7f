"""Chapter 05: what fits through the ways of handing over a state, and how forecasts are judged."""

import pytest
import torch
from notebooks import definitions

from utils.models import RNNScratch


@pytest.fixture(scope="module")
def chapter():
    return definitions(5, "Handover", "linear", "WaveConfig", "wave", "linear_rule", "errors")


def test_a_free_state_is_the_scratch_model(chapter):
    torch.manual_seed(0)
    ours, elman = RNNScratch(5, 12), chapter.Handover("hidden → hidden", 5, 12)
    with torch.no_grad():
        for name in ("W_xh", "b_h", "W_hq", "b_q"):
            getattr(elman, name).copy_(getattr(ours, name).normal_())
        elman.W_back.copy_(ours.W_hh.normal_())
    X = torch.randint(5, (3, 7))
    torch.testing.assert_close(ours(X)[0], elman(X)[0])


@pytest.mark.parametrize("kind", ["output → output", "hidden → hidden"])
def test_a_sum_sees_no_two_characters_together(chapter, kind):
    """Exchanging two characters changes its logits by parts; with a tanh in between it does not."""
    torch.manual_seed(0)
    model = chapter.Handover(kind, 5, 12, sigma=1.0).double()
    model.activation = torch.tanh if kind == "output → output" else chapter.linear
    pairs = torch.tensor([(0, 1), (2, 1), (0, 3), (2, 3)])
    mixed = model(pairs)[0][-1].T @ torch.tensor([1.0, -1, -1, 1]).double()
    torch.testing.assert_close(mixed, torch.zeros_like(mixed))
    if kind == "hidden → hidden":
        model.activation = torch.tanh
        assert (model(pairs)[0][-1].T @ torch.tensor([1.0, -1, -1, 1]).double()).abs().max() > 0.1


def test_forecasts_are_judged_on_their_own_targets(chapter):
    x = torch.arange(float(chapter.wave.num_points))
    ahead = torch.arange(1, chapter.wave.max_horizon + 1)
    last = x.unfold(0, chapter.wave.window, 1)[:-1, -1:]
    assert chapter.errors(last + ahead, x, chapter.wave.window).max() == 0
    assert torch.equal(chapter.errors(last + 0 * ahead, x, chapter.wave.window), ahead.square())
    sine = torch.sin(0.01 * x)
    assert chapter.errors(chapter.linear_rule(sine), sine, chapter.wave.window).max() < 2e-3
