"""Chapter 02: its cut, its coverage and its byte pairs are what it says."""

import pytest
import torch
from notebooks import definitions

from utils.text import Vocab


@pytest.fixture(scope="module")
def chapter():
    functions = ("split", "unknown_share", "coverage", "merge", "encode")
    return definitions(2, *functions, merges=[("s", "_"), ("e", "s_")])


def test_split_cuts_once_at_the_first_line_end_after_nine_tenths(chapter):
    seen, new = chapter.split("a line\n" * 100)
    assert seen + new == "a line\n" * 100
    assert len(seen) == 636 and seen.endswith("a line") and new.startswith("\na line")


def test_coverage_is_the_known_share_for_every_size(chapter):
    seen, new = list("aaabbc"), list("abcabd")
    covered = chapter.coverage(Vocab(seen), new)
    torch.testing.assert_close(covered, 100 * torch.tensor([2, 4, 5]) / 6)
    assert chapter.unknown_share(Vocab(seen), new) == pytest.approx(1 - covered[-1].item() / 100)


def test_a_pair_is_joined_wherever_it_stands_and_the_sign_only_after_its_merge(chapter):
    assert chapter.merge(list("aaaab"), ("a", "a")) == ["aa", "aa", "b"]
    assert chapter.merge(list("abc"), ("a", "c")) == list("abc")
    assert chapter.encode("seas") == ["s", "e", "a", "s_"]
    assert chapter.encode("yes") == ["y", "es_"] and chapter.encode("sea")[-1] == "_"
