"""May a training continue with this recipe? What a checkpoint was made with, against what is wanted now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgeseq.errors import UsageError
from edgeseq.tokens.table import TokenTable

MOST_SHOWN = 20
"""How many of the symbols, or the words of a lexicon, that differ are shown."""

FREE = (
    "name",
    "license",
    "data_statement",
    "data.valid",
    "data.licenses",
    "export.",
    "train.steps",
    "train.valid_every",
    "train.checkpoint_every",
    "train.loggers",
    "train.threads",
    "train.patience",
    "train.most_bad_steps",
)
"""Keys that may be changed on the way: they do not change what the steps so far have done."""


def refuse_changes(saved: Mapping[str, Any], wanted: Mapping[str, Any], of_tokens: Sequence[str] = ()) -> None:
    """Raise UsageError that shows every difference between two recipes, and their tokens, that makes a training another one."""
    changes = [
        f"    {key}: was {_short(was)}, now {_short(now)}"
        for key, was, now in differences(saved, wanted)
        if not any(key == free or key.startswith(f"{free.rstrip('.')}.") for free in FREE)
    ]
    changes += [f"    tokens: {change}" for change in of_tokens]
    if changes:
        listed = "\n".join(changes)
        raise UsageError(
            f"The training to resume had another recipe:\n{listed}\n"
            "  Resume with these as they were, or start over with another --out (finetune.weights starts from its weights)."
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


def token_changes(saved: TokenTable, wanted: TokenTable) -> list[str]:
    """Say how the tokens of two trainings differ: symbols, their order, what they are spelled by.

    >>> token_changes(TokenTable.of_characters(["on"]), TokenTable.of_characters(["one two"]))
    ['3 new: e t w']
    """
    if saved == wanted:
        return []
    if saved.kind != wanted.kind:
        return [f"were {saved.kind}, now {wanted.kind}"]
    changes = _gone_and_new(saved.symbols, wanted.symbols)
    if saved.word_start != wanted.word_start:
        changes += [f"word_start was {str(saved.word_start).lower()}, now {str(wanted.word_start).lower()}"]
    if saved.symbols != wanted.symbols and not changes:
        changes = ["the same, in another order"]
    if saved.kind == "phones" and saved.lexicon != wanted.lexicon:
        changes += [f"lexicon, {change}" for change in _gone_and_new(_lines(saved), _lines(wanted))]
    return changes or ["the same, with other scores or in another order"]


def _lines(tokens: TokenTable) -> list[str]:
    lexicon = tokens.lexicon
    return (lexicon if isinstance(lexicon, str) else lexicon.text()).splitlines()


def _gone_and_new(saved: Sequence[str], wanted: Sequence[str]) -> list[str]:
    found = {"gone": set(saved) - set(wanted), "new": set(wanted) - set(saved)}
    return [f"{len(some):,} {what}: {_listed(some)}" for what, some in found.items() if some]


def _listed(some: set[str]) -> str:
    return " ".join(sorted(some)[:MOST_SHOWN]) + (" ..." if len(some) > MOST_SHOWN else "")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
