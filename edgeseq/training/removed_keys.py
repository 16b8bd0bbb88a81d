"""Keys that recipes had: stored recipes still say them, and are read where the key did nothing or what is done now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def _is(wanted: Any) -> Callable[[Any], bool]:
    return lambda value: (list(value) if isinstance(value, list | tuple) else value) == wanted


def _never_happens(value: Any) -> bool:
    return not isinstance(value, Mapping) or not value.get("probability")


def _anything(_value: Any) -> bool:
    return True


REMOVED: dict[tuple[str, ...], tuple[Callable[[Any], bool], str]] = {
    ("augment", "pitch"): (_never_happens, "'speed' moves the pitch, too"),
    ("augment", "room", "simulated"): (_is(0), "take measured rooms, or decaying noise"),
    ("augment", "room", "simulated_rooms"): (_anything, ""),
    ("augment", "room", "side_meters"): (_anything, ""),
    ("augment", "noise", "color"): (_is([0, 2]), "it is always drawn from 0 to 2"),
    ("augment", "telephone", "codecs"): (_is(["mu-law", "a-law", "gsm"]), "they are always mu-law, a-law and gsm"),
    ("joining", "long_gap"): (_is(0.1), "it is always 0.1"),
    ("data", "train", "consecutive"): (_is(False), "recordings are joined in a drawn order"),
}
"""Key -> whether a value means what is done today, and what is done"""


def without_removed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out keys that are gone. Raises ValueError where a recipe says by them what is not done any more."""
    kept: dict[str, Any] = _without(values, ())
    return kept


def _without(value: Any, path: tuple[str, ...]) -> Any:
    """Copy what stands at `path`, less the keys that are gone; a path leaves out places in lists."""
    if isinstance(value, list | tuple):
        return [_without(one, path) for one in value]
    if not isinstance(value, Mapping):
        return value
    return {key: _without(one, (*path, key)) for key, one in value.items() if not _is_removed((*path, key), one)}


def _is_removed(path: tuple[str, ...], value: Any) -> bool:
    if path not in REMOVED:
        return False
    is_neutral, instead = REMOVED[path]
    if not is_neutral(value):
        raise ValueError(
            f"{'.'.join(path)}: this key has been removed, and {instead}. Leave it out; weights that were trained with it "
            "need the version that trained them"
        )
    return True
