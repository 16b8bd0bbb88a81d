"""Fields of metadata to the strings that an ONNX file holds, and back, all faults at once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field
from typing import Any

from edgeseq.model.signature import Signature
from edgeseq.tokens.table import BLANK
from edgeseq.untrusted import parse_json, printable

PREFIX = "edgeseq."
RANGES: dict[str, tuple[float, float]] = {
    "format": (1, 1000),
    "sample_rate": (1_000, 1_000_000),
    "chunk_samples": (1, 10_000_000),
    "hop_samples": (1, 10_000_000),
    "subsampling": (1, 1000),
    "blank_id": (0, 10_000_000),
    "flush_seconds": (0.0, 60.0),
    "emission_delay_seconds": (-60.0, 60.0),
    "ending_delay_seconds": (-60.0, 60.0),
}
"""Smallest and largest value of numbers; what lies outside is a broken file."""
MOST_DIGITS = 12
"""of a whole number"""
ABSENT_WHEN_EMPTY = ("token_details", "companions")


def to_string(value: Any) -> str:
    """Write a field's value."""
    if isinstance(value, Signature):
        return value.to_json()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | tuple) else str(value)


def read_fields(
    wanted: Iterable[Field[Any]], optional: Iterable[str], found: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """Read fields from their strings (by name, without prefix); returns values and faults.

    Raises TypeError for a field of a type that has no reader, which is a fault of this program and not of the file.
    """
    values: dict[str, Any] = {}
    faults = []
    for one in wanted:
        reader = READERS.get(str(one.type))
        if reader is None:
            raise TypeError(
                f"the field '{one.name}' is a {one.type}, for which there is no reader; there are {', '.join(READERS)}."
            )
        if one.name not in found:
            if one.name not in optional:
                faults.append(f"'{PREFIX}{one.name}' is missing")
            continue
        try:
            values[one.name] = _in_range(one.name, reader(found[one.name]))
        except ValueError as fault:
            faults.append(f"'{PREFIX}{one.name}': {fault} (it holds {found[one.name][:60]!r})")
    return values, faults


def _in_range(name: str, value: Any) -> Any:
    low, high = RANGES.get(name, (-math.inf, math.inf))
    if name in RANGES and not low <= value <= high:
        raise ValueError(f"wanted {low:,g} to {high:,g}" if value >= low else f"wanted at least {low:,g}")
    return value


def _whole_number(text: str) -> int:
    number = int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else -1
    if number < 0:
        raise ValueError("wanted a whole number")
    return number


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("wanted a number") from None
    if not math.isfinite(number):
        raise ValueError("wanted a number")
    return number


def _threshold(text: str) -> float:
    number = _number(text)
    if not -math.inf < number <= 0:
        raise ValueError("wanted a number of 0 or less")
    return number


def _symbols(text: str) -> tuple[str, ...]:
    symbols = parse_json(text)
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        raise ValueError("wanted a JSON list of strings")
    if BLANK not in symbols:
        raise ValueError(f"holds no {BLANK}")
    if any(printable(symbol) != symbol for symbol in symbols):
        raise ValueError("holds control characters")
    return tuple(symbols)


def _mapping(text: str) -> dict[str, Any]:
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError("wanted a JSON object")
    return value


READERS: dict[str, Callable[[str], Any]] = {
    "int": _whole_number,
    "float": _number,
    "float | None": _threshold,
    "str": printable,
    "tuple[str, ...]": _symbols,
    "dict[str, Any]": _mapping,
    "Signature": Signature.from_json,
}
"""How a field of a type is read from its string; a ValueError says what was wanted."""
