"""Interpolated modified Kneser-Ney estimation, with the definitions of lmplz.

Chen and Goodman 1998, "An empirical study of smoothing techniques for language modeling", section 3 (modified Kneser-Ney:
three discounts an order, equations 25 and 26 of the 1999 version), in the streaming-friendly form of Heafield, Pouzyrevsky,
Clark and Koehn 2013, "Scalable modified Kneser-Ney language model estimation", section 3. n-grams are numbered by rank, so
that everything is arithmetic on arrays.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from edgeseq.errors import LanguageModelError
from edgeseq.lm.ngrams import BEGIN, END, MAX_ORDER, NEVER, SPECIAL, UNKNOWN, Ngrams, OrderTable

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""For n-grams seen once, twice, oftener, where a text is too small or too regular to estimate them; lmplz offers the same."""


@dataclass(frozen=True)
class Counts:
    """The distinct n-grams of one length, ranked by (context, word)."""

    context: Ints
    """rank of the first n-1 words"""
    word: Ints
    """the last word"""
    suffix: Ints
    """rank of the last n-1 words"""
    count: Ints
    """occurrences"""
    begins: npt.NDArray[np.bool_]
    """whether the first word is the sentence begin"""

    def __len__(self) -> int:
        """Count the distinct n-grams."""
        return len(self.word)


@dataclass(frozen=True)
class Estimate:
    """A model and how it was smoothed."""

    ngrams: Ngrams
    discounts: tuple[tuple[float, float, float], ...]
    """for n-grams of adjusted count 1, 2, 3 or more; an order each"""
    fallbacks: tuple[int, ...]
    """orders whose discounts could not be estimated and are FALLBACK_DISCOUNTS"""
    n_sentences: int
    n_units: int
    """words (or letters), without sentence begins and ends"""
    shares: tuple[Floats, ...]
    """for each order: how often each n-gram of its table occurs in the text, as a share of all units, `[n_ngrams]`"""


def estimate(
    sentences: Iterable[Sequence[str]],
    order: int,
    prune: Sequence[int] = (),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    vocabulary: Iterable[str] | None = None,
) -> Estimate:
    """Estimate a model of n-grams up to `order` long.

    prune: for each order an occurrence count up to which n-grams are dropped, `(0, 0, 1)` drops trigrams seen once;
    the last number holds for all longer ones. Unigrams are never dropped.
    vocabulary: the words of the model; n-grams with others are not counted, and `<unk>` keeps the share that the discounts
    leave to one word that was never seen. None: the words of the text.
    on_progress: called with the number of sentences read, and 0 for their unknown total.
    Raises LanguageModelError without text, for an order out of range, and for falling thresholds.
    """
    thresholds = _thresholds(order, prune)
    words, stream, n_sentences = _read(sentences, vocabulary, on_progress)
    counts = count_ngrams(stream, words, order)
    adjusted = adjusted_counts(counts, words)
    discounts, fallbacks = _all_discounts(adjusted)
    probs, backoffs = _interpolate(counts, adjusted, discounts, words, thresholds)
    ngrams = Ngrams(words, _tables(counts, probs, backoffs, thresholds, words))
    return Estimate(ngrams, discounts, fallbacks, n_sentences, len(stream) - 2 * n_sentences, _shares(counts, thresholds))


def _thresholds(order: int, prune: Sequence[int]) -> list[int]:
    if not 1 <= order <= MAX_ORDER:
        raise LanguageModelError(f"an order of {order} was asked for; wanted 1 to {MAX_ORDER}.")
    given = list(prune) or [0]
    full = (given + [given[-1]] * order)[:order]
    if len(given) > order or any(n < 0 for n in full) or full != sorted(full) or full[0] != 0:
        raise LanguageModelError(
            f"pruning thresholds {', '.join(map(str, given))} for order {order}; wanted at most one an order, the first 0 "
            "(all words stay), none smaller than the one before: 0,0,1"
        )
    return full


