"""What the beam search knows besides sound: language model, lexicon and hotwords, as one automaton over tokens.

A prefix is weighed by exp(lm_weight * ln p(words) + word_bonus * n_words + hotwords); a word outside the lexicon weighs
nothing at all. Everything depends on the prefix alone, through a small state: the word that is being said, the language
model's context, the hotwords' node. A word's probability is known only at its end; until then the likeliest word that can
still become of its letters stands in for it (language model lookahead: Ortmanns, Ney and Eiden 1996), so that a beginning that
leads nowhere is dropped at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeseq.decoding.hotwords import ROOT, Hotwords
from edgeseq.decoding.lexicon import Lexicon
from edgeseq.errors import UsageError
from edgeseq.lm.model import Context, LanguageModel
from edgeseq.tokens.table import WORD_START, TokenTable

LN10 = math.log(10.0)
FORBIDDEN = -math.inf

STRANGE = WORD_START + "\0"
"""Stands for the letters of a word that the language model cannot know any more, so that a state stays small."""

FusionState = tuple[str, Context, int]
"""(word being said, `▁` first, as `TokenTable.texts` write it; context of the language model; node of the hotwords)"""


MOST_BEGINNINGS = 50_000
"""How many words are remembered; about 10 MB."""


@dataclass(frozen=True)
class _Beginning:
    """What words may still become of some letters."""

    span: tuple[int, int]
    """their range in the lexicon or in the vocabulary"""
    share: float
    """of the likeliest, without context; nats, weighed"""


@dataclass(frozen=True)
class Weights:
    """How much language counts against sound, and blank against all else."""

    lm: float = 0.5
    """of the language model's natural logarithm"""
    word_bonus: float = 0.0
    """nats for each word; more of it makes more and shorter words"""
    blank_penalty: float = 0.0
    """nats that blank loses in each row; more of it makes more letters or phones"""

    def __post_init__(self) -> None:
        """Raise UsageError for numbers that cannot be meant."""
        if not 0 <= self.lm <= 100 or not abs(self.word_bonus) <= 100 or not abs(self.blank_penalty) <= 100:
            raise UsageError(
                f"language model weight {self.lm}, word bonus {self.word_bonus}, blank penalty {self.blank_penalty}; "
                "wanted 0 to 100, and twice -100 to 100 nats."
            )


