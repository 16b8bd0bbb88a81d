"""Grammars in other notations to phrase files: `rhino.py`, `jsgf.py`, `home_assistant.py`.

Each reads a text and gives a `Draft`; `write` puts a draft down as YAML in the notation of docs/phrases.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeseq.phrases.faults import PhraseError
from edgeseq.phrases.file import parse_phrases
from edgeseq.phrases.notation import NAME

_SPECIAL = re.compile(r"([()\[\]{}|\\])")
_LIKE_WEIGHT = re.compile(r"^(/[^/]*/)$")
_PLAIN_VALUE = re.compile(r"[^\W\d][\w' ]*[\w']|[^\W\d]")
_NOT_TEXT = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


@dataclass(frozen=True)
class Draft:
    """A grammar in this package's notation, not yet written."""

    intents: Mapping[str, Sequence[str | Mapping[str, Any]]]
    rules: Mapping[str, str] = field(default_factory=dict)
    slots: Mapping[str, str | Sequence[str | Mapping[str, Any]]] = field(default_factory=dict)
    """a range, or a list"""
    language: str = ""
    notes: tuple[str, ...] = ()
    """what could not be taken over, for people to read"""


def write(draft: Draft, comment: str = "") -> str:
    """Write a draft as a phrase file. Raises PhraseError if it would not be read back."""
    lines = [f"# {line}" for line in (*comment.splitlines(), *(note for note in draft.notes))]
    if draft.language:
        lines.append(f"language: {json.dumps(draft.language, ensure_ascii=False)}")
    lines.append("intents:")
    for name, phrases in draft.intents.items():
        lines += [f"  {name}:", *(f"    - {_flow(phrase, quoted=True)}" for phrase in phrases)]
    if draft.rules:
        lines += ["rules:", *(f"  {name}: {_flow(text, quoted=True)}" for name, text in draft.rules.items())]
    if draft.slots:
        lines.append("slots:")
        for name, values in draft.slots.items():
            if isinstance(values, str):
                lines.append(f"  {name}: {values}")
            else:
                lines += [f"  {name}:", *(f"    - {_flow(value)}" for value in values)]
    text = "\n".join(lines) + "\n"
    parse_phrases(text, "what was made of it")
    return text


def escaped(word: str) -> str:
    """Write a word so that none of its characters is taken for notation."""
    return _LIKE_WEIGHT.sub(r"\\\1", _SPECIAL.sub(r"\\\1", word))


def checked_name(name: str, taken: Mapping[str, Any] | Sequence[str] = ()) -> str:
    """Make a name that rules and slots may have, different from those taken."""
    made = re.sub(r"[^\w.-]", "_", name)
    made = made if NAME.fullmatch(made) else f"_{made}"
    made = made if NAME.fullmatch(made) else f"x{made}"
    unique, number = made, 2
    while unique in taken:
        unique, number = f"{made}_{number}", number + 1
    return unique


def _flow(value: Any, quoted: bool = False) -> str:
    """Write a value on one line, with quotes where YAML or people could mistake it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        plain = not quoted and _PLAIN_VALUE.fullmatch(value) and value.lower() not in _NOT_TEXT
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


__all__ = ["Draft", "PhraseError", "checked_name", "escaped", "write"]
