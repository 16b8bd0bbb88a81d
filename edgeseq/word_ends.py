"""What language says at the ends of words: language model, homophones and hotwords, asked once for each place and context.

Within a word the likeliest word that can still come of it stands in for it, without context; at its end that is replaced by
what the language model says. Of words that sound alike each becomes a hypothesis of its own, unless the language model cannot
tell them apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgeseq.errors import UsageError
from edgeseq.fusion import LN10, Weights
from edgeseq.hotwords import ROOT as NO_HOTWORD
from edgeseq.hotwords import Hotwords
from edgeseq.lexicon_tree import ROOT, LexiconTree
from edgeseq.lm.model import Context, LanguageModel
from edgeseq.word_history import NOTHING

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MOST_REMEMBERED = 32_768
"""Ends of words that are remembered, about 5 MB."""
MIXER = 0x9E3779B97F4A7C15 - 2**64
"""Odd, its bits well mixed: columns of a hypothesis become one number by a polynomial modulo 2^64 (Knuth, volume 3, 6.4)."""


LARGEST = 600.0
"""Exponents beyond this would overflow."""


def mixed(n_columns: int) -> Ints:
    """Give factors that make one number of so many columns."""
    return np.array([((MIXER % 2**64) ** power % 2**64 + 2**63) % 2**64 - 2**63 for power in range(n_columns)], np.int64)


class Ends(NamedTuple):
    """Words that may have ended, an array each."""

    owner: Ints
    """row of what was asked"""
    word: Ints
    factor: Floats
    """of the hypothesis's mass"""
    boost: Floats
    """what hotwords add, natural log; in `factor` already"""
    after: Ints
    """node of the hotwords and rows of the language model's context, `[n, 1 + n_context]`"""


