"""One model of several texts: a model of each, mixed by the weights that make another text likeliest.

The mixture holds every n-gram that one of its models holds, with the weighted mean of their probabilities, and backs off as any
other n-gram model does (linear interpolation as SRILM's `ngram -mix-lm` does it).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edgeseq.errors import LanguageModelError
from edgeseq.lm.ngrams import BEGIN, END, UNKNOWN, Ngrams
from edgeseq.lm.tables import Finder, Floats, Ints, log10_probs, tables_of, words_of

ROUNDS = 50
"""Rounds of expectation and maximization; the weights converge long before."""


def windows(sentences: Iterable[Sequence[str]], vocabulary: tuple[str, ...], order: int) -> list[Ints]:
    """Number the words of sentences, each with up to `order` - 1 words before it: `[n, length]` for each length that occurs.

    Words that the vocabulary lacks are `<unk>`, those that begin a sentence come after `<s>`.
    """
    ids = {word: number for number, word in enumerate(vocabulary)}
    unknown = ids[UNKNOWN]
    found: list[list[list[int]]] = [[] for _ in range(order)]
    for sentence in sentences:
        numbers = [ids[BEGIN], *(ids.get(word, unknown) for word in sentence), ids[END]]
        for at in range(1, len(numbers)):
            window = numbers[max(0, at - order + 1) : at + 1]
            found[len(window) - 1].append(window)
    return [np.array(of_length, dtype=np.int64) for of_length in found if of_length]


def weights_for(models: Sequence[Ngrams], sentences: Iterable[Sequence[str]]) -> list[float]:
    """Find the weights of a mixture that make `sentences` likeliest. Raises LanguageModelError without sentences."""
    asked = windows(sentences, models[0].vocabulary, models[0].order)
    if not asked:
        raise LanguageModelError("the text to tune on holds no words; wanted sentences of the kind that will be spoken.")
    finders = [Finder.of(model) for model in models]
    scores = [
        np.concatenate([log10_probs(model, finder, words) for words in asked])
        for model, finder in zip(models, finders, strict=True)
    ]
    likely: Floats = 10.0 ** np.array(scores)
    weights = np.full(len(models), 1.0 / len(models))
    for _ in range(ROUNDS):
        shares = weights[:, None] * likely
        weights = (shares / shares.sum(axis=0)).mean(axis=1)
    return [float(weight) for weight in weights]


def mix(models: Sequence[Ngrams], weights: Sequence[float]) -> Ngrams:
    """Mix models of one vocabulary and order."""
    spelled = [words_of(model.tables) for model in models]
    finders = [Finder.of(model) for model in models]
    together, probs = [], []
    union = Finder(len(models[0].vocabulary))
    for of_order in zip(*spelled, strict=True):
        words = _without_doubles(np.concatenate(of_order), union)
        mean: Floats = np.zeros(len(words))
        for model, finder, weight in zip(models, finders, weights, strict=True):
            mean += weight * 10.0 ** log10_probs(model, finder, words)
        together.append(words)
        probs.append(np.log10(np.maximum(mean, 1e-99)))
    return tables_of(models[0].vocabulary, together, probs)


def _without_doubles(words: Ints, union: Finder) -> Ints:
    """Take each n-gram once, and let `union` find it from now on."""
    context = union.rows(words[:, :-1]) if words.shape[1] > 1 else np.zeros(len(words), dtype=np.int64)
    keys, first = np.unique(context * union.n_vocabulary + words[:, -1], return_index=True)
    union.keys.append(keys)
    return words[first]


def mixed_shares(
    mixture: Ngrams, models: Sequence[Ngrams], shares: Sequence[Sequence[Floats]], weights: Sequence[float]
) -> list[Floats]:
    """Weigh how often n-grams occur in the texts of each model: for each order, a share for each n-gram of the mixture."""
    finder = Finder.of(mixture)
    found: list[Floats] = [np.zeros(len(table)) for table in mixture.tables]
    for model, of_model, weight in zip(models, shares, weights, strict=True):
        for total, words, share in zip(found, words_of(model.tables), of_model, strict=True):
            total[finder.rows(words)] += weight * share
    return found
