"""What the beam search's tokens say: words, with times and posteriors."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from edgeseq.decoding.fusion import Fusion, FusionState
from edgeseq.events import Word
from edgeseq.tokens.table import WORD_START

BeamToken = tuple[int, int, float]
"""One token of a prefix: its id, the row at which it was likeliest to begin, its highest posterior since."""

BLOCK = 64
"""Words of a block; appending a word copies one block, not all of an utterance."""


@dataclass(frozen=True)
class PrefixWord:
    """A word of a prefix."""

    text: str
    first_step: int
    last_step: int
    posterior: float
    """geometric mean over its tokens"""


class BeamWords:
    """Makes words of tokens. Read-only."""

    def __init__(self, fusion: Fusion, step_seconds: float) -> None:
        """Spell by the tokens of `fusion`, name by its lexicon; a row stands for `step_seconds`."""
        self.fusion, self._step_seconds = fusion, step_seconds
        self._texts = fusion.tokens.texts
        self.opens = [symbol.startswith(WORD_START) for symbol in fusion.tokens.symbols]
        """by token id: begins a word"""

    @property
    def are_named(self) -> bool:
        """Whether a lexicon says which word a spelling is, by the state of language before it."""
        return self.fusion.lexicon is not None

    def of(self, tokens: tuple[BeamToken, ...], root: FusionState | None) -> tuple[Word, ...]:
        """Give the words of tokens, with times; `root` is the state of language before them, if words are named."""
        return tuple(self._timed(word) for word in self._named(self._spelled(tokens), root))

    def _named(self, words: list[PrefixWord], root: FusionState | None) -> list[PrefixWord]:
        """Put the lexicon's words for their spellings; leave out what is none (the last, while it is being said)."""
        if not self.are_named or root is None:
            return words
        text, context, _ = root
        if text[1:]:
            before = self.fusion.word(text[1:], context)
            context = context if before is None else self.fusion.context_after(before, context)
        named = []
        for word in words:
            name = self.fusion.word(word.text, context)
            if name is not None:
                named.append(replace(word, text=name))
                context = self.fusion.context_after(name, context)
        return named

    def _spelled(self, tokens: tuple[BeamToken, ...]) -> list[PrefixWord]:
        """Join tokens to words: one that begins with `▁` opens a word, and so does the first."""
        words: list[list[BeamToken]] = []
        for said in tokens:
            if not words or self.opens[said[0]]:
                words.append([])
            words[-1].append(said)
        return [spelled for word in words if (spelled := self._join(word)).text]

    def _join(self, tokens: list[BeamToken]) -> PrefixWord:
        text = "".join(self._texts[token] for token, *_ in tokens).replace(WORD_START, "")
        log_posterior = sum(math.log(max(peak, 1e-30)) for *_, peak in tokens) / len(tokens)
        return PrefixWord(text, tokens[0][1], tokens[-1][1], min(1.0, math.exp(log_posterior)))

    def _timed(self, word: PrefixWord) -> Word:
        """Give times by the middle of the first and the last token's row."""
        start, end = ((step + 0.5) * self._step_seconds for step in (word.first_step, word.last_step))
        return Word(word.text, start, end, word.posterior)


def joined(blocks: tuple[tuple[Word, ...], ...]) -> tuple[Word, ...]:
    """List the words of all blocks."""
    return tuple(word for block in blocks for word in block)


def append(blocks: tuple[tuple[Word, ...], ...], words: tuple[Word, ...]) -> tuple[tuple[Word, ...], ...]:
    """Append words to the last block, or begin another."""
    if blocks and len(blocks[-1]) < BLOCK:
        return (*blocks[:-1], blocks[-1] + words)
    return (*blocks, words)


def same(word: Word, other: Word) -> bool:
    """Tell whether two prefixes mean one word: same letters, and overlapping in time."""
    return word.word == other.word and word.start <= other.end and other.start <= word.end
