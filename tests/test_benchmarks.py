"""`make bench`: each pair runs, and what is measured is printed, stored and shown."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "_ext")]
import ratios  # noqa: E402
import status_page  # noqa: E402


def slow_and_fast():
    """Return two calls, of which the second takes less time."""
    return lambda: sum(range(100_000)), lambda: sum(range(100))


@pytest.mark.parametrize("make", [make for make, _ in ratios.PAIRS.values()])
def test_both_of_a_pair_run(make):
    assert all(ratios.seconds(run) > 0 for run in make())


def test_what_is_measured_is_printed_and_stored(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(ratios, "LAST", tmp_path / "last.json")
    monkeypatch.setattr(ratios, "PAIRS", {"slow over fast": (slow_and_fast, 3)})
    ratios.main()
    low, middle, high = json.loads(ratios.LAST.read_text())["ratios"]["slow over fast"]
    assert 1 < low <= middle <= high
    assert f"{low:5.2f} – {middle:5.2f} – {high:5.2f}" in capsys.readouterr().out
    assert f"device {ratios.hardware()['device']}" in status_page.benchmark_table(ratios.LAST)


def test_the_stored_run_is_of_these_pairs():
    stored = json.loads((ROOT / "benchmarks/last.json").read_text())
    assert list(stored["ratios"]) == list(ratios.PAIRS)
    assert all(low <= middle <= high for low, middle, high in stored["ratios"].values())


def test_the_built_site_shows_the_stored_run():
    stored = json.loads((ROOT / "benchmarks/last.json").read_text())
    page = (ROOT / "_build/html/pages/status.html").read_text()
    assert f"Measured on {stored['date']}: device {stored['hardware']['device']}" in page
    assert all(f"{ratio:.2f}" in page for row in stored["ratios"].values() for ratio in row)
