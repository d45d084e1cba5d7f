"""Chapter 01: its forecasts and their errors are taken at the right points."""

from types import SimpleNamespace

import pytest
import torch
from notebooks import definitions


def load(num_points, tau, num_train):
    """Return the chapter's functions, for a configuration of our own."""
    config = SimpleNamespace(num_points=num_points, tau=tau, first_test=tau + num_train)
    return definitions(1, "forecast", "k_steps_ahead", "mse_by_horizon", config=config)


def test_forecast_feeds_its_own_predictions_back():
    chapter = load(num_points=20, tau=2, num_train=12)
    fibonacci = chapter.forecast(lambda w: w.sum(1), torch.tensor([[1.0, 1], [2, 3]]), 4)
    assert fibonacci.tolist() == [[2, 3, 5, 8], [5, 8, 13, 21]]


@pytest.mark.parametrize(("tau", "num_train", "max_horizon"), [(1, 10, 3), (4, 20, 8), (3, 9, 9)])
def test_k_steps_ahead_meet_their_targets(tau, num_train, max_horizon):
    chapter = load(40, tau, num_train)
    ramp = torch.arange(40.0)
    windows = ramp.unfold(0, tau, 1)[:-1]
    right = chapter.forecast(lambda w: w[:, -1] + 1, windows, max_horizon)
    for k in range(1, max_horizon + 1):
        assert torch.equal(chapter.k_steps_ahead(right, k, tau), ramp[tau + num_train :])


def test_errors_are_of_the_test_points_only():
    chapter = load(num_points=40, tau=4, num_train=20)
    x = torch.cat([torch.full((24,), 7.0), torch.arange(16.0)])  # x[24:] are the test points
    errors = chapter.mse_by_horizon(torch.zeros(36, 8), x, 4)
    assert torch.equal(errors, torch.full((8,), torch.arange(16.0).square().mean().item()))
