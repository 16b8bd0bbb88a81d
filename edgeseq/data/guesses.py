"""Pronunciations of words that dictionaries lack, in the dictionaries' phones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

from edgeseq.data.graphones import Entry, write_guesser
from edgeseq.data.pronounce import Guess, Progress, speak
from edgeseq.lm.guesser import Guesser, load_guesser
from edgeseq.tokens.pronunciations import Phones

LARGE_MB = 1000.0
"""For a guesser that nobody keeps: nothing is pruned."""
SPOKEN = 8_000
"""Words of the dictionary that espeak-ng says, so that its phones are learned."""

Ways = Mapping[str, tuple[Phones, ...]]


def by_letters(words: Sequence[str], entries: Sequence[Entry]) -> Ways:
    """Learn from the dictionaries how letters are said."""
    return _learned(entries, lambda guesser: {word: guesser.ways(word) for word in words})


def by_guesser(path: Path) -> Guess:
    """Use a guesser's file. Raises LanguageModelError for a file that is none; OSError."""
    guesser = load_guesser(path)
    return lambda words, entries: {word: guesser.ways(word) for word in words}


def by_espeak(language: str, on_progress: Progress = lambda done, total: None) -> Guess:
    """Let espeak-ng say the words, and learn from words that the dictionaries have, too, which of their phones it means."""

    def guess(words: Sequence[str], entries: Sequence[Entry]) -> Ways:
        known = {word: phones for word, phones in reversed(entries) if word.isalpha()}
        sample = sorted(known, key=lambda word: crc32(word.encode()))[:SPOKEN]
        spoken = dict(speak(dict.fromkeys([*sample, *words], 1), language, stress=True, on_progress=on_progress))
        said = {word: "".join(phones) for word, phones in spoken.items()}
        pairs = [(said[word], known[word]) for word in sample]
        return _learned(pairs, lambda guesser: {word: guesser.ways(said[word]) for word in words})

    return guess


def _learned(entries: Iterable[Entry], use: Callable[[Guesser], Ways]) -> Ways:
    with TemporaryDirectory() as folder:
        path = Path(folder, "guesser.lm")
        write_guesser(entries, path, LARGE_MB)
        return use(load_guesser(path))
