"""One figure style; every figure of the course goes through this module."""

import tomllib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from IPython import get_ipython
from matplotlib.font_manager import findfont, findSystemFonts, fontManager, get_font
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

# Okabe and Ito (2008): told apart with any colour vision, and dark enough on white.
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
DASHES = ["-", "--", "-.", ":"]
CJK_FONTS = [  # Matplotlib names a collection after its first face, which may be the Japanese one
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "PingFang SC",
    "Microsoft YaHei",
    "SimHei",
]
CJK_FILES = ["NotoSansCJK-Regular", "NotoSansSC", "SourceHanSans", "wqy-", "DroidSansFallback"]
INK = "#333333"
FILLS = {
    "input": "#D6E9F8",
    "state": "#FBE3CF",
    "output": "#D5F0E3",
    "op": "#FFFFFF",
    "gate": "#F6E9A8",
    "tanh": "#E7DCF5",
    "dot": "#FFFFFF",
    "bend": INK,
    "fork": INK,
    "end": INK,
}
RADIUS = {"dot": 0.2, "bend": 0.015, "fork": 0.06, "end": 0.015}  # of the kinds that are circles
LIT, UNLIT = COLORS[0], "#C4C4C4"  # the colours of one path and of all else
CELLS = tomllib.loads(Path(__file__).with_name("cells.toml").read_text(encoding="utf-8"))


