"""What a phrase file says, once it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from edgeseq.phrases.faults import Place
from edgeseq.phrases.notation import (
    Choice,
    Node,
    NumberRange,
    Reference,
    Sequence,
    Word,
)
from edgeseq.phrases.yaml_nodes import Value


@dataclass(frozen=True)
class Phrase:
    """One line of an intent."""

    node: Node
    place: Place
    weight: float = 1.0
    """prior, relative to the other phrases' 1"""
    slots: tuple[tuple[str, Value], ...] = ()
    """slots that this phrase fills without a word for them"""


@dataclass(frozen=True)
class SlotValue:
    """One entry of a slot's list."""

    node: Node
    mean: Value | None = None
    """what the slot holds; None for the words as they were said"""


@dataclass(frozen=True)
class Slot:
    """A list of what may be said at a place, or a range of numbers."""

    values: tuple[SlotValue, ...]
    numbers: NumberRange | None
    place: Place


@dataclass(frozen=True)
class Rule:
    """A phrase that others use by its name."""

    node: Node
    place: Place


@dataclass(frozen=True)
class Phrases:
    """All that may be said, as it was written: names are resolved, nothing is expanded."""

    name: str
    """of the file, for messages"""
    intents: Mapping[str, tuple[Phrase, ...]]
    rules: Mapping[str, Rule] = field(default_factory=dict)
    slots: Mapping[str, Slot] = field(default_factory=dict)
    spellings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """texts to be spelled in place of a word, or phones between slashes"""
    spelling_places: Mapping[str, Place] = field(default_factory=dict)
    language: str = ""
    threshold: float | None = None
    """lowest score that is reported, nats per token; None for the default"""
    n_letters: int = 0
    """of the file; 0 where it is not known"""


def is_phones(spelling: str) -> bool:
    """Say whether a spelling is phones between slashes."""
    return len(spelling) > 1 and spelling.startswith("/") and spelling.endswith("/")


def phones_of(spelling: str) -> tuple[str, ...]:
    """Give the phones of such a spelling.

    >>> phones_of("/T IY/")
    ('T', 'IY')
    """
    return tuple(spelling[1:-1].split())


def references(node: Node) -> Iterator[Reference]:
    """List the references of a phrase, from left to right."""
    if isinstance(node, Reference):
        yield node
    elif isinstance(node, Sequence | Choice):
        for part in node.items if isinstance(node, Sequence) else node.options:
            yield from references(part)


def words(node: Node) -> Iterator[Word]:
    """List the words of a phrase, from left to right."""
    if isinstance(node, Word):
        yield node
    elif isinstance(node, Sequence | Choice):
        for part in node.items if isinstance(node, Sequence) else node.options:
            yield from words(part)


def all_nodes(phrases: Phrases) -> Iterator[Node]:
    """List all phrases of a file: intents', rules' and slots'."""
    for intent in phrases.intents.values():
        yield from (phrase.node for phrase in intent)
    yield from (rule.node for rule in phrases.rules.values())
    for slot in phrases.slots.values():
        yield from (value.node for value in slot.values)