def _read(
    sentences: Iterable[Sequence[str]], known: Iterable[str] | None, on_progress: Callable[[int, int], None]
) -> tuple[tuple[str, ...], npt.NDArray[np.int64], int]:
    """Number the units by sorted vocabulary; give all sentences in one row, each between its begin and end."""
    ids = {unit: number for number, unit in enumerate(dict.fromkeys((BEGIN, END, UNKNOWN, *(known or ()))))}
    stream, n_sentences = array("i"), 0
    for sentence in sentences:
        stream.append(0)
        if known is None:
            stream.extend([ids.setdefault(unit, len(ids)) for unit in sentence])
        else:
            stream.extend([ids.get(unit, ids[UNKNOWN]) for unit in sentence])
        stream.append(1)
        n_sentences += 1
        if n_sentences % 1000 == 0:
            on_progress(n_sentences, 0)
    if n_sentences == 0:
        raise LanguageModelError("the text holds no words; wanted at least one line with some.")
    if known is not None and set(stream) <= set(range(len(SPECIAL))):
        raise LanguageModelError("no word of the text is in the vocabulary; wanted words as the text writes them.")
    vocabulary = tuple(sorted(ids))
    rank = np.empty(len(ids), dtype=np.int64)
    rank[[ids[unit] for unit in vocabulary]] = np.arange(len(ids))
    return vocabulary, rank[np.frombuffer(stream, dtype=np.int32)], n_sentences


