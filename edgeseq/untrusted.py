"""What comes from elsewhere: JSON and YAML within bounds, fields of a header by type and range, text for a terminal.

All that edgeseq reads of files and clients goes through here, so that no input can nest, swell or spell a number beyond what
Python bears. Faults are ValueErrors whose text says what was seen and wanted; the caller adds the file and what to do.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from edgeseq import errors

if TYPE_CHECKING:
    import yaml

MOST_BYTES = 64 << 20
"""of a JSON text"""
MOST_DEPTH = 64
"""Objects and lists within each other."""
MOST_DIGITS = 300
"""of a whole number; beyond 308 it is not a float any more"""
MOST_NODES = 200_000
"""of a YAML text, each alias counted as what it stands for"""
MOST_EXACT = 2**53
"""Largest whole number that all programs that read JSON keep exactly."""

_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|([\[{])|[\]}]', re.DOTALL)
_SPARSE_DIGITS = re.compile(r"[0-9]{10}")
_LONG_NUMBER = re.compile(rf"[0-9]{{{MOST_DIGITS + 1}}}")


def parse_json(
    text: str | bytes,
    *,
    most_bytes: int = MOST_BYTES,
    most_depth: int = MOST_DEPTH,
    most_brackets: int | None = None,
    most_commas: int | None = None,
    any_names: bool = False,
) -> Any:
    """Parse a JSON text; `most_brackets`, `most_commas`: those it may hold, within texts too, where time or memory is short.

    any_names: texts may hold halves of surrogate pairs, as Python writes names of files that are no Unicode.

    Raises ValueError for one that is none, too large, nested too deeply, or not Unicode.

    >>> parse_json('{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    >>> parse_json("[" * 1000)
    Traceback (most recent call last):
    ...
    ValueError: lists and objects are nested 1,000 deep; wanted at most 64
    """
    if len(text) > most_bytes:
        raise ValueError(f"{len(text):,} bytes of JSON; wanted at most {most_bytes:,}")
    if isinstance(text, bytes | bytearray):
        text = bytes(text).decode("utf-8-sig")
    if most_commas is not None and (n_commas := text.count(",")) > most_commas:
        raise ValueError(f"{n_commas:,} commas; wanted at most {most_commas:,}")
    _check_depth(text, most_depth, most_brackets)
    has_long_numbers = _has_long_numbers(text)
    try:
        found = json.loads(text, parse_int=_whole) if has_long_numbers else json.loads(text)
    except json.JSONDecodeError as fault:
        line = f"line {fault.lineno}, " if fault.lineno > 1 else ""
        raise ValueError(f"not JSON ({fault.msg} at {line}column {fault.colno})") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if "\\u" in text and not any_names:
        _check_unicode(found)
    return found


def _check_depth(text: str, most_depth: int, most_brackets: int | None) -> None:
    n_brackets = text.count("[") + text.count("{")
    if n_brackets <= most_depth:
        return
    if most_brackets is not None and n_brackets > most_brackets:
        raise ValueError(f"{n_brackets:,} lists and objects; wanted at most {most_brackets:,}")
    depth = deepest = 0
    for match in _BRACKETS.finditer(text):
        mark = match[0]
        if mark in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in "]}":
            depth -= 1
    if deepest > most_depth:
        raise ValueError(f"lists and objects are nested {deepest:,} deep; wanted at most {most_depth}")


def _has_long_numbers(text: str) -> bool:
    """Search for too many digits in a row, first among every thirtieth letter: texts are large, and time may be short."""
    return _SPARSE_DIGITS.search(text[:: MOST_DIGITS // 10]) is not None and _LONG_NUMBER.search(text) is not None


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits; wanted at most {MOST_DIGITS}")
    return int(digits)


def _check_unicode(value: Any) -> None:
    """Refuse halves of surrogate pairs: such a text can be neither written to a file nor shown."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text that is not Unicode (half of a surrogate pair)") from None


