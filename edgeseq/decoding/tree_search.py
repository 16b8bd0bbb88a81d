"""Dictation: a search over lexicons of many thousand words, a row of log-probs at a time, all hypotheses in a few arrays.

A hypothesis is a place in the lexicon's prefix tree and what language must know of the words before it. Those of one place
and one future are the same from there on, so they are joined: their probabilities, each a sum over alignments, are added, and
the likelier past is kept (token passing: Young, Russell and Thornton 1989; with CTC's two probabilities, see `beam.py`). The
token between words may be left out: models that say it and models that do not are searched alike.

Probabilities are kept as such and scaled by powers of two. Rows are taken one by one, so results do not depend on how they are
cut. Where blank is nearly certain, all hypotheses change by one factor and nothing else is done.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edgeseq.decoding.lexicon_tree import ROOT
from edgeseq.decoding.word_ends import WordEnds, mixed
from edgeseq.decoding.word_history import NOTHING, History, NewWords
from edgeseq.events import Word

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NODE, LAST, PAST, START, BEGUN, HOTWORD, CONTEXT = range(7)
"""Columns of a hypothesis's numbers: place in the tree; last token, NO_TOKEN if none; last word; rows at which the word and the
last token began; node of the hotwords; the first row of the language model's context."""
BLANK, TOKEN, PEAK, PRODUCT, BOOST = range(5)
"""Columns of its probabilities: of alignments that end in blank, of those that end in the last token; highest posterior of the
last token; product of those of the word's tokens before it; what hotwords add (natural log)."""

NO_TOKEN = -1
TINY = 2.0**-200
RESCALE = 2.0**200
TELL_FROM = 256
"""When all pasts have this many words, and whenever these have doubled, what all hypotheses share is reported and forgotten."""
LONGEST = 60
"""Words that may stay open."""


class RowTokens(NamedTuple):
    """What a row holds above the threshold."""

    blank: float
    tokens: Ints
    probabilities: Floats
    """by token, 0 for those below the threshold and for NO_TOKEN, `[n_tokens + 1]`"""


@dataclass(frozen=True)
class TreeState:
    """All that the search remembers of one stream."""

    numbers: Ints
    """`[n_hypotheses, 6 + n_context]`, the likeliest first"""
    masses: Floats
    """`[n_hypotheses, 5]`; probabilities include weights and are relative to `log_scale`"""
    history: History = field(default_factory=History)
    hotwords: str = ""
    """identity of those that weighed the hypotheses"""
    n_steps: int = 0
    """rows since the stream opened"""
    log_scale: float = 0.0
    settled: bool = False
    """no hypothesis has alignments that end in a token"""
    n_kept: int = 0
    """words of the history when it was last cut"""
    told: tuple[tuple[Word, ...], ...] = ()
    """words that all hypotheses share, in blocks"""


class _Grown(NamedTuple):
    """Hypotheses after a row, before those of one future are joined."""

    numbers: Ints
    masses: Floats


class _Closed(NamedTuple):
    """Hypotheses between words: first those whose word may have ended, whose past is numbered on from the history's words."""

    numbers: Ints
    masses: Floats
    owner: Ints
    """hypothesis of each word that may have ended"""
    word: Ints
    share: Floats


