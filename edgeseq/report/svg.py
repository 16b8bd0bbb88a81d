"""matplotlib's figures as pieces of a page: text in the page's own colour and letters, a name for those who do not see."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from edgeseq.output.drawing import import_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#0b0c0d"
"""Stands for the page's text colour, which differs between light and dark."""
COLORS = ("#3b82f6", "#ea7317", "#16a34a", "#a855f7", "#e5484d", "#0d9aa5", "#c59b08", "#8b8d98")
"""Seen well on white and on black."""
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # words are not formulas
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "grid.color": "#8b8d98",
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "image.interpolation": "nearest",
}


@contextmanager
def figure(width: float, height: float, *, dark_on_white: bool = False) -> Iterator[Figure]:
    """Make a figure of this size in inches, in the style of the pages; `dark_on_white` is for files."""
    import_matplotlib()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style = STYLE | ({"savefig.facecolor": "white"} if dark_on_white else {})
    with matplotlib.rc_context(style):
        made = pyplot.figure(figsize=(width, height), layout="constrained")
        try:
            yield made
        finally:
            pyplot.close(made)


def to_svg(made: Figure, name: str, description: str) -> Markup:
    """Write a figure as inline SVG; `name` is unique on the page, `description` says what is to be seen."""
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):  # names inside do not meet those of other figures
        made.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r'(<image [^>]*?) id="[^"]*"', r"\1", text)
    text = text.replace(INK, "currentColor")
    text = re.sub(r"font: ([^;\"]*?)'[^\"]*?(?=[;\"])", r"font: \1system-ui, sans-serif", text)
    text = re.sub(r'\s(width|height)="[\d.]+pt"', "", text, count=2)
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1))


def to_png(made: Figure) -> bytes:
    """Write a figure as PNG."""
    file = io.BytesIO()
    made.savefig(file, format="png", dpi=120)
    return file.getvalue()
