"""N-gram tables in memory: what estimation makes, what ARPA files hold, what a compiled file is written from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgeseq.tokens.table import WORD_START

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
"""Sentence begin, sentence end, any word that the model does not know."""

SPECIAL = (BEGIN, END, UNKNOWN)

MAX_ORDER = 6

NEVER = -99.0
"""log10 of the probability of what is never predicted, as SRILM writes it for `<s>`."""

Level = Literal["word", "char"]
"""Whether the model's units are words, or letters with `▁` before each word."""


@dataclass(frozen=True)
class OrderTable:
    """All n-grams of one length, sorted by (context, word), so that a context's n-grams are neighbours."""

    context: npt.NDArray[np.int64]
    """row of the first n-1 words in the next shorter table, `[n_ngrams]`; zeros for unigrams"""
    word: npt.NDArray[np.int64]
    """number of the last word in the vocabulary, `[n_ngrams]`"""
    log10_prob: npt.NDArray[np.float64]
    """of the last word after the others, `[n_ngrams]`"""
    log10_backoff: npt.NDArray[np.float64]
    """added when a longer n-gram is missing, `[n_ngrams]`; zeros in the longest table"""

    def __len__(self) -> int:
        """Count the n-grams."""
        return len(self.word)


@dataclass(frozen=True)
class Ngrams:
    """A whole model."""

    vocabulary: tuple[str, ...]
    """sorted by code point, the special ones among them; row i of the unigram table is word i"""
    tables: tuple[OrderTable, ...]
    """unigrams first"""

    @property
    def order(self) -> int:
        """Length of the longest n-grams."""
        return len(self.tables)

    @property
    def level(self) -> Level:
        """Tell words from letters: a model of letters knows `▁` and nothing longer than one letter."""
        return level_of(self.vocabulary)


def level_of(vocabulary: tuple[str, ...]) -> Level:
    """Tell whether units are words or letters.

    >>> level_of(("</s>", "<s>", "<unk>", "a", "▁")), level_of(("<s>", "a", "an"))
    ('char', 'word')
    """
    units = [unit for unit in vocabulary if unit not in SPECIAL]
    return "char" if WORD_START in units and all(len(unit) == 1 for unit in units) else "word"


def letters(words: list[str]) -> list[str]:
    """Spell words as units of a model of letters.

    >>> letters(["no", "a"])
    ['▁', 'n', 'o', '▁', 'a']
    """
    return [letter for word in words for letter in (WORD_START, *word)]
