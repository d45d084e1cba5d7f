"""Chapter 08: its tasks, starts and measures are what it says."""

import pytest
import torch
from notebooks import definitions
from torch import nn

from utils.models import lstm_step
from utils.text import Vocab

NAMES = ["adding_batch", "AddingConfig", "adding", "LAYERS", "Adder", "side_by_side", "running"]
NAMES += ["arrival", "inside", "marked", "exchanged", "keeping", "biased", "gradient_norms"]
NAMES += ["without_spaces", "f1", "chances"]


@pytest.fixture(scope="module")
def chapter():
    vocabs = {"time_machine": Vocab(list("abcdefghijklmnopqrstuvwxyz "))}
    names = {"vocabs": vocabs, "device": lambda: torch.device("cpu"), "lstm_step": lstm_step}
    return definitions(8, *NAMES, **names)


def test_an_adding_sequence_marks_one_number_in_each_half(chapter):
    torch.manual_seed(0)
    inputs, targets = chapter.adding_batch(500, 10)
    values, markers = inputs.unbind(dim=2)
    assert inputs.shape == (10, 500, 2) and targets.shape == (500,)
    assert torch.equal(markers[:5].sum(dim=0), torch.ones(500))
    assert torch.equal(markers[5:].sum(dim=0), torch.ones(500))
    assert set(markers.flatten().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(targets, (values * markers).sum(dim=0))
    assert (markers.sum(dim=1) > 0).all(), "every place is marked in some sequence"
    torch.testing.assert_close(sum(chapter.marked(inputs)), targets)
    torch.testing.assert_close(targets.var().item(), 1 / 6, rtol=0.2, atol=0)


@pytest.mark.parametrize("kinds", [("RNN", "orthogonal RNN"), ("IRNN", "IRNN")])
def test_networks_side_by_side_answer_as_each_of_them_alone(chapter, kinds):
    adders = [chapter.Adder(kind, number) for number, kind in enumerate(kinds)]
    inputs, targets = chapter.adding_batch(4, 20)
    together = chapter.side_by_side(adders, inputs)
    alone = torch.stack([adder(inputs) for adder in adders])
    torch.testing.assert_close(together, alone)
    for answers in (together, alone):
        (answers - targets).square().mean(dim=1).sum().backward()
    for adder in adders:  # both gradients are added up in .grad, and are equal
        alone = torch.autograd.grad((adder(inputs) - targets).square().mean(), adder.parameters())
        for p, grad in zip(adder.parameters(), alone, strict=True):
            torch.testing.assert_close(p.grad, 2 * grad)


def test_each_kind_starts_as_the_text_says(chapter):
    W = chapter.Adder("orthogonal RNN", 0).layer.weight_hh_l0.detach()
    torch.testing.assert_close(W @ W.T, torch.eye(len(W)), rtol=0, atol=1e-5)
    layer, H = chapter.Adder("IRNN", 0).layer, torch.rand(1, 3, chapter.adding.num_hiddens)
    _, last = layer(torch.zeros(50, 3, 2), H)
    torch.testing.assert_close(last, H)


def test_arrival_is_the_first_update_with_a_small_mean(chapter):
    window = chapter.adding.window
    errors = torch.cat((torch.ones(window), torch.zeros(2 * window)))
    assert chapter.arrival(torch.ones(2 * window)) is None
    assert chapter.arrival(errors) == 2 * window  # the first mean with no 1 in it
    assert chapter.running(errors)[0] == 1 and chapter.running(errors)[-1] == 0


def test_what_is_seen_inside_is_what_the_layer_does(chapter):
    torch.manual_seed(0)
    layer, inputs = nn.LSTM(2, chapter.adding.num_hiddens), torch.rand(9, 4, 2)
    _, forget, output, cell = chapter.inside(layer, inputs)
    hiddens, (_, C) = layer(inputs)
    torch.testing.assert_close(cell[-1], C[0])
    torch.testing.assert_close(output * cell.tanh(), hiddens)
    torch.testing.assert_close(chapter.keeping(layer, inputs), forget)


def test_the_update_gate_of_a_gru_is_seen(chapter):
    torch.manual_seed(0)
    gru, inputs = nn.GRU(2, 4), torch.rand(5, 3, 2)
    with torch.no_grad():
        gru.bias_ih_l0[4:8], gru.bias_hh_l0[4:8] = 3.0, 0.0
        gru.weight_ih_l0[4:8] = gru.weight_hh_l0[4:8] = 0.0
    expected = torch.full((5, 3, 4), 3.0).sigmoid()
    torch.testing.assert_close(chapter.keeping(gru, inputs), expected)


def test_exchanging_nothing_one_unit_or_everything(chapter):
    adder, (inputs, _) = chapter.Adder("LSTM", 0), chapter.adding_batch(5, 10)
    same = chapter.exchanged(adder, inputs, {})
    torch.testing.assert_close(same, adder(inputs).detach())
    first, second = inputs.chunk(2)
    mixed = torch.cat((first.roll(1, dims=1), second))
    whole = {"H": slice(None), "C": slice(None)}
    torch.testing.assert_close(chapter.exchanged(adder, inputs, whole), adder(mixed).detach())
    one, others = [3], [unit for unit in range(32) if unit != 3]
    both = {"C": one + others}, {"C": slice(None)}
    torch.testing.assert_close(*(chapter.exchanged(adder, inputs, parts) for parts in both))
    assert not torch.equal(chapter.exchanged(adder, inputs, {"C": one}), same)


def test_the_forget_bias_is_set_in_one_place_only(chapter):
    before, layer = chapter.Adder("LSTM", 0).layer, chapter.biased(3.0, 0).layer
    f = (layer.bias_ih_l0 + layer.bias_hh_l0).detach().chunk(4)[1]
    assert torch.equal(f, torch.full_like(f, 3.0))
    for name in ("weight_ih_l0", "weight_hh_l0"):
        assert torch.equal(getattr(layer, name), getattr(before, name))
    for place in (0, 2, 3):
        assert torch.equal(layer.bias_ih_l0.chunk(4)[place], before.bias_ih_l0.chunk(4)[place])


def test_gradient_norms_are_those_of_a_known_product(chapter):
    W = torch.diag(torch.tensor([0.5, 0.5]))
    inputs = torch.zeros(6, 1, 2).requires_grad_()
    norms = chapter.gradient_norms(lambda x, H: [x + H @ W], inputs, [torch.zeros(1, 2)])
    torch.testing.assert_close(norms, 0.5 ** torch.arange(6.0))


def test_spaces_are_taken_out_and_remembered(chapter):
    letters, spaces = chapter.without_spaces("the time machine")
    assert "".join(chapter.vocabs["time_machine"].to_tokens(letters.tolist())) == "thetimemachine"
    assert spaces.tolist() == [0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]


def test_f1_is_the_harmonic_mean_of_precision_and_recall(chapter):
    said, Y = torch.tensor([[1.0, 1.0, 1.0, -1.0, 1.0]]), torch.tensor([[1, 1, 0, 1, 0]])
    precision, recall = 2 / 4, 2 / 3
    expected = 2 * precision * recall / (precision + recall)
    assert chapter.f1(lambda X: said, None, Y) == pytest.approx(expected)


def test_chances_are_those_of_the_model_for_every_token_but_the_first(chapter):
    model = chapter.KneserNey(3, 4).fit([0, 1, 2, 3, 0, 1, 3, 2])
    part = [0, 1, 2, 3, 0]
    total = -chapter.chances(model, part).log().sum().item()
    first = model.probability(part[0], [])
    assert total == pytest.approx(model.loss(part) + torch.tensor(first).log().item(), rel=1e-5)
