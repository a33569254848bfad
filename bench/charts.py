"""Draws charts: by matplotlib, as SVG, light and dark, the same bytes for the same figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt

THEMES = {
    "light": {"ink": "#1f2328", "grid": "#d1d9e0", "ours": "#0969da", "native": "#1a7f37", "theirs": "#9a9fa5"},
    "dark": {"ink": "#e6edf3", "grid": "#3d444d", "ours": "#4493f8", "native": "#3fb950", "theirs": "#768390"},
}
Theme = dict[str, str]
Draw = Callable[[Any, Theme], None]
"""Draws on a figure with the given colours."""


def save(draw: Draw, size: tuple[float, float], folder: Path, name: str) -> str:
    """Write `NAME-light.svg` and `NAME-dark.svg`.

    Args:
        draw: called once for each theme.
        size: inches.
        folder: the folder for them. It is made if it is missing.
        name: of both files.

    Returns:
        The Markdown that shows the one that suits the reader's theme, relative to the folder above.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for theme, colours in THEMES.items():
        look = {
            "svg.hashsalt": "bokbok",
            "svg.fonttype": "none",
            "font.family": "sans-serif",
            "font.size": 9,
            "text.color": colours["ink"],
            "axes.labelcolor": colours["ink"],
            "axes.edgecolor": colours["grid"],
            "axes.facecolor": "none",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "xtick.color": colours["ink"],
            "ytick.color": colours["ink"],
            "grid.color": colours["grid"],
            "grid.linewidth": 0.6,
            "axes.axisbelow": True,
            "legend.frameon": False,
        }
        with plt.rc_context(look):
            figure = plt.figure(figsize=size, layout="constrained")
            draw(figure, colours)
            figure.savefig(folder / f"{name}-{theme}.svg", transparent=True, metadata={"Date": None})
            plt.close(figure)
    source = f"{folder.name}/{name}"
    return (
        f'<picture>\n  <source media="(prefers-color-scheme: dark)" srcset="{source}-dark.svg">\n'
        f'  <img alt="Chart of the figures below: {name.replace("-", " ")}" src="{source}-light.svg">\n</picture>'
    )


def colour(name: str, theme: Theme) -> str:
    """The colour of a bar: the library's bars differ from those of others."""
    if not name.startswith("bokbok"):
        return theme["theirs"]
    return theme["native" if name.endswith("native") else "ours"]
