"""YAML as nodes, never as objects: where each is in its file, how it was written, and what it is."""

from __future__ import annotations

import yaml

from edgeseq.phrases.faults import Fault, Place
from edgeseq.untrusted import check_nodes

Value = str | int | float | bool
"""What a scalar may be."""

_Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str) -> tuple[yaml.Node | None, Fault | None]:
    """Read YAML as nodes; None for a file without any, and what is wrong with it if it is none."""
    try:
        root = yaml.compose(text, Loader=_Loader)
        check_nodes(root)
        return root, None
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark is not None else Place(1, 1)
        return None, Fault(place, _explain(str(fault.problem or fault.context), text, place))
    except yaml.reader.ReaderError as fault:
        place = place_at(text, min(fault.position, len(text)))
        return None, Fault(place, f"character {_code(fault.character)} is not allowed in YAML; wanted text.")
    except ValueError as fault:
        return None, Fault(Place(1, 1), f"{fault}; wanted intents, lists and phrases.")
    except RecursionError:
        return None, Fault(Place(1, 1), "the file is nested too deeply; wanted intents, lists and phrases.")


def _explain(problem: str, text: str, place: Place) -> str:
    """Say what YAML stumbled over; brackets without quotes are what people trip over most."""
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    seen = line[place.column - 1 : place.column]
    if "expected" in problem:
        wanted = "a comma or ']' here" if "',' or ']'" in problem else "something else here"
        came = f"{seen!r} came" if seen else "the line ended"
        return f"wanted {wanted}, but {came} (a phrase that holds brackets needs quotes around it)."
    return f"this is not YAML: {problem}."


class Locator:
    """Finds a character of a scalar's value in the file, through quotes, escapes, folding and indentation."""

    def __init__(self, text: str, node: yaml.ScalarNode) -> None:
        """Look into `text`, the file that `node` was read from."""
        self._text = text
        self._node = node

    def __call__(self, offset: int) -> Place:
        """Place the character at `offset` of the value."""
        node, start = self._node, self._node.start_mark
        raw = self._text[start.index : node.end_mark.index]
        quote = 1 if node.style in ("'", '"') else 0
        if raw[quote : quote + len(node.value)] == node.value and "\n" not in node.value:
            return Place(start.line + 1, start.column + 1 + quote + offset)
        return place_at(self._text, start.index + _raw_offset(raw, node.value, node.style, offset))


_ESCAPE_DIGITS = {"x": 2, "u": 4, "U": 8}


def _raw_offset(raw: str, value: str, style: str | None, offset: int) -> int:
    """Walk a scalar as written (`raw`) beside its value until `offset` of the value."""
    at = raw.find("\n") + 1 if style in ("|", ">") else int(style in ("'", '"'))
    for i, character in enumerate(value):
        if not character.isspace() or (i == 0 and style in ("|", ">")):
            while at < len(raw) and raw[at].isspace():
                at += 1
        if i == offset:
            return at
        if character.isspace() and at < len(raw) and raw[at].isspace():
            at += 1
        elif style == '"' and raw[at : at + 1] == "\\":
            at += 2 + _ESCAPE_DIGITS.get(raw[at + 1 : at + 2], 0)
        elif style == "'" and raw[at : at + 2] == "''":
            at += 2
        elif not character.isspace():
            at += 1
    return min(at, max(len(raw) - 1, 0))


def place_at(text: str, index: int) -> Place:
    """Give line and column of a character of a text."""
    before = text[:index]
    return Place(before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1)


def place_of(node: yaml.Node) -> Place:
    """Place the beginning of a YAML node."""
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def kind_of(node: yaml.Node) -> str:
    """Name what a node is, for a message."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "empty" if is_null(node) else f"{node.value!r}"


def is_null(node: yaml.Node) -> bool:
    """Whether nothing is written there."""
    return isinstance(node, yaml.ScalarNode) and not node.style and node.value in ("", "~", "null")


def as_written(node: yaml.Node) -> str:
    """Give a scalar's text, or what else is there."""
    return str(node.value) if isinstance(node, yaml.ScalarNode) else kind_of(node)


def typed(node: yaml.Node) -> Value | None:
    """Give a scalar its type: plain numbers, true and false; all else is text; None for what is not a scalar."""
    if not isinstance(node, yaml.ScalarNode) or is_null(node):
        return None
    if node.style:
        return str(node.value)
    if node.value in ("true", "false"):
        return bool(node.value == "true")
    for kind in (int, float):
        try:
            number = kind(node.value)
        except ValueError:
            continue
        if number == number and abs(number) != float("inf"):
            return number
    return str(node.value)


def _code(character: object) -> str:
    return f"U+{character:04X}" if isinstance(character, int) else repr(character)
