"""What language says at the ends of words: language model, homophones and hotwords, asked once for each place and context.

Within a word the likeliest word that can still come of it stands in for it, without context; at its end that is replaced by
what the language model says. Each of several words that sound alike becomes a hypothesis of its own, unless the language model
cannot tell them apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgeseq.decoding.fusion import LN10, Weights
from edgeseq.decoding.hotwords import ROOT as NO_HOTWORD
from edgeseq.decoding.hotwords import Hotwords
from edgeseq.decoding.lexicon_tree import ROOT, LexiconTree
from edgeseq.decoding.word_history import NOTHING
from edgeseq.errors import UsageError
from edgeseq.lm.model import Context, LanguageModel

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MOST_REMEMBERED = 32_768
"""Ends of words that are remembered, about 5 MB."""
MIXER = 0x9E3779B97F4A7C15 - 2**64
"""Odd, its bits well mixed: columns of a hypothesis become one number by a polynomial modulo 2^64 (Knuth, volume 3, 6.4)."""


LARGEST = 600.0
"""Exponents beyond this would overflow."""


def mixed(n_columns: int) -> Ints:
    """Give factors that make one number of that many columns."""
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
    """Weighs words at their ends. Read-only except for a memory that only saves time; streams share it."""

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
        ahead = self._look_ahead()
        steps = ahead - ahead[tree.parent]
        steps[ROOT] = 0.0
        steps[tree.first_child[ROOT] : tree.first_child[ROOT + 1]] += weights.word_bonus
        self.gain = np.exp(steps)
        """factor of entering each node, `[n_nodes]`"""
        self._promised = (ahead - ahead[ROOT]).data
        """by node: how much likelier than the likeliest word of all its likeliest word is, without context; weighed"""
        self._best = float(ahead[ROOT])
        self._first_word, self._word = tree.first_word.data, tree.word.data
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
        keys = (nodes * self._factors[0] + before @ self._factors[1:]).tolist()
        places = [self._places.get(key, -1) for key in keys]
        if -1 in places:
            missing = [n for n, place in enumerate(places) if place < 0]
            if self._n_remembered + self._most_alike * len(missing) > MOST_REMEMBERED:
                self._forget(self._most_alike * len(keys))
                missing = list(range(len(keys)))
            self._ask([keys[n] for n in missing], nodes[missing].tolist(), before[missing].tolist())
            places = [self._places[key] for key in keys]
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

    def replayed(self, before: tuple[int, float], tokens: Sequence[int], closes: bool = False) -> tuple[int, float]:
        """Move a node of the hotwords, and what they have added, on by tokens; NOTHING for the beginning of an utterance."""
        node, boost = before
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
        added = -self._best
        if self.lm is not None:
            added += self._scale * self.lm.score(context, self.lm.end_id)[0]
        return added + (0.0 if self.hotwords is None else self.hotwords.end(node))

    def _look_ahead(self) -> Floats:
        """Give each node the weighed score of the likeliest word below it, without context."""
        names = self.tree.names
        if self.lm is None:
            return np.zeros(len(self.tree))
        numbers = self.lm.word_ids(names)
        unknown = numbers == self.lm.unknown_id
        shares = np.where(unknown, -math.log10(max(1, int(np.count_nonzero(unknown)))), 0.0)
        self._numbers, self._shares = numbers.data, shares.data
        return self.tree.best_below(self._scale * (self.lm.unigrams()[numbers] + shares))

    def _forget(self, n_needed: int = 0) -> None:
        """Begin the memory, with room for at least that many words."""
        n = max(MOST_REMEMBERED, n_needed)
        self._places: dict[int, int] = {}
        self._n_remembered = 0
        self._counts, self._words = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self._weights, self._after = np.zeros((n, 2)), np.zeros((n, 1 + self.n_context), np.int64)

    def _ask(self, keys: list[int], nodes: list[int], before: list[list[int]]) -> None:
        """Weigh the words of nodes, and remember them."""
        first = at = self._n_remembered
        words: list[int] = []
        weights: list[tuple[float, float]] = []
        after: list[tuple[int, ...]] = []
        for key, node, (hotword, *rows) in zip(keys, nodes, before, strict=True):
            boost = 0.0
            if self.hotwords is not None:
                boost, hotword = self.hotwords.step(hotword, self._separator)
            promised = self._promised[node] - boost
            for word, score, context in self._words_of(node, rows):
                words.append(word)
                weights.append((math.exp(min(self._scale * score - promised, LARGEST)), boost))
                after.append((hotword, *context))
            self._places[key], self._counts[at] = at, first + len(words) - at
            at = first + len(words)
        self._n_remembered = at
        self._words[first:at], self._weights[first:at], self._after[first:at] = words, weights, after

    def _words_of(self, node: int, rows: list[int]) -> Iterator[tuple[int, float, tuple[int, ...]]]:
        """Yield the words of a node that language can tell apart: log10 of each one's probability, context after it."""
        alike = self._word[self._first_word[node] : self._first_word[node + 1]]
        if self.lm is None:
            yield alike[0], 0.0, ()
            return
        context, known = self._trimmed(rows), set[int]()
        for word in alike:
            number = self._numbers[word]
            if number not in known:
                known.add(number)
                score, now = self.lm.score(context, number)
                yield word, score + self._shares[word], self._padded(now)

    def _padded(self, context: Context) -> tuple[int, ...]:
        return context + (-1,) * (self.n_context - len(context))

    def _trimmed(self, rows: list[int]) -> Context:
        while rows and rows[-1] < 0:
            rows = rows[:-1]
        return tuple(rows)
