"""Values that nobody expects, put in the place of others: what property tests of file formats are made of."""

from __future__ import annotations

import copy
import math
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

BOUNDED = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
"""So many mutations, the same in each run."""

DEEP: list[Any] = []
for _ in range(300):
    DEEP = [DEEP]

VALUES: list[Any] = [
    None, True, False, -1, 0, 1, 2, 255, 2**16, 2**31, 2**32, 2**63, 2**64, -(2**63), 10**30, 0.5, -1.5, 1e308, -1e308, 5e-324,
    math.nan, math.inf, -math.inf, "", "x", "words", "\x1b[2J\x07", "\x00", "a/b", "../../etc/passwd", "9" * 400, "é", "▁",
    [], {}, [[]], [None], [0, 0, 0], ["x"], {"x": 1}, {"": {}}, DEEP,
]  # fmt: skip
NESTED_TEXT = "[" * 5000
LONG_NUMBER = "9" * 5000


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the ways to all parts of a JSON value."""
    found = [at]
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        found += places(part, (*at, key))
    return found


def replaced(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """Put `new` where a way leads."""
    if not at:
        return new
    value = copy.copy(value)
    value[at[0]] = replaced(value[at[0]], at[1:], new)
    return value


def without(value: Any, at: tuple[Any, ...]) -> Any:
    """Leave a part out."""
    value = copy.copy(value)
    if len(at) == 1:
        del value[at[0]]
    else:
        value[at[0]] = without(value[at[0]], at[1:])
    return value


@st.composite
def mutated(draw: Any, value: Any, most: int = 3) -> Any:
    """Change one to a few parts of a JSON value."""
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.sampled_from(places(value)))
        if at and draw(st.integers(0, 4)) == 0:
            value = without(value, at)
        else:
            value = replaced(value, at, draw(st.sampled_from(VALUES) | st.integers() | st.floats() | st.text(max_size=8)))
    return value


@st.composite
def broken(draw: Any, content: bytes, most: int = 8) -> bytes:
    """Change, leave out or put in a few bytes."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, max(0, len(changed) - 1)))
        kind = draw(st.sampled_from(["set", "cut", "insert", "double"]))
        if kind == "set" and changed:
            changed[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del changed[at : at + draw(st.integers(1, 64))]
        elif kind == "insert":
            changed[at:at] = draw(st.binary(min_size=1, max_size=16))
        else:
            changed[at:at] = changed[at : at + draw(st.integers(1, 64))]
    return bytes(changed)
