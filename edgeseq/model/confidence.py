"""From the confidence that a decoder gives to how often words of that confidence are right: a line that was fitted before."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class ConfidenceMap:
    """A rising line from what a decoder says to how often that is right."""

    said: tuple[float, ...]
    """rising, 0 to 1"""
    right: tuple[float, ...]
    """not falling, 0 to 1"""

    def __call__(self, confidence: float) -> float:
        """Map one confidence; below the first and above the last knot the line is level.

        >>> ConfidenceMap((0.5, 1.0), (0.2, 0.8))(0.75)
        0.5
        """
        at = bisect_right(self.said, confidence)
        if at in (0, len(self.said)):
            return self.right[min(at, len(self.right) - 1)]
        low, high = self.said[at - 1], self.said[at]
        share = (confidence - low) / (high - low)
        return self.right[at - 1] + share * (self.right[at] - self.right[at - 1])

    def to_dict(self) -> dict[str, list[float]]:
        """Return the form that model metadata holds."""
        return {"said": [round(x, 6) for x in self.said], "right": [round(y, 6) for y in self.right]}

    @classmethod
    def from_dict(cls, plain: Any) -> ConfidenceMap:
        """Read what `to_dict` wrote. Raises ValueError when it is not a rising line."""
        if not isinstance(plain, Mapping):
            raise ValueError("wanted an object with 'said' and 'right'")
        said, right = (tuple(found) if isinstance(found := plain.get(key), list | tuple) else () for key in ("said", "right"))
        if not said or len(said) != len(right) or not all(isinstance(x, int | float) and 0 <= x <= 1 for x in said + right):
            raise ValueError("wanted 'said' and 'right': as many numbers from 0 to 1 each")
        if any(a >= b for a, b in pairwise(said)) or any(a > b for a, b in pairwise(right)):
            raise ValueError("wanted 'said' to rise and 'right' not to fall")
        return cls(said, right)
