"""The free loop beside the phrases: what else may have been said, any tokens in any order.

Both are searched over the same rows, by Viterbi, and a phrase is as good as it is against the loop: 0 where the loop says the
phrase itself, below where it says something else. A loop in which all tokens are equally likely is the best symbol of each
row. Phones follow each other as in the words of the model's lexicon: loop and phrase both pay `PRIOR_WEIGHT` of the
log-probability of their phones, by pairs. So the loop's path sounds like words, and noise in single rows counts less against
a phrase that was said indistinctly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from edgeseq.tokens import TokenTable

PRIOR_WEIGHT = 0.3
"""How much pairs of phones count against sound; docs/phrases.md tells how it was chosen."""
SEEN_MORE = 0.5
"""Added to the count of every pair, so that none is impossible."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """Weighted log-probabilities of tokens."""

    first: Floats
    """of the first one, `[n_tokens]`"""
    next: Floats
    """of the one behind another, `[n_tokens, n_tokens]`; -inf for the blank"""

    def of(self, tokens: Sequence[int]) -> float:
        """Sum what a way through tokens costs."""
        if not len(tokens):
            return 0.0
        return float(self.first[tokens[0]] + self.next[tokens[:-1], tokens[1:]].sum())


@dataclass(frozen=True)
class LoopState:
    """The best ways through the loop, by their last token; scores are sums of costs since the utterance began."""

    token: Floats
    """of ways whose last row said the token, `[n_tokens]`"""
    blank: Floats
    """of ways whose last row was a blank behind the token, `[n_tokens]`"""
    nothing: float = 0.0
    """of the way that has said nothing yet"""

    @property
    def score(self) -> float:
        """Score of the best way, 0 or less."""
        return max(float(self.token.max()), float(self.blank.max()), self.nothing)


class TokenLoop:
    """Viterbi over a loop of all tokens. Read-only: streams share it."""

    def __init__(self, prior: Prior, blank_id: int) -> None:
        """Weigh tokens by `prior`."""
        self.prior = prior
        self._blank_id = blank_id
        self._repeat = np.ascontiguousarray(prior.next.diagonal())
        self._change = prior.next.copy()
        np.fill_diagonal(self._change, -np.inf)

    def init_state(self) -> LoopState:
        """Begin an utterance."""
        nothing = np.full(len(self._repeat), -np.inf)
        return LoopState(nothing, nothing)

    def advance(self, cost: Floats, state: LoopState) -> LoopState:
        """Take a row of log-probs less the row's best, `[n_tokens]`; `state` is not modified."""
        best = np.maximum(state.token, state.blank)
        entered = np.maximum((best[:, None] + self._change).max(axis=0), state.blank + self._repeat)
        entered = np.maximum(entered, state.nothing + self.prior.first)
        blank = float(cost[self._blank_id])
        return LoopState(np.maximum(state.token, entered) + cost, best + blank, state.nothing + blank)


@lru_cache(maxsize=4)
def phone_prior(tokens: TokenTable, weight: float = PRIOR_WEIGHT) -> Prior:
    """Count pairs of phones in the words of a lexicon, word beginnings among them, each pronunciation once."""
    n, start = len(tokens), tokens.word_start_id
    ids = [start]
    for ways in tokens.pronunciations.values():
        for phones in ways:
            ids += [tokens.ids[phone] for phone in phones]
            ids.append(start)
    counts = np.full((n, n), SEEN_MORE)
    np.add.at(counts, (ids[:-1], ids[1:]), 1.0)
    counts[:, tokens.blank_id] = 0.0
    first = np.full(n, SEEN_MORE)
    first[start] += len(ids)
    first[tokens.blank_id] = 0.0
    with np.errstate(divide="ignore"):
        return Prior(weight * np.log(first / first.sum()), weight * np.log(counts / counts.sum(axis=1, keepdims=True)))
