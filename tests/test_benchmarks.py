"""`make bench`: each pair runs, and what is measured is printed, stored and shown."""

import sys

import pytest
from notebooks import ROOT, SITE

sys.path.insert(0, str(ROOT / "benchmarks"))
import ratios


def rows(text):
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {name: [float(ratio) for ratio in found] for name, *found in lines[2:]}


@pytest.mark.parametrize("make", [make for make, _ in ratios.PAIRS.values()])
def test_both_of_a_pair_run(make):
    assert all(ratios.seconds(run) > 0 for run in make())


def test_what_is_measured_is_printed_and_stored(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(ratios, "LAST", tmp_path / "last.md")
    calls = [lambda: sum(range(100_000)), lambda: sum(range(100))]
    monkeypatch.setattr(ratios, "PAIRS", {"slow over fast": (lambda: calls, 3)})
    ratios.main()
    text = ratios.LAST.read_text()
    (low, middle, high) = rows(text)["slow over fast"]
    assert 1 < low <= middle <= high
    assert text in capsys.readouterr().out
    assert f": device {ratios.hardware()['device']}, threads " in text


def test_the_stored_run_is_of_these_pairs_and_stands_on_the_site():
    text = (ROOT / "benchmarks/last.md").read_text()
    stored = rows(text)
    assert list(stored) == list(ratios.PAIRS)
    assert all(low <= middle <= high for low, middle, high in stored.values())
    page = (SITE / "pages/status.html").read_text()
    assert text.splitlines()[-1].split(" processor")[0] in page
    assert all(f"{ratio:.2f}" in page for row in stored.values() for ratio in row)
