"""Values to bytes and back: what a stream remembers can be written down and continued elsewhere.

A value is a frozen dataclass, a dictionary by text, a tuple, a numpy array, a number, text or None, or made of these. The
bytes are a line that names the format and holds a digest, then a JSON text, then the arrays' own bytes. Nothing in them can
name code: a dataclass is made only if the reader expects one of its name (pickle would run whatever it is given).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np

from edgeseq.errors import StateError
from edgeseq.untrusted import parse_json

MAGIC = b"edgeseq saved state "
VERSION = 1
"""Raised whenever an older edgeseq could not read the bytes correctly."""
MOST_DEPTH = 200
"""Values within values; those of a stream stay below forty."""
PLAIN: dict[Any, Any] = {
    bool: (bool, np.bool_),
    int: (int, np.integer),
    float: (float, int, np.floating, np.integer),
    str: (str,),
}
"""What may stand for a type."""
DTYPE = re.compile(r"[<|](?:b1|[iu][1248]|f[248])")
KINDS = "biuf"
"""numpy's kinds of arrays that may be saved: truth values, integers, floats"""

Classes = dict[str, type]


def pack(value: Any) -> bytes:
    """Write a value as bytes. Raises TypeError for what cannot be saved."""
    arrays: list[bytes] = []
    text = json.dumps(_plain(value, arrays), ensure_ascii=False, separators=(",", ":")).encode()
    body = len(text).to_bytes(8, "little") + text + b"".join(arrays)
    return MAGIC + f"{VERSION} {hashlib.sha256(body).hexdigest()}\n".encode() + body


def unpack(content: bytes, classes: Iterable[type]) -> Any:
    """Read a value that `pack` wrote; its dataclasses must be among `classes` and what their fields name.

    Raises StateError when the bytes are something else, of a newer format, damaged, or hold other classes.
    """
    body = memoryview(_checked_body(content))
    n_text = int.from_bytes(body[:8], "little")
    try:
        plain = parse_json(bytes(body[8 : 8 + n_text]), most_depth=MOST_DEPTH)
        return _Reader(body[8 + n_text :], reachable_classes(classes)).value(plain)
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError) as fault:
        raise StateError(
            f"the saved state does not fit this version of edgeseq ({fault}).\n  Save it again, or begin with init_state()."
        ) from fault


def to_plain(value: Any) -> Any:
    """Make what JSON can hold of a value without arrays; `from_plain` makes it whole. Raises TypeError for others."""
    arrays: list[bytes] = []
    plain = _plain(value, arrays)
    if arrays:
        raise TypeError("a value with arrays is saved by pack().")
    return plain


def from_plain(plain: Any, classes: Iterable[type]) -> Any:
    """Make a value of what `to_plain` gave; its dataclasses must be among `classes` and what their fields name."""
    return _Reader(memoryview(b""), reachable_classes(classes)).value(plain)


def reachable_classes(classes: Iterable[type]) -> Classes:
    """List dataclasses by name: those given and all that the types of their fields name."""
    found: Classes = {}
    pending: list[Any] = list(classes)
    while pending:
        kind = pending.pop()
        pending += typing.get_args(kind)
        if isinstance(kind, type) and is_dataclass(kind) and found.get(kind.__name__) is not kind:
            if kind.__name__ in found:
                raise TypeError(f"two dataclasses of a state are named {kind.__name__}")
            found[kind.__name__] = kind
            pending += typing.get_type_hints(kind).values()
    return found


def _checked_body(content: bytes) -> bytes:
    if not content.startswith(MAGIC):
        raise StateError("these bytes are not a saved state of edgeseq. Wanted: what Recognizer.save gave.")
    first, _, body = content[len(MAGIC) :].partition(b"\n")
    version, _, digest = first[:200].decode("ascii", errors="replace").partition(" ")
    if version != str(VERSION):
        raise StateError(
            f"the saved state is of format {version[:20]!r}; this edgeseq reads format {VERSION}.\n"
            "  Restore it with the version of edgeseq that saved it."
        )
    if hashlib.sha256(body).hexdigest() != digest:
        raise StateError("the saved state is damaged or cut short: its digest differs. Copy it again.")
    return body


