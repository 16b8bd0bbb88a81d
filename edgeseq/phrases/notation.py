"""The notation of one phrase: words, `(a | b)`, `[optional]`, `{name}`, `{list:slot}`, `{minutes:1..90}`, `/weight/`.

Grammar, in the usual notation (Wirth 1977):

    phrase   = option { "|" option } .
    option   = [ "/" number "/" ] item { item } .
    item     = word | "(" phrase ")" | "[" phrase "]" | "{" name [ ":" ( name | range ) ] "}" .
    range    = integer ".." integer [ "/" step ] .

A backslash takes the next character as part of a word. Every fault of a phrase is found, each with its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgeseq.phrases.faults import Fault, Place
from edgeseq.tokens.table import normalize_text

MAX_DEPTH = 50
"""Brackets within brackets."""
LARGEST_NUMBER = 999_999
"""That number ranges spell."""
MAX_STEPPED = 10_000
"""Numbers of a range with a step, which are written out; ranges without are not."""

_PIECES = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<weight>/[^\s/()\[\]{}|]*/(?=[\s(\[{]))"
    r"|(?P<mark>[()\[\]|])"
    r"|(?P<reference>\{[^{}()\[\]|]*\})"
    r"|(?P<stray>[{}])"
    r"|(?P<word>(?:\\.|[^\s()\[\]{}|\\]|\\$)+)",
    re.DOTALL,
)
_NAME = r"[^\W\d][\w.-]*"
_REFERENCE = re.compile(rf"\{{\s*({_NAME})\s*(?::\s*(?:({_NAME})|(-?\d+)\s*\.\.\s*(-?\d+)\s*(?:/\s*(\d+))?)\s*)?\}}")
_OPENING = {")": "(", "]": "["}
NAME = re.compile(_NAME)
"""What rules, slots and intents may be called."""


@dataclass(frozen=True)
class Word:
    """One word to be said, normalized (NFC, lower case)."""

    text: str
    place: Place


@dataclass(frozen=True)
class NumberRange:
    """Whole numbers from `first` to `last`, both included, every `step`-th."""

    first: int
    last: int
    step: int = 1

    def __len__(self) -> int:
        """Count the numbers."""
        return (self.last - self.first) // self.step + 1


@dataclass(frozen=True)
class Reference:
    """`{name}`: a rule or a slot; with a range, a slot that takes numbers."""

    name: str
    alias: str | None
    """name of the slot that takes the value, if it is another"""
    numbers: NumberRange | None
    place: Place


@dataclass(frozen=True)
class Sequence:
    """One after another; empty for nothing at all."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """One of several; their prior weights are relative to 1."""

    options: tuple[Node, ...]
    weights: tuple[float, ...]


Node = Word | Reference | Sequence | Choice
NOTHING = Sequence(())

Locate = Callable[[int], Place]
"""Where in the file a character of the phrase stands."""


def parse_phrase(
    text: str, locate: Locate = lambda offset: Place(1, offset + 1), language: str = ""
) -> tuple[Node, list[Fault]]:
    """Parse one phrase in `language`; the tree is of use only when there are no faults.

    >>> node, faults = parse_phrase("turn [the] light (on | off")
    >>> print(faults[0])
    1:18: '(' is never closed; wanted ')'.
    """
    parser = _Parser(text, locate, language)
    node = parser.parse()
    return node, parser.faults


def parse_range(text: str) -> NumberRange | None:
    """Read `1..90` or `5..60/5`; None for anything else and for ranges that cannot be."""
    match = re.fullmatch(r"\s*(-?\d+)\s*\.\.\s*(-?\d+)\s*(?:/\s*(\d+)\s*)?", text)
    if match is None:
        return None
    numbers = NumberRange(int(match[1]), int(match[2]), int(match[3] or 1))
    return numbers if range_fault(numbers) is None else None


def range_fault(numbers: NumberRange) -> str | None:
    """Say what is wrong with a range; None if nothing is."""
    written = f"{numbers.first}..{numbers.last}"
    if numbers.step < 1:
        return f"the range {written} has a step of 0; wanted 1 or more."
    if numbers.last < numbers.first:
        return f"the range {written} is empty; wanted the smaller number first."
    if max(abs(numbers.first), abs(numbers.last)) > LARGEST_NUMBER:
        return f"the range {written} is too wide; wanted numbers from {-LARGEST_NUMBER:,} to {LARGEST_NUMBER:,}."
    if numbers.step > 1 and len(numbers) > MAX_STEPPED:
        return f"the range {written} in steps has {len(numbers):,} numbers; wanted {MAX_STEPPED:,} or fewer, or no step."
    return None


@dataclass(frozen=True)
class _Piece:
    kind: str
    text: str
    offset: int
    glued: bool
    """no space stands between it and the piece before"""


class _Parser:
    """Recursive descent over the pieces of one phrase; continues after every fault."""

    def __init__(self, text: str, locate: Locate, language: str) -> None:
        self.text = text
        self.language = language
        self.locate = locate
        self.faults: list[Fault] = []
        self.pieces = list(self._cut())
        self.next = 0

    def parse(self) -> Node:
        """Parse the whole text."""
        if not self.pieces:
            self._fault(0, "the phrase is empty; wanted words.")
            return NOTHING
        node = self._phrase(0, 0)
        while self.next < len(self.pieces):  # only a bracket that nobody opened stops _phrase
            piece = self.pieces[self.next]
            self._fault(piece.offset, f"{piece.text!r} closes nothing; wanted {_OPENING[piece.text]!r} before it.")
            self.next += 1
            if self.next < len(self.pieces):
                self._phrase(0, self.pieces[self.next].offset)
        return node

    def _cut(self) -> Iterator[_Piece]:
        end_of_last = -1
        for match in _PIECES.finditer(self.text):
            kind = str(match.lastgroup)
            if kind == "space":
                continue
            glued = match.start() == end_of_last
            end_of_last = match.end()
            yield _Piece("mark" if kind == "stray" else kind, match.group(), match.start(), glued)

    def _peek(self) -> str:
        """Give the next bracket or bar, "" for words, references and the end."""
        piece = self.pieces[self.next] if self.next < len(self.pieces) else None
        return piece.text if piece is not None and piece.kind == "mark" else ""

    def _phrase(self, depth: int, opened_at: int) -> Node:
        options, weights = [], []
        while True:
            node, weight = self._option(depth, opened_at)
            options.append(node)
            weights.append(weight)
            if self._peek() != "|":
                break
            opened_at = self.pieces[self.next].offset
            self.next += 1
        if len(options) == 1 and weights[0] == 1:
            return options[0]
        return Choice(tuple(options), tuple(weights))

    def _option(self, depth: int, opened_at: int) -> tuple[Node, float]:
        items: list[Node] = []
        weight, n_before = 1.0, len(self.faults)
        while self.next < len(self.pieces) and self._peek() not in ("|", ")", "]"):
            piece = self.pieces[self.next]
            if piece.kind == "weight":
                weight = self._weight(piece, is_first=not items)
            else:
                items.append(self._item(piece, depth))
        if not items and len(self.faults) == n_before:
            self._fault(opened_at, "nothing stands here; wanted words (for a part that may be left out write [words]).")
        return (items[0] if len(items) == 1 else Sequence(tuple(items))), weight

    def _item(self, piece: _Piece, depth: int) -> Node:
        self._check_glue(piece)
        self.next += 1
        if piece.kind == "word":
            return self._words(piece)
        if piece.kind == "reference":
            return self._reference(piece)
        if piece.text in "{}":
            wanted = "'}' after a name" if piece.text == "{" else "'{' before it"
            self._fault(piece.offset, f"{piece.text!r} stands alone; wanted {wanted}, as in {{size}}.")
            return NOTHING
        return self._bracket(piece, depth + 1)

    def _bracket(self, piece: _Piece, depth: int) -> Node:
        if depth > MAX_DEPTH:
            if depth == MAX_DEPTH + 1:
                self._fault(piece.offset, f"more than {MAX_DEPTH} brackets within each other; wanted rules instead.")
            self.next = len(self.pieces)
            return NOTHING
        node = self._phrase(depth, piece.offset)
        closing = ")" if piece.text == "(" else "]"
        if self._peek() == closing:
            self.next += 1
        elif self._peek():
            other = self.pieces[self.next]
            self._fault(other.offset, f"{other.text!r} closes a {piece.text!r}; wanted {closing!r}.")
            self.next += 1
        elif depth <= MAX_DEPTH and not self._too_deep():
            self._fault(piece.offset, f"{piece.text!r} is never closed; wanted {closing!r}.")
        return Choice((node, NOTHING), (1.0, 1.0)) if piece.text == "[" else node

    def _too_deep(self) -> bool:
        return any("within each other" in fault.message for fault in self.faults)

    def _check_glue(self, piece: _Piece) -> None:
        """Refuse `light[s]`: brackets hold whole words."""
        if not piece.glued or self.next == 0:
            return
        before = self.pieces[self.next - 1]
        opens, closes = piece.kind == "mark" and piece.text in "([", before.kind == "mark" and before.text in ")]"
        if (piece.kind in ("word", "reference") or opens) and (before.kind in ("word", "reference") or closes):
            self._fault(
                piece.offset,
                f"{piece.text!r} touches {before.text!r}; wanted a space between them (brackets hold whole words).",
            )

    def _weight(self, piece: _Piece, is_first: bool) -> float:
        self.next += 1
        try:
            weight = float(piece.text.strip("/"))
        except ValueError:
            weight = -1
        if not 0 < weight < float("inf"):
            self._fault(piece.offset, f"the weight {piece.text} is not a number above 0.")
            return 1.0
        if not is_first:
            self._fault(piece.offset, f"the weight {piece.text} follows words; wanted it first, as in ({piece.text} a | b).")
        return weight

    def _words(self, piece: _Piece) -> Node:
        text = re.sub(r"\\(.)", r"\1", piece.text)
        if text.endswith("\\"):
            self._fault(piece.offset + len(piece.text) - 1, "a backslash ends the phrase; wanted a character after it.")
        return Word(normalize_text(text, self.language), self.locate(piece.offset))

    def _reference(self, piece: _Piece) -> Node:
        match = _REFERENCE.fullmatch(piece.text)
        if match is None:
            self._fault(
                piece.offset,
                f"{piece.text} names nothing; wanted {{name}}, {{list:slot}} or {{minutes:1..90}} (letters, digits, _).",
            )
            return NOTHING
        numbers = None
        if match[3] is not None:
            numbers = NumberRange(int(match[3]), int(match[4]), int(match[5] or 1))
            wrong = range_fault(numbers)
            if wrong is not None:
                self._fault(piece.offset, wrong)
                return NOTHING
        return Reference(match[1], match[2], numbers, self.locate(piece.offset))

    def _fault(self, offset: int, message: str) -> None:
        self.faults.append(Fault(self.locate(offset), message))