def set_style():
    """Set the course's look: white card, grid, line styles besides colours, CJK where found."""
    mpl.rcParams.update(
        {
            "figure.figsize": (6.4, 3.6),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "font.family": ["DejaVu Sans", *cjk_fonts()],
            "font.size": 10,
            "axes.prop_cycle": mpl.cycler(color=COLORS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "lines.linewidth": 1.6,
            "legend.frameon": False,
        }
    )
    if get_ipython() is not None:  # a notebook shows its figures whatever MPLBACKEND says
        get_ipython().run_line_magic("matplotlib", "inline")
        get_ipython().run_line_magic("config", "InlineBackend.figure_formats = ['retina']")


def cjk_fonts():
    """Return the names of the installed fonts that have Chinese characters, best first.

    Matplotlib keeps a list of fonts; where it has none, a font installed since is looked for.
    """
    if not {font.name for font in fontManager.ttflist}.intersection(CJK_FONTS):
        for path in findSystemFonts():
            if any(name in path for name in CJK_FILES):
                fontManager.addfont(path)
    installed = {font.name for font in fontManager.ttflist}
    return [name for name in CJK_FONTS if name in installed]


def figure(num_columns=1, num_rows=1, width=6.4, height=3.6):
    """Return a new figure's axes: one, or an array of them; width and height in inches."""
    return plt.subplots(num_rows, num_columns, figsize=(width, height))[1]


def curves(x, named_ys, xlabel, ylabel, *, ax=None, xscale="linear", yscale="linear"):
    """Draw a line per name over one x (or over x[name]); return the axes.

    named_ys: {label: sequence of numbers}. Labels carry the unit in brackets.
    """
    ax = ax or figure()
    for i, (name, y) in enumerate(named_ys.items()):
        ax.plot(x[name] if isinstance(x, dict) else x, y, DASHES[i % 4], label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel, xscale=xscale, yscale=yscale)
    if len(named_ys) > 1:
        ax.legend()
    return ax


def drawable(text):
    """Return text where the figures' fonts have all its characters, else their code points.

    A machine without a Chinese font gets U+660E for 明, not an empty box.
    """
    fonts = [get_font(findfont(name)) for name in mpl.rcParams["font.family"]]
    if all(any(font.get_char_index(ord(char)) for font in fonts) for char in text):
        return text
    return " ".join(f"U+{ord(char):04X}" for char in text)


def diagram(boxes, arrows, *, lit=None, ax=None, width=6.4, height=2.4):
    """Draw a graph of labelled boxes and arrows; return the axes.

    boxes: {name: (x, y, label, kind)}, a box one wide apart, with kind input, state, output,
    gate, tanh, op (a white box), dot (an operation in a circle), end (of a line) or bend (where
    lines turn, meet or, with a dot, fork); arrows: (from, to) or (from, to, label) or (from, to,
    label, bend). Where lit, a list of (from, to), is given, everything else is grey.
    """
    ax = ax or figure(width=width, height=height)
    bright = set(boxes) if lit is None else {name for pair in lit for name in pair}
    forks = Counter(start for start, *_ in arrows)
    patches = {}
    for name, (x, y, label, kind) in boxes.items():
        kind = "fork" if kind == "bend" and forks[name] > 1 else kind
        patches[name] = _box(ax, x, y, label, kind, dim=name not in bright)
    for start, end, *rest in arrows:
        color = INK if lit is None else LIT if (start, end) in lit else UNLIT
        head = boxes[end][3] != "bend" or _joins(boxes, arrows, start, end)
        _arrow(ax, patches[start], patches[end], *rest, head=head, color=color)
    ax.set_aspect("equal")
    ax.margins(0.02)
    ax.axis("off")
    return ax


def cell_diagram(name, *, highlight=None, ax=None, width=6.4, height=3.4):
    """Draw the inside of an RNN, GRU or LSTM cell in one common frame; return the axes.

    The input comes from below, what is remembered runs from left to right, along the top where
    it can stay unchanged. highlight lights up the path of one equation, as utils/cells.toml
    names it: reset, update, candidate or state (GRU), forget, write, update or show (LSTM).
    Raises ValueError for another name.
    """
    for argument, value, known in (
        ("name", name, CELLS),
        ("highlight", highlight, (None, *CELLS.get(name, {}).get("steps", ()))),
    ):
        if value not in known:
            names = ", ".join(map(str, known))
            raise ValueError(f"{argument} must be one of {names}, got {value!r}")
    cell = CELLS[name]
    lit = _pairs(cell["steps"][highlight]) if highlight else None
    arrows = _pairs(cell["paths"])
    return diagram(cell["boxes"], arrows, lit=lit, ax=ax, width=width, height=height)


def cell_chain(name, *, width=8.0, height=3.4):
    """Draw the inside of a cell between the cells before and after it; return the axes."""
    boxes, arrows = dict(CELLS[name]["boxes"]), _pairs(CELLS[name]["paths"])
    for state, (x, y, _, kind) in CELLS[name]["boxes"].items():
        if kind == "state":  # comes from the cell on the left, or goes to the one on the right
            side, far = ("left", x - 0.9) if x < 0 else ("right", x + 0.9)
            boxes[side, state] = (far, y, "", "bend" if x < 0 else "end")
            arrows.append(((side, state), state) if x < 0 else (state, (side, state)))
    for x, time in ((-2.5, "t-1"), (8.0, "t+1")):
        boxes[time], boxes[x] = (x, -0.6, f"$X_{{{time}}}$", "input"), (x, 1.8, name, "op")
        arrows.append((time, x))
    ax = diagram(boxes, arrows, width=width, height=height)
    for left, right in ((-3.1, -1.9), (-0.35, 5.7), (7.4, 8.6)):
        frame = FancyBboxPatch((left, -0.15), right - left, 4.0, "round,pad=0.1")
        ax.add_patch(frame).set(facecolor="#F4F4F4", edgecolor=INK, zorder=0)
    ax.autoscale_view()
    return ax


def _pairs(paths):
    """Return the arrows (from, to) along paths that name their boxes in order."""
    return [pair for path in paths for pair in pairwise(path.split(" > "))]


def _joins(boxes, arrows, start, end):
    """Say whether the arrow meets another at its end, and comes from the side."""
    if sum(arrow[1] == end for arrow in arrows) < 2:
        return False
    after = next(arrow[1] for arrow in arrows if arrow[0] == end)
    return all(boxes[start][i] != boxes[after][i] for i in (0, 1))


def _box(ax, x, y, label, kind, *, dim=False):
    """Draw one box of the diagram, 0.7 by 0.5 and more, or a circle, centred at (x, y)."""
    if kind in RADIUS:
        box = Circle((x, y), RADIUS[kind])
    else:
        half = 0.2 + 0.08 * label.count("\n")  # room for a second line
        box = FancyBboxPatch((x - 0.3, y - half), 0.6, 2 * half, "round,pad=0.05")
    line = UNLIT if dim else INK
    box.set(facecolor=line if kind == "fork" else "white" if dim else FILLS[kind], edgecolor=line)
    ax.add_patch(box)
    ax.text(x, y, label, ha="center", va="center", color=line)
    return box


def _arrow(ax, start, end, label="", bend=0.0, *, head=True, color=INK):
    """Draw an arrow from box to box, its label above the middle; bend < 0 arches to the left."""
    (x1, y1), (x2, y2) = _center(start), _center(end)
    gaps = {"shrinkA": 0 if _is_bend(start) else 2, "shrinkB": 0 if _is_bend(end) else 2}
    ends = {"patchA": start, "patchB": end, "mutation_scale": 12, "clip_on": False}
    arrow = FancyArrowPatch((x1, y1), (x2, y2), **ends, **gaps)
    arrow.set(arrowstyle="-|>" if head else "-", color=color, linewidth=2.2 if color == LIT else 1)
    arrow.set_zorder(1.5 if color == UNLIT else 2)  # beneath what is lit
    arrow.set_connectionstyle(f"arc3,rad={bend}")
    arrow.set_in_layout(False)  # boxes make all the room; an arrow is slow to measure
    ax.add_artist(arrow)  # add_patch would make room for the arc's far control point
    x, y = (x1 + x2 + bend * (y2 - y1)) / 2, (y1 + y2 - bend * (x2 - x1)) / 2  # its middle
    ax.update_datalim([(x, y)])
    if label:
        ax.text(x, y + 0.05, label, ha="center", va="bottom", fontsize=9)


def _is_bend(box):
    """Say whether lines only turn or meet here."""
    return isinstance(box, Circle) and box.radius != RADIUS["dot"]


def _center(box):
    """Return the centre (x, y) of a box or circle."""
    if isinstance(box, Circle):
        return box.center
    return box.get_x() + box.get_width() / 2, box.get_y() + box.get_height() / 2


set_style()
