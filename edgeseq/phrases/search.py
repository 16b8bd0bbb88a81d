"""The phrase decoder: exact Viterbi search of a phrase graph over the rows of a network, as they come.

Every node of the graph is two CTC states (Graves et al. 2006, section 4.1): its token, and the blank behind it. A row lets a
token go on, a blank follow it, or an arc lead to the next token: from token or blank if the two tokens differ, from the blank
alone if they are the same. Node 0 comes before any phrase, and its blank is the filler: silence, or anything else at a price
for each row. Behind the end of a phrase stands the same filler.

Scores are differences. From every row the best symbol's log-probability is subtracted, so that 0 is what the network itself
would say and a phrase's score is what it costs, in nats, to have said that phrase instead. A way that is `beam` nats worse
than the best is given up; with `beam` infinite nothing is.

Only ways that are still open are kept (`PhraseState`), as arrays, and of their past only what they share: cost and memory
depend on how much of the grammar is in question, neither on its size nor on the length of the stream.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.decoding import Hypothesis
from edgeseq.errors import UsageError
from edgeseq.events import Word
from edgeseq.metadata import ModelMetadata
from edgeseq.phrases.graph import PhraseGraph, Reading, Said

DEFAULT_THRESHOLD = -0.2
"""Lowest score of a phrase that is given out; nats a token. See docs/phrases.md for how it was chosen."""
DEFAULT_BEAM = 16.0
"""Nats below the best way at which a way is given up."""
DEFAULT_FILLER = 3.0
"""Nats a row of other sound costs before and behind a phrase."""

SPARE_HISTORY = 512
"""Tokens of given-up ways that may be kept before the history is cleared of them."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[Any]


def _ints(*values: int) -> Ints:
    return np.array(values, dtype=np.int32)


