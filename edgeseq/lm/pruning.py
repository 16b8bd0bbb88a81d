"""Smaller models: drop the n-grams that change the distribution least (Stolcke 1998, "Entropy-based pruning of backoff language
models").

For an n-gram (h, w) and the shorter context h', dropping w after h changes the cross-entropy by

    -P(h) (p(w|h) (ln p(w|h') + ln b' - ln p(w|h)) + (ln b' - ln b) (1 - sum of p(v|h) over the v that h holds))

with b and b' the backoff of h before and after. P(h) is how often h occurs in the text, not what the model makes of it: the
shorter n-grams of Kneser-Ney models do not say that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgeseq.lm.ngrams import Ngrams, OrderTable
from edgeseq.lm.tables import Finder, Floats, log10_probs, with_backoffs, words_of

HALVINGS = 40


def losses(ngrams: Ngrams, shares: Sequence[Floats]) -> list[Floats]:
    """For each order from 2: how much the cross-entropy (nats a unit) grows without each n-gram, `[n_ngrams]`."""
    finder, spelled = Finder.of(ngrams), words_of(ngrams.tables)
    found = []
    for order in range(2, ngrams.order + 1):
        table, contexts = ngrams.tables[order - 1], ngrams.tables[order - 2]
        prob = 10.0**table.log10_prob
        shorter = 10.0 ** log10_probs(ngrams, finder, spelled[order - 1][:, 1:])
        left = np.maximum(1.0 - np.bincount(table.context, weights=prob, minlength=len(contexts)), 1e-9)[table.context]
        free = np.maximum(1.0 - np.bincount(table.context, weights=shorter, minlength=len(contexts)), 1e-9)[table.context]
        backoff, without = np.log(left / free), np.log((left + prob) / (free + shorter))
        change = prob * (np.log(shorter) + without - np.log(prob)) + (without - backoff) * left
        found.append(-shares[order - 2][table.context] * change)
    return found


def keep_above(ngrams: Ngrams, loss: Sequence[Floats], threshold: float) -> Ngrams:
    """Drop the n-grams whose loss is at most `threshold` and that no longer one needs; compute the backoffs again."""
    kept: list[np.ndarray[tuple[int], np.dtype[np.bool_]]] = [np.ones(len(ngrams.tables[0]), dtype=np.bool_)]
    kept += [of_order > threshold for of_order in loss]
    for order in range(ngrams.order - 1, 0, -1):
        kept[order - 1][ngrams.tables[order].context[kept[order]]] = True
    tables: list[OrderTable] = []
    row = np.zeros(1, dtype=np.int64)
    for table, keep in zip(ngrams.tables, kept, strict=True):
        tables.append(OrderTable(row[table.context[keep]], table.word[keep], table.log10_prob[keep], table.log10_backoff[keep]))
        row = np.cumsum(keep) - 1
    return with_backoffs(replace(ngrams, tables=tuple(tables)))


def prune_to(ngrams: Ngrams, shares: Sequence[Floats], sizes: Sequence[int], most: int) -> Ngrams:
    """Drop n-grams until the rest take at most `most` bytes: first those that lose least for each byte that they free.

    shares: see `Estimate`. sizes: bytes of an n-gram of each order.
    """

    def fits(counts: Sequence[int]) -> bool:
        return sum(count * size for count, size in zip(counts, sizes, strict=True)) <= most

    if fits([len(table) for table in ngrams.tables]):
        return ngrams
    loss = [of_order / size for of_order, size in zip(losses(ngrams, shares), sizes[1:], strict=True)]
    low, high = 0.0, max(float(of_order.max(initial=0.0)) for of_order in loss)
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5 if low else high / 1e6
        if fits(_counts(ngrams, loss, middle)):
            high = middle
        else:
            low = middle
        if low and high / low < 1.0001:
            break
    return keep_above(ngrams, loss, high)


def _counts(ngrams: Ngrams, loss: Sequence[Floats], threshold: float) -> list[int]:
    """Count what `keep_above` would keep of each order."""
    needed = np.zeros(len(ngrams.tables[-1]), dtype=np.bool_)
    counts = []
    for order in range(ngrams.order, 1, -1):
        kept = (loss[order - 2] > threshold) | needed
        counts.append(int(kept.sum()))
        needed = np.zeros(len(ngrams.tables[order - 2]), dtype=np.bool_)
        needed[ngrams.tables[order - 1].context[kept]] = True
    return [len(ngrams.tables[0]), *reversed(counts)]
