"""How words sound: the lines of a lexicon, `word P1 P2 ...`, as CMUdict writes them.

Words are normalized, phones are taken as they stand. `word(2)` and a second line of one word are other pronunciations;
`#` begins a comment, and so does `;;;` at the beginning of a line.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

Phones = tuple[str, ...]


class Pronouncer(Protocol):
    """Pronounces words that no lexicon has; `edgeseq.lm.guesser.Guesser` is one."""

    @property
    def phones(self) -> frozenset[str]:
        """All that it may use."""

    @property
    def path(self) -> Path:
        """The file that it was read from."""

    def reads(self, word: str) -> bool:
        """Whether it knows all letters of a word."""

    def ways(self, word: str) -> tuple[Phones, ...]:
        """Return likely pronunciations, the likeliest first; none of a word that it cannot read."""


VARIANT = re.compile(r"\(\d+\)$")
"""Behind a word: the number of its pronunciation."""


def read_entries(lines: Iterable[str]) -> Iterator[tuple[int, str, Phones]]:
    """Yield (number of the line, word, phones) of each line that holds a word; a word alone has no phones.

    >>> list(read_entries([";;; CMUdict", "READ  R EH D", "READ(2)  R IY D # now", "tea"]))
    [(2, 'read', ('R', 'EH', 'D')), (3, 'read', ('R', 'IY', 'D')), (4, 'tea', ())]
    """
    for number, line in enumerate(lines, start=1):
        fields = line.partition("#")[0].split()
        if fields and not fields[0].startswith(";;;"):
            word = VARIANT.sub("", unicodedata.normalize("NFC", fields[0]).lower())
            yield number, word, tuple(fields[1:])


def pronunciations_of(entries: Iterable[tuple[str, Phones]]) -> dict[str, tuple[Phones, ...]]:
    """Gather each word's pronunciations, in order, each once."""
    found: dict[str, dict[Phones, None]] = {}
    for word, phones in entries:
        found.setdefault(word, {})[phones] = None
    return {word: tuple(ways) for word, ways in found.items()}


def written(entries: Iterable[tuple[str, Phones]]) -> str:
    """Write a lexicon down, an entry a line, each once.

    >>> written([("tea", ("T", "IY")), ("tea", ("T", "IY"))])
    'tea T IY\\n'
    """
    return "".join(dict.fromkeys(f"{word} {' '.join(phones)}\n" for word, phones in entries))