def parse_yaml(text: str) -> tuple[Any, yaml.Node | None]:
    """Parse a YAML text: its values, and the nodes that say where they stand. Raises ValueError."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        node = yaml.compose(text, Loader=loader)
        check_nodes(node)
        return yaml.load(text, Loader=loader), node  # a safe loader
    except yaml.YAMLError as fault:
        raise ValueError(f"not valid YAML: {fault}") from None
    except RecursionError:
        raise ValueError("not valid YAML: nested too deeply") from None
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as fault:  # `!!int ""`, 2001-99-99 ...
        raise ValueError(f"not valid YAML: {printable(str(fault))[:200]}") from None


def check_nodes(root: yaml.Node | None, *, most_nodes: int = MOST_NODES, most_depth: int = MOST_DEPTH) -> None:
    """Raise ValueError for nodes of YAML that hold themselves, are nested too deeply, or swell by aliases of aliases."""
    sizes: dict[int, tuple[int, int]] = {}  # id -> nodes with all aliases written out, depth
    opened: set[int] = set()
    pending = [] if root is None else [root]
    while pending:
        node = pending[-1]
        if id(node) in sizes:
            pending.pop()
            continue
        parts = _parts(node)
        if id(node) not in opened:
            opened.add(id(node))
            pending += [part for part in parts if id(part) not in sizes]
            if any(id(part) in opened and id(part) not in sizes for part in parts):
                raise ValueError("it has a part that holds itself")
            continue
        pending.pop()
        size = 1 + sum(sizes[id(part)][0] for part in parts)
        depth = 1 + max((sizes[id(part)][1] for part in parts), default=0)
        if size > most_nodes:
            raise ValueError(f"it has more than {most_nodes:,} values, each alias counted as what it stands for")
        if depth > most_depth:
            raise ValueError(f"it is nested more than {most_depth} deep")
        sizes[id(node)] = size, depth


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node.value, str):
        return []
    return [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]


@dataclass(frozen=True)
class Fields:
    """A JSON object whose fields are taken by type and range; each method raises ValueError that names the field."""

    values: Mapping[str, Any]
    within: str = ""
    """before names in messages, such as `ids.`"""

    @classmethod
    def of(cls, value: object, within: str = "") -> Fields:
        """Take a parsed JSON value that must be an object."""
        if not isinstance(value, dict):
            raise ValueError(f"{within.rstrip('.') or 'it'} is {_shown(value)}; wanted an object")
        return cls(value, within)

    def whole(self, name: str, low: int, high: int = MOST_EXACT) -> int:
        """Give a whole number from `low` to `high`."""
        value = self._get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self._refuse(name, f"a whole number from {low:,} to {high:,}")
        return value

    def number(self, name: str, low: float = -math.inf, high: float = math.inf) -> float:
        """Give a finite number from `low` to `high`."""
        value = self._get(name)
        if not is_number(value) or not low <= value <= high:
            self._refuse(name, "a finite number" if math.isinf(low) else f"a number from {low:g} to {high:g}")
        return float(value)

    def text(self, name: str, most: int = 65_536) -> str:
        """Give a text of at most `most` letters."""
        value = self._get(name)
        if not isinstance(value, str) or len(value) > most:
            self._refuse(name, f"a text of at most {most:,} letters")
        return value

    def choice(self, name: str, options: Collection[Any]) -> Any:
        """Give one of some texts or numbers."""
        value = self._get(name)
        if isinstance(value, bool) or not isinstance(value, str | int) or value not in options:
            self._refuse(name, f"one of {', '.join(map(str, options))}")
        return value

    def wholes(self, name: str, n: int, low: int, high: int = MOST_EXACT) -> list[int]:
        """Give a list of `n` whole numbers."""
        value = self._get(name)
        is_list = isinstance(value, list) and len(value) == n
        if not is_list or not all(type(one) is int and low <= one <= high for one in value):
            self._refuse(name, f"{n} whole numbers from {low:,} to {high:,}")
        return value

    def fields(self, name: str) -> Fields:
        """Give an object within this one."""
        return Fields.of(self._get(name), f"{self.within}{name}.")

    def _get(self, name: str) -> Any:
        if name not in self.values:
            raise ValueError(f"{self.within}{name} is missing")
        return self.values[name]

    def _refuse(self, name: str, wanted: str) -> NoReturn:
        raise ValueError(f"{self.within}{name} is {_shown(self.values[name])}; wanted {wanted}")


def is_number(value: object) -> bool:
    """Tell whether a parsed value is a finite number (true and false are none).

    >>> is_number(1.5), is_number(True), is_number(float("nan")), is_number("1")
    (True, False, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e308


def printable(text: str) -> str:
    """Replace what would steer a terminal or cannot be written: control characters but line feeds and tabs, and broken Unicode.

    >>> printable("a\\x1b[31mb\\tc\\ud800")
    'a\\ufffd[31mb\\tc\\ufffd'
    """
    return errors.printable(text, keep="\n\t")


def _shown(value: object) -> str:
    return printable(repr(value)[:60])
