"""Recipe files: YAML read into a checked recipe, with all faults of a file reported together.

Each fault is reported with its line, and an unknown key with its nearest match.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from edgeseq.errors import RecipeError
from edgeseq.training.input_recipe import KINDS
from edgeseq.training.recipe import OTHER_NAMES, Recipe
from edgeseq.untrusted import parse_yaml, printable

MOST_BYTES = 1_000_000
"""Size of a recipe; what is larger was not written for this."""
MOST_FAULTS = 20
"""that a message lists"""


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file and apply `key=value` overrides (`train.steps=500`; the value is YAML).

    Raises RecipeError that lists every fault, each with its line.
    """
    try:
        text = _read(path)
    except (OSError, ValueError) as fault:
        raise RecipeError(
            f"{path}: cannot be read as a recipe ({fault}).\n  Name a YAML file, such as recipes/ctc.yaml."
        ) from fault
    try:
        values, node = parse_yaml(text)
    except ValueError as fault:
        raise RecipeError(f"{path}: {fault}") from fault
    lines = dict(_lines_of(node))
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys to values, this file holds {type(values).__name__}.")
    for override in overrides:
        lines[_apply_override(values, override)] = f"override {override!r}"
    return parse_recipe(values, str(path), lines)


def parse_recipe(values: Mapping[str, Any], source: str, lines: Mapping[tuple[Any, ...], str] | None = None) -> Recipe:
    """Check the `values` of a recipe; `source` and `lines` say where they stand, for messages."""
    try:
        return Recipe.model_validate(values)
    except (TypeError, OverflowError) as fault:  # keys that are no text; numbers that no float holds
        raise RecipeError(f"{source}: {fault}; wanted keys that are text, and numbers.") from fault
    except ValidationError as faults:
        listed = "\n".join(f"  {_describe(e, values, lines or {})}" for e in faults.errors()[:MOST_FAULTS])
        count = f"{faults.error_count()} fault{'s' if faults.error_count() > 1 else ''}"
        raise RecipeError(f"{source}: {count}:\n{listed}") from faults


def _read(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
    return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def _lines_of(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Walk a composed YAML tree: the line on which each value stands, by its path."""
    if node is None:
        return
    yield at, f"line {node.start_mark.line + 1}"
    if node.id == "mapping":
        for key, value in node.value:
            if key.id != "scalar":
                continue
            yield from _lines_of(value, (*at, key.value))
            yield (*at, key.value), f"line {key.start_mark.line + 1}"
    elif node.id == "sequence":
        for index, value in enumerate(node.value):
            yield from _lines_of(value, (*at, index))


def _apply_override(values: dict[str, Any], override: str) -> tuple[Any, ...]:
    key, equals, text = override.partition("=")
    if not (key and equals):
        raise RecipeError(f"{override!r} is not an override; wanted key=value, for example train.steps=500.")
    try:
        value, _ = parse_yaml(text)
    except ValueError as fault:
        raise RecipeError(f"{override!r}: the value is {fault}") from fault
    at: tuple[Any, ...] = tuple(int(part) if part.isdecimal() and len(part) < 10 else part for part in key.split("."))
    target: Any = values
    for part in at[:-1]:
        try:
            target = target[part] if isinstance(target, list) else target.setdefault(part, {})
        except (IndexError, TypeError):
            target = None
        if not isinstance(target, dict | list):
            raise RecipeError(f"{override!r}: the recipe has nothing at {part!r} to set a value in.")
    try:
        target[at[-1]] = value
    except (IndexError, TypeError) as fault:
        raise RecipeError(f"{override!r}: the recipe has no {at[-1]!r} there to set.") from fault
    return at


def _describe(fault: Any, values: Mapping[str, Any], lines: Mapping[tuple[Any, ...], str]) -> str:
    at = _as_written(fault["loc"], values)
    where = next((lines[at[:n]] for n in range(len(at), -1, -1) if at[:n] in lines), "")
    key = ".".join(map(str, at)) or "recipe"
    prefix = f"{where}: {key}" if where else key
    if fault["type"] == "extra_forbidden":
        return f"{prefix}: unknown key{_nearest(fault['loc'])}"
    if fault["type"] == "missing":
        return f"{prefix}: missing, and it has no default"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "tuple_type":
        message = "a list is wanted, such as [one, two]"
    seen = fault["input"]
    return f"{prefix}: {message}" + ("" if isinstance(seen, dict | BaseModel) else f" (got {printable(repr(seen)[:200])})")


def _as_written(at: Sequence[Any], values: Mapping[str, Any]) -> tuple[Any, ...]:
    """Give the place of a fault as the recipe names it."""
    at = tuple(key for key in at if key not in KINDS)
    if at[:1] in OTHER_NAMES and at[0] not in values:
        return OTHER_NAMES[at[:1]] + at[1:]
    return at


def _nearest(at: tuple[Any, ...]) -> str:
    known = _keys_at(Recipe, at[:-1])
    close = difflib.get_close_matches(str(at[-1]), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known here: {', '.join(known)}"


def _keys_at(part: type[BaseModel], at: Iterable[Any]) -> list[str]:
    """List the keys that the recipe knows under the path `at`."""
    for key in at:
        if key in KINDS:
            part = KINDS[key]
        elif isinstance(key, str):
            part = _part_within(part.model_fields[key].annotation)
    return list(part.model_fields)


def _part_within(annotation: Any) -> type[BaseModel]:
    """Find the recipe part inside `Part`, `tuple[Part, ...]` or `Annotated[...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(_part_within(inner) for inner in typing.get_args(annotation) if inner is not Ellipsis)
