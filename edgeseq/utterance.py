"""Tokens to words: how an utterance is spelled, timed and rated while it grows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from edgeseq.ctc import Token, extend
from edgeseq.events import Final, Partial, Word
from edgeseq.tokens import WORD_START


@dataclass(frozen=True)
class Utterance:
    """What has been said since the last final."""

    words: tuple[Word, ...] = ()
    """those that are complete"""
    tokens: tuple[Token, ...] = ()
    """of the word that is being said"""
    last_step: int = -1
    """network step of the newest token, also of an earlier utterance; -1 before the first"""

    def follower(self) -> Utterance:
        """Begin the next utterance of the same stream."""
        return Utterance(last_step=self.last_step)


@dataclass(frozen=True)
class Speller:
    """Makes words of tokens; one that begins with `▁` opens a word, and so does the first of an utterance."""

    symbols: tuple[str, ...]
    step_seconds: float
    """sound that one network step stands for"""

    def add(self, token: Token, utterance: Utterance) -> Utterance:
        """Append a token; one that goes on over a chunk border replaces its former self."""
        if token.step > utterance.last_step and self.symbols[token.id].startswith(WORD_START):
            return Utterance(self.words(utterance), (token,), token.step)
        if token.step <= utterance.last_step and not utterance.tokens:
            return utterance  # it goes on from an utterance that has been told
        return Utterance(utterance.words, extend(utterance.tokens, [token]), token.step)

    def words(self, utterance: Utterance) -> tuple[Word, ...]:
        """List the words, the one that is being said included.

        A word's confidence is the geometric mean over its tokens.
        """
        tokens = utterance.tokens
        word = "".join(self.symbols[token.id] for token in tokens).replace(WORD_START, "")
        if not word:
            return utterance.words
        confidence = math.exp(sum(math.log(max(t.confidence, 1e-30)) for t in tokens) / len(tokens))
        return (*utterance.words, Word(word, self._middle(tokens[0]), self._middle(tokens[-1]), confidence))

    def partial(self, utterance: Utterance, end: float) -> Partial | None:
        """Tell the words so far, None without any; `end` of the sound in seconds."""
        words = _until(end, self.words(utterance))
        return Partial(_text(words), *_span(words), words) if words else None

    def final(self, utterance: Utterance, end: float) -> Final | None:
        """Tell the words for good, None without any; `end` of the sound in seconds."""
        words = _until(end, self.words(utterance))
        return Final(_text(words), *_span(words), words) if words else None

    def _middle(self, token: Token) -> float:
        """Return the middle of a token's step, in seconds."""
        return (token.step + 0.5) * self.step_seconds


def _until(end: float, words: tuple[Word, ...]) -> tuple[Word, ...]:
    """Let no time lie behind the `end` of the sound, in seconds (the flush's silence has steps too)."""
    if not words or words[-1].end <= end:
        return words
    return tuple(replace(word, start=min(word.start, end), end=min(word.end, end)) for word in words)


def _text(words: tuple[Word, ...]) -> str:
    return " ".join(word.word for word in words)


def _span(words: tuple[Word, ...]) -> tuple[float, float, float]:
    """Start, end and confidence of an utterance."""
    return words[0].start, words[-1].end, sum(word.confidence for word in words) / len(words)
