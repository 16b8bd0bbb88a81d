"""Letters aligned to phones, and a model of both together that guesses how words sound.

A word and its pronunciation are one sequence of graphones, pairs of a few letters and a few phones (Bisani and Ney 2008,
"Joint-sequence models for grapheme-to-phoneme conversion"; Galescu and Allen 2001). Expectation maximization finds the pairs
(as Jiampojamarn, Kondrak and Sherif 2007, "Applying many-to-many alignments and hidden Markov models to letter-to-phoneme
conversion"), and an n-gram model, of the same kind as a language model, tells how likely each is after others.
`edgeseq.lm.guesser` decodes it.

Entries with equally many letters and phones share one lattice of alignments, so that all of them are computed at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseq.errors import WordListError
from edgeseq.lm.binary import file_bytes, ngram_bytes, write_compiled
from edgeseq.lm.kneser_ney import estimate
from edgeseq.lm.ngrams import Ngrams
from edgeseq.lm.pruning import prune_to
from edgeseq.tokens.pronunciations import Phones

SHAPES = ((1, 1), (1, 0), (2, 1), (1, 2))
"""Letters and phones of a graphone: `a AE`, a silent `e`, `sh SH`, `x K S`."""
PASSES = 8
"""For expectation maximization."""
LEAST_COUNT = 4
"""Entries that need a rarer graphone are left out: abbreviations, errors, foreign words."""
ORDER = 6
"""Graphones that the model looks at together."""
SIZE_MB = 1.5
"""Size of its file: CMUdict takes 7 MB unpruned and guesses hardly better (docs/lexicon.md)."""
BITS = 16
FLOOR = 1e-12
"""Probability of a pair in the final alignment, at least."""

Entry = tuple[str, Phones]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Lattice:
    """All alignments of entries with `n_letters` letters and `n_phones` phones."""

    n_letters: int
    n_phones: int

    @cached_property
    def arcs(self) -> list[tuple[int, int, slice, slice]]:
        """List (place, next place, letters between them, phones between them); a place is reached before it is left."""
        width = self.n_phones + 1
        return [
            (i * width + j, (i + letters) * width + j + phones, slice(i, i + letters), slice(j, j + phones))
            for i in range(self.n_letters)
            for j in range(width)
            for letters, phones in SHAPES
            if i + letters <= self.n_letters and j + phones <= self.n_phones
        ]

    @property
    def n_places(self) -> int:
        """Count the places; the last is the end."""
        return (self.n_letters + 1) * (self.n_phones + 1)

    def pairs(self, entry: Entry) -> list[str]:
        """Name the pair of each arc."""
        word, phones = entry
        return [unit(word[letters], phones[sounds]) for _, _, letters, sounds in self.arcs]

    def expected(self, probability: Floats) -> Floats:
        """Give the share of each arc in all alignments, of `probability` `[n_arcs, n_entries]`: forward and backward."""
        n_entries = probability.shape[1]
        forward, backward = np.zeros((2, self.n_places, n_entries))
        forward[0] = backward[-1] = 1.0
        for (place, after, _, _), p in zip(self.arcs, probability, strict=True):
            forward[after] += forward[place] * p
        for (place, after, _, _), p in zip(reversed(self.arcs), probability[::-1], strict=True):
            backward[place] += p * backward[after]
        starts, ends = [arc[0] for arc in self.arcs], [arc[1] for arc in self.arcs]
        shares = forward[starts] * probability * backward[ends]
        return np.divide(shares, forward[-1], out=np.zeros_like(shares), where=forward[-1] > 0.0)

    def likeliest(self, probability: Floats) -> Iterator[list[int]]:
        """Give for each entry the arcs of its likeliest alignment, in order (Viterbi)."""
        n_entries = probability.shape[1]
        best, came = np.zeros((self.n_places, n_entries)), np.zeros((self.n_places, n_entries), dtype=np.int64)
        best[0] = 1.0
        for number, (place, after, _, _) in enumerate(self.arcs):
            reached = best[place] * probability[number]
            better = reached > best[after]
            best[after][better], came[after][better] = reached[better], number
        for entry in range(n_entries):
            way, place = [], self.n_places - 1
            while place and best[-1, entry] > 0.0:
                way.append(int(came[place, entry]))
                place = self.arcs[way[-1]][0]
            yield way[::-1]


def unit(letters: str, phones: Phones) -> str:
    """Write a pair as the n-gram model's word: like a line of a lexicon.

    >>> unit("x", ("K", "S")), unit("e", ())
    ('x K S', 'e')
    """
    return " ".join((letters, *phones))


def align(entries: Iterable[Entry], passes: int = PASSES) -> list[list[str]]:
    """Cut each entry to graphones; those whose phones are too many for their letters, as in `mr.`, are left out."""
    by_shape = groupby(sorted(set(entries), key=_shape), key=_shape)
    numbers: dict[str, int] = {}
    groups: list[tuple[Lattice, npt.NDArray[np.int32]]] = []
    for (n_letters, n_phones), of_shape in by_shape:
        lattice = Lattice(n_letters, n_phones)
        if n_phones <= 2 * n_letters:
            rows = [[numbers.setdefault(pair, len(numbers)) for pair in lattice.pairs(entry)] for entry in of_shape]
            groups.append((lattice, np.array(rows, dtype=np.int32).T))
    probability = np.ones(len(numbers))
    for _ in range(passes):
        probability = _maximize(groups, probability)
    names = list(numbers)
    probability = np.maximum(probability, FLOOR)
    ways = ((ids[:, n], way) for lattice, ids in groups for n, way in enumerate(lattice.likeliest(probability[ids])))
    return [[names[number] for number in ids[way]] for ids, way in ways if way]


def _shape(entry: Entry) -> tuple[int, int]:
    return len(entry[0]), len(entry[1])


def _maximize(groups: Sequence[tuple[Lattice, npt.NDArray[np.int32]]], probability: Floats) -> Floats:
    """Give each pair its expected share of all."""
    counts = np.zeros(len(probability))
    for lattice, ids in groups:
        shares = lattice.expected(probability[ids])
        counts += np.bincount(ids.ravel(), weights=shares.ravel(), minlength=len(counts))
    return counts / counts.sum()


def train(entries: Iterable[Entry], size_mb: float = SIZE_MB) -> Ngrams:
    """Estimate the model from a dictionary's (word, phones), pruned to `size_mb` megabytes (10^6 bytes).

    Raises WordListError for a dictionary without a word whose letters can stand for its phones.
    """
    aligned = align(entries)
    if not aligned:
        raise WordListError(
            "the dictionary holds no word of letters that can stand for its phones; wanted some thousand words."
        )
    counts = Counter(pair for pairs in aligned for pair in pairs)
    usual = [pairs for pairs in aligned if all(counts[pair] >= LEAST_COUNT for pair in pairs)]
    found = estimate(usual or aligned, ORDER)
    vocabulary = found.ngrams.vocabulary
    besides = file_bytes([0] * ORDER, vocabulary, BITS)
    return prune_to(found.ngrams, found.shares, ngram_bytes(ORDER, len(vocabulary), BITS), round(size_mb * 1e6) - besides)


def write_guesser(entries: Iterable[Entry], path: Path, size_mb: float = SIZE_MB, source: str = "") -> None:
    """Train on a dictionary and write what `edgeseq.lm.guesser.load_guesser` opens."""
    write_compiled(train(entries, size_mb), path, BITS, source)