def _floats(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


def _longs() -> npt.NDArray[np.int64]:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class History:
    """Tokens of the ways that are open, each with the token before it. Those before come first."""

    arc: Ints = field(default_factory=_ints)
    """arc by which the token was reached `[n]`"""
    before: Ints = field(default_factory=_ints)
    """index of the token before, -1 for the first of a phrase"""
    step: npt.NDArray[np.int64] = field(default_factory=_longs)
    """row at which it was reached, since the stream opened"""
    score: Floats = field(default_factory=_floats)
    """of the way up to that row, without subtracting the best symbols; nats"""

    def __len__(self) -> int:
        """Count the tokens."""
        return len(self.arc)

    def extend(self, arc: Ints, before: Ints, step: int, score: Floats) -> History:
        """Append tokens that were reached at one row."""
        return History(
            np.concatenate([self.arc, arc]),
            np.concatenate([self.before, before]),
            np.concatenate([self.step, np.full(len(arc), step, dtype=np.int64)]),
            np.concatenate([self.score, score]),
        )

    def way(self, last: int) -> list[int]:
        """List the tokens up to `last`, in order."""
        way = []
        while last >= 0:
            way.append(last)
            last = int(self.before[last])
        return way[::-1]

    def only(self, ends: Ints) -> tuple[History, Ints]:
        """Keep what leads to `ends` (indices, -1 for none); returns where each end has moved, too."""
        wanted = np.zeros(len(self) + 1, dtype=bool)  # the last one is that of index -1
        fresh = np.unique(ends)
        while len(fresh):
            wanted[fresh] = True
            fresh = np.unique(self.before[fresh[fresh >= 0]])
            fresh = fresh[~wanted[fresh]]
        wanted[-1] = False
        moved = np.append(np.cumsum(wanted[:-1], dtype=np.int32) - 1, -1).astype(np.int32)
        kept = np.flatnonzero(wanted)
        return History(self.arc[kept], moved[self.before[kept]], self.step[kept], self.score[kept]), moved[ends]


@dataclass(frozen=True, eq=False)
class Ways:
    """The nodes with open ways, ascending, and the best ways there."""

    node: Ints = field(default_factory=lambda: _ints(0))
    """`[n]`"""
    token: Floats = field(default_factory=lambda: _floats(-math.inf))
    """score of the best way whose last row said the node's token `[n]`"""
    blank: Floats = field(default_factory=lambda: _floats(0.0))
    """score of the best way whose last row was blank behind it `[n]`"""
    token_past: Ints = field(default_factory=lambda: _ints(-1))
    """index of such a way's last token in the history, -1 before the first `[n]`"""
    blank_past: Ints = field(default_factory=lambda: _ints(-1))

    def best(self) -> tuple[Floats, Ints]:
        """Give the better of token and blank for each node, and its last token."""
        after_blank = self.token <= self.blank
        return np.maximum(self.token, self.blank), np.where(after_blank, self.blank_past, self.token_past)


@dataclass(frozen=True)
class FreePath:
    """What the network itself said: the best symbol of each row."""

    n_steps: int = 0
    """rows since the stream opened"""
    score: float = 0.0
    """sum of the best symbols' log-probs since the utterance began"""
    symbol: int = -1
    """best symbol of the last row"""
    last_token_step: int = -1
    """row at which the newest token of this utterance began"""


@dataclass(frozen=True, eq=False)
class PhraseState:
    """All that the search remembers of one stream: the open ways of one utterance, and their past."""

    free: FreePath = field(default_factory=FreePath)
    ways: Ways = field(default_factory=Ways)
    """whose phrase has not ended, or has with the last token or blank"""
    ended: float = -math.inf
    """score of the best way whose phrase had ended before the last row"""
    ended_past: int = -1
    history: History = field(default_factory=History)
    n_needed: int = 0
    """length of the history when it was last cleared"""


class PhraseDecoder:
    """Understands the phrases of a graph and nothing else. Read-only: streams share it, states differ."""

    def __init__(
        self,
        graph: PhraseGraph,
        metadata: ModelMetadata,
        threshold: float | None = DEFAULT_THRESHOLD,
        beam: float = DEFAULT_BEAM,
        filler: float = DEFAULT_FILLER,
    ) -> None:
        """Search `graph` over the rows of the model of this metadata.

        threshold: lowest score of a phrase that is given out, nats a token; None gives out the nearest phrase always.
        beam: nats below the best way at which a way is given up; infinite for none.
        filler: nats a row of other sound costs before and behind a phrase; infinite allows silence only.
        """
        if graph.tokens != tuple(metadata.tokens):
            raise UsageError(
                f"the phrases were compiled for the tokens {' '.join(graph.tokens)}; "
                f"this model has {' '.join(metadata.tokens)}.\n"
                "  Compile the phrase file for this model."
            )
        if not beam > 0 or not filler >= 0 or (threshold is not None and not threshold <= 0):
            raise UsageError(
                f"threshold {threshold}, beam {beam}, filler {filler}; wanted a threshold of 0 or less (or none), "
                "a beam above 0 and a filler of 0 or more."
            )
        self.graph = graph
        self.threshold, self.beam, self.filler = threshold, beam, filler
        self._blank_id = metadata.blank_id
        self._step_seconds = metadata.step_samples / metadata.sample_rate
        labels = graph.label[graph.target]
        self._arc_label = labels.astype(np.intp)
        self._node_label = graph.label.astype(np.intp)
        sources = np.repeat(np.arange(graph.n_nodes), np.diff(graph.first_arc))
        self._arc_repeats = labels == graph.label[sources]
        self._n_out = np.diff(graph.first_arc).astype(np.intp)
        self._first = graph.first_arc[:-1].astype(np.intp)
        self._openers = np.unique(labels[: graph.first_arc[1]])
        self._has_weights = bool(graph.weight.any())
        self._longest_said = max(
            [mark.n_words for marks in graph.outputs for mark in marks if isinstance(mark, Said)], default=1
        )

    @property
    def identity(self) -> str:
        """Name the search, the phrases and whatever else a saved state depends on."""
        return f"phrases {self.graph.digest} {self.threshold} {self.beam} {self.filler}"

    def init_state(self) -> PhraseState:
        """Open a stream."""
        return PhraseState()

    def step(self, log_probs: npt.NDArray[np.float32], state: PhraseState) -> PhraseState:
        """Take the next rows `[n_steps, n_tokens]` (natural log); `state` is not modified."""
        for row in np.asarray(log_probs, dtype=np.float64):
            state = self._step(row, state)
        return state

    def _step(self, row: Floats, state: PhraseState) -> PhraseState:
        """Take one row `[n_tokens]`."""
        free = self._listen(row, state.free)
        cost = row - row[free.symbol]
        filler = max(float(cost[self._blank_id]), -self.filler)
        ways = state.ways
        if len(ways.node) == 0:  # a phrase has ended, and every other way was given up
            return replace(state, free=free, ended=state.ended + filler)
        is_idle = len(ways.node) == 1 and ways.node[0] == 0 and state.ended == -math.inf
        if is_idle and cost[self._openers].max() < filler - self.beam:
            return replace(state, free=free, ways=replace(ways, blank=ways.blank + filler))
        return self._advance(cost, filler, free, state)

    def _listen(self, row: Floats, free: FreePath) -> FreePath:
        """Follow the best symbols, as the greedy decoder does."""
        symbol = int(row.argmax())
        begins = symbol not in (self._blank_id, free.symbol)
        step = free.n_steps if begins else free.last_token_step
        return FreePath(free.n_steps + 1, free.score + float(row[symbol]), symbol, step)

    def _advance(self, cost: Floats, filler: float, free: FreePath, state: PhraseState) -> PhraseState:
        """Let every open way take one row; `cost` is the row less its best, `[n_tokens]`."""
        best, past = state.ways.best()
        ended, ended_past = self._ended(state, best, past, filler)
        token = state.ways.token + cost[self._node_label[state.ways.node]]
        blank = best + cost[self._blank_id]
        if state.ways.node[0] == 0:
            blank[0] = best[0] + filler
        arc, score, before = self._enter(state.ways, best, past, cost)
        limit = max(float(token.max()), float(blank.max()), ended, float(score.max()) if len(score) else -math.inf) - self.beam
        limit = max(limit, float(np.finfo(np.float64).min))  # with no beam, all but the impossible is kept
        if ended < limit:
            ended, ended_past = -math.inf, -1
        kept = np.flatnonzero(np.maximum(token, blank) >= limit)
        ways = Ways(state.ways.node[kept], token[kept], blank[kept], state.ways.token_past[kept], past[kept])
        history = state.history
        good = np.flatnonzero(score >= limit)
        if len(good):
            arc, score, before = _best_of_each(self.graph.target, arc[good], score[good], before[good])
            ways, history = self._merge(ways, history, arc, score, before, free)
        advanced = PhraseState(free, ways, ended, ended_past, history, state.n_needed)
        return advanced if len(history) <= 2 * state.n_needed + SPARE_HISTORY else _cleared(advanced)

    def _ended(self, state: PhraseState, best: Floats, past: Ints, filler: float) -> tuple[float, int]:
        """Give the best way whose phrase has ended before this row, with this row as filler."""
        ends = best + self.graph.end_weight[state.ways.node]
        i = int(ends.argmax())
        if ends[i] > state.ended:
            return float(ends[i]) + filler, int(past[i])
        return state.ended + filler, state.ended_past

    def _enter(self, ways: Ways, best: Floats, past: Ints, cost: Floats) -> tuple[Ints, Floats, Ints]:
        """Follow every arc out of an open node: arcs, scores with this row, last tokens before them."""
        n_out = self._n_out[ways.node]
        n_before = np.cumsum(n_out) - n_out
        source = np.repeat(np.arange(len(n_out)), n_out)
        arc = np.arange(len(source)) + (self._first[ways.node] - n_before)[source]
        repeats = self._arc_repeats[arc]
        score, before = best[source], past[source]
        if repeats.any():
            score[repeats], before[repeats] = ways.blank[source[repeats]], ways.blank_past[source[repeats]]
        score = score + cost[self._arc_label[arc]]
        return arc, score + self.graph.weight[arc] if self._has_weights else score, before

    def _merge(
        self, ways: Ways, history: History, arc: Ints, score: Floats, before: Ints, free: FreePath
    ) -> tuple[Ways, History]:
        """Let tokens that were reached (one arc a node, nodes ascending) replace worse ways to the same nodes."""
        entered = self.graph.target[arc]
        at = np.searchsorted(ways.node, entered)
        known = at < len(ways.node)
        known[known] = ways.node[at[known]] == entered[known]
        wins = ~known
        wins[known] = score[known] > ways.token[at[known]]
        past = np.arange(len(history), len(history) + np.count_nonzero(wins), dtype=np.int32)
        history = history.extend(arc[wins].astype(np.int32), before[wins], free.n_steps - 1, score[wins] + free.score)
        entered, score, at, known = entered[wins], score[wins], at[wins], known[wins]
        ways.token[at[known]], ways.token_past[at[known]] = score[known], past[known]
        new = ~known
        if not new.any():
            return ways, history
        n_new = np.count_nonzero(new)
        order = np.argsort(np.concatenate([ways.node, entered[new]]), kind="stable")
        columns = (
            (ways.node, entered[new]),
            (ways.token, score[new]),
            (ways.blank, np.full(n_new, -np.inf)),
            (ways.token_past, past[new]),
            (ways.blank_past, np.full(n_new, -1, dtype=np.int32)),
        )
        return Ways(*(np.concatenate(pair)[order] for pair in columns)), history

    def partial(self, state: PhraseState) -> Hypothesis | None:
        """Give the phrase so far, if one has begun that could still be given out."""
        score, past, has_ended = self._best_way(state)
        if past < 0:
            return None
        return self._hypothesis(state, score, past, has_ended)

    def stable_words(self, state: PhraseState) -> int:
        """Count the words that all open ways share, without the one that is being said."""
        shared = self._shared_past(state)
        if shared < 0:
            return 0
        reading = self.graph.read([int(state.history.arc[i]) for i in state.history.way(shared)], ended=False)
        return max(0, len(reading.words) - self._longest_said)

    def final(self, state: PhraseState) -> Hypothesis | None:
        """Give the best phrase if the utterance ends here; None if none has ended, or it scores below the threshold."""
        score, past = self._best_end(state)
        if past < 0:
            return None
        return self._hypothesis(state, score, past, has_ended=True)

    def follow(self, state: PhraseState) -> PhraseState:
        """Begin the next utterance of the same stream."""
        return PhraseState(FreePath(n_steps=state.free.n_steps, symbol=state.free.symbol))

    def n_steps(self, state: PhraseState) -> int:
        """Count the rows since the stream opened."""
        return state.free.n_steps

    def last_token_step(self, state: PhraseState) -> int:
        """Row at which the network last began a token of its own, whether a phrase holds it or not; -1 before."""
        return state.free.last_token_step

    def is_complete(self, state: PhraseState) -> bool:
        """Tell whether the best way has come to the end of a phrase that may be given out."""
        score, past, has_ended = self._best_way(state)
        return has_ended and self._hypothesis(state, score, past, has_ended=True) is not None

    def _best_end(self, state: PhraseState) -> tuple[float, int]:
        """Give the best way whose phrase has ended: score, last token."""
        if len(state.ways.node) == 0:
            return state.ended, state.ended_past
        best, past = state.ways.best()
        best = best + self.graph.end_weight[state.ways.node]
        i = int(best.argmax())
        return (float(best[i]), int(past[i])) if best[i] > state.ended else (state.ended, state.ended_past)

    def _best_way(self, state: PhraseState) -> tuple[float, int, bool]:
        """Give the best of all open ways: score, last token, whether its phrase has ended."""
        end_score, end_past = self._best_end(state)
        if len(state.ways.node) == 0:
            return end_score, end_past, True
        best, past = state.ways.best()
        i = int(best.argmax())
        if end_score >= best[i] or (end_past == past[i] and end_past >= 0):
            return end_score, end_past, True
        return float(best[i]), int(past[i]), False

    def _hypothesis(self, state: PhraseState, score: float, past: int, has_ended: bool) -> Hypothesis | None:
        """Say what a way means; None below the threshold."""
        way = state.history.way(past)
        arcs = [int(state.history.arc[i]) for i in way]
        acoustic = score - self._prior(arcs, has_ended)
        phrase_score = min(acoustic / len(way), 0.0)
        if self.threshold is not None and phrase_score < self.threshold:
            return None
        reading = self.graph.read(arcs, ended=has_ended)
        words = self._words(state.history, way, reading)
        return Hypothesis(
            words=words,
            confidence=min(1.0, math.exp((acoustic + state.free.score) / len(way))),
            intent=reading.intent,
            slots=reading.slots,
            phrase_score=phrase_score,
        )

    def _prior(self, arcs: list[int], has_ended: bool) -> float:
        """Sum the weights of a way; they help to choose between phrases, not to reject them."""
        end = float(self.graph.end_weight[self.graph.target[arcs[-1]]]) if has_ended else 0.0
        return float(self.graph.weight[arcs].sum()) + end

    def _words(self, history: History, way: list[int], reading: Reading) -> tuple[Word, ...]:
        """Time and rate the words of a way: confidence is the probability of its tokens, averaged geometrically."""
        words, before = [], 0.0
        steps = history.step[way]
        scores = history.score[way] - np.cumsum(self.graph.weight[history.arc[way]])
        for spoken in reading.words:
            mean = (float(scores[spoken.last]) - before) / (spoken.last - spoken.first + 1)
            before = float(scores[spoken.last])
            start, end = ((int(steps[i]) + 0.5) * self._step_seconds for i in (spoken.first, spoken.last))
            words.append(Word(spoken.text, start, end, min(1.0, math.exp(mean))))
        return tuple(words)

    def _shared_past(self, state: PhraseState) -> int:
        """Give the last token that all open ways share, -1 for none: the largest index goes back until one is left."""
        ways = state.ways
        pasts = {int(past) for past in ways.token_past[ways.token > -np.inf]}
        pasts |= {int(past) for past in ways.blank_past[ways.blank > -np.inf]}
        pasts |= {state.ended_past} if state.ended > -math.inf else set()
        if -1 in pasts:
            return -1
        open_ways = [-past for past in pasts]
        heapq.heapify(open_ways)
        while len(pasts) > 1:
            latest = -heapq.heappop(open_ways)
            pasts.remove(latest)
            before = int(state.history.before[latest])
            if before < 0:
                return -1
            if before not in pasts:
                pasts.add(before)
                heapq.heappush(open_ways, -before)
        return pasts.pop()


def _best_of_each(target: Ints, arc: Ints, score: Floats, before: Ints) -> tuple[Ints, Floats, Ints]:
    """Of the arcs that lead to the same node, keep the one with the best score; nodes ascending."""
    if len(arc) == 1:
        return arc, score, before
    node = target[arc]
    order = np.lexsort((score, node))
    node = node[order]
    is_last = np.append(node[1:] != node[:-1], True)
    order = order[is_last]
    return arc[order], score[order], before[order]


def _cleared(state: PhraseState) -> PhraseState:
    """Forget the tokens of ways that were given up."""
    ways, n = state.ways, len(state.ways.node)
    ends = np.concatenate([ways.token_past, ways.blank_past, _ints(state.ended_past)])
    history, ends = state.history.only(ends)
    ways = replace(ways, token_past=ends[:n], blank_past=ends[n : 2 * n])
    return replace(state, ways=ways, history=history, ended_past=int(ends[-1]), n_needed=len(history))