class WordEnds:
    """Weighs words at their ends. Read-only but for a memory that only saves time; streams share it."""

    def __init__(
        self,
        tree: LexiconTree,
        lm: LanguageModel | None,
        weights: Weights,
        separator: int,
        hotwords: Hotwords | None = None,
    ) -> None:
        """Take what there is; `separator` is the token between words, by which hotwords are moved on.

        Raises UsageError for a language model of letters.
        """
        if lm is not None and lm.level == "char":
            raise UsageError(
                f"{lm.path} predicts letters, and this model's tokens are phones; wanted a language model of words.\n"
                "  Make one: edgeseq lm build --level word"
            )
        self.tree, self.lm, self.hotwords = tree, lm, hotwords
        self.identity = f"{tree.identity} {'-' if lm is None else lm.identity} {weights!r}"
        """of all but the hotwords"""
        self.n_context = 0 if lm is None else lm.order - 1
        self._separator = separator
        self.weights = weights
        self._scale = weights.lm * LN10
        self._ahead = self._look_ahead()
        steps = self._ahead - self._ahead[tree.parent]
        steps[ROOT] = 0.0
        steps[tree.first_child[ROOT] : tree.first_child[ROOT + 1]] += weights.word_bonus
        self.gain = np.exp(steps)
        """factor of entering each node, `[n_nodes]`"""
        self._factors = mixed(2 + self.n_context)
        self._most_alike = int(np.diff(tree.first_word).max())
        self._forget()

    def with_hotwords(self, hotwords: Hotwords | None) -> WordEnds:
        """Return what weighs by other hotwords, and shares all else."""
        other = copy(self)
        other.hotwords = hotwords
        other._forget()
        return other

    def start(self) -> Ints:
        """Give the node of the hotwords and the context at the beginning of an utterance, `[1 + n_context]`."""
        node = NO_HOTWORD if self.hotwords is None else self.hotwords.step(NO_HOTWORD, self._separator)[1]
        return np.array([node, *self._padded(() if self.lm is None else self.lm.begin)], np.int64)

    def at(self, nodes: Ints, before: Ints) -> Ends:
        """List the words that end in `nodes`, `before` as `Ends.after`."""
        keys = nodes * self._factors[0] + before @ self._factors[1:]
        places = [self._places.get(key, -1) for key in keys.tolist()]
        if -1 in places:
            if self._n_remembered > MOST_REMEMBERED - self._most_alike * len(places):
                self._forget()
                places = [-1] * len(places)
            for n, place in enumerate(places):
                if place < 0:
                    places[n] = self._ask(int(keys[n]), int(nodes[n]), before[n].tolist())
        first = np.array(places, np.int64)
        counts = self._counts[first]
        owner = np.repeat(np.arange(len(first)), counts)
        rows = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(len(owner))
        return Ends(owner, self._words[rows], self._weights[rows, 0], self._weights[rows, 1], self._after[rows])

    def heard_in(self, hotwords: Ints, tokens: Ints) -> tuple[Floats, Ints]:
        """Move nodes of the hotwords on by tokens within words; give what that adds (natural log) and the next nodes."""
        assert self.hotwords is not None
        steps = [self.hotwords.step(node, token) for node, token in zip(hotwords.tolist(), tokens.tolist(), strict=True)]
        return np.array([added for added, _ in steps]), np.array([node for _, node in steps], np.int64)

    def replayed(self, node: int, boost: float, tokens: Sequence[int], closes: bool = False) -> tuple[int, float]:
        """Move a node of the hotwords on by tokens, and what they have added; NOTHING for the beginning of an utterance."""
        if self.hotwords is None:
            return NO_HOTWORD, 0.0
        if node == NOTHING:
            node = int(self.start()[0])
        for token in (*tokens, self._separator) if closes else tokens:
            added, node = self.hotwords.step(node, token)
            boost += added
        return node, boost

    def last(self, after: Ints) -> float:
        """Give what the end of an utterance adds to a hypothesis that is between words, natural log."""
        node, context = int(after[0]), self._trimmed(after[1:].tolist())
        added = -float(self._ahead[ROOT])
        if self.lm is not None:
            added += self._scale * self.lm.score(context, self.lm.end_id)[0]
        return added + (0.0 if self.hotwords is None else self.hotwords.end(node))

    def _look_ahead(self) -> Floats:
        """Give each node the weighed score of the likeliest word below it, without context."""
        names = self.tree.names
        if self.lm is None:
            self._numbers, self._shares = np.zeros(len(names), np.int64), np.zeros(len(names))
            return np.zeros(len(self.tree))
        self._numbers = self.lm.word_ids(names)
        unknown = self._numbers == self.lm.unknown_id
        self._shares = np.where(unknown, -math.log10(max(1, np.count_nonzero(unknown))), 0.0)
        return self.tree.best_below(self._scale * (self.lm.unigrams()[self._numbers] + self._shares))

    def _forget(self) -> None:
        """Begin the memory."""
        self._places: dict[int, int] = {}
        self._n_remembered = 0
        self._counts = np.zeros(MOST_REMEMBERED, np.int64)
        self._words = np.zeros(MOST_REMEMBERED, np.int64)
        self._weights = np.zeros((MOST_REMEMBERED, 2))
        self._after = np.zeros((MOST_REMEMBERED, 1 + self.n_context), np.int64)

    def _ask(self, key: int, node: int, before: list[int]) -> int:
        """Weigh the words of a node; remember them and give their place."""
        place = at = self._n_remembered
        promised = float(self._ahead[node]) - float(self._ahead[ROOT])
        hotword, boost = before[0], 0.0
        if self.hotwords is not None:
            boost, hotword = self.hotwords.step(hotword, self._separator)
        context = self._trimmed(before[1:])
        known: set[int] = set()
        for word in self.tree.words_at(node).tolist():
            number, score, after = int(self._numbers[word]), 0.0, Context()
            if number in known:
                continue
            known.add(number)
            if self.lm is not None:
                score, after = self.lm.score(context, number)
            weight = self._scale * (score + float(self._shares[word])) - promised + boost
            self._words[at] = word
            self._weights[at] = math.exp(min(weight, LARGEST)), boost
            self._after[at] = (hotword, *self._padded(after))
            at += 1
        self._counts[place] = at - place
        self._n_remembered = at
        self._places[key] = place
        return place

    def _padded(self, context: Context) -> tuple[int, ...]:
        return context + (-1,) * (self.n_context - len(context))

    def _trimmed(self, rows: list[int]) -> Context:
        while rows and rows[-1] < 0:
            rows = rows[:-1]
        return tuple(rows)
