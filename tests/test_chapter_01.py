"""Chapter 01: its forecasts and their errors are taken at the right points."""

import math
from types import SimpleNamespace

import pytest
import torch
from notebooks import definitions


def load(num_points, tau, num_train):
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


NAMES = "Config", "config", "make_net", "fit_ar", "linear", "forecast", "phases", "g", "ahead"
NAMES += "waves_ahead", "forecast_wave", "best_from_four", "k_steps_ahead", "mse_by_horizon"


@pytest.fixture(scope="module")
def waves():
    """Return the chapter's functions, a clean and a noisy wave of 20 periods, and its windows."""
    chapter = definitions(1, *NAMES, "draw_series")
    torch.manual_seed(0)
    _, clean, x = chapter.draw_series(chapter.replace(chapter.config, num_points=604 + 20 * 628))
    return chapter, clean, x, x.unfold(0, 4, 1)[:-1]


def test_the_loop_of_the_state_adds_up_the_log_likelihoods(waves):
    chapter, _, x, _ = waves
    h = torch.zeros(628)
    for x_t in x[:50]:
        h = chapter.g(h, x_t)
    past = chapter.phases - 2 * math.pi / 628 * torch.arange(49, -1, -1)[:, None]
    terms = (x[:50, None] - torch.sin(past)) ** 2 / (2 * 0.2**2)
    torch.testing.assert_close(h, -terms.sum(0), rtol=1e-4, atol=1e-2)


def test_nothing_linear_beats_the_best_from_four_values_over_all_phases(waves):
    chapter, _, x, windows = waves
    best = chapter.mse_by_horizon(chapter.best_from_four(x), x, 4)
    rule = chapter.linear(chapter.fit_ar(windows, x[4:]))  # on the test points, too
    assert (best < chapter.mse_by_horizon(chapter.forecast(rule, windows, 64), x, 4)).all()
    assert best[[0, 3, 15, 63]].tolist() == pytest.approx([0.0485, 0.0497, 0.063, 0.229], rel=0.04)


def test_noise_in_the_inputs_is_ridge_regression_on_the_clean_wave(waves):
    chapter, clean, x, windows = waves
    S, s = clean.double().unfold(0, 4, 1)[:-1], clean.double()[4:]
    ridge = torch.linalg.solve(S.T @ S + len(S) * 0.2**2 * torch.eye(4), S.T @ s)
    fitted = chapter.fit_ar(windows, x[4:])[:-1].double()
    torch.testing.assert_close(fitted, ridge, rtol=0, atol=0.03)
