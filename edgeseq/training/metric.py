"""What is measured on the way, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metric:
    """Something that is measured on the way."""

    key: str
    """in metrics.jsonl"""
    title: str
    """for people"""
    lower_is_better: bool = True
    unit: str = "%"
    """of its values; "" for plain numbers"""

    def show(self, value: float, digits: int | None = None) -> str:
        """Say a value with its unit: by default percent with one digit behind the point, others with three."""
        n_digits = (1 if self.unit == "%" else 3) if digits is None else digits
        return f"{value:.{n_digits}f} {self.unit}".rstrip()

    def is_better(self, value: float, than: float) -> bool:
        """Compare two values."""
        return value < than if self.lower_is_better else value > than


PER = Metric("per", "phones wrong")
"""Where tokens are phones; recordings with words that the lexicon lacks do not count."""
WER = Metric("wer", "words wrong")
"""For phones through the lexicon."""
ACCEPTED = Metric("accepted", "accepted without words")
"""Recordings without words in which some were heard."""
ROW_ERRORS = Metric("row_errors", "rows wrong")
"""Rows whose label is not the one of the manifest."""
F1 = Metric("f1", "F1 of labels", lower_is_better=False)
"""Over rows with a label, the mean over labels of the harmonic mean of precision and recall."""
BITS = Metric("bits", "bits per symbol", unit="bits")
"""Cross entropy of the next symbol, given those before it, to the base 2: of text, bits per character."""
PERPLEXITY = Metric("perplexity", "perplexity", unit="")
"""2 to the power of `BITS`: as if that number of symbols were equally likely."""
METRICS = {metric.key: metric for metric in (PER, WER, ACCEPTED, ROW_ERRORS, F1, BITS, PERPLEXITY)}


def is_validation(line: Mapping[str, Any]) -> bool:
    """Whether a line of metrics.jsonl is a `ValidReport`."""
    return any(key in line for key in METRICS)