def count_ngrams(stream: Ints, vocabulary: tuple[str, ...], order: int) -> list[Counts]:
    """Count the n-grams of lengths 1 to `order` in `stream` (`[n_units]`, sentences between `<s>` and `</s>`).

    The rank of an n-gram orders (rank of its context, last word), which is a 64-bit number whatever the length. Longer ones
    that hold `<unk>` are left out.
    """
    n_vocabulary = len(vocabulary)
    begin, end, unknown = (vocabulary.index(special) for special in (BEGIN, END, UNKNOWN))
    here = np.arange(n_vocabulary, dtype=np.int64)
    zeros = np.zeros(n_vocabulary, dtype=np.int64)
    counts = [Counts(zeros, here, zeros, np.bincount(stream, minlength=n_vocabulary), here == begin)]
    rank = stream  # of the n-gram that starts at each position; -1 where the sentence is too short
    positions = np.flatnonzero(stream != unknown)
    for length in range(2, order + 1):
        positions = positions[stream[positions + length - 2] != end]
        positions = positions[stream[positions + length - 1] != unknown]
        keys = rank[positions] * n_vocabulary + stream[positions + length - 1]
        keys, first, inverse, count = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        at = positions[first]
        counts.append(Counts(keys // n_vocabulary, keys % n_vocabulary, rank[at + 1], count, stream[at] == begin))
        rank = np.full(len(stream), -1, dtype=np.int64)
        rank[positions] = inverse
    return counts


def adjusted_counts(counts: Sequence[Counts], vocabulary: tuple[str, ...]) -> list[Ints]:
    """Count for each n-gram the different words seen before it (Heafield et al. 2013, section 3.2).

    Occurrences count instead for the longest n-grams and for those that begin with `<s>`, before which nothing can be.
    """
    adjusted = []
    for shorter, longer in pairwise(counts):
        before = np.bincount(longer.suffix, minlength=len(shorter))
        continuations = np.maximum(before, np.minimum(shorter.count, 1))  # of a vocabulary: only unknown words were before it
        adjusted.append(np.where(shorter.begins, shorter.count, continuations))
    adjusted.append(counts[-1].count.copy())
    for special in (BEGIN, UNKNOWN):
        adjusted[0][vocabulary.index(special)] = 0  # never predicted, never seen
    return adjusted


def _shares(counts: Sequence[Counts], thresholds: Sequence[int]) -> tuple[Floats, ...]:
    n_units = counts[0].count.sum()
    kept = [of_order.count > threshold for of_order, threshold in zip(counts, thresholds, strict=True)]
    kept[0][:] = True
    return tuple(of_order.count[keep] / n_units for of_order, keep in zip(counts, kept, strict=True))


def discounts_of(adjusted: Ints) -> tuple[float, float, float] | None:
    """Estimate the discounts of one order (Chen and Goodman, equation 26); None where the text does not allow it.

    >>> discounts_of(np.array([1] * 8 + [2] * 4 + [3] * 2 + [4]))
    (0.5, 1.25, 2.0)
    """
    n1, n2, n3, n4 = (int((adjusted == n).sum()) for n in (1, 2, 3, 4))
    if 0 in (n1, n2, n3):
        return None
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    if any(not 0 <= discount <= n for n, discount in enumerate(found, start=1)):
        return None
    return found


def _all_discounts(adjusted: Sequence[Ints]) -> tuple[tuple[tuple[float, float, float], ...], tuple[int, ...]]:
    found = [discounts_of(counts) for counts in adjusted]
    fallbacks = tuple(order for order, discounts in enumerate(found, start=1) if discounts is None)
    return tuple(FALLBACK_DISCOUNTS if discounts is None else discounts for discounts in found), fallbacks


def _interpolate(
    counts: Sequence[Counts],
    adjusted: Sequence[Ints],
    discounts: Sequence[tuple[float, float, float]],
    vocabulary: tuple[str, ...],
    thresholds: Sequence[int],
) -> tuple[list[Floats], list[Floats]]:
    """Give each order's probabilities, and the weights that each context leaves to the next shorter one."""
    n_predicted = len(vocabulary) - 1  # all but <s>
    probs: list[Floats] = []
    backoffs: list[Floats] = []
    lower: Floats = np.full(1, 1.0 / n_predicted)
    for of_order, adjusted_count, discount, threshold in zip(counts, adjusted, discounts, thresholds, strict=True):
        taken = np.array([0.0, *discount])[np.minimum(adjusted_count, 3)]
        kept = of_order.count > threshold if probs else np.ones(len(of_order), dtype=bool)
        n_contexts = len(lower)  # the shorter n-grams; one empty context of unigrams
        total = np.bincount(of_order.context, weights=adjusted_count, minlength=n_contexts)
        left = np.bincount(of_order.context, weights=np.where(kept, taken, adjusted_count), minlength=n_contexts)
        weight = np.divide(left, total, out=np.ones(n_contexts), where=total > 0)
        mass = np.divide(adjusted_count - taken, total[of_order.context], out=np.zeros(len(of_order)), where=kept)
        prob = mass + weight[of_order.context] * lower[of_order.suffix]
        probs.append(prob)
        backoffs.append(weight)
        lower = prob
    return probs, backoffs[1:]


def _tables(
    counts: Sequence[Counts],
    probs: Sequence[Floats],
    backoffs: Sequence[Floats],
    thresholds: Sequence[int],
    vocabulary: tuple[str, ...],
) -> tuple[OrderTable, ...]:
    """Drop pruned n-grams, take logarithms, and number the rest again."""
    tables, new_rank = [], np.zeros(1, dtype=np.int64)
    for n, of_order in enumerate(counts):
        kept = of_order.count > thresholds[n] if n else np.ones(len(of_order), dtype=bool)
        backoff = backoffs[n] if n < len(backoffs) else np.ones(len(of_order))
        table = OrderTable(
            context=new_rank[of_order.context[kept]],
            word=of_order.word[kept],
            log10_prob=_log10(probs[n][kept]),
            log10_backoff=_log10(backoff[kept]),
        )
        tables.append(table)
        new_rank = np.cumsum(kept) - 1
    tables[0].log10_prob[vocabulary.index(BEGIN)] = NEVER
    return tuple(tables)


def _log10(values: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.maximum(np.log10(values), NEVER)
