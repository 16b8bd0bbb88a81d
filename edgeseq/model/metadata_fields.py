"""Fields of metadata to the strings that an ONNX file holds, and back, all faults at once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field
from typing import Any

from edgeseq.model.signature import Signature
from edgeseq.tokens.table import BLANK

PREFIX = "edgeseq."
POSITIVE = ("format", "sample_rate", "chunk_samples", "hop_samples", "subsampling")
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
            value = values[one.name] = reader(found[one.name])
            if one.name in POSITIVE and value < 1:
                raise ValueError("wanted at least 1")
        except ValueError as fault:
            faults.append(f"'{PREFIX}{one.name}': {fault} (it holds {found[one.name][:60]!r})")
    return values, faults


def _whole_number(text: str) -> int:
    number = int(text) if text.isdecimal() else -1
    if number < 0:
        raise ValueError("wanted a whole number")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("wanted a number") from None


def _threshold(text: str) -> float:
    number = _number(text)
    if not -math.inf < number <= 0:
        raise ValueError("wanted a number of 0 or less")
    return number


def _symbols(text: str) -> tuple[str, ...]:
    symbols = _parse_json(text)
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        raise ValueError("wanted a JSON list of strings")
    if BLANK not in symbols:
        raise ValueError(f"holds no {BLANK}")
    return tuple(symbols)


def _mapping(text: str) -> dict[str, Any]:
    value = _parse_json(text)
    if not isinstance(value, dict):
        raise ValueError("wanted a JSON object")
    return value


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as fault:
        raise ValueError(f"not JSON ({fault})") from None


READERS: dict[str, Callable[[str], Any]] = {
    "int": _whole_number,
    "float": _number,
    "float | None": _threshold,
    "str": str,
    "tuple[str, ...]": _symbols,
    "dict[str, Any]": _mapping,
    "Signature": Signature.from_json,
}
"""How a field of a type is read from its string; a ValueError says what was wanted."""
