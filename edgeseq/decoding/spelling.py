"""Tokens to words: how words are spelled, timed and rated while they grow."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeseq.decoding.ctc import Token, extend
from edgeseq.events import Word
from edgeseq.tokens.table import WORD_START, TokenTable


@dataclass(frozen=True)
class Spelling:
    """What has been said in one utterance."""

    words: tuple[Word, ...] = ()
    """those that are complete"""
    tokens: tuple[Token, ...] = ()
    """of the word that is being said"""
    last_step: int = -1
    """network step of the newest token, also of an earlier utterance; -1 before the first"""

    def follower(self) -> Spelling:
        """Begin the next utterance of the same stream."""
        return Spelling(last_step=self.last_step)


@dataclass(frozen=True)
class Speller:
    """Makes words of tokens; one that begins with `▁` opens a word, and so does the first of an utterance.

    Phones that are said without `▁` are reported one by one.
    """

    table: TokenTable
    step_seconds: float
    """sound that one network step stands for"""

    def add(self, token: Token, spelling: Spelling) -> Spelling:
        """Append a token; one that continues over a chunk border replaces its former self."""
        if token.step > spelling.last_step and self.table.opens[token.id]:
            return Spelling(self.words(spelling), (token,), token.step)
        if token.step <= spelling.last_step and not spelling.tokens:
            return spelling  # it continues an utterance that has been reported
        return Spelling(spelling.words, extend(spelling.tokens, [token]), token.step)

    def words(self, spelling: Spelling) -> tuple[Word, ...]:
        """List the words, the one that is being said included.

        A word's confidence is the geometric mean over its tokens.
        """
        tokens = spelling.tokens
        text = "".join(self.table.texts[token.id] for token in tokens).replace(WORD_START, "")
        if not text:
            return spelling.words
        confidence = math.exp(sum(math.log(max(t.confidence, 1e-30)) for t in tokens) / len(tokens))
        return (*spelling.words, Word(self.table.word(text), self._middle(tokens[0]), self._middle(tokens[-1]), confidence))

    def _middle(self, token: Token) -> float:
        """Return the middle of a token's step, in seconds."""
        return (token.step + 0.5) * self.step_seconds
