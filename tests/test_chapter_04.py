"""Chapter 04: its loop, its counted bound and its clipped update are what it says."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from notebooks import definitions
from torch.nn import functional as F

from utils.models import RNNScratch

NAMES = "forward", "least_loss", "update", "detach", "sequence_loss", "clip_gradients"
chapter = definitions(4, *NAMES, config=SimpleNamespace(lr=0.5))


def test_the_literal_loop_reads_every_step_with_the_state_before_it():
    model = RNNScratch(5, 4, sigma=0.5)
    X = torch.randint(5, (3, 6))
    torch.testing.assert_close(chapter.forward(X, *model.parameters()), model(X)[0])


def test_least_loss_is_the_entropy_left_after_k_tokens():
    tokens = [0, 1, 0, 2, 0, 1, 0, 2, 0]  # after 0 both 1 and 2; after two tokens no doubt
    assert chapter.least_loss(tokens, 1) == pytest.approx(math.log(2) / 2)
    assert chapter.least_loss(tokens, 2) == 0


def test_an_update_steps_by_the_protected_gradient_and_returns_the_free_norm():
    model, (X, Y) = RNNScratch(5, 4, sigma=0.5), torch.randint(5, (2, 3, 6))
    before = [p.clone() for p in model.parameters()]
    loss = F.cross_entropy(model(X)[0].flatten(0, 1), Y.T.flatten())
    free = torch.autograd.grad(loss, list(model.parameters()))
    protect = partial(chapter.clip_gradients, theta=0.01)
    _, found, norm = chapter.update(model, X, Y, None, protect)
    length = torch.cat([g.flatten() for g in free]).norm().item()
    assert (found, norm) == pytest.approx((loss.item(), length))
    for old, p, g in zip(before, model.parameters(), free, strict=True):
        torch.testing.assert_close(p, old - 0.5 * g * 0.01 / length, rtol=1e-4, atol=1e-6)
