"""Whole tables at once: n-grams found, scored and weighed by arrays, for mixing and pruning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgeseq.lm.ngrams import BEGIN, NEVER, Ngrams, OrderTable

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Finder:
    """Finds n-grams among tables that grow order by order, each sorted by (context, word)."""

    def __init__(self, n_vocabulary: int) -> None:
        """Begin without tables; `keys` takes those of each order, context * n_vocabulary + word, sorted."""
        self.n_vocabulary = n_vocabulary
        self.keys: list[Ints] = []

    @classmethod
    def of(cls, ngrams: Ngrams) -> Finder:
        """Make one for all tables of a model."""
        finder = cls(len(ngrams.vocabulary))
        finder.keys = [table.context * finder.n_vocabulary + table.word for table in ngrams.tables]
        return finder

    def rows(self, words: Ints) -> Ints:
        """Find the rows of n-grams `[n, order]` in the table of their order; -1 where there is none."""
        row = np.zeros(len(words), dtype=np.int64)
        for n in range(words.shape[1]):
            key = row * self.n_vocabulary + words[:, n]
            found = np.searchsorted(self.keys[n], key)
            here = np.minimum(found, len(self.keys[n]) - 1)
            row = np.where((row >= 0) & (self.keys[n][here] == key), here, -1) if len(self.keys[n]) else np.full(len(words), -1)
        return row


def words_of(tables: Sequence[OrderTable]) -> list[Ints]:
    """Spell out the n-grams of each table by the numbers of their words, `[n_ngrams, order]`."""
    found: list[Ints] = []
    for table in tables:
        last = table.word[:, None]
        found.append(np.hstack([found[-1][table.context], last]) if found else last)
    return found


def log10_probs(ngrams: Ngrams, finder: Finder, words: Ints) -> Floats:
    """Score the last word of each row of `words` (`[n, length]`, at most the model's order) after those before it."""
    length = words.shape[1]
    if length == 1:
        return ngrams.tables[0].log10_prob[words[:, 0]]
    row = finder.rows(words)
    missing = np.flatnonzero(row < 0)
    scores = ngrams.tables[length - 1].log10_prob[row] if len(ngrams.tables[length - 1]) else np.zeros(len(words))
    if len(missing):
        context = finder.rows(words[missing, :-1])
        backoffs = ngrams.tables[length - 2].log10_backoff
        backoff = np.where(context >= 0, backoffs[context], 0.0) if len(backoffs) else np.zeros(len(missing))
        scores[missing] = backoff + log10_probs(ngrams, finder, words[missing, 1:])
    return scores


def with_backoffs(ngrams: Ngrams) -> Ngrams:
    """Compute the backoffs again, so that the probabilities after each context add up to 1; the tables' own are not read."""
    done = ngrams
    spelled = words_of(ngrams.tables)
    finder = Finder.of(ngrams)
    for order in range(1, ngrams.order):
        longer = ngrams.tables[order]
        n_contexts = len(ngrams.tables[order - 1])
        explicit = np.bincount(longer.context, weights=10.0**longer.log10_prob, minlength=n_contexts)
        shorter = log10_probs(done, finder, spelled[order][:, 1:])
        covered = np.bincount(longer.context, weights=10.0**shorter, minlength=n_contexts)
        left, free = np.maximum(1.0 - explicit, 1e-9), np.maximum(1.0 - covered, 1e-9)
        table = replace(done.tables[order - 1], log10_backoff=np.log10(left / free))
        done = replace(done, tables=(*done.tables[: order - 1], table, *done.tables[order:]))
    return done


def tables_of(vocabulary: tuple[str, ...], spelled: Sequence[Ints], log10_prob: Sequence[Floats]) -> Ngrams:
    """Make a model from n-grams of each order and their probabilities; each context must be among the n-grams.

    spelled: `[n_ngrams, order]` for each order, without doubles, unigrams in the vocabulary's order.
    """
    finder, tables = Finder(len(vocabulary)), []
    for words, probs in zip(spelled, log10_prob, strict=True):
        context = finder.rows(words[:, :-1]) if words.shape[1] > 1 else np.zeros(len(words), dtype=np.int64)
        key = context * len(vocabulary) + words[:, -1]
        ranked = np.argsort(key, kind="stable")
        finder.keys.append(key[ranked])
        tables.append(OrderTable(context[ranked], words[ranked, -1], probs[ranked], np.zeros(len(words))))
    tables[0].log10_prob[vocabulary.index(BEGIN)] = NEVER
    return with_backoffs(Ngrams(vocabulary, tuple(tables)))
