"""Beam search: the likeliest prefixes of tokens, each summed over all its alignments, weighed by language.

CTC prefix beam search (Graves 2012, section 7.5.3; Hannun, Maas, Jurafsky and Ng 2014, algorithm 1): for each prefix the
probability of all alignments that end in blank and of all that end in its last token. A prefix's weight (see `fusion.py`)
depends on the prefix alone, so it is multiplied in once, where the prefix begins.

Rows are taken one by one, so results do not depend on how they are cut. Probabilities are kept as such, not as logarithms, and
scaled by powers of two before they become too small: a row costs no logarithm, and rounding never differs. Where blank is
nearly certain, all prefixes change by one factor and nothing else is done. What all prefixes share is reported and forgotten,
so that memory and time do not grow with the utterance, except for the words themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.decoding.beam_state import Beam, BeamState, rank, scale, settle, tokens_of
from edgeseq.decoding.beam_words import BeamWords, append, joined, same
from edgeseq.decoding.decoder import Hypothesis, sure
from edgeseq.decoding.fusion import FORBIDDEN, Fusion, FusionState
from edgeseq.decoding.greedy import mean_confidence
from edgeseq.decoding.hotwords import Hotwords
from edgeseq.errors import UsageError
from edgeseq.events import Word

NO_TOKEN = -1
NO_KEY = 0

KEY_BASE, KEY_MODULUS = 1_000_003, 2**61 - 1
"""A prefix's key is a polynomial of its tokens; that two of a few thousand prefixes agree by chance happens once in 10^12."""

TELL_EVERY = 8
TELL_FROM = 24
"""Each time the best prefix has grown by this many tokens, what all prefixes share is reported and forgotten."""
LONGEST = 120
"""Tokens that may stay open; prefixes that differ from the best before that are dropped."""
TAIL = 64
"""Reported tokens that are kept, so that a new language model or new hotwords know what came before."""
MOST_REMEMBERED = 50_000
"""Extensions whose weights are remembered, about 15 MB."""
USUAL_BEAM = 8
SMALL_VOCABULARY = 100
"""Tokens up to which a row is looked through faster as a list than as an array."""


@dataclass(frozen=True)
class BeamOptions:
    """How hard to search."""

    beam: int | None = None
    """prefixes that are kept; None: as many as usual"""
    token_threshold: float = 1e-3
    """tokens less probable than this in a row are left out of it; 0 leaves out none"""
    beam_threshold: float = 14.0
    """prefixes more than this many nats behind the best are dropped"""
    nbest: int = 1
    """texts that are reported, the best included"""
    min_confidence: float = 0.0
    """an utterance none of whose words is as sure as this is left out; 0 to 1"""

    def __post_init__(self) -> None:
        """Raise UsageError for numbers out of range."""
        if (
            (self.beam is not None and self.beam < 1)
            or self.nbest < 1
            or not 0 <= self.token_threshold < 1
            or not self.beam_threshold > 0
            or not 0 <= self.min_confidence <= 1
        ):
            raise UsageError(
                f"beam {self.beam}, n-best {self.nbest}, token threshold {self.token_threshold}, beam threshold "
                f"{self.beam_threshold}, least confidence {self.min_confidence}; "
                "wanted at least 1, at least 1, from 0 to below 1, more than 0, from 0 to 1."
            )


