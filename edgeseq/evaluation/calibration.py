"""Are confidences honest? Nine in ten words of confidence 0.9 should be right.

The expected calibration error is the mean distance between confidence and share of right words over bins of confidence, each
bin counted by its words (Naeini et al. 2015). A confidence map is fitted by isotonic regression (pool adjacent violators) over
words of equal number, so that it never turns an order around, and straight lines between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from edgeseq.errors import MissingExtraError, UsageError
from edgeseq.model.confidence import ConfidenceMap
from edgeseq.output.drawing import import_matplotlib

N_BINS = 10
"""of equal width, for the error and the picture"""
WORDS_PER_KNOT = 50
"""Fewer would follow chance."""


@dataclass(frozen=True)
class Bin:
    """Words whose confidence lies in one stretch."""

    n_words: int
    confidence: float
    """mean"""
    right: float
    """share of the words"""


def reliability(confidences: Sequence[float], right: Sequence[bool], n_bins: int = N_BINS) -> list[Bin]:
    """Gather words in bins of equal width; empty ones are left out.

    >>> reliability([0.95, 0.97, 0.2], [True, False, False], n_bins=2)
    [Bin(n_words=1, confidence=0.2, right=0.0), Bin(n_words=2, confidence=0.96, right=0.5)]
    """
    gathered: list[list[tuple[float, bool]]] = [[] for _ in range(n_bins)]
    for confidence, is_right in zip(confidences, right, strict=True):
        gathered[min(int(confidence * n_bins), n_bins - 1)].append((confidence, is_right))
    return [
        Bin(len(words), sum(c for c, _ in words) / len(words), sum(r for _, r in words) / len(words))
        for words in gathered
        if words
    ]


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Average the distance of confidence and share of right words, each bin by its words; 0 to 1.

    >>> round(expected_calibration_error([Bin(1, 0.2, 0.0), Bin(3, 0.96, 0.5)]), 3)
    0.395
    """
    n_words = sum(one.n_words for one in bins)
    return sum(one.n_words * abs(one.confidence - one.right) for one in bins) / n_words if n_words else 0.0


def fit_map(confidences: Sequence[float], right: Sequence[bool], words_per_knot: int = WORDS_PER_KNOT) -> ConfidenceMap:
    """Fit the rising line that lies nearest the share of right words (least squares).

    Each knot stands for at least `words_per_knot` words, or all there are; its share counts one word right and one wrong more
    than there were (Laplace), so that nothing is called certain. Raises ValueError without any words.
    """
    if not confidences:
        raise ValueError("no words to fit a confidence map to")
    ordered = sorted(zip(confidences, right, strict=True))
    n_knots = max(1, len(ordered) // words_per_knot)
    borders = [len(ordered) * knot // n_knots for knot in range(n_knots + 1)]
    blocks: list[tuple[float, float, int]] = []
    for first, last in pairwise(borders):
        words = ordered[first:last]
        share = (sum(is_right for _, is_right in words) + 1) / (len(words) + 2)
        blocks.append((sum(c for c, _ in words) / len(words), share, len(words)))
        while len(blocks) > 1 and (blocks[-2][1] >= blocks[-1][1] or blocks[-2][0] >= blocks[-1][0]):
            blocks[-2:] = [_pool(*blocks[-2:])]
    return ConfidenceMap(tuple(said for said, _, _ in blocks), tuple(share for _, share, _ in blocks))


def _pool(one: tuple[float, float, int], other: tuple[float, float, int]) -> tuple[float, float, int]:
    n_words = one[2] + other[2]
    said, share = ((one[i] * one[2] + other[i] * other[2]) / n_words for i in (0, 1))
    return said, share, n_words


def draw(bins: Sequence[Bin], title: str, path: Any) -> None:
    """Draw a reliability diagram: confidence against share of right words, and how many words there are.

    Raises MissingExtraError without matplotlib.
    """
    try:
        import_matplotlib()
        from matplotlib.figure import Figure
    except ModuleNotFoundError as fault:
        raise MissingExtraError(
            "Pictures need matplotlib, which is not installed: pip install 'edgeseq[train]'\n"
            "  Without --picture the figures are still printed."
        ) from fault
    figure = Figure(figsize=(5, 6), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    above.plot((0, 1), (0, 1), color="0.7", linewidth=1, label="honest")
    above.plot([b.confidence for b in bins], [b.right for b in bins], marker="o", label="measured")
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="share of words that are right", title=title)
    above.legend()
    below.bar([b.confidence for b in bins], [b.n_words for b in bins], width=0.02)
    below.set(yscale="log", xlabel="confidence", ylabel="words")
    try:
        figure.savefig(path, dpi=120)
    except ValueError as fault:  # a suffix that matplotlib does not know
        raise UsageError(f"{path}: {fault}. Name a file that ends with .png, .svg or .pdf.") from fault
