"""The decoder of models of phones: words of a lexicon of any size, weighed by language, as hypotheses for the recognizer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgeseq.decoding.beam_words import append, joined, same
from edgeseq.decoding.decoder import Hypothesis, sure
from edgeseq.decoding.greedy import mean_confidence
from edgeseq.decoding.hotwords import Hotwords
from edgeseq.decoding.lexicon_tree import ROOT
from edgeseq.decoding.tree_search import (
    BEGUN,
    BLANK,
    BOOST,
    HOTWORD,
    LAST,
    LONGEST,
    NO_TOKEN,
    NODE,
    PAST,
    PEAK,
    PRODUCT,
    START,
    TELL_FROM,
    TOKEN,
    RowTokens,
    TreeSearch,
    TreeState,
    settle,
)
from edgeseq.decoding.word_ends import WordEnds
from edgeseq.decoding.word_history import CONFIDENCE, END, NOTHING, PARENT, PLACE, WORD
from edgeseq.decoding.word_history import START as WORD_BEGUN
from edgeseq.errors import UsageError
from edgeseq.events import Word
from edgeseq.tokens.table import TokenTable

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MOST_ENDINGS = 64
"""Hypotheses that are weighed as whole utterances."""


@dataclass(frozen=True)
class DictationOptions:
    """How hard to search."""

    beam: int = 200
    """hypotheses that are kept"""
    token_threshold: float = 1e-3
    """tokens less probable than this in a row are left out of it"""
    beam_threshold: float = 12.0
    """hypotheses more than this many nats behind the best are dropped"""
    word_threshold: float = 9.0
    """words end only in hypotheses less than this many nats behind the best"""
    certain_blank: float = 0.99
    """rows with more blank than this are nothing but blank"""
    joining_penalty: float = 2.0
    """nats that a word costs before which the separator of words is left out, if the model says one at all"""
    nbest: int = 1
    """texts that are reported, the best included"""
    min_confidence: float = 0.0
    """an utterance none of whose words is as sure as this is left out; 0 to 1"""

    def __post_init__(self) -> None:
        """Raise UsageError for numbers out of range."""
        if self.beam < 1 or self.nbest < 1 or not 0 <= self.token_threshold < 1 or not 0 < self.beam_threshold <= 500:
            raise UsageError(
                f"beam {self.beam}, n-best {self.nbest}, token threshold {self.token_threshold}, beam threshold "
                f"{self.beam_threshold}; wanted at least 1, at least 1, from 0 to below 1, above 0 to 500."
            )
        if not 0 <= self.min_confidence <= 1:
            raise UsageError(f"least confidence {self.min_confidence}; wanted 0 to 1.")
        if not 0 < self.certain_blank <= 1 or not self.word_threshold > 0 or not 0 <= self.joining_penalty <= 100:
            raise UsageError(
                f"certain blank {self.certain_blank}, word threshold {self.word_threshold}, joining penalty "
                f"{self.joining_penalty}; wanted above 0 to 1, more than 0, from 0 to 100 nats."
            )


class DictationDecoder:
    """Finds the likeliest words. Read-only; streams share it."""

    def __init__(
        self, tokens: TokenTable, step_seconds: float, ends: WordEnds, options: DictationOptions | None = None
    ) -> None:
        """Search the words that `ends` weighs; a row of log-probs stands for `step_seconds`."""
        self.tokens, self.step_seconds, self.ends = tokens, step_seconds, ends
        self.options = DictationOptions() if options is None else options
        self.tree, self.hotwords = ends.tree, ends.hotwords
        self.identity = f"dictation {ends.identity} {self.options!r}"
        self._search = TreeSearch(
            ends,
            tokens.word_start_id,
            len(tokens),
            beam=self.options.beam,
            beam_threshold=self.options.beam_threshold,
            word_threshold=self.options.word_threshold,
            joining_penalty=self.options.joining_penalty if tokens.word_start else 0.0,
        )
        self._blank_id = tokens.blank_id
        self._hotwords_identity = "" if self.hotwords is None else self.hotwords.identity
        threshold = self.options.token_threshold
        self._log_threshold = math.log(threshold) if threshold > 0 else -math.inf
        self.log_certain_blank = math.log(self.options.certain_blank)

    def with_hotwords(self, hotwords: Hotwords | None) -> DictationDecoder:
        """Return a decoder that continues from the states of this one with other hotwords, none if None."""
        return DictationDecoder(self.tokens, self.step_seconds, self.ends.with_hotwords(hotwords), self.options)

    def with_nbest(self, n: int) -> DictationDecoder:
        """Return a decoder that tells up to `n` texts."""
        return DictationDecoder(self.tokens, self.step_seconds, self.ends, replace(self.options, nbest=n))

    def init_state(self) -> TreeState:
        """Open a stream."""
        return TreeState(*self._search.root(), hotwords=self._hotwords_identity)

    def step(self, log_probs: npt.NDArray[np.float32], state: TreeState) -> TreeState:
        """Take the next rows `[n_steps, n_tokens]` (natural log); any way of cutting rows gives the same state."""
        if log_probs.ndim != 2 or log_probs.shape[1] != len(self.tokens):
            raise UsageError(f"log_probs of shape {list(log_probs.shape)}; wanted [n_steps, {len(self.tokens)}].")
        if state.hotwords != self._hotwords_identity:
            state = self._weigh_anew(state)
        for row in log_probs:
            blank = float(row[self._blank_id])
            if blank > self.log_certain_blank:
                masses = state.masses if state.settled else settle(state.masses)
                state = replace(
                    state, masses=masses, settled=True, log_scale=state.log_scale + blank, n_steps=state.n_steps + 1
                )
                continue
            state = self._search.advance(state, self._heard(row))
            if len(state.history) >= TELL_FROM + 2 * state.n_kept:
                state = self._tell(state)
        return state

    def _heard(self, row: npt.NDArray[np.float32]) -> RowTokens:
        """Find the tokens that are probable in a row. Exponentials one by one: numpy's may depend on their neighbours."""
        probabilities = np.zeros(len(row) + 1)
        tokens = [token for token, value in enumerate(row.tolist()) if value > self._log_threshold and token != self._blank_id]
        for token in tokens:
            probabilities[token] = math.exp(row[token])
        blank = math.exp(row[self._blank_id] - self.ends.weights.blank_penalty)
        return RowTokens(blank, np.array(tokens, np.int64), probabilities)

    def partial(self, state: TreeState) -> Hypothesis | None:
        """Give the likeliest words; one that is not in the lexicon yet is left out."""
        words = (*joined(state.told), *self._words(state, int(state.numbers[0, PAST])), *self._open_word(state))
        return self._sure(words)

    def stable_words(self, state: TreeState) -> int:
        """Count the leading words of `partial` that no further row can change: all hypotheses have them."""
        shared = state.history.shared(state.numbers[:, PAST])
        return sum(map(len, state.told)) + len(state.history.path(shared))

    def n_steps(self, state: TreeState) -> int:
        """Count the rows since the stream opened."""
        return state.n_steps

    def last_token_step(self, state: TreeState) -> int:
        """Row at which the newest token of this utterance began (by the best path), -1 while there is none."""
        return int(state.numbers[0, BEGUN])

    def is_complete(self, state: TreeState) -> bool:
        """Tell that no utterance is known to be complete: dictation knows no sentences."""
        return False

    def follow(self, state: TreeState) -> TreeState:
        """Begin the next utterance of the same stream; a token that is still being said is not said again."""
        numbers, masses = self._search.root()
        blank, token = state.masses[0, BLANK], state.masses[0, TOKEN]
        numbers[0, LAST] = state.numbers[0, LAST] if token > 0 else NO_TOKEN
        masses[0, [BLANK, TOKEN]] = np.array([blank, token]) / (blank + token)
        return TreeState(numbers, masses, hotwords=self._hotwords_identity, n_steps=state.n_steps, settled=bool(token == 0))

    def final(self, state: TreeState) -> Hypothesis | None:
        """Give the likeliest words if the utterance ends here; where none may end, those of the best that are complete."""
        if state.hotwords != self._hotwords_identity:
            state = self._weigh_anew(state)
        ranked = self._ranked(state)
        told = joined(state.told)
        if not ranked:
            return self._sure((*told, *self._words(state, int(state.numbers[0, PAST]))))
        said = [(mass, self._sentence(state, row, word)) for mass, row, word in ranked]
        words = (*told, *_rated(said))
        if not words:
            return None
        texts = dict.fromkeys(" ".join(word.word for word in (*told, *other)) for _, other in said)
        texts.pop(" ".join(word.word for word in words), None)
        return self._sure(words, tuple(texts)[: self.options.nbest - 1])

    def _sure(self, words: tuple[Word, ...], alternatives: tuple[str, ...] = ()) -> Hypothesis | None:
        """Make a hypothesis of words; None of none, or where all are unsure."""
        whole = Hypothesis(words, mean_confidence(words), alternatives=alternatives) if words else None
        return None if whole is None else sure(whole, self.options.min_confidence)

    def _ranked(self, state: TreeState) -> list[tuple[float, int, int]]:
        """Rank hypotheses as whole utterances: probability, row, the word that is open (NOTHING: none)."""
        total = state.masses[:, BLANK] + state.masses[:, TOKEN]
        node = state.numbers[:, NODE]
        between = np.flatnonzero(node == ROOT)
        rows = np.flatnonzero(self.tree.is_end[node])
        ended = self.ends.at(node[rows], state.numbers[rows, HOTWORD:])
        row = np.concatenate([rows[ended.owner], between])
        word = np.concatenate([ended.word, np.full(len(between), NOTHING)])
        mass = total[row] * np.concatenate([ended.factor, np.ones(len(between))])
        after = np.concatenate([ended.after, state.numbers[between, HOTWORD:]])
        best = np.argsort(-mass, kind="stable")[:MOST_ENDINGS]
        ends = np.array([self.ends.last(one) for one in after[best]])
        masses = mass[best] * np.exp(ends - ends.max(initial=-math.inf))
        ranked = zip(masses.tolist(), row[best].tolist(), word[best].tolist(), strict=True)
        return sorted(ranked, key=lambda one: -one[0])

    def _words(self, state: TreeState, last: int) -> tuple[Word, ...]:
        """Give the words of the history up to one of them."""
        links, rates = state.history.links, state.history.rates
        return tuple(
            self._timed(int(links[at, WORD]), int(links[at, WORD_BEGUN]), int(links[at, END]), float(rates[at, CONFIDENCE]))
            for at in state.history.path(last)
        )

    def _open_word(self, state: TreeState) -> tuple[Word, ...]:
        """Give the word that the likeliest hypothesis may just have finished."""
        node = state.numbers[:1, NODE]
        if not self.tree.is_end[node[0]]:
            return ()
        ended = self.ends.at(node, state.numbers[:1, HOTWORD:])
        return (self._last_word(state, 0, int(ended.word[ended.factor.argmax()])),)

    def _sentence(self, state: TreeState, row: int, word: int) -> tuple[Word, ...]:
        """Give the words of a hypothesis, and the one that it ends with, if that is open."""
        words = self._words(state, int(state.numbers[row, PAST]))
        return words if word == NOTHING else (*words, self._last_word(state, row, word))

    def _last_word(self, state: TreeState, row: int, word: int) -> Word:
        numbers, masses = state.numbers[row], state.masses[row]
        rate = min(1.0, float(masses[PRODUCT] * masses[PEAK])) ** (1.0 / int(self.tree.depth[numbers[NODE]]))
        return self._timed(word, int(numbers[START]), int(numbers[BEGUN]), rate)

    def _timed(self, word: int, first: int, last: int, confidence: float) -> Word:
        """Give times by the middle of the rows in which the word's first and last token began."""
        start, end = ((step + 0.5) * self.step_seconds for step in (first, last))
        return Word(self.tree.name(word), start, end, confidence)

    def _tell(self, state: TreeState) -> TreeState:
        """Turn the words that all hypotheses share to reported words, and forget what no hypothesis needs."""
        numbers, masses, history = state.numbers, state.masses, state.history
        shared = history.shared(numbers[:, PAST])
        path = history.path(int(numbers[0, PAST]))
        if shared == NOTHING and len(path) > LONGEST:  # they never agree: the best one's first half is decided
            shared = path[len(path) // 2]
            agreeing = [shared in history.path(past) for past in numbers[:, PAST].tolist()]
            numbers, masses = numbers[agreeing], masses[agreeing]
        told = append(state.told, self._words(state, shared)) if shared != NOTHING else state.told
        numbers = numbers.copy()
        history, numbers[:, PAST] = history.without(shared, numbers[:, PAST])
        return replace(state, numbers=numbers, masses=masses, history=history, n_kept=len(history), told=told)

    def _weigh_anew(self, state: TreeState) -> TreeState:
        """Take hypotheses over that other hotwords weighed: the words that are still open are weighed by these."""
        weighed = [self.ends.replayed((NOTHING, 0.0), ())]
        for parent, node in state.history.links[:, [PARENT, PLACE]].tolist():
            weighed.append(self.ends.replayed(weighed[parent + 1], self.tree.path(node), closes=True))
        rows = state.numbers[:, [PAST, NODE]].tolist()
        now = [self.ends.replayed(weighed[past + 1], self.tree.path(node)) for past, node in rows]
        numbers, masses = state.numbers.copy(), state.masses.copy()
        numbers[:, HOTWORD] = [node for node, _ in now]
        change = np.array([boost for _, boost in now]) - masses[:, BOOST]
        masses[:, BOOST] += change
        masses[:, [BLANK, TOKEN]] *= np.exp(change - change.max())[:, None]
        order = np.argsort(-masses[:, BLANK] - masses[:, TOKEN], kind="stable")
        log_scale = state.log_scale + float(change.max())
        return replace(
            state, numbers=numbers[order], masses=masses[order], hotwords=self._hotwords_identity, log_scale=log_scale
        )


def _rated(said: list[tuple[float, tuple[Word, ...]]]) -> tuple[Word, ...]:
    """Give the words of the first utterance, each no surer than the share of the utterances that have it."""
    whole = sum(mass for mass, _ in said)
    words = []
    for word in said[0][1]:
        agreeing = sum(mass for mass, others in said if any(same(word, other) for other in others))
        words.append(replace(word, confidence=word.confidence * agreeing / whole))
    return tuple(words)