class Fusion:
    """Weighs prefixes of tokens. Read-only."""

    def __init__(
        self,
        tokens: TokenTable,
        lm: LanguageModel | None = None,
        lexicon: Lexicon | None = None,
        hotwords: Hotwords | None = None,
        weights: Weights | None = None,
    ) -> None:
        """Put together what there is; whatever is None does not count."""
        self.weights = Weights() if weights is None else weights
        self.lm, self.lexicon, self.hotwords = lm, lexicon, hotwords
        self.tokens = tokens
        self._texts = tokens.texts
        self._words = lm if lm is not None and lm.level == "word" else None
        self._letters = lm if lm is not None and lm.level == "char" else None
        self._spells = self._words is not None or lexicon is not None
        self._scale = self.weights.lm * LN10
        self._beginnings: dict[str, _Beginning] = {}
        self._unigrams = self._score_lexicon()
        parts = (lm, lexicon, hotwords)
        self.identity = " ".join(["-" if part is None else part.identity for part in parts] + [repr(self.weights)])

    @property
    def is_idle(self) -> bool:
        """Tell that no prefix is weighed at all."""
        return self.lm is None and self.lexicon is None and self.hotwords is None and self.weights.word_bonus == 0

    def start(self) -> FusionState:
        """Begin an utterance."""
        return "", () if self.lm is None else self.lm.begin, ROOT

    def extend(self, state: FusionState, token: int) -> tuple[float, FusionState]:
        """Say one more token; give what it adds (nats, minus infinity if it may not be said) and the next state."""
        text, context, node = state
        symbol = self._texts[token]
        added = 0.0
        if self.hotwords is not None:
            added, node = self.hotwords.step(node, token)
        if symbol.startswith(WORD_START):
            share, context = self._close(text, context)
            added += share
            text, symbol = "", symbol.removeprefix(WORD_START)
        if added == FORBIDDEN:
            return FORBIDDEN, state
        share, text, context = self._spell(text, symbol, context)
        return added + share, (text, context, node)

    def end(self, state: FusionState) -> float:
        """Give what the end of the utterance adds: the last word, and the language model's sentence end."""
        text, context, node = state
        added, context = self._close(text, context, at_end=True)
        if self.lm is not None:
            added += self._scale * self.lm.score(context, self.lm.end_id)[0]
        if self.hotwords is not None:
            added += self.hotwords.end(node)
        return added

    def word(self, text: str, context: Context) -> str | None:
        """Name the word that is spelled `text` (without `▁`): of several the likeliest; None if it is not in the lexicon."""
        if self.lexicon is None:
            return text
        words = self.lexicon.words(text)
        if self._words is None or len(words) < 2:
            return words[0] if words else None
        lm = self._words
        return max(words, key=lambda word: lm.score(context, lm.word_id(word))[0])

    def context_after(self, word: str, context: Context) -> Context:
        """Give the language model's context after a word, where it has words."""
        return context if self._words is None else self._words.score(context, self._words.word_id(word))[1]

    def _spell(self, text: str, symbol: str, context: Context) -> tuple[float, str, Context]:
        """Add letters to the word being said, or open one; swap the word's lookahead for that of the longer beginning."""
        opened = text == ""
        added = self.weights.word_bonus if opened else 0.0
        if self._letters is not None:
            for letter in (WORD_START + symbol) if opened else symbol:
                score, context = self._letters.score(context, self._letters.word_id(letter))
                added += self._scale * score
        if not self._spells:
            return added, WORD_START, context
        if text == STRANGE:
            return added, text, context
        longer = (text or WORD_START) + symbol
        found = self._beginning(longer, text)
        if found.share == FORBIDDEN:
            return FORBIDDEN, longer, context
        added += found.share - (0.0 if opened else self._look_ahead(text))
        low, high = found.span
        return added, STRANGE if self.lexicon is None and low == high else longer, context

    def _close(self, text: str, context: Context, at_end: bool = False) -> tuple[float, Context]:
        """End the word being said: what its lookahead promised is replaced by what the language model says of it."""
        if text == "" or not self._spells:
            return 0.0, context
        if text == WORD_START:  # a word needs letters
            allowed = self.lexicon is None or at_end
            return (-self._look_ahead(text) - self.weights.word_bonus if allowed else FORBIDDEN), context
        promised = self._look_ahead(text)
        name = self.word(text[1:], context)
        if name is None:
            return FORBIDDEN, context
        if self._words is None:
            return -promised, context
        score, context = self._words.score(context, self._words.word_id(name))
        return self._scale * score - promised, context

    def _look_ahead(self, text: str) -> float:
        """Give the share of the likeliest word that begins so, without context; minus infinity if the lexicon has none."""
        return self._beginning(text).share

    def _beginning(self, text: str, shorter: str = "") -> _Beginning:
        """Look a word's beginning up, among the words of a shorter beginning if they are known."""
        found = self._beginnings.get(text)
        if found is None:
            if len(self._beginnings) >= MOST_BEGINNINGS:
                self._beginnings.clear()
            within = self._beginnings.get(shorter)
            found = self._beginnings[text] = self._find(text[1:], None if within is None else within.span)
        return found

    def _find(self, beginning: str, within: tuple[int, int] | None) -> _Beginning:
        if self.lexicon is not None:
            low, high = self.lexicon.span(beginning, within)
            share = FORBIDDEN if low == high else max(self._unigrams[low:high], default=0.0)
            return _Beginning((low, high), share)
        if self._words is None:
            return _Beginning((0, 0), 0.0)
        low, high = self._words.span(beginning, within)
        unknown = self._words.score((), self._words.unknown_id)[0]
        best = unknown if low == high else max(self._words.best_unigram(low, high), unknown)
        return _Beginning((low, high), self._scale * best)

    def _score_lexicon(self) -> list[float]:
        """Score each spelling by its likeliest word, without context."""
        if self.lexicon is None or self._words is None:
            return []
        lm = self._words
        scores = {word: lm.score((), lm.word_id(word))[0] for s in self.lexicon.spellings for word in self.lexicon.words(s)}
        return [self._scale * max(scores[word] for word in self.lexicon.words(s)) for s in self.lexicon.spellings]
