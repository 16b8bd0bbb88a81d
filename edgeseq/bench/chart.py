"""A picture of the figures for a page: a panel a network, a bar a runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseq.bench.results import NetworkRow, Ratio
from edgeseq.errors import MissingExtraError
from edgeseq.output.drawing import import_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from edgeseq.bench.peers import Comparison

OWN, OTHER = "#0072b2", "#999999"
"""Blue and grey, which differ for every kind of sight, and in print."""
PANEL_INCHES, BAR_INCHES = 4.6, 0.36


def check_matplotlib() -> None:
    """Raise MissingExtraError if there is nothing to draw with."""
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("--chart needs matplotlib, which is not installed: pip install 'edgeseq[bench]'")


def draw_chart(comparisons: Mapping[str, Comparison], path: Path) -> None:
    """Draw microseconds a step and stream, and how many times as long as edgeseq's narrowest weights each takes.

    Raises MissingExtraError without matplotlib, OSError when `path` cannot be written.
    """
    check_matplotlib()
    import_matplotlib()
    from matplotlib.figure import Figure

    tallest = max(len(comparison.rows) for comparison in comparisons.values())
    size = (PANEL_INCHES * len(comparisons), 1.1 + BAR_INCHES * tallest)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    panels = figure.subplots(1, len(comparisons), squeeze=False)[0]
    for axes, (title, comparison) in zip(panels, comparisons.items(), strict=True):
        _draw_panel(axes, title, comparison)
    figure.savefig(path)


def _draw_panel(axes: Axes, title: str, comparison: Comparison) -> None:
    ordered = sorted(comparison.rows, key=lambda row: (row.streams, row.us_per_step.median))
    are_many = any(row.streams > 1 for row in ordered)
    names = [_name(row, are_many) for row in ordered]
    times = [row.us_per_step.median for row in ordered]
    errors: Any = [
        [row.us_per_step.median - row.us_per_step.low for row in ordered],
        [row.us_per_step.high - row.us_per_step.median for row in ordered],
    ]
    colours = [OWN if row.runtime == "edgeseq" else OTHER for row in ordered]
    bars = axes.barh(names, times, xerr=errors, color=colours, error_kw={"elinewidth": 0.8})
    axes.bar_label(bars, [label(row, comparison.ratios) for row in ordered], padding=4, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.35)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("microseconds a step" + (" and stream" if are_many else "") + ", one thread", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _name(row: NetworkRow, with_streams: bool) -> str:
    return f"{row.runtime}, {row.streams}" if with_streams else f"{row.runtime}, {row.bits} bit"


def label(row: NetworkRow, ratios: Sequence[Ratio]) -> str:
    """Write the time of a bar, and the ratio to edgeseq's narrowest weights that was measured."""
    times = f"{row.us_per_step.median:.0f}" if row.us_per_step.median >= 100 else f"{row.us_per_step.median:.1f}"
    same = [ratio for ratio in ratios if (ratio.of, ratio.streams) == (row.runtime, row.streams)]
    if not same:
        return times
    narrowest = min(same, key=lambda ratio: ratio.bits)
    return f"{times}  ({narrowest.times.median:.1f} x)"
