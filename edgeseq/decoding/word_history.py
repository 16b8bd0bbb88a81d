"""The words before each hypothesis of the tree search: a tree of words in two arrays, which hypotheses point into.

A word comes behind its parent, so walking from the highest number down meets every word before its parent. What all hypotheses
share is the path to their last common word.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PARENT, WORD, START, END, PLACE = range(5)
CONFIDENCE, SHARE = range(2)

NOTHING = -1
"""Before the first word."""


class NewWords(NamedTuple):
    """Words that have just ended, an array each."""

    parent: Ints
    word: Ints
    place: Ints
    """node of the lexicon's tree in which it ended"""
    start: Ints
    """row at which the first token began"""
    end: Ints
    """row at which the last token began"""
    confidence: Floats
    share: Floats
    """of the best hypothesis's mass, when the word ended"""


@dataclass(frozen=True)
class History:
    """A tree of words as a value."""

    links: Ints = field(default_factory=lambda: np.zeros((0, 5), np.int64))
    """parent, word, first and last row, node of the lexicon's tree, `[n_words, 5]`"""
    rates: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    """confidence and share, `[n_words, 2]`"""

    def __len__(self) -> int:
        """Count the words."""
        return len(self.links)

    def path(self, last: int) -> list[int]:
        """List the words up to `last`, the first first."""
        found = []
        while last >= 0:
            found.append(last)
            last = int(self.links[last, PARENT])
        return found[::-1]

    def add(self, new: NewWords) -> tuple[History, Ints]:
        """Append words; give each one's number. One that its parent has already is not doubled.

        Its times are those of the hypothesis that had most of the mass when it ended.
        """
        pairs, first, inverse = np.unique(new.parent << 32 | new.word, return_index=True, return_inverse=True)
        known = self.links[:, PARENT] << 32 | self.links[:, WORD]
        same = pairs[:, None] == known
        found = same.any(axis=1)
        numbers = np.where(found, same.argmax(axis=1) if len(known) else 0, len(known) + np.cumsum(~found) - 1)
        links = np.stack([new.parent, new.word, new.start, new.end, new.place], axis=1)[first]
        rates = np.stack([new.confidence, new.share], axis=1)[first]
        old_links, old_rates = self.links, self.rates
        better = found.copy()
        better[found] = rates[found, SHARE] > old_rates[numbers[found], SHARE]
        if better.any():
            old_links, old_rates = old_links.copy(), old_rates.copy()
            old_links[numbers[better]], old_rates[numbers[better]] = links[better], rates[better]
        if not found.all():
            old_links = np.concatenate([old_links, links[~found]])
            old_rates = np.concatenate([old_rates, rates[~found]])
        return History(old_links, old_rates), numbers[inverse.reshape(-1)]

    def shared(self, ends: Ints) -> int:
        """Give the last word that all of `ends` have in their past, NOTHING if there is none."""
        seen = set(ends.tolist())
        latest_first = [-end for end in seen]
        heapify(latest_first)
        while len(latest_first) > 1:  # of several the latest cannot be in the past of another
            parent = int(self.links[-latest_first[0], PARENT])
            if parent in seen:
                heappop(latest_first)
            else:
                seen.add(parent)
                heapreplace(latest_first, -parent)
        return -latest_first[0]

    def without(self, told: int, ends: Ints) -> tuple[History, Ints]:
        """Keep what lies between `told`, which counts as NOTHING now, and `ends`; give the new numbers of `ends`, too."""
        kept: set[int] = set()
        for end in set(ends.tolist()):
            while end > told and end not in kept:
                kept.add(end)
                end = int(self.links[end, PARENT])
        rows = np.array(sorted(kept), np.int64)
        number = np.full(len(self) + 1, NOTHING, np.int64)
        number[rows] = np.arange(len(rows))
        links = self.links[rows]
        links[:, PARENT] = number[links[:, PARENT]]
        return History(links, self.rates[rows]), number[ends]