class TreeSearch:
    """Steps hypotheses. Read-only except for the memory of `WordEnds`."""

    def __init__(
        self,
        ends: WordEnds,
        separator: int,
        n_tokens: int,
        *,
        beam: int,
        beam_threshold: float,
        word_threshold: float,
        joining_penalty: float,
    ) -> None:
        """Keep at most `beam` hypotheses, none more than `beam_threshold` nats behind the best.

        Words end only within `word_threshold` nats. A word before which the separator is left out costs `joining_penalty` nats.
        """
        self.ends, self.tree = ends, ends.tree
        self._separator, self._n_tokens = separator, n_tokens
        self._joining = math.exp(-joining_penalty)
        self._beam, self._cutoff, self._word_cutoff = beam, math.exp(-beam_threshold), math.exp(-word_threshold)
        openers = np.arange(self.tree.first_child[ROOT], self.tree.first_child[ROOT + 1])
        self._opens = np.full(n_tokens, NO_TOKEN)
        """by token: the node that it leads to between words"""
        self._opens[self.tree.token[openers]] = openers
        self._opens[separator] = ROOT
        self._opening = np.where(self._opens >= 0, ends.gain[self._opens], 0.0)
        self._factors = np.zeros(CONTEXT + ends.n_context, np.int64)
        self._factors[[NODE, LAST, *range(HOTWORD, CONTEXT + ends.n_context)]] = mixed(3 + ends.n_context)

    def root(self) -> tuple[Ints, Floats]:
        """Say nothing, for sure."""
        numbers = np.array([[ROOT, NO_TOKEN, NOTHING, -1, -1, *self.ends.start()]], np.int64)
        return numbers, np.array([[1.0, 0.0, 0.0, 1.0, 0.0]])

    def advance(self, state: TreeState, heard: RowTokens) -> TreeState:
        """Let every hypothesis stay or grow by a token; keep the best."""
        total = state.masses[:, BLANK] + state.masses[:, TOKEN]
        stayed = _stay(state, heard, total)
        floor = float((stayed.masses[:, BLANK] + stayed.masses[:, TOKEN]).max()) * self._cutoff
        closed = self._close(state, heard, total, floor)
        grown = (stayed, self._grow(state, heard, total, floor), self._open(closed, heard, state.n_steps, floor))
        numbers, masses = self._best(*(np.concatenate(parts) for parts in zip(*grown, strict=True)))
        if len(numbers) == 0:  # nothing that may be said fits the row at all
            return replace(state, n_steps=state.n_steps + 1)
        history, numbers = self._remember(state, numbers, closed)
        log_scale = state.log_scale
        if masses[0, BLANK] + masses[0, TOKEN] < TINY:
            masses[:, [BLANK, TOKEN]] *= RESCALE
            log_scale -= math.log(RESCALE)
        return replace(state, numbers=numbers, masses=masses, history=history, log_scale=log_scale, settled=False,
                       n_steps=state.n_steps + 1)  # fmt: skip

    def _grow(self, state: TreeState, heard: RowTokens, total: Floats, floor: float) -> _Grown:
        """Continue within words."""
        node = state.numbers[:, NODE]
        counts = self.tree.n_children[node]
        owner = np.repeat(np.arange(len(node)), counts)
        child = np.repeat(self.tree.first_child[node] - np.cumsum(counts) + counts, counts) + np.arange(len(owner))
        token = self.tree.token[child]
        factor = heard.probabilities[token] * self.ends.gain[child]
        fits = np.flatnonzero(factor * total[owner] > floor)
        owner, into, said = owner[fits], child[fits].astype(np.int64), token[fits].astype(np.int64)
        repeats = said == state.numbers[owner, LAST]
        value = factor[fits] * np.where(repeats, state.masses[owner, BLANK], total[owner])
        return self._said(_Grown(state.numbers[owner], state.masses[owner]), into, said, value, heard, state.n_steps, floor)

    def _close(self, state: TreeState, heard: RowTokens, total: Floats, floor: float) -> _Closed:
        """End words, in case that the next token begins another; what is between words already is closed, too."""
        node = state.numbers[:, NODE]
        least = floor / max(float((heard.probabilities[:-1] * self._opening).max()), TINY)
        least = max(least, float(total[0]) * self._word_cutoff)
        between = np.flatnonzero((node == ROOT) & (total > least))
        rows = np.flatnonzero(self.tree.is_end[node] & (total > least))
        ended = self.ends.at(node[rows], state.numbers[rows, HOTWORD:])
        likely = np.flatnonzero(total[rows][ended.owner] * ended.factor > least)
        owner, factor = rows[ended.owner[likely]], ended.factor[likely]
        numbers, masses = state.numbers[owner], state.masses[owner]
        numbers[:, NODE] = ROOT
        numbers[:, PAST] = len(state.history) + np.arange(len(owner))
        numbers[:, HOTWORD:] = ended.after[likely]
        masses[:, BLANK] *= factor
        masses[:, TOKEN] *= factor
        masses[:, BOOST] += ended.boost[likely]
        return _Closed(
            np.concatenate([numbers, state.numbers[between]]),
            np.concatenate([masses, state.masses[between]]),
            owner,
            ended.word[likely],
            (masses[:, BLANK] + masses[:, TOKEN]) / total[0],
        )

    def _open(self, closed: _Closed, heard: RowTokens, step: int, floor: float) -> _Grown:
        """Begin words, or say the token between them; two of that have a word between."""
        tokens = heard.tokens[self._opens[heard.tokens] >= 0]
        child = self._opens[tokens]
        last = closed.numbers[:, LAST, None]
        total = closed.masses[:, BLANK] + closed.masses[:, TOKEN]
        value = np.where(last == tokens, closed.masses[:, BLANK, None], total[:, None])
        value *= heard.probabilities[tokens] * self.ends.gain[child]
        value[(last != self._separator) & (tokens != self._separator)] *= self._joining
        value[(last == tokens) & (tokens == self._separator)] = 0.0
        owner, column = np.nonzero(value > floor)
        begun = _Grown(closed.numbers[owner], closed.masses[owner])
        begun.numbers[:, START] = step
        begun.masses[:, PRODUCT] = begun.masses[:, PEAK] = 1.0
        return self._said(begun, child[column], tokens[column], value[owner, column], heard, step, floor)

    def _said(
        self, before: _Grown, node: Ints, token: Ints, value: Floats, heard: RowTokens, step: int, floor: float
    ) -> _Grown:
        """Let hypotheses (which are modified) say a token, by which they come to a node with so much probability."""
        numbers, masses = before
        numbers[:, NODE], numbers[:, LAST], numbers[:, BEGUN] = node, token, step
        masses[:, PRODUCT] *= masses[:, PEAK]
        masses[:, PEAK] = heard.probabilities[token]
        masses[:, BLANK], masses[:, TOKEN] = 0.0, value
        if self.ends.hotwords is not None:
            inside = np.flatnonzero(token != self._separator)
            added, numbers[inside, HOTWORD] = self.ends.heard_in(numbers[inside, HOTWORD], token[inside])
            masses[inside, BOOST] += added
            masses[inside, TOKEN] *= np.exp(added)
        return _Grown(numbers, masses)

    def _best(self, numbers: Ints, masses: Floats) -> _Grown:
        """Join hypotheses of one future; keep the likeliest, sorted."""
        keys = numbers @ self._factors
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        value = (masses[:, BLANK] + masses[:, TOKEN])[order]
        blank, token = (np.add.reduceat(masses[order, column], first) for column in (BLANK, TOKEN))
        counts = np.diff(first, append=len(order))
        likeliest = np.flatnonzero(value == np.repeat(np.maximum.reduceat(value, first), counts))
        group = np.repeat(np.arange(len(first)), counts)[likeliest]
        likeliest = order[likeliest[np.concatenate([[True], group[1:] != group[:-1]])]]
        total = blank + token
        kept = np.flatnonzero(total > total.max() * self._cutoff)
        kept = kept[np.argsort(-total[kept], kind="stable")[: self._beam]]
        numbers, masses = numbers[likeliest[kept]], masses[likeliest[kept]]
        masses[:, BLANK], masses[:, TOKEN] = blank[kept], token[kept]
        return _Grown(numbers, masses)

    def _remember(self, state: TreeState, numbers: Ints, closed: _Closed) -> tuple[History, Ints]:
        """Put words that have ended into the history, and point to them."""
        history, n_before = state.history, len(state.history)
        new = np.flatnonzero(numbers[:, PAST] >= n_before)
        if len(new) == 0:
            return history, numbers
        places, inverse = np.unique(numbers[new, PAST] - n_before, return_inverse=True)
        owner = closed.owner[places]
        ended = state.numbers[owner]
        product = state.masses[owner, PRODUCT] * state.masses[owner, PEAK]
        confidence = np.minimum(product, 1.0) ** (1.0 / self.tree.depth[ended[:, NODE]])
        words = NewWords(
            ended[:, PAST],
            closed.word[places],
            ended[:, NODE],
            ended[:, START],
            ended[:, BEGUN],
            confidence,
            closed.share[places],
        )
        history, known = history.add(words)
        numbers[new, PAST] = known[inverse.reshape(-1)]
        return history, numbers


def _stay(state: TreeState, heard: RowTokens, total: Floats) -> _Grown:
    """Hear blank, or the last token continue."""
    p_last = heard.probabilities[state.numbers[:, LAST]]
    masses = state.masses.copy()
    masses[:, BLANK] = total * heard.blank
    masses[:, TOKEN] *= p_last
    goes_on = masses[:, TOKEN] > 0
    masses[goes_on, PEAK] = np.maximum(masses[goes_on, PEAK], p_last[goes_on])
    return _Grown(state.numbers, masses)


def settle(masses: Floats) -> Floats:
    """Take blank for certain: every alignment ends in it now. The factor that all share is left to the scale."""
    settled = masses.copy()
    settled[:, BLANK] += settled[:, TOKEN]
    settled[:, TOKEN] = 0.0
    return settled
