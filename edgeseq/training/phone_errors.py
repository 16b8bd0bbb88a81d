"""Phone errors: what was heard against the nearest of a text's pronunciations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeseq.tokens.pronunciations import Phones
from edgeseq.tokens.table import WORD_START, TokenTable

ERROR = 1 << 32
"""An error in costs that count phones of the reference in their lower half: of equally near pronunciations the shortest."""


def pronunciations_of_text(text: str, tokens: TokenTable) -> list[tuple[Phones, ...]] | None:
    """List for each word of a text its pronunciations; None where the lexicon lacks a word."""
    words = tokens.normalize(text).split()
    known = [tokens.pronunciations[word] for word in words if word in tokens.pronunciations]
    return known if len(known) == len(words) else None


def phones_of(ids: Sequence[int], tokens: TokenTable) -> list[str]:
    """Name the phones among token ids (blanks and repeats already removed)."""
    return [tokens.symbols[i] for i in ids if tokens.symbols[i] != WORD_START]


def phone_errors(words: Sequence[Sequence[Phones]], heard: Sequence[str]) -> tuple[int, int]:
    """Count the phones substituted, deleted and inserted, and the phones of the reference, by the shortest alignment.

    `words` holds each word's pronunciations; those nearest to what was heard are the reference.

    >>> phone_errors([[("t", "uː")], [("ð", "ə"), ("ð", "iː")]], ["t", "ð", "iː", "s"])
    (2, 4)
    """
    inserted = ERROR * np.arange(len(heard) + 1, dtype=np.int64)
    costs = inserted
    for ways in words:
        ends = []
        for phones in ways:
            end = costs
            for phone in phones:
                longer = end + (ERROR + 1)
                differs = np.array([ERROR * (one != phone) for one in heard], dtype=np.int64)
                longer[1:] = np.minimum(longer[1:], end[:-1] + differs + 1)
                end = np.minimum.accumulate(longer - inserted) + inserted
            ends.append(end)
        costs = np.minimum.reduce(ends)
    errors, n_phones = divmod(int(costs[-1]), ERROR)
    return errors, n_phones
