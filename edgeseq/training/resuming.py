"""May a training go on with this recipe? What a checkpoint was made with, against what is wanted now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgeseq.errors import UsageError

FREE = (
    "name",
    "license",
    "data_statement",
    "data.valid",
    "export.",
    "train.steps",
    "train.valid_every",
    "train.checkpoint_every",
    "train.patience",
    "train.most_bad_steps",
    "train.loggers",
)
"""Keys that may be changed on the way: they do not change what the steps so far have done."""


def refuse_changes(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise UsageError that shows every difference between two recipes that would make a training another one."""
    changes = [
        f"    {key}: was {_short(was)}, now {_short(now)}"
        for key, was, now in differences(saved, wanted)
        if not any(key == free or key.startswith(f"{free.rstrip('.')}.") for free in FREE)
    ]
    if changes:
        listed = "\n".join(changes)
        raise UsageError(
            f"The training to resume had another recipe:\n{listed}\n"
            "  Resume with these as they were, or begin anew with another --out (finetune.from goes on from its weights)."
        )


def differences(one: Any, other: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """List the keys at which two nests of mappings and lists differ, with both values.

    >>> list(differences({"a": {"b": 1, "c": [1, 2]}}, {"a": {"b": 2, "c": [1, 2]}}))
    [('a.b', 1, 2)]
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in dict.fromkeys([*one, *other]):
            yield from differences(one.get(name), other.get(name), f"{key}.{name}" if key else str(name))
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for number, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            yield from differences(mine, theirs, f"{key}.{number}")
    elif one != other:
        yield key, one, other


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
