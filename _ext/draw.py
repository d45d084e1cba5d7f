"""The site's own pictures: `python _ext/draw.py` writes them into _static as SVG."""

import math
import random
from pathlib import Path

from utils.plotting import COLORS

BLUE, ORANGE, GREEN = (tuple(bytes.fromhex(color[1:])) for color in COLORS[:3])
THEMES = {
    "light": {"ink": (51, 51, 51), "paper": (255, 255, 255), "tint": 0.18},
    "dark": {"ink": (222, 226, 230), "paper": (18, 18, 18), "tint": 0.45},
}
WORD, NUM_HIDDENS = "time", 5
STEP, PREDICTED, STATE, READ = 150, 50, 140, 230  # distance of the columns, heights of the rows
SVG = (  # with its size, by which a page keeps its place
    '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}">{2}'
    "</svg>\n"
)


def states(word):
    """Return the state after each letter of an untrained RNN: rows of numbers in −1..1."""
    rng = random.Random(4)
    W_xh = {letter: [rng.gauss(0, 1) for _ in range(NUM_HIDDENS)] for letter in sorted(set(word))}
    W_hh = [[rng.gauss(0, 0.6) for _ in range(NUM_HIDDENS)] for _ in range(NUM_HIDDENS)]
    H, rows = [0.0] * NUM_HIDDENS, []
    for letter in word:
        products = [sum(h * w for h, w in zip(H, row, strict=True)) for row in W_hh]
        H = [math.tanh(x + p) for x, p in zip(W_xh[letter], products, strict=True)]
        rows.append(H)
    return rows


def mix(color, theme, share=1.0):
    """Return the hex colour that is `share` of color on the theme's paper."""
    pairs = zip(color, theme["paper"], strict=True)
    return "#" + "".join(f"{round(c * share + p * (1 - share)):02x}" for c, p in pairs)


def letter_box(x, y, text, color, theme):
    """Return a rounded box with one letter, centred at (x, y)."""
    fill, edge = mix(color, theme, theme["tint"]), mix(color, theme)
    return (
        f'<rect x="{x - 24}" y="{y - 22}" width="48" height="44" rx="9" fill="{fill}"'
        f' stroke="{edge}" stroke-width="2"/><text x="{x}" y="{y + 7}" font-size="22">{text}</text>'
    )


def state_cells(x, values, theme):
    """Return a state as a row of cells: blue below zero, orange above, stronger further away."""
    left, cells = x - 9 * len(values), []
    for i, value in enumerate(values):
        fill = mix(ORANGE if value > 0 else BLUE, theme, abs(value))
        cells.append(
            f'<rect x="{left + 18 * i}" y="{STATE - 16}" width="18" height="32" fill="{fill}"/>'
        )
    size = f'y="{STATE - 16}" width="{18 * len(values)}" height="32"'
    frame = f'<rect x="{left}" {size} rx="3" fill="none" stroke="{mix(theme["ink"], theme)}"/>'
    return "".join([*cells, frame])


def arrow(x1, y1, x2, y2, ink):
    """Return an arrow from (x1, y1) to (x2, y2)."""
    line = f'<path d="M{x1} {y1}L{x2} {y2}" stroke="{ink}" stroke-width="1.8"'
    return line + ' marker-end="url(#tip)"/>'


def step(x, read, predicted, values, theme):
    """Return one step: the letter read, the state, the letter predicted, and the arrows."""
    ink, half = mix(theme["ink"], theme), 9 * NUM_HIDDENS
    return "".join(
        [
            letter_box(x, READ, read, BLUE, theme),
            letter_box(x, PREDICTED, predicted, GREEN, theme),
            state_cells(x, values, theme),
            arrow(x, READ - 24, x, STATE + 26, ink),
            arrow(x, STATE - 18, x, PREDICTED + 32, ink),
            arrow(x + half + 2, STATE, x + STEP - half - 10, STATE, ink),
        ]
    )


def unrolled(name):
    """Return the landing page's figure: a recurrent network unrolled over the letters of WORD."""
    theme = THEMES[name]
    ink, half = mix(theme["ink"], theme), 9 * NUM_HIDDENS
    parts = [
        f'<defs><marker id="tip" viewBox="0 0 10 10" refX="2" refY="5" markerWidth="6"'
        f' markerHeight="6" orient="auto"><path d="M0 0L10 5L0 10z" fill="{ink}"/></marker></defs>'
        f'<g font-family="DejaVu Sans, Verdana, sans-serif" text-anchor="middle" fill="{ink}">',
        *(
            f'<text x="60" y="{y + 6}" font-size="17">{label}</text>'
            for y, label in [(PREDICTED, "predicts"), (READ, "reads")]
        ),
        state_cells(60, [0.0] * NUM_HIDDENS, theme),
        arrow(60 + half + 2, STATE, 60 + STEP - half - 10, STATE, ink),
    ]
    letters = zip(WORD, WORD[1:] + "␣", states(WORD), strict=True)
    parts += [step(60 + STEP * (t + 1), *column, theme) for t, column in enumerate(letters)]
    return SVG.format(60 + STEP * 5 - 30, 270, "".join(parts) + "</g>")


def loop():
    """Return the logo: a state (the dot) that an arrow leads back to."""
    blue, orange = "#2f86c6", "#e06a12"  # 3:1 or more on white and on the dark theme's grey
    ring = f'<path d="M40 13A20 20 0 1 1 20 15" fill="none" stroke="{blue}" stroke-width="7"/>'
    tip = f'<path d="M14.5 6.5L31 8L25.5 23.5z" fill="{blue}"/>'
    dot = f'<circle cx="32" cy="33" r="8" fill="{orange}"/>'
    return SVG.format(64, 64, f'<g stroke-linecap="round">{ring}{tip}{dot}</g>')


def pictures():
    """Return every picture as {file name: SVG text}."""
    return {
        "unrolled-light.svg": unrolled("light"),
        "unrolled-dark.svg": unrolled("dark"),
        "logo.svg": loop(),
    }


if __name__ == "__main__":
    folder = Path(__file__).parent.parent / "_static"
    for file_name, svg in pictures().items():
        (folder / file_name).write_text(svg, encoding="utf-8")
