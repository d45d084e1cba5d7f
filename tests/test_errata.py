"""What pages/errata.md says of the books and no chapter shows, tried on their code and numbers."""

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
import torch
from torch import nn

from utils import d2l


def test_d2l_stores_a_page_that_says_not_found(tmp_path, monkeypatch):
    reply = SimpleNamespace(status_code=404, content=b"404 not found")
    monkeypatch.setattr(requests, "get", lambda *_, **__: reply)
    path = d2l.download("http://example.org/timemachine.txt", str(tmp_path), sha1_hash="0" * 40)
    assert Path(path).read_bytes() == reply.content


def test_d2l_sorts_tokens_by_the_alphabet_and_takes_one_index_for_no_list():
    sentence = "the time machine by h g wells"
    vocab = d2l.Vocab(list(sentence))
    assert vocab.idx_to_token == sorted({"<unk>", *sentence}) and vocab["<unk>"] == 1
    assert vocab.to_tokens([3, 4]) == ["b", "c"]
    with pytest.raises(TypeError, match="list indices must be integers"):
        vocab.to_tokens([3])
    with pytest.raises(TypeError, match="'<' not supported"):
        d2l.Vocab(list(pairwise(sentence.split())))


def test_an_offset_of_num_steps_cuts_as_0_does_and_no_offset_leaves_a_fifth_of_the_windows():
    offsets = {random.randint(0, 5) for _ in range(1_000)}
    assert Counter(offset % 5 for offset in offsets) == {0: 2, 1: 1, 2: 1, 3: 1, 4: 1}
    starts = [range(offset, 35 - 5, 5) for offset in range(5)]  # 35 numbers, windows of 5
    assert (len(starts[0]), sum(map(len, starts))) == (6, 30)


def test_d2l_overlaps_all_its_windows_those_of_validation_too():
    class Numbered(d2l.TimeMachine):
        _download, _tokenize = str, lambda *_: [f"{i:05}" for i in range(16_000)]

    book = Numbered(batch_size=32, num_steps=32)
    assert torch.equal(book.X[1:, :-1], book.X[:-1, 1:])
    loaders = [book.get_dataloader(train) for train in (True, False)]
    train, valid = ({*torch.cat(loader.dataset.tensors).flatten().tolist()} for loader in loaders)
    assert (len(train), len(valid), len(train & valid)) == (10_032, 5_032, 32)
    assert round(100 * len(train) / 173_428, 1) == 5.8  # of the normalised book


def test_the_outputs_that_raschka_prints_are_those_of_both_biases():
    torch.manual_seed(1)
    W_xh, _, b_ih, b_hh = nn.RNN(5, 2).parameters()
    hidden = [torch.ones(5) @ W_xh.T + bias for bias in (b_ih, b_hh)]
    assert [round(h[0].item(), 4) for h in hidden] == [-0.4702, -0.3161]
    assert [round(o, 4) for o in torch.tanh(hidden[0] + b_hh).tolist()] == [-0.352, 0.5253]
