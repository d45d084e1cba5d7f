"""Figures: what is drawn, and the course's d2l import."""

import sys

import matplotlib as mpl
import pytest

mpl.use("agg")
from utils import d2l, plotting


def test_curves_have_labels_and_line_styles_besides_colours():
    ax = plotting.curves([1, 2], {"a": [1, 2], "b": [2, 1]}, "x [s]", "y [1]", yscale="log")
    assert [line.get_label() for line in ax.get_lines()] == ["a", "b"]
    assert len({line.get_linestyle() for line in ax.get_lines()}) == 2
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("x [s]", "y [1]", "log")
    assert ax.get_legend() is not None


def test_a_single_curve_needs_no_legend():
    ax = plotting.curves([1, 2], {"a": [1, 2]}, "x", "y")
    assert ax.get_legend() is None


def test_curves_may_have_an_x_each():
    ax = plotting.curves({"a": [1], "b": [1, 2]}, {"a": [1], "b": [2, 3]}, "x", "y")
    assert [len(line.get_xdata()) for line in ax.get_lines()] == [1, 2]


def test_diagram_draws_each_box_and_arrow():
    boxes = {"x": (0, 0, "$x$", "input"), "h": (0, 1, "$h$", "state")}
    ax = plotting.diagram(boxes, [("x", "h", "W")])
    assert len(ax.patches) == 3
    assert {text.get_text() for text in ax.texts} == {"$x$", "$h$", "W"}


def test_diagram_with_an_unknown_box_is_an_error():
    with pytest.raises(KeyError, match="nowhere"):
        plotting.diagram({"x": (0, 0, "x", "input")}, [("x", "nowhere")])


def test_d2l_can_be_imported_and_its_missing_torchvision_says_so():
    assert d2l.RNNScratch(3, 4).W_xh.shape == (3, 4)
    if sys.modules["torchvision"].__spec__ is None:
        with pytest.raises(ImportError, match="torchvision is not installed"):
            sys.modules["torchvision"].io  # noqa: B018


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plotting.plt.close("all")
