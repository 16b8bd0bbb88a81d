"""What a line of a manifest says of a sequence that is no sound: symbols or values, inline or in a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgeseq.untrusted import is_number

IDS, VALUES = "ids", "values"
IN_FILES = {"ids_filepath": IDS, "values_filepath": VALUES}
"""Key that names a file -> what it holds"""
SUFFIXES = {IDS: (".txt", ".npy"), VALUES: (".csv", ".npy")}
MOST_RATE = 1e9


@dataclass(frozen=True)
class Units:
    """A sequence of symbols or of values."""

    kind: str
    """`ids` or `values`"""
    content: str | tuple[Any, ...] | None = None
    """inline: a text of characters, a tuple of symbols, of whole numbers, of numbers, or of tuples of numbers; None: a file"""
    rate: float = 1.0
    """units a second"""


def key_of(entry: Mapping[str, Any]) -> str | None:
    """Find the key under which a line holds a sequence; None where it is sound, or holds nothing."""
    return next((key for key in (IDS, VALUES, *IN_FILES) if key in entry), None)


def faults_of(entry: Mapping[str, Any], key: str) -> Iterator[str]:
    """Say what is wrong with a line's sequence."""
    others = [other for other in ("audio_filepath", IDS, VALUES, *IN_FILES) if other in entry and other != key]
    if others:
        yield f"'{key}' and '{others[0]}' are both there; one of them is wanted"
    rate = entry.get("rate", 1.0)
    if not is_number(rate) or not 0 < rate <= MOST_RATE:
        yield f"'rate' is {rate!r:.60}; units a second, a number above 0, are wanted"
    value = entry[key]
    if key in IN_FILES:
        suffixes = SUFFIXES[IN_FILES[key]]
        if not isinstance(value, str) or not value.endswith(suffixes) or "\0" in value:
            yield f"'{key}' is {value!r:.60}; a file is wanted whose name ends in {' or '.join(suffixes)}"
    elif not _is_sequence(value, key):
        wanted = "a text, or a list of symbols or of whole numbers" if key == IDS else "a list of numbers, or of lists of them"
        yield f"'{key}' is {value!r:.60}; {wanted} is wanted, not empty"


def _is_sequence(value: Any, key: str) -> bool:
    if key == IDS and isinstance(value, str):
        return bool(value)
    if not isinstance(value, list) or not value:
        return False
    if key == IDS:
        return all(type(one) is type(value[0]) for one in value) and isinstance(value[0], str | int)
    if not isinstance(value[0], list):
        return all(map(is_number, value))
    sizes = {len(row) if isinstance(row, list) else 0 for row in value}
    return len(sizes) == 1 and min(sizes) > 0 and all(is_number(number) for row in value for number in row)


def take(entry: dict[str, Any], key: str) -> Units:
    """Take a line's sequence, which has no fault, out of it."""
    value, rate = entry.pop(key), float(entry.pop("rate", 1.0))
    if key in IN_FILES:
        return Units(IN_FILES[key], None, rate)
    content = value if isinstance(value, str) else tuple(tuple(row) if isinstance(row, list) else row for row in value)
    return Units(key, content, rate)


def as_entry(units: Units) -> dict[str, Any]:
    """Give what a line says of an inline sequence."""
    return ({} if units.content is None else {units.kind: units.content}) | ({} if units.rate == 1.0 else {"rate": units.rate})
