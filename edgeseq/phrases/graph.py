"""The graph of phrases that the search walks: token states, arcs between them, and what a way through it means.

A node is a token that has just been said, at a place in the grammar; node 0 is the place before any phrase and its label is
the blank. An arc leads to the next token. A phone that opens a word is marked as such: words of phones need no separator, and
the search takes one that is said between them for silence.

What phrases mean (intent, slots, words that are spelled oddly) hangs on arcs and on the ends as outputs: tuples of marks that
come before the arc's token, and speak of the words said up to there. So graphs share beginnings and endings of phrases that
mean different things.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.errors import EdgeseqError
from edgeseq.phrases.numbers import number_of
from edgeseq.tokens.table import WORD_START
from edgeseq.untrusted import parse_json

Ints = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

FORMAT = 2
"""Format of saved graphs; another one is refused."""


@dataclass(frozen=True)
class WordMark:
    """The last `n_words` that were spelled stand for one word of the phrase file."""

    text: str
    n_words: int


@dataclass(frozen=True)
class SlotMark:
    """A slot takes a value: of the last `n_words` if `kind` is "text" or "number", `value` if it is "value"."""

    slot: str
    n_words: int
    kind: str
    value: Any = None


@dataclass(frozen=True)
class IntentMark:
    """The phrase belongs to this intent."""

    intent: str
    log_weight: float = 0.0


@dataclass(frozen=True)
class WeightMark:
    """A prior, added to the score; natural logarithm."""

    log_weight: float


Mark = WordMark | SlotMark | IntentMark | WeightMark
_KINDS: dict[str, type[Mark]] = {kind.__name__: kind for kind in (WordMark, SlotMark, IntentMark, WeightMark)}


@dataclass(frozen=True)
class PathWord:
    """One word of a way through the graph."""

    text: str
    first: int
    """position of its first token (that which opens the word) in the way"""
    last: int
    """position of its last token"""


@dataclass(frozen=True)
class Reading:
    """What a way through the graph means."""

    words: tuple[PathWord, ...]
    intent: str | None
    slots: dict[str, Any]

    def without_last(self) -> Reading:
        """Leave out the word that is being said."""
        return replace(self, words=self.words[:-1])


@dataclass(frozen=True, eq=False)
class PhraseGraph:
    """All phrases of a file, spelled by the tokens of a model. Nodes are in order: arcs lead to larger numbers."""

    tokens: tuple[str, ...]
    """symbols of the model"""
    label: Ints
    """token of each node `[n_nodes]`; the blank for node 0"""
    opens: Bools
    """whether a word begins with the token of each node, `[n_nodes]`"""
    first_arc: Ints
    """arcs of node i are `first_arc[i]` up to `first_arc[i + 1]`; `[n_nodes + 1]`"""
    target: Ints
    """node that an arc leads to, `[n_arcs]`"""
    weight: Floats
    """prior of an arc, natural logarithm, `[n_arcs]`"""
    output: Ints
    """index of an arc's outputs, `[n_arcs]`"""
    end_weight: Floats
    """prior of ending at a node, -inf where no phrase ends, `[n_nodes]`"""
    end_output: Ints
    """index of an end's outputs, `[n_nodes]`"""
    outputs: tuple[tuple[Mark, ...], ...] = field(default=((),))
    """number 0 is none"""
    phones: bool = False
    """tokens are phones, so that a word is known when it has ended, by its mark"""

    @property
    def n_nodes(self) -> int:
        """Count the nodes, the one before any phrase included."""
        return len(self.label)

    @property
    def n_arcs(self) -> int:
        """Count the arcs."""
        return len(self.target)

    @cached_property
    def digest(self) -> str:
        """Name the graph by its content, so that a saved stream is not mixed up with another's."""
        return hashlib.sha256(
            self._header().encode() + b"".join(getattr(self, name).tobytes() for name in _ARRAYS)
        ).hexdigest()[:16]

    def read(self, arcs: Sequence[int], *, ended: bool = True) -> Reading:
        """Tell what a way from node 0 means; `ended` if the phrase ends with its last arc."""
        marks = [self.outputs[self.output[arc]] for arc in arcs]
        if ended:
            marks.append(self.outputs[self.end_output[self.target[arcs[-1]] if len(arcs) else 0]])
        nodes = [self.target[arc] for arc in arcs]
        reading = read_way([(self.tokens[self.label[node]], bool(self.opens[node])) for node in nodes], marks)
        return reading.without_last() if self.phones and not ended else reading

    def to_bytes(self) -> bytes:
        """Write the graph down: an .npz without pickles."""
        file = io.BytesIO()
        header = np.frombuffer(self._header().encode(), dtype=np.uint8)
        np.savez(file, header=header, **{name: getattr(self, name) for name in _ARRAYS})
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> PhraseGraph:
        """Read what `to_bytes` wrote. Raises EdgeseqError for anything else."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                header = parse_json(file["header"].tobytes())
                arrays = {name: file[name].astype(kind, casting="no") for name, kind in _ARRAYS.items()}
            if header["format"] != FORMAT:
                raise ValueError(f"format {header['format']}")
            outputs = tuple(tuple(_KINDS[mark.pop("mark")](**mark) for mark in marks) for marks in header["outputs"])
            graph = cls(tokens=tuple(header["tokens"]), outputs=outputs, phones=header.get("phones", False), **arrays)
            graph._check()
        except (ValueError, KeyError, TypeError, AttributeError, EOFError, OSError, zipfile.BadZipFile) as fault:
            raise EdgeseqError(
                f"these {len(content):,} bytes are not a phrase graph of format {FORMAT} ({fault}); "
                "wanted what PhraseGraph.to_bytes() wrote.\n  Compile the phrase file again."
            ) from fault
        return graph

    def _header(self) -> str:
        outputs = [[{"mark": type(mark).__name__, **asdict(mark)} for mark in marks] for marks in self.outputs]
        kind = {"phones": True} if self.phones else {}
        return json.dumps({"format": FORMAT, "tokens": self.tokens, **kind, "outputs": outputs}, ensure_ascii=False)

    def _check(self) -> None:
        """Raise ValueError for indices that lead out of the graph."""
        n, e = self.n_nodes, self.n_arcs
        shapes = {"opens": n, "first_arc": n + 1, "end_weight": n, "end_output": n, "weight": e, "output": e}
        wrong = [name for name, length in shapes.items() if getattr(self, name).shape != (length,)]
        in_range = (
            ("label", len(self.tokens)), ("target", n), ("first_arc", e + 1),
            ("output", len(self.outputs)), ("end_output", len(self.outputs)),
        )  # fmt: skip
        wrong += [name for name, end in in_range if ((array := getattr(self, name)) < 0).any() or (array >= end).any()]
        if n == 0 or wrong:
            raise ValueError(f"wrong: {', '.join(wrong) or 'no nodes'}")
        sources = np.repeat(np.arange(n), np.diff(self.first_arc))
        if len(sources) != e or (self.target <= sources).any():
            raise ValueError("arcs do not lead on")


_ARRAYS = {
    "label": np.int32, "opens": np.bool_, "first_arc": np.int32, "target": np.int32, "weight": np.float64,
    "output": np.int32, "end_weight": np.float64, "end_output": np.int32,
}  # fmt: skip


def read_way(said: Sequence[tuple[str, bool]], marks: Sequence[Sequence[Mark]]) -> Reading:
    """Tell what tokens mean, each with whether it opens a word.

    `marks` precede each of them, and one more set follows the last if there is one.
    """
    reader = _WayReader()
    for position, before in enumerate(marks):
        reader.mark(before)
        if position < len(said):
            reader.take(*said[position], position)
    return Reading(tuple(reader.closed()), reader.intent, reader.slots)


class _WayReader:
    """Joins tokens to words and follows the marks between them."""

    def __init__(self) -> None:
        self.words: list[PathWord] = []
        self.spelled = ""
        self.first = self.last = 0
        self.intent: str | None = None
        self.slots: dict[str, Any] = {}

    def take(self, symbol: str, opens: bool, position: int) -> None:
        """Append a token, which may open a word."""
        if opens:
            self.words = self.closed()
            self.spelled, self.first = "", position
        self.spelled += symbol.removeprefix(WORD_START)
        self.last = position

    def closed(self) -> list[PathWord]:
        """List the words, the one that is being spelled included."""
        return [*self.words, PathWord(self.spelled, self.first, self.last)] if self.spelled else self.words

    def mark(self, marks: Sequence[Mark]) -> None:
        """Follow marks; they speak of the words up to here."""
        if not marks:
            return
        if any(isinstance(mark, WordMark | SlotMark) for mark in marks):
            self.words, self.spelled = self.closed(), ""
        for mark in marks:
            if isinstance(mark, WordMark):
                replaced = self.words[-mark.n_words :]
                self.words[-mark.n_words :] = [PathWord(mark.text, replaced[0].first, replaced[-1].last)]
            elif isinstance(mark, SlotMark):
                self.slots[mark.slot] = self._value(mark)
            elif isinstance(mark, IntentMark):
                self.intent = mark.intent

    def _value(self, mark: SlotMark) -> Any:
        if mark.kind == "value":
            return mark.value
        words = [word.text for word in self.words[len(self.words) - mark.n_words :]]
        return number_of(words) if mark.kind == "number" else " ".join(words)
