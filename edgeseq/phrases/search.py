"""The phrase decoder: exact Viterbi search of a phrase graph over the rows of a network, as they come.

Scores are differences to a free loop of all tokens, whose best way is the best symbol of each row: 0 is what the network
itself would say, and a phrase's score is what it costs, in nats, to have said that phrase instead. Where tokens are phones,
what the phrase costs more than the best words of the lexicon (word_loop.py) counts as much. Before and behind a phrase stands
a filler: a row costs there what blank costs, and never more than `filler`. A way that is `beam` nats worse than the
best is given up; with `beam` infinite nothing is.

What was said shortly before and was no phrase counts against a phrase, too: people who talk about something else make pauses,
and what lies between two of them may sound like a phrase. How much it counts is how unsure the network was of it (the
log-probabilities of its best symbols), fading with time.

Only ways that are still open are kept, and of their past only what they share: cost and memory depend on how much of the
grammar is in question, neither on its size nor on the length of the stream.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from edgeseq.decoding.decoder import Hypothesis
from edgeseq.errors import UsageError
from edgeseq.events import Word
from edgeseq.model.metadata import CtcMetadata
from edgeseq.phrases.graph import PhraseGraph, Reading, WordMark
from edgeseq.phrases.trellis import Front, PastToken, Row, Trellis, way_to
from edgeseq.phrases.word_loop import LoopState, word_loop

DEFAULT_THRESHOLD = -0.5
"""Lowest score of a phrase that is reported, for models whose own was not measured; nats per token."""
DEFAULT_BEAM = 20.0
"""Nats below the best way at which a way is given up."""
DEFAULT_FILLER = 3.0
"""Nats that a row of other sound costs at most before and behind a phrase."""


def usual_threshold(metadata: CtcMetadata) -> float:
    """Give the lowest score that is reported by default: what was measured for a model, or a constant."""
    return DEFAULT_THRESHOLD if metadata.phrase_threshold is None else metadata.phrase_threshold


MOST_DOUBT = 5.0
"""Nats that other speech before a phrase costs at most."""
FADING_SECONDS = 1.5
"""After so long other speech counts by 1/e of what it did against a phrase."""

READINGS = 256
"""Ways of which is remembered what they mean."""

Floats = npt.NDArray[np.float64]


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
    doubt: float = 0.0
    """sum of the best symbols' log-probs, positive, older rows fading"""
    first_step: int = 0
    """row at which this utterance began"""
    doubt_before: float = 0.0
    """`doubt` at that time if the utterance before was no phrase, else 0"""


@dataclass(frozen=True)
class PhraseState:
    """All that the search remembers of one stream."""

    free: FreePath = field(default_factory=FreePath)
    front: Front = field(default_factory=Front)
    loop: LoopState | None = None
    """other words, where tokens are phones"""


