"""How sure is a share of few clips?"""

from __future__ import annotations

import math

NORMAL_95 = 1.959964
"""Standard deviations within which 95 % of a normal distribution lie."""


def wilson_interval(n: int, of: int) -> tuple[float, float]:
    """Give the 95 % interval of the share `n / of` (Wilson 1927): none of few clips does not prove zero.

    >>> [round(bound, 3) for bound in wilson_interval(0, 83)]
    [0.0, 0.044]
    """
    share, squared = n / of, NORMAL_95**2
    middle = (n + squared / 2) / (of + squared)
    half = NORMAL_95 / (of + squared) * math.sqrt(of * share * (1 - share) + squared / 4)
    return max(0.0, middle - half), min(1.0, middle + half)
