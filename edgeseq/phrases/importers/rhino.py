"""Picovoice Rhino's contexts (YAML): `[a, b]` is a choice, `(a)` may be left out, `$type:slot` a slot, `@macro` a macro."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from edgeseq.phrases.faults import Fault, PhraseError, Place
from edgeseq.phrases.importers import Draft, checked_name, escaped
from edgeseq.phrases.yaml_nodes import Locator, parse_yaml, place_of

NUMBERS = {"pv.SingleDigitInteger": "0..9", "pv.TwoDigitInteger": "0..99", "pv.Percent": "0..100"}
"""Built-in types that are ranges."""

_PIECES = re.compile(r"\s+|[\[\](),]|\$[\w.]+(?::[\w.]+)?|@\w+|[^\s\[\](),$@]+|.", re.DOTALL)


def read(text: str, name: str) -> Draft:
    """Read a context. Raises PhraseError that lists all faults, each with line and column."""
    return _Reader(text, name).read()


class _Reader:
    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self.faults: list[Fault] = []

    def read(self) -> Draft:
        root, fault = parse_yaml(self.text)
        if fault is not None:
            raise PhraseError(self.name, [fault])
        context = self._mapping(root).get("context")
        if context is None:
            raise PhraseError(self.name, [Fault(Place(1, 1), "there is no `context:`; wanted a context of Rhino, in YAML.")])
        parts = self._mapping(context)
        slots = {key: self._list(value) for key, value in self._mapping(parts.get("slots")).items()}
        draft = Draft(
            intents={
                checked_name(key): [self._phrase(node) for node in self._nodes(value)]
                for key, value in self._mapping(parts.get("expressions")).items()
            },
            rules={
                checked_name(key, slots): "(" + " | ".join(self._phrase(node) for node in self._nodes(value)) + ")"
                for key, value in self._mapping(parts.get("macros")).items()
            },
            slots=slots,
        )
        if not draft.intents and not self.faults:
            self.faults.append(
                Fault(place_of(context), "there are no `expressions:` in the context; wanted intents and sentences.")
            )
        if self.faults:
            raise PhraseError(self.name, self.faults)
        return draft

    def _mapping(self, node: yaml.Node | None) -> dict[str, yaml.Node]:
        if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.faults.append(Fault(place_of(node), "wanted a mapping (`name: ...`) here."))
            return {}
        return {str(key.value): value for key, value in node.value}

    def _nodes(self, node: yaml.Node) -> list[yaml.ScalarNode]:
        entries = node.value if isinstance(node, yaml.SequenceNode) else [node]
        texts = [entry for entry in entries if isinstance(entry, yaml.ScalarNode)]
        self.faults += [Fault(place_of(e), "wanted a sentence here.") for e in entries if not isinstance(e, yaml.ScalarNode)]
        return texts

    def _list(self, node: yaml.Node) -> list[str]:
        return [str(entry.value) for entry in self._nodes(node)]

    def _phrase(self, node: yaml.ScalarNode) -> str:
        return _Sentence(node.value, Locator(self.text, node), self.faults).parse()


class _Sentence:
    """One sentence of Rhino's, translated from left to right."""

    def __init__(self, text: str, locate: Locator, faults: list[Fault]) -> None:
        self.locate = locate
        self.faults = faults
        self.pieces = [(match.group(), match.start()) for match in _PIECES.finditer(text) if not match.group().isspace()]
        self.next = 0

    def parse(self) -> str:
        parts = list(self._items(""))
        if self.next < len(self.pieces):
            piece, offset = self.pieces[self.next]
            self._fault(offset, f"{piece!r} closes nothing; wanted a bracket before it.")
        if not parts:
            self._fault(0, "the sentence is empty; wanted words.")
        return " ".join(parts)

    def _items(self, until: str) -> Iterator[str]:
        while self.next < len(self.pieces):
            piece, offset = self.pieces[self.next]
            if piece in ("]", ")") or (piece == "," and until == "]"):
                return
            self.next += 1
            if piece == "[":
                yield self._choice(offset)
            elif piece == "(":
                yield f"[{' '.join(self._items(')'))}]"
                self._close(")", offset)
            elif piece[0] == "$" and len(piece) > 1:
                yield self._slot(piece[1:])
            elif piece[0] == "@" and len(piece) > 1:
                yield f"{{{checked_name(piece[1:])}}}"
            elif piece in "$@":
                self._fault(offset, f"{piece!r} stands alone; wanted a name after it.")
            elif piece != ",":
                yield escaped(piece)

    def _choice(self, opened_at: int) -> str:
        options = [" ".join(self._items("]"))]
        while self.next < len(self.pieces) and self.pieces[self.next][0] == ",":
            self.next += 1
            options.append(" ".join(self._items("]")))
        self._close("]", opened_at)
        if not all(options):
            self._fault(opened_at, "a choice has an empty option; wanted words between the commas.")
        return f"({' | '.join(options)})"

    def _close(self, bracket: str, opened_at: int) -> None:
        if self.next < len(self.pieces) and self.pieces[self.next][0] == bracket:
            self.next += 1
        else:
            self._fault(opened_at, f"this bracket is never closed; wanted {bracket!r}.")

    def _slot(self, written: str) -> str:
        kind, _, slot = written.partition(":")
        if kind in NUMBERS:
            return f"{{{checked_name(slot or kind)}:{NUMBERS[kind]}}}"
        return f"{{{kind}}}" if slot in ("", kind) else f"{{{kind}:{slot}}}"

    def _fault(self, offset: int, message: str) -> None:
        self.faults.append(Fault(self.locate(offset), message))
