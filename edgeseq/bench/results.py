"""What benching a network gives, and how it is printed: JSON for machines, a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeseq.bench.timing import Spread


@dataclass(frozen=True)
class NetworkRow:
    """One network on one runtime."""

    runtime: str
    bits: int
    """of a weight"""
    shape: str
    chunk_steps: int
    streams: int
    us_per_step: Spread
    """microseconds a step and stream"""
    rtf: float
    """compute time by time of sound"""
    p99_ms: float
    """of a chunk, all streams of it"""
    peak_rss_mb: float | None
    """largest memory of a process that loads nothing else, 10^6 bytes"""
    max_difference: float
    """of log-probs, from torch in float32; of a batch, from the same streams alone"""
    file_bytes: int
    form: str = ""
    """how edgeseq's graph computes it, for the target that was asked for"""

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `edgeseq bench --json` prints them."""
        return {
            "runtime": self.runtime,
            "bits": self.bits,
            "shape": self.shape,
            "chunk_steps": self.chunk_steps,
            "streams": self.streams,
            "us_per_step": round(self.us_per_step.median, 2),
            "us_low": round(self.us_per_step.low, 2),
            "us_high": round(self.us_per_step.high, 2),
            "rtf": round(self.rtf, 6),
            "streams_per_core": int(1 / self.rtf),
            "p99_ms": round(self.p99_ms, 3),
            "peak_rss_mb": None if self.peak_rss_mb is None else round(self.peak_rss_mb, 1),
            "max_difference": float(f"{self.max_difference:.3g}"),
            "file_bytes": self.file_bytes,
            **({"form": self.form} if self.form else {}),
        }


@dataclass(frozen=True)
class Ratio:
    """How many times longer one takes than the other, paired by round."""

    of: str
    to: str
    bits: int
    """of edgeseq's weights"""
    shape: str
    chunk_steps: int
    streams: int
    times: Spread

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `edgeseq bench --json` prints them."""
        return {
            "of": self.of,
            "to": self.to,
            "bits": self.bits,
            "shape": self.shape,
            "chunk_steps": self.chunk_steps,
            "streams": self.streams,
            "median": round(self.times.median, 3),
            "low": round(self.times.low, 3),
            "high": round(self.times.high, 3),
        }


def network_table(rows: Sequence[NetworkRow], ratios: Sequence[Ratio], missing: Mapping[str, str]) -> str:
    """Lay figures out for people; `missing` says of a runtime why it has none."""
    head = ("runtime", "bits", "shape", "chunk", "streams", "us/step", "quartiles", "rtf", "p99 ms", "MB", "file MB", "differs")
    cells = [
        (
            row.runtime,
            str(row.bits),
            row.shape,
            str(row.chunk_steps),
            str(row.streams),
            f"{row.us_per_step.median:.1f}",
            f"{row.us_per_step.low:.1f}-{row.us_per_step.high:.1f}",
            f"{row.rtf:.5f}",
            f"{row.p99_ms:.2f}",
            "" if row.peak_rss_mb is None else f"{row.peak_rss_mb:.0f}",
            f"{row.file_bytes / 1e6:.2f}",
            f"{row.max_difference:.1e}",
        )
        for row in rows
    ]
    lines = align([head, *cells])
    if ratios:
        lines += ["", "times as long, paired by round (quartiles)"]
        lines += align([_ratio_cells(ratio) for ratio in ratios])
    forms = dict.fromkeys(
        f"edgeseq {row.bits} bit, chunk {row.chunk_steps}, {row.shape}: {row.form}" for row in rows if row.form
    )
    lines += ["", *forms] if forms else []
    if missing:
        lines += ["", *(f"{name}: {reason}" for name, reason in missing.items())]
    return "\n".join(lines)


def _ratio_cells(ratio: Ratio) -> tuple[str, ...]:
    streams = f"{ratio.streams} streams" if ratio.streams > 1 else ""
    times = f"{ratio.times.median:.2f}"
    quartiles = f"({ratio.times.low:.2f}-{ratio.times.high:.2f})"
    return (f"{ratio.of} / {ratio.to} {ratio.bits} bit", ratio.shape, f"chunk {ratio.chunk_steps}", streams, times, quartiles)


def align(lines: Sequence[Sequence[str]]) -> list[str]:
    """Set cells in columns, words to the left and figures to the right.

    >>> align([("operator", "us"), ("Add", "1.5")])
    ['operator   us', 'Add       1.5']
    """
    columns = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    are_figures = [all(cell[:1].isdigit() for cell in column[1:]) and len(column) > 1 for column in columns]
    shown = []
    for line in lines:
        cells = [
            cell.rjust(width) if is_figure else cell.ljust(width)
            for cell, width, is_figure in zip(line, widths, are_figures, strict=True)
        ]
        shown.append("  ".join(cells).rstrip())
    return shown
