"""Scores of a compiled n-gram model: how likely a word is after others, as the ARPA file defines it.

    p(w | context) = prob(context w) if that n-gram is there, else backoff(context) + p(w | context without its first word)

(Katz 1987; all logarithms to base 10, as in ARPA files.) A context is a value: for each length the row of the n-gram that the
last words form, so that scoring a word takes one binary search an order.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edgeseq.errors import LanguageModelError
from edgeseq.lm.binary import MOST_CODE, CompiledFile, open_compiled
from edgeseq.lm.compiled_header import scale_of
from edgeseq.lm.ngrams import Level, letters

Context = tuple[int, ...]
"""Row of the last word among unigrams, of the last two among bigrams, ...; -1 where the model has no such n-gram."""

T = TypeVar("T", float, npt.NDArray[np.float64])

ByRow = Callable[[int], float]


class LanguageModel:
    """A compiled model, mapped into memory. Read-only; contexts are values."""

    def __init__(self, path: str | Path) -> None:
        """Open `path`. Raises LanguageModelError for a file that is none; see `open_compiled`."""
        compiled = open_compiled(Path(path))
        self.path = compiled.path
        self.header: dict[str, Any] = compiled.header
        self.order: int = compiled.header["order"]
        self.level: Level = compiled.header["level"]
        ids = compiled.header["ids"]
        self.begin_id, self.end_id, self.unknown_id = ids["begin"], ids["end"], ids["unknown"]
        self._compiled = compiled
        self._word_ends, self._word_bytes = compiled.sections["word_ends"], compiled.sections["word_bytes"]
        self._prob = [_by_row(compiled, f"prob{n}") for n in range(1, self.order + 1)]
        self._unigrams = np.asarray(compiled.sections["prob1"])
        self._backoff = [_by_row(compiled, f"backoff{n}") for n in range(1, self.order)]
        self._first = [compiled.sections[f"first{n}"] for n in range(1, self.order)]
        self._word = [compiled.sections[f"word{n}"] for n in range(2, self.order + 1)]
        self.begin: Context = self._trim([self.begin_id][: self.order - 1])
        """context of a sentence's first word"""

    @property
    def identity(self) -> str:
        """Tell this model from others: its checksum."""
        return f"{self.header['checksum']:08x}"

    def __len__(self) -> int:
        """Count the words of the vocabulary, special ones included."""
        return len(self._word_ends)

    def check_whole(self) -> None:
        """Read the whole file and compare its checksum. Raises LanguageModelError where they differ."""
        seen, wanted = self._compiled.checksum(), self.header["checksum"]
        if seen != wanted:
            raise LanguageModelError(
                f"{self.path}: the checksum is {seen:08x}; wanted {wanted:08x}. The file is damaged.\n"
                "  Copy it again, or compile it again."
            )

    def word(self, number: int) -> str:
        """Give the word of a number."""
        return self._bytes(number).decode()

    def word_id(self, word: str) -> int:
        """Give the number of a word, that of `<unk>` for one that the model does not know."""
        wanted = word.encode()
        number = self._lower_bound(wanted, 0, len(self))
        return number if number < len(self) and self._bytes(number) == wanted else self.unknown_id

    def word_ids(self, words: Sequence[str]) -> npt.NDArray[np.int64]:
        """Give the numbers of many words at once, `[n_words]`; see `word_id`."""
        ends = np.asarray(self._word_ends).tolist()
        content = bytes(self._word_bytes)
        numbers = {content[start:end]: number for number, (start, end) in enumerate(pairwise([0, *ends]))}
        return np.array([numbers.get(word.encode(), self.unknown_id) for word in words], np.int64)

    def unigrams(self) -> npt.NDArray[np.float64]:
        """Give log10 of the probability of each word without context, `[n_words]`."""
        return np.asarray(self._decode("prob1", self._unigrams.astype(np.float64)), np.float64)

    def score(self, context: Context, word: int) -> tuple[float, Context]:
        """Give log10 of the probability of a word after a context, and the context after it."""
        log10_prob, rows = self._prob[0](word), [word]
        for length, row in enumerate(context):
            found = self._continuation(length, row, word)
            rows.append(found)
            if found >= 0:
                log10_prob = self._prob[length + 1](found)
            elif row >= 0:
                log10_prob += self._backoff[length](row)
        return log10_prob, self._trim(rows[: self.order - 1])

    def span(self, beginning: str, within: tuple[int, int] | None = None) -> tuple[int, int]:
        """Give the range of words that begin so; `within` is that of a shorter beginning, where it is known."""
        encoded = beginning.encode()
        low, high = (0, len(self)) if within is None else within
        low = self._lower_bound(encoded, low, high)
        return low, self._lower_bound(encoded + b"\xff", low, high)  # no UTF-8 holds that byte

    def best_unigram(self, low: int, high: int) -> float:
        """Give log10 of the probability, without context, of the likeliest of a range of words that holds some."""
        return self._decode("prob1", float(self._unigrams[low:high].max()))

    def sentence(self, words: Sequence[str]) -> list[tuple[str, float, bool]]:
        """Score a sentence: each unit and finally `</s>`, log10 of its probability, whether the model knows it.

        words: of a model of letters too; it spells them.
        """
        units = list(words) if self.level == "word" else letters(list(words))
        context, scores = self.begin, []
        for unit in units:
            number = self.word_id(unit)
            log10_prob, context = self.score(context, number)
            scores.append((unit, log10_prob, number != self.unknown_id))
        return [*scores, (self.word(self.end_id), self.score(context, self.end_id)[0], True)]

    def _continuation(self, length: int, row: int, word: int) -> int:
        """Find the n-gram of a context's `row` (of `length` + 1 words) and `word` among the next longer, or -1."""
        if row < 0:
            return -1
        first, words = self._first[length], self._word[length]
        end = first[row + 1]
        found = bisect_left(words, word, first[row], end)
        return found if found < end and words[found] == word else -1

    def _trim(self, rows: list[int]) -> Context:
        """Drop what no longer matters, so that equal futures have equal contexts: rows that neither continue nor back off."""
        kept = [
            row if row >= 0 and (self._first[n][row] < self._first[n][row + 1] or self._backoff[n](row) != 0.0) else -1
            for n, row in enumerate(rows)
        ]
        while kept and kept[-1] < 0:
            kept.pop()
        return tuple(kept)

    def _bytes(self, number: int) -> bytes:
        start = self._word_ends[number - 1] if number else 0
        return bytes(self._word_bytes[start : self._word_ends[number]])

    def _lower_bound(self, wanted: bytes, low: int, high: int) -> int:
        """Find the first of a range of words that is not before `wanted`."""
        while low < high:
            middle = (low + high) // 2
            if self._bytes(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low

    def _decode(self, name: str, value: T) -> T:
        """Make numbers of codes, if they are codes."""
        scale = scale_of(self.header, name)
        return value if scale is None else scale[0] + scale[1] * value


def _by_row(compiled: CompiledFile, name: str) -> ByRow:
    """Give a function from row to value."""
    view = compiled.sections[name]
    scale = scale_of(compiled.header, name)
    if scale is None:
        return view.__getitem__
    low, step = scale
    book: Any = low + step * np.arange(MOST_CODE + 1, dtype=np.float64)
    values = memoryview(book)
    return lambda row: values[view[row]]


def perplexity(log10_probs: Iterable[float]) -> float:
    """Give the perplexity of units whose probabilities' log10 are given.

    >>> perplexity([-1.0, -1.0])
    10.0
    """
    values = list(log10_probs)
    return 10.0 ** (-math.fsum(values) / len(values))
