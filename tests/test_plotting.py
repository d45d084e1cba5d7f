"""Figures: what is drawn, and the course's d2l import."""

import sys
from collections import Counter

import matplotlib as mpl
import nbclient
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import ArrowStyle, FancyArrowPatch
from notebooks import notebook

mpl.use("agg")
from utils import d2l, plotting


def test_curves_have_labels_and_line_styles_besides_colours():
    ax = plotting.curves([1, 2], {"a": [1, 2], "b": [2, 1]}, "x [s]", "y [1]", yscale="log")
    assert [line.get_label() for line in ax.get_lines()] == ["a", "b"]
    assert len({line.get_linestyle() for line in ax.get_lines()}) == 2
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("x [s]", "y [1]", "log")
    assert ax.get_legend() and not plotting.curves([1, 2], {"a": [1, 2]}, "x", "y").get_legend()
    ax = plotting.curves({"a": [1], "b": [1, 2]}, {"a": [1], "b": [2, 3]}, "x", "y")
    assert [len(line.get_xdata()) for line in ax.get_lines()] == [1, 2]


def test_diagram_draws_each_box_and_arrow_and_names_an_unknown_box():
    boxes = {"x": (0, 0, "$x$", "input"), "h": (0, 1, "$h$", "state")}
    ax = plotting.diagram(boxes, [("x", "h", "W")])
    assert len(ax.patches) == 3
    assert {text.get_text() for text in ax.texts} == {"$x$", "$h$", "W"}
    with pytest.raises(KeyError, match="nowhere"):
        plotting.diagram(boxes, [("x", "nowhere")])


@pytest.mark.parametrize(
    ("name", "gates", "products"),
    [("RNN", 0, 0), ("GRU", 2, 3), ("LSTM", 3, 3)],
)
def test_cell_diagram_shows_the_gates_and_products_of_the_equations(name, gates, products):
    labels = [text.get_text() for text in plotting.cell_diagram(name).texts]
    assert sum(label.endswith("\nσ") for label in labels) == gates
    assert labels.count("×") == products
    assert sum("tanh" in label for label in labels) == (2 if name == "LSTM" else 1)
    with pytest.raises(ValueError, match="name must be one of RNN, GRU, LSTM, got 'MGU'"):
        plotting.cell_diagram("MGU")


def arrows_of(ax):
    return [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]


def test_a_step_of_a_cell_lights_up_its_path_and_nothing_else():
    for name, cell in plotting.CELLS.items():
        arrows = plotting._pairs(cell["paths"])
        for step, paths in cell.get("steps", {}).items():
            lit = plotting._pairs(paths)
            assert set(lit) < set(arrows), (name, step)
            ax = plotting.cell_diagram(name, highlight=step)
            colors = Counter(to_hex(a.get_edgecolor()).upper() for a in arrows_of(ax))
            assert colors == {plotting.LIT: len(lit), plotting.UNLIT: len(arrows) - len(lit)}
            shown = {cell["boxes"][box][2] for pair in lit for box in pair} - {""}
            bright = {t.get_text() for t in ax.texts if t.get_color() != plotting.UNLIT} - {""}
            assert bright == shown, (name, step)
    with pytest.raises(ValueError, match=r"highlight must be one of None, forget, .*got 'reset'"):
        plotting.cell_diagram("LSTM", highlight="reset")


def test_dots_stand_where_lines_fork_and_heads_where_they_merge():
    boxes = {name: (x, y, "", "bend") for name, (x, y) in {"fork": (1, 0), "turn": (2, 0)}.items()}
    boxes |= {"a": (0, 0, "", "op"), "b": (1, 1, "", "op"), "side": (2, -1, "", "op")}
    boxes |= {"merge": (3, 0, "", "bend"), "under": (3, -1, "", "op"), "c": (4, 0, "", "op")}
    pairs = [("a", "fork"), ("fork", "b"), ("fork", "turn"), ("turn", "merge"), ("under", "merge")]
    pairs.append(("merge", "c"))
    ax = plotting.diagram(boxes, pairs)
    dots = [p.center for p in ax.patches if getattr(p, "radius", 0) == plotting.RADIUS["fork"]]
    assert dots == [(1, 0)]
    heads = [isinstance(a.get_arrowstyle(), ArrowStyle.CurveFilledB) for a in arrows_of(ax)]
    assert heads == [pair in [("fork", "b"), ("under", "merge"), ("merge", "c")] for pair in pairs]


