"""Beside the phrases: the words of the lexicon in any order, so that what fits other words better is not taken for a phrase.

Models of phones bring a lexicon. Its tree is searched by Viterbi over the same rows as the phrases and with the same costs;
where a word ends another may begin, and `▁` between words counts as blank. A phrase that was said is the loop's best way or
near it, however indistinctly it was said; where something else was said, the loop knows better words. Only ways within a beam
are kept, as numpy arrays: a row costs about the same for a thousand words and for fifty thousand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from edgeseq.decoding.lexicon_tree import ROOT, LexiconTree, phone_entries
from edgeseq.phrases.trellis import SHARED_SOUND_PRICE
from edgeseq.tokens.table import TokenTable

BEAM = 10.0
"""Nats below the best way at which a way is given up."""
MOST_WAYS = 500
"""That are kept, the best."""

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class LoopState:
    """The ways that are open; scores are sums of costs since the utterance began."""

    node: Ints
    """of the tree, ascending, without its root, `[n_ways]`"""
    token: Floats
    """score of the best way whose last row said the node's token, `[n_ways]`"""
    blank: Floats
    """of the best whose last row was a blank after it, `[n_ways]`"""
    nothing: float = 0.0
    """of the way that has said nothing yet"""

    @property
    def best(self) -> Floats:
        """Score of the best way to each node, `[n_ways]`."""
        return np.maximum(self.token, self.blank)


class WordLoop:
    """Viterbi over a loop of words. Read-only: streams share it."""

    def __init__(self, tree: LexiconTree, word_start_id: int, blank_id: int) -> None:
        """Search the words of `tree`."""
        self._tree, self._start, self._blank = tree, word_start_id, blank_id
        self._first = np.arange(tree.first_child[ROOT], tree.first_child[ROOT + 1], dtype=np.int32)
        self._first_token = tree.token[self._first]

    @property
    def identity(self) -> str:
        """Tell these words from others: the nodes of a saved state are numbers of their tree."""
        return self._tree.identity

    def init_state(self) -> LoopState:
        """Begin an utterance."""
        return LoopState(np.zeros(0, np.int32), np.zeros(0), np.zeros(0))

    def score(self, state: LoopState, *, ended: bool) -> float:
        """Give the score of the best way, 0 or less; if `ended`, of those whose last word may end here."""
        best = state.best[self._tree.is_end[state.node]] if ended else state.best
        return max(state.nothing, float(best.max(initial=-math.inf)))

    def advance(self, cost: Floats, state: LoopState) -> LoopState:
        """Take a row of log-probs less the row's best, `[n_tokens]`; `state` is not modified."""
        tree, best, blank_cost = self._tree, state.best, float(cost[self._blank])
        between = max(blank_cost, float(cost[self._start]))
        is_end, nothing = tree.is_end[state.node], state.nothing + between
        token, blank = state.token + cost[tree.token[state.node]], best + np.where(is_end, between, blank_cost)
        child, entered = self._enter(state, best)
        child = np.concatenate([child, self._first])
        entered = np.concatenate([entered, self._open(state, best, is_end)]) + cost[tree.token[child]]
        top = max(nothing, *(float(scores.max(initial=-math.inf)) for scores in (token, blank, entered)))
        likely = entered > top - BEAM
        nodes = np.concatenate([state.node, child[likely]])
        none = np.full(np.count_nonzero(likely), -np.inf)
        token, blank = np.concatenate([token, entered[likely]]), np.concatenate([blank, none])
        return _kept(nodes, token, blank, top - BEAM, nothing)

    def _enter(self, state: LoopState, best: Floats) -> tuple[Ints, Floats]:
        """List all children of the open nodes, and the scores with which they can be entered."""
        tree, counts = self._tree, self._tree.n_children[state.node]
        owner = np.repeat(np.arange(len(state.node)), counts)
        offset = tree.first_child[state.node] - np.cumsum(counts) + counts
        child = (np.repeat(offset, counts) + np.arange(len(owner))).astype(np.int32)
        repeats = tree.token[child] == tree.token[state.node][owner]
        return child, np.where(repeats, state.blank[owner], best[owner])

    def _open(self, state: LoopState, best: Floats, is_end: Bools) -> Floats:
        """Give the scores with which words may begin: behind the best of the words that have ended, if their tokens differ."""
        scores = np.full(len(self._first), state.nothing)
        ended = np.flatnonzero(is_end)
        if len(ended) == 0:
            return scores
        best, last = best[ended], self._tree.token[state.node[ended]]
        place = best.argmax()
        same = last == last[place]
        joined = np.maximum(state.blank[ended], state.token[ended] - SHARED_SOUND_PRICE)
        repeated = np.where(same, joined, best).max()
        return np.maximum(scores, np.where(self._first_token == last[place], repeated, best[place]))


def _kept(nodes: Ints, token: Floats, blank: Floats, limit: float, nothing: float) -> LoopState:
    """Join ways to the same node; keep those above the limit, the best of them if they are many."""
    if len(nodes) == 0:
        return LoopState(nodes, token, blank, nothing)
    order = np.argsort(nodes, kind="stable")
    nodes = nodes[order]
    first = np.flatnonzero(np.concatenate([[True], nodes[1:] != nodes[:-1]]))
    nodes, token, blank = nodes[first], np.maximum.reduceat(token[order], first), np.maximum.reduceat(blank[order], first)
    best = np.maximum(token, blank)
    if len(best) > MOST_WAYS:
        limit = max(limit, float(np.partition(best, -MOST_WAYS - 1)[-MOST_WAYS - 1]))
    kept = best > limit
    return LoopState(nodes[kept], token[kept], blank[kept], nothing)


@lru_cache(maxsize=4)
def word_loop(tokens: TokenTable) -> WordLoop:
    """Make the loop of the words that a model of phones includes."""
    return WordLoop(LexiconTree(phone_entries(tokens)), tokens.word_start_id, tokens.blank_id)
