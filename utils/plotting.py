"""One figure style; every figure of the course goes through this module."""

import tomllib
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
}
RADIUS = {"dot": 0.2, "bend": 0.015}  # of the kinds that are circles
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


def diagram(boxes, arrows, *, ax=None, width=6.4, height=2.4):
    """Draw a graph of labelled boxes and arrows; return the axes.

    boxes: {name: (x, y, label, kind)}, a box one wide apart, with kind input, state, output,
    gate, tanh, op (a white box), dot (an operation in a circle) or bend (where lines turn or
    meet); arrows: (from, to) or (from, to, label) or (from, to, label, bend).
    """
    ax = ax or figure(width=width, height=height)
    patches = {name: _box(ax, *box) for name, box in boxes.items()}
    for start, end, *rest in arrows:
        _arrow(ax, patches[start], patches[end], *rest)
    ax.set_aspect("equal")
    ax.margins(0.02)
    ax.axis("off")
    return ax


def cell_diagram(name, *, ax=None, width=6.4, height=3.4):
    """Draw the inside of an RNN, GRU or LSTM cell in one common frame; return the axes.

    The input comes from below, what is remembered runs from left to right, along the top where
    it can stay unchanged. Raises ValueError for another name.
    """
    if name not in CELLS:
        raise ValueError(f"name must be one of {', '.join(CELLS)}, got {name!r}")
    arrows = [pair for path in CELLS[name]["paths"] for pair in pairwise(path.split(" > "))]
    return diagram(CELLS[name]["boxes"], arrows, ax=ax, width=width, height=height)


def _box(ax, x, y, label, kind):
    """Draw one box of the diagram, 0.7 by 0.5 and more, or a circle, centred at (x, y)."""
    if kind in RADIUS:
        box = Circle((x, y), RADIUS[kind])
    else:
        half = 0.2 + 0.08 * label.count("\n")  # room for a second line
        box = FancyBboxPatch((x - 0.3, y - half), 0.6, 2 * half, "round,pad=0.05")
    box.set(facecolor=FILLS[kind], edgecolor=INK)
    ax.add_patch(box)
    ax.text(x, y, label, ha="center", va="center")
    return box


def _arrow(ax, start, end, label="", bend=0.0):
    """Draw an arrow from box to box, its label above the middle; bend < 0 arches to the left."""
    (x1, y1), (x2, y2) = _center(start), _center(end)
    gaps = {"shrinkA": 0 if _is_bend(start) else 2, "shrinkB": 0 if _is_bend(end) else 2}
    ends = {"patchA": start, "patchB": end, "mutation_scale": 12, "clip_on": False}
    arrow = FancyArrowPatch((x1, y1), (x2, y2), **ends, **gaps)
    arrow.set(arrowstyle="-" if _is_bend(end) else "-|>", color=INK)
    arrow.set_connectionstyle(f"arc3,rad={bend}")
    arrow.set_in_layout(False)  # boxes make all the room; an arrow is slow to measure
    ax.add_artist(arrow)  # add_patch would make room for the arc's far control point
    x, y = (x1 + x2 + bend * (y2 - y1)) / 2, (y1 + y2 - bend * (x2 - x1)) / 2  # its middle
    ax.update_datalim([(x, y)])
    if label:
        ax.text(x, y + 0.05, label, ha="center", va="bottom", fontsize=9)


def _is_bend(box):
    """Say whether lines only turn or meet here."""
    return isinstance(box, Circle) and box.radius == RADIUS["bend"]


def _center(box):
    """Return the centre (x, y) of a box or circle."""
    if isinstance(box, Circle):
        return box.center
    return box.get_x() + box.get_width() / 2, box.get_y() + box.get_height() / 2


set_style()