class PhraseDecoder:
    """Understands the phrases of a graph and nothing else. Read-only: streams share it, states differ."""

    def __init__(
        self,
        graph: PhraseGraph,
        metadata: CtcMetadata,
        threshold: float | None = DEFAULT_THRESHOLD,
        beam: float = DEFAULT_BEAM,
        filler: float = DEFAULT_FILLER,
    ) -> None:
        """Search `graph` over the rows of the model of this metadata.

        threshold: lowest score of a phrase that is reported, nats per token; None always reports the nearest phrase.
        beam: nats below the best way at which a way is given up; infinite for none.
        filler: nats that a row of other sound costs at most before and behind a phrase; infinite allows silence only.
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
        self._weight: list[float] = graph.weight.tolist()
        self._read = lru_cache(READINGS)(lambda arcs, ended: graph.read(arcs, ended=ended))  # most partials are the one before
        self._reject_below = DEFAULT_THRESHOLD if threshold is None else threshold
        self._fading = math.exp(-self._step_seconds / FADING_SECONDS)
        self._trellis = Trellis(graph, metadata.blank_id, beam)
        self._silent = [metadata.blank_id, metadata.token_table.word_start_id] if graph.phones else [metadata.blank_id]
        self._loop = word_loop(metadata.token_table) if graph.phones else None
        self._longest_said = max(
            [mark.n_words for marks in graph.outputs for mark in marks if isinstance(mark, WordMark)], default=1
        )

    @property
    def identity(self) -> str:
        """Name the search, the phrases and whatever else a saved state depends on."""
        words = "" if self._loop is None else f" {self._loop.identity}"
        return f"phrases {self.graph.digest} {self.threshold} {self.beam} {self.filler}{words}"

    def init_state(self) -> PhraseState:
        """Open a stream."""
        return PhraseState(loop=self._new_loop())

    def _new_loop(self) -> LoopState | None:
        return None if self._loop is None else self._loop.init_state()

    def step(self, log_probs: npt.NDArray[np.float32], state: PhraseState) -> PhraseState:
        """Take the next rows `[n_steps, n_tokens]` (natural log); `state` is not modified."""
        for row in np.asarray(log_probs, dtype=np.float64):
            state = self._step(row, state)
        return state

    def _step(self, row: Floats, state: PhraseState) -> PhraseState:
        """Take one row `[n_tokens]`."""
        free = self._listen(row, state.free)
        cost = row - row[free.symbol]
        between = float(cost[self._silent].max())
        row_costs = Row(cost, max(between, -self.filler), between, free.n_steps - 1, free.score)
        front = self._trellis.advance(state.front, row_costs)
        loop = None if self._loop is None or state.loop is None else self._loop.advance(cost, state.loop)
        return PhraseState(free, front, loop)

    def _listen(self, row: Floats, free: FreePath) -> FreePath:
        """Follow the best symbols, as the greedy decoder does."""
        symbol = int(row.argmax())
        begins = symbol not in (self._blank_id, free.symbol)
        step, top = free.n_steps if begins else free.last_token_step, float(row[symbol])
        doubt = free.doubt * self._fading - top
        return FreePath(free.n_steps + 1, free.score + top, symbol, step, doubt, free.first_step, free.doubt_before)

    def partial(self, state: PhraseState) -> Hypothesis | None:
        """Give the phrase so far, if one has begun that could still be reported."""
        score, past, has_ended = self._best_way(state.front)
        if past < 0:
            return None
        return self._hypothesis(state, score, past, has_ended)

    def stable_words(self, state: PhraseState) -> int:
        """Count the words that all open ways share, without the one that is being said."""
        shared = self._shared_past(state.front)
        if shared < 0:
            return 0
        reading = self._read(tuple(arc for arc, *_ in way_to(state.front.history, shared)), False)
        return max(0, len(reading.words) - self._longest_said)

    def final(self, state: PhraseState) -> Hypothesis | None:
        """Give the best phrase if the utterance ends here; None if none has ended, or it scores below the threshold."""
        score, past = self._best_end(state.front)
        if past < 0:
            return None
        return self._hypothesis(state, score, past, has_ended=True)

    def follow(self, state: PhraseState) -> PhraseState:
        """Begin the next utterance of the same stream."""
        free = state.free
        doubt = min(free.doubt, MOST_DOUBT) if self._best_score(state) < self._reject_below else 0.0
        following = FreePath(free.n_steps, 0.0, free.symbol, -1, doubt, free.n_steps, doubt)
        return PhraseState(following, loop=self._new_loop())

    def restart(self, state: PhraseState) -> PhraseState:
        """Begin the next utterance, whatever was said before; time continues. The state may be of other phrases."""
        free = FreePath(state.free.n_steps, symbol=state.free.symbol, first_step=state.free.n_steps)
        return PhraseState(free, loop=self._new_loop())

    def n_steps(self, state: PhraseState) -> int:
        """Count the rows since the stream opened."""
        return state.free.n_steps

    def last_token_step(self, state: PhraseState) -> int:
        """Row at which the network last began a token of its own, whether a phrase holds it or not; -1 before."""
        return state.free.last_token_step

    def is_complete(self, state: PhraseState) -> bool:
        """Tell whether the best way has come to the end of a phrase that may be reported."""
        score, past, has_ended = self._best_way(state.front)
        return has_ended and self._hypothesis(state, score, past, has_ended=True) is not None

    def _best_end(self, front: Front) -> tuple[float, int]:
        """Give the best way whose phrase has ended: score, index of its last token."""
        score, last = front.ended, front.ended_past
        for node, token, blank, token_past, blank_past in front.ways:
            end = max(token, blank) + float(self.graph.end_weight[node])
            if end > score:
                score, last = end, blank_past if token <= blank else token_past
        return score, last

    def _best_way(self, front: Front) -> tuple[float, int, bool]:
        """Give the best of all open ways: score, index of its last token, whether its phrase has ended."""
        end_score, end_past = self._best_end(front)
        score, last = -math.inf, -1
        for _, token, blank, token_past, blank_past in front.ways:
            if max(token, blank) > score:
                score, last = max(token, blank), blank_past if token <= blank else token_past
        if end_score >= score or (end_past == last and last >= 0):
            return end_score, end_past, True
        return score, last, False

    def _hypothesis(self, state: PhraseState, score: float, last: int, has_ended: bool) -> Hypothesis | None:
        """Say what a way means; None below the threshold."""
        way = way_to(state.front.history, last)
        arcs = [arc for arc, *_ in way]
        acoustic = score - self._prior(arcs, has_ended)
        phrase_score = self._phrase_score(acoustic, way, state, has_ended)
        if self.threshold is not None and phrase_score < self.threshold:
            return None
        reading = self._read(tuple(arcs), has_ended)
        return Hypothesis(
            words=self._words(way, reading),
            confidence=min(1.0, math.exp((acoustic + state.free.score) / len(way))),
            intent=reading.intent,
            slots=reading.slots,
            phrase_score=phrase_score,
        )

    def _phrase_score(self, acoustic: float, way: list[PastToken], state: PhraseState, has_ended: bool) -> float:
        """Rate a phrase, in nats a token: what it costs to believe in it, against symbols, against words of the lexicon, and
        against what was said before that was none."""
        free, against = state.free, acoustic
        if self._loop is not None and state.loop is not None:
            against_words = min(acoustic - self._loop.score(state.loop, ended=has_ended), 0.0)
            against = (acoustic + against_words) / 2
        doubt = free.doubt_before * self._fading ** (way[0][2] - free.first_step)
        return min((against - doubt) / len(way), 0.0)

    def _best_score(self, state: PhraseState) -> float:
        """Give the score of the best phrase if the utterance ends here; -inf if none has ended."""
        score, last = self._best_end(state.front)
        if last < 0:
            return -math.inf
        way = way_to(state.front.history, last)
        acoustic = score - self._prior([arc for arc, *_ in way], has_ended=True)
        return self._phrase_score(acoustic, way, state, has_ended=True)

    def _prior(self, arcs: list[int], has_ended: bool) -> float:
        """Sum the weights of a way; they help to choose between phrases, not to reject them."""
        end = float(self.graph.end_weight[self.graph.target[arcs[-1]]]) if has_ended else 0.0
        return sum(self._weight[arc] for arc in arcs) + end

    def _words(self, way: list[PastToken], reading: Reading) -> tuple[Word, ...]:
        """Time and rate the words of a way: confidence is the probability of its tokens, averaged geometrically."""
        words, before = [], 0.0
        priors = accumulate(self._weight[arc] for arc, *_ in way)
        scores = [score - prior for (*_, score), prior in zip(way, priors, strict=True)]
        for spoken in reading.words:
            mean = (scores[spoken.last] - before) / (spoken.last - spoken.first + 1)
            before = scores[spoken.last]
            start, end = ((way[i][2] + 0.5) * self._step_seconds for i in (spoken.first, spoken.last))
            words.append(Word(spoken.text, start, end, min(1.0, math.exp(mean))))
        return tuple(words)

    def _shared_past(self, front: Front) -> int:
        """Give the last token that all open ways share, -1 for none: the largest index goes back until one is left."""
        if front.ways and front.ways[0][0] == 0:
            return -1
        pasts = {past for _, token, _, past, _ in front.ways if token > -math.inf}
        pasts |= {past for _, _, blank, _, past in front.ways if blank > -math.inf}
        pasts |= {front.ended_past} if front.ended > -math.inf else set()
        if -1 in pasts:
            return -1
        latest_first = [-past for past in pasts]
        heapq.heapify(latest_first)
        while len(pasts) > 1:
            latest = -heapq.heappop(latest_first)
            pasts.remove(latest)
            before = front.history[latest][1]
            if before < 0:
                return -1
            if before not in pasts:
                pasts.add(before)
                heapq.heappush(latest_first, -before)
        return pasts.pop()