@pytest.mark.parametrize(("name", "states"), [("RNN", 1), ("GRU", 1), ("LSTM", 2)])
def test_a_chain_opens_the_cell_in_the_middle(name, states):
    ax, alone = plotting.cell_chain(name), plotting.cell_diagram(name)
    texts = Counter(text.get_text() for text in ax.texts if text.get_text())
    inside = Counter(text.get_text() for text in alone.texts if text.get_text())
    assert texts - inside == {name: 2, "$X_{t-1}$": 1, "$X_{t+1}$": 1}
    assert len(arrows_of(ax)) == len(arrows_of(alone)) + 2 * states + 2  # and two inputs


def test_cells_share_a_frame():
    def place(name, label):
        texts = plotting.cell_diagram(name).texts
        return [text.get_position() for text in texts if text.get_text() == label]

    assert len({tuple(place(name, "$X_t$")) for name in plotting.CELLS}) == 1
    assert place("RNN", "$H_t$") == place("GRU", "$H_t$") == place("LSTM", "$C_t$")


def test_every_path_of_a_cell_runs_straight():
    for cell in plotting.CELLS.values():
        for a, b in plotting._pairs(cell["paths"]):
            (x1, y1), (x2, y2) = cell["boxes"][a][:2], cell["boxes"][b][:2]
            assert (x1 == x2) != (y1 == y2), (a, b)


def test_drawable_keeps_what_the_fonts_have_and_spells_out_the_rest(monkeypatch):
    found = plotting.cjk_fonts()
    assert plotting.mpl.rcParams["font.family"] == ["DejaVu Sans", *found]
    assert plotting.drawable("ab é ˜ σ 明") == "ab é ˜ σ " + ("明" if found else "U+660E")
    assert plotting.drawable("\ue123") == "U+E123"  # a private one, which no font draws like this
    monkeypatch.setitem(plotting.mpl.rcParams, "font.family", ["DejaVu Sans"])
    assert plotting.drawable("明月") == "U+660E U+6708"


def test_a_font_that_matplotlib_has_not_listed_yet_is_found(monkeypatch):
    listed = [f for f in plotting.fontManager.ttflist if f.name not in plotting.CJK_FONTS]
    monkeypatch.setattr(plotting.fontManager, "ttflist", listed)
    dejavu = plotting.findfont("DejaVu Sans")
    added = []
    monkeypatch.setattr(plotting, "findSystemFonts", lambda: [dejavu, "/fonts/wqy-zenhei.ttc"])
    monkeypatch.setattr(plotting.fontManager, "addfont", added.append)
    assert plotting.cjk_fonts() == []
    assert added == ["/fonts/wqy-zenhei.ttc"]


def test_a_notebook_shows_its_figures_whatever_mplbackend_says(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    made = notebook("from utils.plotting import figure", "figure().plot([1, 2]);")
    nbclient.NotebookClient(made, timeout=300).execute()
    assert "image/png" in made.cells[1].outputs[0].data


def test_d2l_can_be_imported_and_its_missing_torchvision_says_so():
    assert d2l.RNNScratch(3, 4).W_xh.shape == (3, 4)
    if sys.modules["torchvision"].__spec__ is None:
        with pytest.raises(ImportError, match="torchvision is not installed"):
            sys.modules["torchvision"].io  # noqa: B018


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plotting.plt.close("all")
