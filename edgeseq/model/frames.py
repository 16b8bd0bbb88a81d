"""What a model of the task `frames` says of itself: labels of its rows, and from which score on they are reported."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgeseq.model.signature import Signature

SCORES = "scores"
"""Output of these models: probabilities `[batch, n_rows, n_labels]`."""
ACTIVATIONS = ("sigmoid", "softmax")
TOLERANCE_SECONDS = 1e-6


@dataclass(frozen=True)
class FramesDetails:
    """The part of the metadata that the task `frames` reads, JSON `details` there."""

    labels: tuple[str, ...]
    """in the order of the columns"""
    activation: str
    """`sigmoid`: each label by itself; `softmax`: one label a row, probabilities add up to 1"""
    row_seconds: float
    """of sound that a row stands for"""
    threshold: Mapping[str, float]
    """label -> probability from which on it begins; labels that are not there are never reported (silence, other)"""
    release: float
    """probability below which a label ends; at most the lowest threshold"""
    refractory_seconds: float = 0.0
    """after the end of a label, in which it cannot begin"""
    min_seconds: float = 0.0
    """shorter ones are not reported"""
    delay_seconds: float = 0.0
    """by which rows come later than what they describe; subtracted from times"""

    def to_dict(self) -> dict[str, Any]:
        """Return what the metadata holds."""
        return asdict(self) | {"labels": list(self.labels), "threshold": dict(self.threshold)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> FramesDetails:
        """Read `details`; keys of newer versions are left alone. Raises ValueError, which says what was wanted.

        >>> FramesDetails.from_dict({"labels": ["speech"], "activation": "sigmoid", "row_seconds": 0.04, "threshold": 0.5,
        ...     "release": 0.3}).threshold
        {'speech': 0.5}
        """
        labels = plain.get("labels")
        if not isinstance(labels, list) or not labels or not all(isinstance(one, str) and one for one in labels):
            raise ValueError(f"'labels' holds {labels!r:.60}; wanted a list of texts")
        if len(set(labels)) < len(labels):
            raise ValueError(f"'labels' holds {labels!r:.60}; wanted each label once")
        activation = plain.get("activation")
        if activation not in ACTIVATIONS:
            raise ValueError(f"'activation' is {activation!r:.60}; wanted {' or '.join(ACTIVATIONS)}")
        row_seconds = _number(plain, "row_seconds")
        if not 0 < row_seconds <= 3600:
            raise ValueError(f"'row_seconds' is {row_seconds:g}; wanted more than 0, at most an hour")
        threshold = _thresholds(plain.get("threshold"), labels)
        release = _number(plain, "release")
        if not 0 < release <= min(threshold.values()):
            raise ValueError(
                f"'release' is {release:g}; wanted more than 0, at most the lowest threshold ({min(threshold.values()):g})"
            )
        times = {key: _number(plain, key, 0.0) for key in ("refractory_seconds", "min_seconds", "delay_seconds")}
        for key, seconds in times.items():
            if not 0 <= seconds <= 3600:
                raise ValueError(f"'{key}' is {seconds:g}; wanted 0 to 3600")
        return cls(tuple(labels), activation, row_seconds, threshold, release, **times)

    def with_threshold(self, threshold: float) -> FramesDetails:
        """Report every label that is reported from this probability on; `release` comes down to it where it is higher.

        Raises ValueError for anything but a probability above 0.
        """
        by_label = dict.fromkeys(self.threshold, threshold)
        return self.from_dict(self.to_dict() | {"threshold": by_label, "release": min(self.release, threshold)})

    def faults_with(self, signature: Signature) -> list[str]:
        """Say what of it does not fit the graph's ports."""
        rows, faults = signature.rows, []
        if (rows.name, rows.dtype, rows.shape) != (SCORES, "float32", (len(self.labels),)):
            faults.append(
                f"the first output is '{rows.name}' {rows.dtype} of shape {list(rows.shape)} a row; "
                f"{len(self.labels)} labels want '{SCORES}' float32 [{len(self.labels)}]"
            )
        if rows.rate is None or not math.isclose(rows.rate * self.row_seconds, 1, rel_tol=1e-6):
            faults.append(f"'row_seconds' is {self.row_seconds:g}, and the output gives {rows.rate} rows a second")
        return faults


def _number(plain: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = plain.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"'{key}' is {value!r:.60}; wanted a number")
    return float(value)


def _thresholds(plain: Any, labels: list[str]) -> dict[str, float]:
    """Read one threshold for all labels, or one for each that is reported."""
    by_label = plain if isinstance(plain, Mapping) else dict.fromkeys(labels, plain)
    unknown = [str(label) for label in by_label if label not in labels]
    if unknown or not by_label:
        raise ValueError(
            f"'threshold' is about {', '.join(unknown)[:60] or 'no label'}; wanted some of {', '.join(labels)[:200]}"
        )
    for value in by_label.values():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            raise ValueError(
                f"'threshold' holds {value!r:.60}; wanted a probability above 0, or one for each label that is reported"
            )
    return {label: float(by_label[label]) for label in labels if label in by_label}
