import math
import random
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uneven_text import text

from edgeseq.errors import LanguageModelError
from edgeseq.lm.kneser_ney import FALLBACK_DISCOUNTS, discounts_of, estimate
from edgeseq.lm.ngrams import BEGIN, END, UNKNOWN, letters


class Textbook:
    """Interpolated modified Kneser-Ney, written down as Chen and Goodman and Heafield et al. do, a sum a symbol."""

    def __init__(self, sentences, order):
        self.order = order
        counts = [Counter() for _ in range(order + 1)]
        for sentence in sentences:
            padded = [BEGIN, *sentence, END]
            for n in range(1, order + 1):
                counts[n].update(tuple(padded[at : at + n]) for at in range(len(padded) - n + 1))
        self.adjusted = [Counter() for _ in range(order + 1)]
        for n in range(1, order + 1):
            before = defaultdict(set)
            if n < order:
                for longer in counts[n + 1]:
                    before[longer[1:]].add(longer[0])
            for ngram, count in counts[n].items():
                self.adjusted[n][ngram] = count if n == order or ngram[0] == BEGIN else len(before[ngram])
        self.adjusted[1].pop((BEGIN,), None)
        self.discounts = [None, *(self._discounts(n) for n in range(1, order + 1))]
        self.words = {word for (word,) in counts[1]} | {UNKNOWN}
        self.words.discard(BEGIN)

    def _discounts(self, n):
        t = Counter(self.adjusted[n].values())
        if not (t[1] and t[2] and t[3]):
            return FALLBACK_DISCOUNTS
        y = t[1] / (t[1] + 2 * t[2])
        found = tuple(k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3))
        return found if all(0 <= discount <= k for k, discount in enumerate(found, start=1)) else FALLBACK_DISCOUNTS

    def prob(self, ngram):
        n = len(ngram)
        if n == 0:
            return 1 / len(self.words)
        followers = {key: count for key, count in self.adjusted[n].items() if key[:-1] == ngram[:-1]}
        total = sum(followers.values())
        if not total:
            return self.prob(ngram[1:])
        count = self.adjusted[n].get(ngram, 0)
        taken = self._taken(n, count) if count else 0
        left = sum(self._taken(n, count) for count in followers.values())
        return (count - taken) / total + left / total * self.prob(ngram[1:])

    def _taken(self, n, count):
        return self.discounts[n][min(count, 3) - 1]


def spelled(ngrams):
    """Each n-gram's words, probability and backoff weight, by table."""
    texts, found = [()], []
    for table in ngrams.tables:
        texts = [(*texts[context], ngrams.vocabulary[word]) for context, word in zip(table.context, table.word, strict=True)]
        found.append(dict(zip(texts, zip(10**table.log10_prob, 10**table.log10_backoff, strict=True), strict=True)))
    return found


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_every_ngram_has_the_textbooks_probability(order):
    sentences = text(order, n_sentences=60, n_words=12)
    book = Textbook(sentences, order)
    found = estimate(sentences, order)
    assert found.discounts == tuple(book.discounts[1:])
    for table in spelled(found.ngrams):
        for ngram, (prob, _) in table.items():
            if ngram != (BEGIN,):
                assert prob == pytest.approx(book.prob(ngram), rel=1e-9), ngram


def test_by_hand():
    """Three sentences: a b, a b, a c."""
    found = spelled(estimate([["a", "b"], ["a", "b"], ["a", "c"]], 2).ngrams)
    # Bigrams: <s> a 3, a b 2, a c 1, b </s> 2, c </s> 1; so Y = 2 / (2 + 4), D1 = 1 - 2/3, D2 = 2 - 1/2.
    left = (1.5 + 1 / 3) / 3
    # Unigrams, by different words before them: a 1 (<s>), b 1, c 1, </s> 2; none has 3: D1 = 0.5, D2 = 1. Five may come next.
    uniform = (3 * 0.5 + 1.0) / 5 * (1 / 5)
    assert found[0][("b",)][0] == pytest.approx(0.5 / 5 + uniform)
    assert found[0][(END,)][0] == pytest.approx(1 / 5 + uniform)
    assert found[0][(UNKNOWN,)][0] == pytest.approx(uniform)
    assert found[0][("a",)][1] == pytest.approx(left)
    assert found[1][("a", "b")][0] == pytest.approx((2 - 1.5) / 3 + left * (0.5 / 5 + uniform))


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 1000),
    order=st.integers(1, 4),
    prune=st.sampled_from([(), (0, 0, 1), (0, 1), (0, 2, 3)]),
    n_sentences=st.integers(1, 80),
)
def test_after_every_context_probabilities_sum_to_one(seed, order, prune, n_sentences):
    ngrams = estimate(text(seed, n_sentences, 8), order, prune[:order]).ngrams
    tables = spelled(ngrams)
    words = [word for word in ngrams.vocabulary if word != BEGIN]

    def prob(ngram):
        if ngram in tables[len(ngram) - 1]:
            return tables[len(ngram) - 1][ngram][0]
        backoff = tables[len(ngram) - 2].get(ngram[:-1], (0.0, 1.0))[1]
        return backoff * prob(ngram[1:])

    contexts = [(), *(ngram for table in tables[:-1] for ngram in table if ngram[-1] != END)]
    for context in random.Random(seed).sample(contexts, min(12, len(contexts))):
        assert math.fsum(prob((*context, word)) for word in words) == pytest.approx(1.0, abs=1e-9)


def test_pruning_drops_ngrams_and_keeps_words():
    sentences = text(5)
    whole, pruned = estimate(sentences, 3).ngrams, estimate(sentences, 3, (0, 0, 1)).ngrams
    assert pruned.vocabulary == whole.vocabulary
    assert [len(table) for table in pruned.tables[:2]] == [len(table) for table in whole.tables[:2]]
    assert 0 < len(pruned.tables[2]) < len(whole.tables[2])


def test_discounts_fall_back_where_the_text_is_too_small():
    assert discounts_of(np.array([1, 1, 2])) is None
    assert estimate([["a"]], 2).fallbacks == (1, 2)


def test_letters_are_units_too():
    found = estimate([letters(["no", "on"])], 3)
    assert found.ngrams.level == "char" and found.n_units == 6
    assert estimate([["no", "on"]], 3).ngrams.level == "word"


@pytest.mark.parametrize(
    ("order", "prune", "message"),
    [
        (0, (), "order of 0"),
        (7, (), "wanted 1 to 6"),
        (3, (1,), "the first 0"),
        (3, (0, 2, 1), "none smaller"),
        (2, (0, 0, 1), "at most one an order"),
    ],
)
def test_what_cannot_be_estimated(order, prune, message):
    with pytest.raises(LanguageModelError, match=message):
        estimate([["a"]], order, prune)


def test_no_text():
    with pytest.raises(LanguageModelError, match="no words"):
        estimate([], 3)
