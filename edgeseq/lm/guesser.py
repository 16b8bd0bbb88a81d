"""How words sound that no lexicon has, guessed from their letters by a small model on the device itself.

The model tells how likely graphones follow each other, pairs of a few letters and a few phones (Bisani and Ney 2008;
`edgeseq.data.graphones` makes it of a dictionary). It has the form of a compiled language model, whose words are lines of a
lexicon (`ph F`), and is mapped into memory, so that opening it costs nothing. A beam over the letters finds the likeliest
phones, added up over all ways to cut the word.
"""

from __future__ import annotations

import math
import unicodedata
from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from edgeseq.errors import LanguageModelError
from edgeseq.lm.model import Context, LanguageModel
from edgeseq.tokens.pronunciations import Phones

BEAM = 16
"""Beginnings that are kept at each letter."""
MARGIN = 3.0
"""Decades that one of them may be less likely than the best."""
MOST_WAYS = 3
"""Pronunciations of a word."""
LEAST_SHARE = 0.2
"""Share of the best one's probability that another must have."""
MOST_LETTERS = 100
"""Pronunciations of a word."""

K = TypeVar("K")
Beginnings = dict[tuple[Context, Phones], float]
"""Context of the model and phones so far -> log10 of their probability."""


class Guesser:
    """Reads words by their letters. Read-only."""

    def __init__(self, model: LanguageModel, beam: int = BEAM) -> None:
        """Use a model of graphones. Raises LanguageModelError for another language model."""
        self.model = model
        self.beam = beam
        self._readings: dict[str, list[tuple[int, Phones]]] = defaultdict(list)
        for number in sorted(set(range(len(model))) - {model.begin_id, model.end_id, model.unknown_id}):
            letters, *phones = model.word(number).split(" ")
            self._readings[letters].append((number, tuple(phones)))
        if not self.phones:
            raise LanguageModelError(
                f"{model.path}: a language model of words; wanted one that guesses how words sound.\n"
                "  Make it of a dictionary: edgeseq lexicon guesser cmudict.dict --out cmudict.guesser"
            )
        self._letters = frozenset("".join(self._readings))
        self._longest = max(map(len, self._readings))

    @property
    def path(self) -> Path:
        """Where the model lies."""
        return self.model.path

    @cached_property
    def phones(self) -> frozenset[str]:
        """Those that it may give."""
        return frozenset(phone for readings in self._readings.values() for _, phones in readings for phone in phones)

    def pronounce(self, word: str, n: int = 1) -> list[tuple[Phones, float]]:
        """Give up to `n` likeliest pronunciations, best first, with the natural log of each one's share of all found.

        word: normalized (`tokens.normalize_text`). An accent that the model has not learned is left out. Nothing for a word
        with other letters that it has not, as in `4x4`, and for one that is longer than MOST_LETTERS.
        """
        if not self.reads(word):
            return []
        letters = self._known_letters(word)
        beginnings: list[Beginnings] = [{} for _ in range(len(letters) + 1)]
        beginnings[0][self.model.begin, ()] = 0.0
        for at in range(len(letters)):
            kept = self._best(beginnings[at])
            for length in range(1, min(self._longest, len(letters) - at) + 1):
                self._extend(kept, letters[at : at + length], beginnings[at + length])
        found: dict[Phones, float] = {}
        for (context, phones), log10_prob in beginnings[-1].items():
            if phones:
                _add(found, phones, log10_prob + self.model.score(context, self.model.end_id)[0])
        return _shares(found)[:n]

    def ways(self, word: str) -> tuple[Phones, ...]:
        """Give the pronunciations that a lexicon should hold: the best, and others that are nearly as likely.

        None for a word that cannot be read.
        """
        found = self.pronounce(word, MOST_WAYS)
        return tuple(phones for phones, share in found if share >= found[0][1] + math.log(LEAST_SHARE))

    def reads(self, word: str) -> bool:
        """Say whether the model knows all letters of a word, which is then pronounced, with rare exceptions."""
        letters = self._known_letters(word)
        return 0 < len(letters) <= MOST_LETTERS and self._letters >= set(letters)

    def _known_letters(self, word: str) -> str:
        return "".join(letter if letter in self._letters else unicodedata.normalize("NFD", letter)[0] for letter in word)

    def _best(self, beginnings: Beginnings) -> list[tuple[Context, Phones, float]]:
        """Give those worth continuing, best first."""
        ordered = sorted(beginnings.items(), key=lambda item: -item[1])[: self.beam]
        return [(*place, log10_prob) for place, log10_prob in ordered if log10_prob >= ordered[0][1] - MARGIN]

    def _extend(self, kept: list[tuple[Context, Phones, float]], letters: str, reached: Beginnings) -> None:
        """Read the next letters in every way that the model knows."""
        for number, phones in self._readings.get(letters, ()):
            for context, before, log10_prob in kept:
                step, after = self.model.score(context, number)
                _add(reached, (after, before + phones), log10_prob + step)


def load_guesser(path: Path) -> Guesser:
    """Open a guesser's file. Raises LanguageModelError for a file that is none or is damaged; OSError."""
    return Guesser(LanguageModel(path))


def _add(sums: dict[K, float], key: K, log10_prob: float) -> None:
    """Add a probability to what a key has, both as log10."""
    was = sums.get(key)
    if was is None:
        sums[key] = log10_prob
    else:
        larger, smaller = (was, log10_prob) if was > log10_prob else (log10_prob, was)
        sums[key] = larger + math.log10(1.0 + 10.0 ** (smaller - larger))


def _shares(found: dict[Phones, float]) -> list[tuple[Phones, float]]:
    """Sort by probability, and give the natural log of each one's share."""
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    if not ordered:
        return []
    best = ordered[0][1]
    whole = best + math.log10(sum(10.0 ** (log10_prob - best) for _, log10_prob in ordered))
    return [(phones, (log10_prob - whole) * math.log(10.0)) for phones, log10_prob in ordered]
