"""A picture of what a manifest holds: durations, levels, pace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeseq.data.check import DataReport, level_db
from edgeseq.errors import MissingExtraError, UsageError
from edgeseq.output.drawing import import_matplotlib

BINS = 60


def draw_picture(report: DataReport, path: Path) -> None:
    """Draw histograms; of levels only where sound was decoded.

    Raises MissingExtraError without matplotlib, UsageError for a suffix that it cannot write, OSError.
    """
    try:
        import_matplotlib()
        from matplotlib.figure import Figure
    except ModuleNotFoundError as fault:
        raise MissingExtraError("--picture needs matplotlib, which is not installed: pip install 'edgeseq[train]'") from fault
    panels: list[tuple[str, Sequence[float]]] = [
        ("seconds a recording", [r.duration for r in report.recordings]),
        ("words a second", [len(r.text.split()) / r.duration for r in report.recordings]),
    ]
    if report.decoded:
        levels = [level_db(m.rms) for m in report.measured if not m.fault]
        panels.insert(1, ("level, dB of full scale (RMS)", [max(level, -100.0) for level in levels]))
    figure = Figure(figsize=(4.2 * len(panels), 3.2), dpi=100, layout="constrained")
    figure.suptitle(f"{report.manifest}: {len(report.recordings):,} recordings", fontsize=10)
    for axes, (title, values) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        axes.hist(values, bins=BINS, color="#0072b2")
        axes.set_xlabel(title)
        axes.set_ylabel("recordings")
        axes.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(path)
    except ValueError as fault:
        raise UsageError(f"--picture {path}: {fault}. Name a file such as check.png.") from None
