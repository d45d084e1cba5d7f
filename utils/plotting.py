"""One figure style; every figure of the course goes through this module."""

import matplotlib as mpl
import matplotlib.pyplot as plt
from IPython import get_ipython
from matplotlib.font_manager import fontManager
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

# Okabe and Ito (2008): told apart with any colour vision, and dark enough on white.
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
DASHES = ["-", "--", "-.", ":"]
CJK_FONTS = [
    "Noto Sans CJK SC",
    "Source Han Sans SC",
    "PingFang SC",
    "Microsoft YaHei",
    "SimHei",
]
INK = "#333333"
FILLS = {"input": "#D6E9F8", "state": "#FBE3CF", "output": "#D5F0E3", "op": "#FFFFFF"}


def set_style():
    """Set the course's look: white card, grid, line styles besides colours, CJK where found."""
    installed = {font.name for font in fontManager.ttflist}
    mpl.rcParams.update(
        {
            "figure.figsize": (6.4, 3.6),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "font.family": ["DejaVu Sans", *(f for f in CJK_FONTS if f in installed)],
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
        mpl.use("module://matplotlib_inline.backend_inline")
        get_ipython().run_line_magic("config", "InlineBackend.figure_formats = ['retina']")


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


def diagram(boxes, arrows, *, ax=None, width=6.4, height=2.4):
    """Draw a graph of labelled boxes and arrows; return the axes.

    boxes: {name: (x, y, label, kind)} with kind input, state, output or op, a box one wide apart;
    arrows: (from, to) or (from, to, label) or (from, to, label, bend).
    """
    ax = ax or figure(width=width, height=height)
    patches = {name: _box(ax, *box) for name, box in boxes.items()}
    for start, end, *rest in arrows:
        _arrow(ax, patches[start], patches[end], *rest)
    ax.set_aspect("equal")
    ax.margins(0.02)
    ax.axis("off")
    return ax


def _box(ax, x, y, label, kind):
    """Draw one box of the diagram, 0.7 by 0.5, centred at (x, y)."""
    box = FancyBboxPatch((x - 0.3, y - 0.2), 0.6, 0.4, "round,pad=0.05")
    box.set(facecolor=FILLS[kind], edgecolor=INK)
    ax.add_patch(box)
    ax.text(x, y, label, ha="center", va="center")
    return box


def _arrow(ax, start, end, label="", bend=0.0):
    """Draw an arrow from box to box, its label above the middle; bend < 0 arches to the left."""
    (x1, y1), (x2, y2) = [(p.get_x() + 0.3, p.get_y() + 0.2) for p in (start, end)]
    arrow = FancyArrowPatch((x1, y1), (x2, y2), patchA=start, patchB=end, mutation_scale=12)
    arrow.set(arrowstyle="-|>", color=INK, connectionstyle=f"arc3,rad={bend}", clip_on=False)
    ax.add_artist(arrow)  # add_patch would make room for the arc's far control point
    x, y = (x1 + x2 + bend * (y2 - y1)) / 2, (y1 + y2 - bend * (x2 - x1)) / 2  # its middle
    ax.update_datalim([(x, y)])
    if label:
        ax.text(x, y + 0.05, label, ha="center", va="bottom", fontsize=9)


set_style()
