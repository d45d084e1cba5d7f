"""Chapter 07: its two kinds of GRU, its recipes, and what it reads off a model."""

import pytest
import torch
from notebooks import definitions
from torch import nn

from utils.models import GRUScratch, LanguageModel

NAMES = "gru_step", "plain_unit", "three_units", "copy_weights", "descent", "adam", "hold"
NAMES += "update_gates", "losses_of", "cost_of_erasing"


@pytest.fixture(scope="module")
def chapter():
    """Return what the chapter defines, with the notes of its first experiment."""
    torch.manual_seed(2)
    values = 0.3 * torch.randn(1000)
    values[[10, 45]] = torch.tensor([0.8, -1.2])
    return definitions(7, *NAMES, values=values)


def test_a_plain_unit_is_deaf_once_its_weight_has_driven_it_to_an_end(chapter):
    states = chapter.plain_unit(2)
    assert states[5:80].max() < -0.7  # before the first note, at both, and after them


@pytest.mark.parametrize("note", [0.8, -1.2, 0.05])
def test_three_units_hold_a_note_in_single_precision_and_let_it_drift_in_double(chapter, note):
    inputs = torch.zeros(300, 1, 2)
    inputs[:, 0, 1] = 0.3 * torch.randn(300)
    inputs[10, 0] = torch.tensor([1.0, note])
    single, double = (
        chapter.three_units().to(dtype)(inputs.to(dtype))[0][12:, 0, 2] / (0.05 * 0.001)
        for dtype in (torch.float32, torch.float64)
    )
    assert len(single.unique()) == 1 and len(double.unique()) > 100
    assert single[0].item() == pytest.approx(note, rel=2e-3)


def test_the_two_kinds_agree_where_the_reset_gate_is_one_number_and_its_bias_is_zero(chapter):
    torch.manual_seed(0)
    before, after = GRUScratch(5, 4).double(), GRUScratch(5, 4, reset_after=True).double()
    with torch.no_grad():
        before.W_x[:, :4], before.W_h[:, :4], before.b[:4] = 0, 0, 0.3
        for one, other in zip(after.parameters(), before.parameters(), strict=False):
            one.copy_(other)
        after.b_hn.zero_()
    inputs = torch.randn(7, 3, 5).double()
    torch.testing.assert_close(before(inputs), after(inputs))
    after.b_hn.data.fill_(0.5)
    assert (before(inputs)[0] - after(inputs)[0]).abs().max() > 0.01


def test_descent_starts_small_and_no_update_is_longer_than_rate_times_theta(chapter):
    torch.manual_seed(0)
    model = LanguageModel(GRUScratch(8, 32), 50)
    vectors = model.embedding.weight.clone()
    optimizer, clip = chapter.descent(model)
    assert torch.equal(model.embedding.weight, vectors)
    assert model.layer.W_h.std().item() == pytest.approx(0.01, rel=0.1)
    assert not model.layer.b.any() and not model.output.bias.any()
    assert optimizer.param_groups[0]["lr"] * clip == 1


def test_a_layer_with_neither_gate_is_a_plain_rnn(chapter):
    torch.manual_seed(0)
    gru, rnn = nn.GRU(3, 4), nn.RNN(3, 4)
    chapter.hold(gru, reset_open=True, update_shut=True)
    with torch.no_grad():
        for one, other in zip(rnn.parameters(), gru.parameters(), strict=True):
            one.copy_(other[8:])
    inputs = torch.randn(20, 2, 3)
    torch.testing.assert_close(gru(inputs), rnn(inputs))


def test_update_gates_are_those_that_mix_the_states(chapter):
    torch.manual_seed(0)
    ours, model = GRUScratch(3, 4, reset_after=True), LanguageModel(nn.GRU(3, 4), 6)
    chapter.copy_weights(ours, model.layer)
    ids = torch.randint(6, (9,))
    found, H = chapter.update_gates(model, ids), torch.zeros(1, 4)
    for x, gate in zip(model.embedding(ids), found, strict=True):
        sums = (x @ ours.W_x + ours.b)[None] + H @ ours.W_h  # of Z: the middle third
        torch.testing.assert_close(gate, sums[0, 4:8].sigmoid())
        H = chapter.gru_step((x @ ours.W_x + ours.b)[None], H, ours.W_h, ours.b_hn)


def test_an_erasure_costs_what_the_predictions_after_it_lose(chapter):
    torch.manual_seed(0)
    model, ids = LanguageModel(nn.GRU(3, 4), 6), torch.randint(6, (30,))
    with torch.no_grad():
        costs = chapter.cost_of_erasing(model, ids)  # (10, num_windows)
        assert costs.shape == (10, 20)
        assert costs[:, 0].abs().max() < 1e-5  # at the start the state is zero anyway
        whole, after = (chapter.losses_of(model, part) for part in (ids, ids[7:18]))
        torch.testing.assert_close(costs[:, 7], after - whole[7:17])
        hiddens, _ = model.layer(model.embedding(ids[:-1, None]))
        logits, _ = model(ids[None, 7:17], hiddens.mean(dim=0, keepdim=True))
        after = nn.functional.cross_entropy(logits[:, 0], ids[8:18], reduction="none")
        torch.testing.assert_close(
            chapter.cost_of_erasing(model, ids, True)[:, 7], after - whole[7:17]
        )
