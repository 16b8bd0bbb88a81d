"""Symbols and their ids: what a network's output columns stand for.

Every word begins with the separator `▁` (as sentencepiece writes it), the first word too, so that "one" is spelled the
same whether it opens a recording or follows another word, and texts of consecutive pieces of one stream can be joined.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from edgeseq.errors import ManifestError

BLANK = "<blk>"
"""The CTC symbol for "nothing new" (Graves et al. 2006, section 3)."""

WORD_START = "▁"
"""Stands before each word."""


def normalize_text(text: str) -> str:
    """Bring a transcript into the form that tokens spell: Unicode NFC, lower case, single spaces.

    >>> normalize_text("  Three   ONE ")
    'three one'
    """
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


@dataclass(frozen=True)
class TokenTable:
    """The symbols of a model, in the order of its output columns."""

    symbols: tuple[str, ...]

    @classmethod
    def of_characters(cls, texts: Iterable[str]) -> TokenTable:
        """Collect the characters of `texts` (any form; they are normalized), sorted, after blank and word start.

        >>> TokenTable.of_characters(["no", "one"]).symbols
        ('<blk>', '▁', 'e', 'n', 'o')
        """
        characters = {character for text in texts for character in normalize_text(text)} - {" "}
        return cls((BLANK, WORD_START, *sorted(characters)))

    @cached_property
    def ids(self) -> dict[str, int]:
        """Column of each symbol."""
        return {symbol: index for index, symbol in enumerate(self.symbols)}

    @property
    def blank_id(self) -> int:
        """Column of the CTC blank."""
        return self.ids[BLANK]

    @property
    def word_start_id(self) -> int:
        """Column of the word separator."""
        return self.ids[WORD_START]

    def __len__(self) -> int:
        """Count the symbols, blank included: the width of `log_probs`."""
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """Spell `text`, every word opened by `▁`.

        Raises ManifestError naming the characters that no token stands for.

        >>> TokenTable.of_characters(["one"]).encode("no one")
        [1, 3, 4, 1, 4, 3, 2]
        """
        spelled = [symbol for word in normalize_text(text).split() for symbol in (WORD_START, *word)]
        unknown = sorted({symbol for symbol in spelled if symbol not in self.ids})
        if unknown:
            raise ManifestError(
                f"{text!r} holds {', '.join(map(repr, unknown))}, which no token of this model spells.\n"
                f"  Tokens: {' '.join(self.symbols)}. Correct the text or train with it among the training texts."
            )
        return [self.ids[symbol] for symbol in spelled]

    def decode(self, ids: Sequence[int]) -> str:
        """Join ids (blanks and repeats already removed) to words.

        >>> TokenTable.of_characters(["one"]).decode([1, 3, 4, 1, 4, 3, 2])
        'no one'
        """
        return " ".join("".join(self.symbols[i] for i in ids).replace(WORD_START, " ").split())
