"""How often guessed pronunciations are right: every tenth word of a dictionary, by hash, learned from the others.

    python -m benchmarks.pronouncing cmudict.dict
    python -m benchmarks.pronouncing cmudict.dict --words 3200 --espeak en-us

Among the dictionary's variants of a word the nearest one counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

from edgeseq.data.graphones import SIZE_MB, Entry, write_guesser
from edgeseq.data.guesses import Ways, by_espeak, by_guesser
from edgeseq.data.pronounce import read_dictionaries
from edgeseq.evaluation.evaluate import word_edits
from edgeseq.tokens.pronunciations import Phones

EVERY = 10


@dataclass(frozen=True)
class Score:
    """How near guesses are."""

    n_words: int
    n_phones: int
    wrong: int
    """words whose first guess has a wrong phone"""
    edits: int
    """phones of all first guesses that are wrong, missing or too many"""
    none_right: int
    """words of which no guess is right"""
    guesses: int

    def __str__(self) -> str:
        """Say so in a line."""
        return (
            f"{self.n_words:,} words: {self.wrong / self.n_words:.1%} with a wrong phone, "
            f"{self.edits / self.n_phones:.1%} of the phones wrong; "
            f"of {self.guesses / self.n_words:.2f} guesses a word none is right in {self.none_right / self.n_words:.1%}"
        )


def split(known: Mapping[str, tuple[Phones, ...]]) -> tuple[list[str], list[Entry]]:
    """Give the words to be guessed, in a random order that is always the same, and the entries to learn from."""
    kept = [word for word in known if crc32(word.encode()) % EVERY == 0]
    entries = [(word, way) for word in sorted(known.keys() - set(kept)) for way in known[word]]
    return sorted(kept, key=lambda word: crc32(word[::-1].encode())), entries


def score(words: Sequence[str], known: Mapping[str, tuple[Phones, ...]], guesses: Ways) -> Score:
    """Hold guesses against what a dictionary says."""
    nearest = [min(_distance(guess, way) for way in known[word]) for word in words for guess in (guesses[word] or ((),))[:1]]
    edits, lengths = zip(*nearest, strict=True)
    none_right = sum(not set(guesses[word]) & set(known[word]) for word in words)
    n_guesses = sum(len(guesses[word]) for word in words)
    return Score(len(words), sum(lengths), sum(edit > 0 for edit in edits), sum(edits), none_right, n_guesses)


def _distance(guess: Phones, way: Phones) -> tuple[int, int]:
    return len(word_edits(" ".join(way), " ".join(guess))), len(way)


def main() -> None:
    """Print a line for each way to guess."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dictionary", type=Path)
    parser.add_argument("--words", type=int, help="to be guessed; default: a tenth of the dictionary")
    parser.add_argument("--size", type=float, default=SIZE_MB, help="of the guesser, MB; default: %(default)s")
    parser.add_argument("--espeak", metavar="LANGUAGE", help="let espeak-ng guess, too")
    options = parser.parse_args()
    known = read_dictionaries([options.dictionary])
    words, entries = split(known)
    words = words[: options.words]
    with TemporaryDirectory() as folder:
        write_guesser(entries, Path(folder, "guesser"), options.size)
        print(f"letters, {options.size:g} MB: {score(words, known, by_guesser(Path(folder, 'guesser'))(words, entries))}")
    if options.espeak:
        print(f"espeak-ng: {score(words, known, by_espeak(options.espeak)(words, entries))}")


if __name__ == "__main__":
    main()
