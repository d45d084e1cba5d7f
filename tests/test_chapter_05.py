"""Chapter 05: what fits through the ways of handing over a state."""

import pytest
import torch
from notebooks import definitions

from utils.models import RNNScratch


@pytest.fixture(scope="module")
def chapter():
    """Return what the chapter defines, without its experiments."""
    return definitions(5, "Handover")


def test_a_free_state_is_the_scratch_model(chapter):
    torch.manual_seed(0)
    ours, elman = RNNScratch(5, 12), chapter.Handover("hidden → hidden", 5, 12)
    with torch.no_grad():
        for name in ("W_xh", "b_h", "W_hq", "b_q"):
            getattr(elman, name).copy_(getattr(ours, name).normal_())
        elman.W_back.copy_(ours.W_hh.normal_())
    X = torch.randint(5, (3, 7))
    torch.testing.assert_close(ours(X)[0], elman(X)[0])


def test_output_to_output_sees_no_two_characters_together(chapter):
    """Its logits are a sum over the characters: exchanging two of them changes it by parts."""
    torch.manual_seed(0)
    model = chapter.Handover("output → output", 5, 12).double()
    logits = {
        pair: model(torch.tensor([pair]))[0][-1, 0] for pair in ((0, 1), (2, 1), (0, 3), (2, 3))
    }
    mixed = logits[0, 1] - logits[2, 1] - logits[0, 3] + logits[2, 3]
    torch.testing.assert_close(mixed, torch.zeros_like(mixed))