def _plain(value: Any, arrays: list[bytes]) -> Any:
    """Make JSON of a value; the bytes of arrays go to `arrays`, in order."""
    if value is None or isinstance(value, bool | int | float | str):
        return value.item() if isinstance(value, np.generic) else value  # np.float64 is a float
    if isinstance(value, np.generic):
        return {"scalar": _plain(value.item(), arrays), "dtype": _dtype(value.dtype)}
    if isinstance(value, np.ndarray):
        arrays.append(np.ascontiguousarray(value).tobytes())
        return {"array": list(value.shape), "dtype": _dtype(value.dtype)}
    if isinstance(value, tuple):
        return [_plain(one, arrays) for one in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"dict": [[key, _plain(one, arrays)] for key, one in value.items()]}
    if is_dataclass(value) and not isinstance(value, type):
        made = [field for field in fields(value) if field.init]
        return {"class": type(value).__name__, "fields": [[f.name, _plain(getattr(value, f.name), arrays)] for f in made]}
    raise TypeError(
        f"a {type(value).__name__} cannot be saved: states hold dataclasses, arrays, numbers, text, None and tuples."
    )


def _dtype(dtype: np.dtype[Any]) -> str:
    if dtype.kind not in KINDS:
        raise TypeError(f"an array of {dtype} cannot be saved.")
    return dtype.newbyteorder("<").str


class _Reader:
    """Makes values of JSON, taking arrays in the order in which they were written."""

    def __init__(self, content: memoryview, classes: Classes) -> None:
        self._content, self._at, self._classes = content, 0, classes

    def value(self, plain: Any) -> Any:
        if isinstance(plain, list):
            return tuple(self.value(one) for one in plain)
        if not isinstance(plain, dict):
            return plain
        if "array" in plain:
            return self._array(tuple(plain["array"]), _read_dtype(plain["dtype"]))
        if "scalar" in plain:
            return _read_dtype(plain["dtype"]).type(plain["scalar"])
        if "dict" in plain:
            return {key: self.value(one) for key, one in plain["dict"]}
        if plain["class"] not in self._classes:
            raise ValueError(f"it holds a {plain['class']!r}, wanted are {', '.join(sorted(self._classes))}")
        kind = self._classes[plain["class"]]
        hints = _hints(kind)
        values = {name: self.value(one) for name, one in plain["fields"]}
        for name, value in values.items():
            if name not in hints or not fits(value, hints[name]):
                raise ValueError(f"its {kind.__name__} has a {type(value).__name__} as {str(name)[:40]!r}")
        return kind(**values)

    def _array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        if not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError("it holds an array without a shape")
        n_bytes = dtype.itemsize * math.prod(shape)
        if n_bytes > len(self._content) - self._at:
            raise ValueError("it holds less than its arrays need")
        part = self._content[self._at : self._at + n_bytes]
        self._at += n_bytes
        return np.frombuffer(part, dtype).reshape(shape).astype(dtype.newbyteorder("="))  # a copy: writable, aligned


def _read_dtype(text: str) -> np.dtype[Any]:
    if not isinstance(text, str) or not DTYPE.fullmatch(text):
        raise ValueError(f"it holds an array of {str(text)[:40]!r}")
    return np.dtype(text)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def fits(value: Any, hint: Any) -> bool:
    """Tell whether a value that was read is of the type that a dataclass names; what types do not say is let pass.

    >>> fits((1, 2), tuple[int, ...]), fits("a", int | None), fits(None, int | None)
    (True, False, True)
    """
    if hint is Any:
        return True
    origin, within = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in within)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(within) == 2 and within[1] is Ellipsis:
            return all(fits(one, within[0]) for one in value)
        return len(value) == len(within) and all(map(fits, value, within))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, dict) and all(fits(one, within[1]) for one in value.values())
    kind = type(None) if hint is None else origin or hint
    if kind in PLAIN:
        return isinstance(value, PLAIN[kind]) and (kind is bool or not isinstance(value, bool | np.bool_))
    return isinstance(value, kind) if isinstance(kind, type) else True