class BeamDecoder:
    """Keeps the likeliest prefixes. Read-only except for a memory of weights that only saves time; streams share it."""

    identity = "beam"

    def __init__(self, fusion: Fusion, step_seconds: float, options: BeamOptions | None = None) -> None:
        """Weigh prefixes by `fusion`; a row of log-probs stands for `step_seconds`."""
        self.options = BeamOptions() if options is None else options
        self.fusion = fusion
        self.tokens, self.hotwords = fusion.tokens, fusion.hotwords
        self._width = self.options.beam or USUAL_BEAM
        self.step_seconds = step_seconds
        self._n_tokens = len(fusion.tokens.texts)
        self._blank_id = fusion.tokens.blank_id
        self._words = BeamWords(fusion, step_seconds)
        self._opens = self._words.opens
        threshold = self.options.token_threshold
        self._log_threshold = math.log(threshold) if threshold > 0 else -math.inf
        self._cutoff = math.exp(-self.options.beam_threshold)
        self._idle = fusion.is_idle
        self._blank_penalty = fusion.weights.blank_penalty
        self._steps: dict[FusionState, dict[int, tuple[float, float, FusionState]]] = {}
        self._n_remembered = 0

    def with_fusion(self, fusion: Fusion) -> BeamDecoder:
        """Return a decoder that continues from the states of this one with other language; open prefixes are weighed again."""
        return BeamDecoder(fusion, self.step_seconds, self.options)

    def with_nbest(self, n: int) -> BeamDecoder:
        """Return a decoder that tells up to `n` texts."""
        return BeamDecoder(self.fusion, self.step_seconds, replace(self.options, nbest=n))

    def with_hotwords(self, hotwords: Hotwords | None) -> BeamDecoder:
        """Return a decoder that continues from the states of this one with other hotwords, none if None."""
        old = self.fusion
        return self.with_fusion(Fusion(old.tokens, old.lm, old.lexicon, hotwords, old.weights))

    def init_state(self) -> BeamState:
        """Open a stream."""
        return BeamState((self._root(),), self.fusion.identity)

    def step(self, log_probs: npt.NDArray[np.float32], state: BeamState) -> BeamState:
        """Take the next rows `[n_steps, n_tokens]` (natural log); any way of cutting rows gives the same state."""
        if state.language != self.fusion.identity:
            state = self._weigh_anew(state)
        if log_probs.ndim != 2 or log_probs.shape[1] != self._n_tokens:
            raise UsageError(f"log_probs of shape {list(log_probs.shape)}; wanted [n_steps, {self._n_tokens}].")
        beams, settled, log_scale, n_steps = state.beams, state.settled, state.log_scale, state.n_steps
        for row in log_probs:
            heard = self._heard(row)
            if not heard:
                if not settled:
                    beams, settled = settle(beams), True
                log_scale += float(row[self._blank_id])
            else:
                grown = self._advance(beams, heard, math.exp(row[self._blank_id] - self._blank_penalty), n_steps)
                if grown:
                    beams, log_scale = scale(grown, log_scale)
                    settled = False
            n_steps += 1
            n_open = len(beams[0][6])
            if n_open >= TELL_FROM and n_open % TELL_EVERY == 0 and beams[0][4] == n_steps - 1:
                told = self._tell(replace(state, beams=beams))
                beams, state = told.beams, told
        return replace(state, beams=beams, settled=settled, log_scale=log_scale, n_steps=n_steps)

    def partial(self, state: BeamState) -> Hypothesis | None:
        """Give the likeliest prefix; with a lexicon, a word that is not in it yet is left out."""
        words = (*joined(state.told), *self._open_words(state, state.beams[0]))
        return sure(Hypothesis(words, mean_confidence(words)), self.options.min_confidence) if words else None

    def stable_words(self, state: BeamState) -> int:
        """Count the leading words of `partial` that no further row can change: all prefixes have them."""
        shared = self._n_shared(state.beams)
        return sum(map(len, state.told)) + len(self._words.of(state.beams[0][6][:shared], None))

    def final(self, state: BeamState) -> Hypothesis | None:
        """Give the best hypothesis if the utterance ends here, by the sum of its alignments and the weight of its end."""
        if state.language != self.fusion.identity:
            state = self._weigh_anew(state)
        ranked = self._ranked(state)
        told = joined(state.told)
        words = (*told, *self._with_rivals(state, ranked))
        if not words:
            return None
        alternatives = self._alternatives(state, ranked, words)
        return sure(Hypothesis(words, mean_confidence(words), alternatives=alternatives), self.options.min_confidence)

    def follow(self, state: BeamState) -> BeamState:
        """Begin the next utterance of the same stream; a token that is still being said is not said again."""
        _, blank, token, last, *_ = state.beams[0]
        key, _, _, _, step, peak, past, language, weight = self._root()
        total = blank + token or 1.0
        root = (key, blank / total, token / total, last, step, peak, past, language, weight)
        return BeamState((root,), self.fusion.identity, n_steps=state.n_steps, settled=token == 0)

    def n_steps(self, state: BeamState) -> int:
        """Count the rows since the stream opened."""
        return state.n_steps

    def last_token_step(self, state: BeamState) -> int:
        """Row at which the newest token of this utterance began (by the best path), -1 while there is none."""
        return state.beams[0][4]

    def is_complete(self, state: BeamState) -> bool:
        """Tell that no utterance is known to be complete: this search knows no sentences."""
        return False

    def prefixes(self, state: BeamState) -> list[tuple[tuple[int, ...], float]]:
        """List the prefixes (tokens not reported yet) with the log of their weighed probability, the likeliest first."""
        return [
            (tuple(token for token, *_ in tokens_of(beam)), math.log(beam[1] + beam[2]) + state.log_scale)
            for beam in state.beams
            if beam[1] + beam[2] > 0
        ]

    def _root(self) -> Beam:
        """Say nothing, for sure."""
        return (NO_KEY, 1.0, 0.0, NO_TOKEN, -1, 0.0, (), self.fusion.start(), 0.0)

    def _heard(self, row: npt.NDArray[np.float32]) -> dict[int, float]:
        """List the tokens but blank that are probable in a row, with their probabilities.

        Exponentials are taken one by one: how numpy rounds them may depend on their neighbours.
        """
        if len(row) <= SMALL_VOCABULARY:
            above = [(token, value) for token, value in enumerate(row.tolist()) if value > self._log_threshold]
        else:
            tokens = np.flatnonzero(row > self._log_threshold)
            above = list(zip(tokens.tolist(), row[tokens].tolist(), strict=True))
        return {token: math.exp(value) for token, value in above if token != self._blank_id}

    def _advance(self, beams: tuple[Beam, ...], heard: dict[int, float], p_blank: float, step: int) -> list[list[Any]]:
        """Let every prefix stay or grow by a token; give the best, as lists in the order of a Beam with its total in front."""
        entries: dict[int, list[Any]] = {}
        best = 0.0
        for beam in beams:
            key, blank, token, last, begun, peak, past, language, weight = beam
            stayed = (blank + token) * p_blank
            held = 0.0
            if last in heard:
                p_last = heard[last]
                held = token * p_last
                if held > 0 and p_last > peak:
                    peak = p_last
            total = stayed + held
            best = max(best, total)
            entries[key] = [total, key, stayed, held, last, begun, peak, past, language, weight]
        floor = best * self._cutoff
        idle, steps = self._idle, self._steps
        for beam in beams:
            key, blank, token, last, begun, peak, past, language, weight = beam
            total = blank + token
            known = None if idle else steps.get(language)
            for next_token, p_next in heard.items():
                value = (blank if next_token == last else total) * p_next
                if idle:
                    log_factor, after = 0.0, language
                else:
                    found = None if known is None else known.get(next_token)
                    if found is None:
                        found = self._weigh(language, next_token)
                        known = steps.get(language)
                    factor, log_factor, after = found
                    value *= factor
                if value <= floor:
                    continue
                next_key = (key * KEY_BASE + next_token + 1) % KEY_MODULUS
                entry = entries.get(next_key)
                if entry is None:
                    entries[next_key] = [
                        value, next_key, 0.0, value, next_token, step, p_next,
                        past if begun < 0 else (*past, (last, begun, peak)), after, weight + log_factor,
                    ]  # fmt: skip
                    continue
                if value > entry[0]:  # most of its alignments begin the token only now
                    entry[5:8] = step, p_next, past if begun < 0 else (*past, (last, begun, peak))
                entry[0] += value
                entry[3] += value
        floor = max(entry[0] for entry in entries.values()) * self._cutoff
        kept = [entry for entry in entries.values() if entry[0] > floor]
        kept.sort(key=rank)
        return kept[: self._width]

    def _weigh(self, language: FusionState, token: int) -> tuple[float, float, FusionState]:
        """Give what a token adds to a prefix's weight, as a factor and as its natural log, and the state after; remember it."""
        if self._n_remembered >= MOST_REMEMBERED:
            self._steps.clear()
            self._n_remembered = 0
        log_factor, after = self.fusion.extend(language, token)
        found = (math.exp(min(log_factor, 600.0)), log_factor, after)
        self._steps.setdefault(language, {})[token] = found
        self._n_remembered += 1
        return found

    def _weigh_anew(self, state: BeamState) -> BeamState:
        """Take prefixes over that another fusion weighed: what they say since the last report is weighed by this one."""
        root = self._after_tail(state.tail)
        weighed = []
        for beam in state.beams:
            weight, language = self._replay(root, [token for token, *_ in tokens_of(beam)])
            weighed.append((weight - beam[8], weight, language, beam))
        best = max(change for change, *_ in weighed)
        if best == FORBIDDEN:  # nothing that is open may be said: keep what was heard, and start afresh with language
            weighed = [(0.0, 0.0, self.fusion.start(), state.beams[0])]
            best = 0.0
        beams = [
            (key, blank * math.exp(change - best), token * math.exp(change - best), last, begun, peak, past, language, weight)
            for change, weight, language, (key, blank, token, last, begun, peak, past, _, _) in weighed
            if change > FORBIDDEN
        ]
        beams.sort(key=lambda beam: (-beam[1] - beam[2], beam[0]))
        return replace(state, beams=tuple(beams), language=self.fusion.identity, log_scale=state.log_scale + best)

    def _after_tail(self, tail: tuple[int, ...]) -> FusionState:
        """Give the state of language after what was reported, from the last of its tokens."""
        state = self.fusion.start()
        for token in tail:
            added, after = self.fusion.extend(state, token)
            state = self.fusion.start() if added == FORBIDDEN else after
        text, context, _ = state
        return state if text == "" or self.fusion.word(text[1:], context) is not None else self.fusion.start()

    def _replay(self, language: FusionState, tokens: list[int]) -> tuple[float, FusionState]:
        """Weigh some tokens."""
        weight = 0.0
        for token in tokens:
            added, language = self.fusion.extend(language, token)
            weight += added
        return weight, language

    def _n_shared(self, beams: tuple[Beam, ...]) -> int:
        """Count the tokens of the best prefix's complete words that all other prefixes begin with, up to a word's end."""
        best = beams[0][6]
        ids = [token for token, *_ in tokens_of(beams[0])]
        n_shared = len(ids)
        for beam in beams[1:]:
            others = (*beam[6], (beam[3], 0, 0.0)) if beam[4] >= 0 else beam[6]
            n_shared = min(n_shared, len(others))
            for n, (token, _, _) in enumerate(others[:n_shared]):
                if token != ids[n]:
                    n_shared = n
                    break
        ends = [n for n in range(1, min(n_shared, len(ids))) if self._opens[ids[n]]]
        return min(ends[-1], len(best)) if ends else 0

    def _tell(self, state: BeamState) -> BeamState:
        """Turn the words that all prefixes share to reported words, and forget their tokens."""
        beams = state.beams
        n_shared = self._n_shared(beams)
        if n_shared == 0 and len(beams[0][6]) >= LONGEST:
            beams, n_shared = self._drop_rivals(beams)
        if n_shared == 0:
            return replace(state, beams=beams)
        shared = beams[0][6][:n_shared]
        ids = [token for token, *_ in shared]
        root = self._after_tail(state.tail)
        weight, _ = self._replay(root, ids) if not self._idle else (0.0, root)
        words = self._words.of(shared, root)
        weight = weight if weight > FORBIDDEN else 0.0
        cut = tuple((*beam[:6], beam[6][n_shared:], beam[7], beam[8] - weight) for beam in beams)
        return replace(state, beams=cut, told=append(state.told, words), tail=(*state.tail, *ids)[-TAIL:])

    def _drop_rivals(self, beams: tuple[Beam, ...]) -> tuple[tuple[Beam, ...], int]:
        """Where prefixes have differed for too long, decide for the best one's first half."""
        best = [token for token, *_ in beams[0][6]]
        ends = [n for n in range(1, len(best) // 2) if self._opens[best[n]]]
        n_shared = ends[-1] if ends else len(best) // 2
        agreeing = [beam for beam in beams if [token for token, *_ in beam[6][:n_shared]] == best[:n_shared]]
        return tuple(agreeing), n_shared

    def _ranked(self, state: BeamState) -> list[tuple[float, Beam]]:
        """Rank prefixes as whole utterances, by probability; none where the lexicon allows none."""
        ends = [(beam[1] + beam[2], self.fusion.end(beam[7]), beam) for beam in state.beams]
        best = max(end for _, end, _ in ends)
        if best == FORBIDDEN:
            return []
        ranked = [(total * math.exp(end - best), beam) for total, end, beam in ends]
        return sorted((pair for pair in ranked if pair[0] > 0), key=lambda pair: (-pair[0], pair[1][0]))

    def _with_rivals(self, state: BeamState, ranked: list[tuple[float, Beam]]) -> tuple[Word, ...]:
        """Give the words of the best utterance, each no surer than the share of the utterances that have it.

        Where no utterance may end, those of the likeliest prefix that are complete.
        """
        if not ranked:
            return self._open_words(state, state.beams[0])
        said = [(total, self._open_words(state, beam)) for total, beam in ranked]
        whole = sum(total for total, _ in said)
        words = []
        for word in said[0][1]:
            agreeing = sum(total for total, others in said if any(same(word, other) for other in others))
            words.append(replace(word, confidence=word.confidence * agreeing / whole))
        return tuple(words)

    def _alternatives(self, state: BeamState, ranked: list[tuple[float, Beam]], words: tuple[Word, ...]) -> tuple[str, ...]:
        """Give other texts, the likelier first."""
        if self.options.nbest < 2:
            return ()
        told = joined(state.told)
        texts = [" ".join(word.word for word in (*told, *self._open_words(state, beam))) for _, beam in ranked]
        others = dict.fromkeys(texts)
        others.pop(" ".join(word.word for word in words), None)
        return tuple(others)[: self.options.nbest - 1]

    def _open_words(self, state: BeamState, beam: Beam) -> tuple[Word, ...]:
        """Give the words of a prefix that are not reported yet, with times."""
        root = self._after_tail(state.tail) if self._words.are_named else None
        return self._words.of(tokens_of(beam), root)
