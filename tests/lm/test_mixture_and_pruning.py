from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from uneven_text import text

from edgeseq.errors import LanguageModelError
from edgeseq.lm.binary import HEADER_ALLOWANCE, file_bytes, ngram_bytes, write_compiled
from edgeseq.lm.building import Plan, build
from edgeseq.lm.kneser_ney import estimate
from edgeseq.lm.mixture import mix, mixed_shares, weights_for, windows
from edgeseq.lm.model import LanguageModel
from edgeseq.lm.ngrams import UNKNOWN, OrderTable
from edgeseq.lm.pruning import keep_above, losses, prune_to
from edgeseq.lm.tables import Finder, log10_probs, with_backoffs, words_of

WORDS = [f"w{n}" for n in range(6)]


@pytest.fixture
def two():
    return [estimate(text(seed, n, 8), 3, vocabulary=WORDS) for n, seed in ((300, 1), (200, 2))]


def after(ngrams, *context):
    """Probabilities of all words after a context."""
    windows = np.array([[*context, word] for word in range(len(ngrams.vocabulary))])
    return 10 ** log10_probs(ngrams, Finder.of(ngrams), windows)


def sums_of(ngrams):
    numbers = range(len(ngrams.vocabulary))
    return [after(ngrams, *context).sum() for context in product(numbers, repeat=2)]


def test_arrays_score_as_the_compiled_model_does(two, tmp_path):
    ngrams = two[0].ngrams
    write_compiled(ngrams, tmp_path / "m.lm")
    model = LanguageModel(tmp_path / "m.lm")
    sentence = ["w0", "w5", "w1", "unheard", "w2", "w0"]
    scored = [score for _, score, _ in model.sentence(sentence)]
    asked = windows([sentence], ngrams.vocabulary, 3)
    finder = Finder.of(ngrams)
    got = np.concatenate([log10_probs(ngrams, finder, words) for words in asked])
    np.testing.assert_allclose(got, scored, atol=1e-5)


def test_a_mixture_is_the_weighted_mean_of_its_models(two):
    models = [one.ngrams for one in two]
    mixture = mix(models, [0.3, 0.7])
    np.testing.assert_allclose(sums_of(mixture), 1.0, atol=1e-9)
    spelled = words_of(mixture.tables)[2]
    mean = sum(w * 10 ** log10_probs(m, Finder.of(m), spelled) for w, m in zip((0.3, 0.7), models, strict=True))
    np.testing.assert_allclose(10 ** mixture.tables[2].log10_prob, mean, rtol=1e-9)
    assert len(mixture.tables[2]) > max(len(model.tables[2]) for model in models)


def test_weights_are_those_that_make_a_text_likeliest(two):
    models = [one.ngrams for one in two]
    sample = text(1, 40, 8) + text(2, 20, 8)
    weights = weights_for(models, sample)
    assert sum(weights) == pytest.approx(1)

    def likelihood(weight):
        asked = windows(sample, models[0].vocabulary, 3)
        scores = [np.concatenate([10 ** log10_probs(m, Finder.of(m), w) for w in asked]) for m in models]
        return np.log(weight * scores[0] + (1 - weight) * scores[1]).sum()

    tried = np.linspace(0.005, 0.995, 100)
    assert weights[0] == pytest.approx(tried[np.argmax([likelihood(weight) for weight in tried])], abs=0.03)


def test_a_loss_is_the_growth_of_cross_entropy(two):
    whole = two[0]
    ngrams, loss = whole.ngrams, losses(whole.ngrams, whole.shares)
    table, spelled = ngrams.tables[2], words_of(ngrams.tables)[2]
    for row in np.argsort(loss[1])[[0, len(table) // 2, -1]]:
        keep = np.arange(len(table)) != row
        shorter = OrderTable(table.context[keep], table.word[keep], table.log10_prob[keep], table.log10_backoff[keep])
        without = with_backoffs(replace(ngrams, tables=(*ngrams.tables[:2], shorter)))
        before, behind = after(ngrams, *spelled[row, :2]), after(without, *spelled[row, :2])
        said = before > 1e-30
        growth = whole.shares[1][table.context[row]] * (before * np.log(before / behind))[said].sum()
        assert loss[1][row] == pytest.approx(growth, rel=1e-6, abs=1e-12)


def test_pruned_models_add_up_to_one_and_keep_the_contexts_of_what_they_keep(two):
    whole = two[0]
    loss = losses(whole.ngrams, whole.shares)
    pruned = keep_above(whole.ngrams, loss, float(np.median(loss[1])))
    assert len(pruned.tables[2]) < len(whole.ngrams.tables[2])
    np.testing.assert_allclose(sums_of(pruned), 1.0, atol=1e-9)
    assert all((longer.context < len(table)).all() for table, longer in zip(pruned.tables, pruned.tables[1:], strict=False))
    kept = {tuple(words) for words in words_of(pruned.tables)[2].tolist()}
    assert kept < {tuple(words) for words in words_of(whole.ngrams.tables)[2].tolist()}


def test_pruning_to_a_size_keeps_as_much_as_fits(two, tmp_path):
    whole = two[0]
    words = whole.ngrams.vocabulary
    full, sizes = file_bytes([len(table) for table in whole.ngrams.tables], words, 16), ngram_bytes(3, len(words), 16)
    most = sum(size * len(table) for size, table in zip(sizes, whole.ngrams.tables, strict=True)) - 500
    pruned = prune_to(whole.ngrams, whole.shares, sizes, most)
    write_compiled(pruned, tmp_path / "small.lm", 16)
    size = file_bytes([len(table) for table in pruned.tables], words, 16)
    assert full - 560 < size <= full - 500
    assert size - HEADER_ALLOWANCE < (tmp_path / "small.lm").stat().st_size <= size
    assert prune_to(pruned, whole.shares, sizes, most) is pruned


def test_shares_of_a_mixture_are_weighed(two):
    mixture = mix([one.ngrams for one in two], [0.25, 0.75])
    shares = mixed_shares(mixture, [one.ngrams for one in two], [one.shares for one in two], [0.25, 0.75])
    assert shares[0].sum() == pytest.approx(1)
    assert shares[2].sum() == pytest.approx(0.25 * two[0].shares[2].sum() + 0.75 * two[1].shares[2].sum())


def test_words_outside_the_vocabulary_are_in_no_longer_ngram():
    sentences = [["a", "x", "b"], ["a", "b"]] * 3
    found = estimate(sentences, 3, vocabulary=["a", "b", "c"]).ngrams
    unknown = found.vocabulary.index(UNKNOWN)
    assert "c" in found.vocabulary and "x" not in found.vocabulary
    assert all((words != unknown).all() for words in words_of(found.tables)[1:])
    spelled = {" ".join(found.vocabulary[word] for word in words) for words in words_of(found.tables)[1]}
    assert spelled == {"<s> a", "a b", "b </s>"}, "'x' does not make 'a' and 'b' neighbours"
    unigram = found.tables[0].log10_prob
    assert unigram[unknown] == unigram[found.vocabulary.index("c")], "an unknown word is as likely as one never seen"


def test_what_only_unknown_words_precede_counts_all_the_same():
    found = estimate([["x", "a", "b"], ["a"], ["c", "d"]] * 2, 3, vocabulary=["a", "b", "c", "d"])
    np.testing.assert_allclose(sums_of(found.ngrams), 1.0, atol=1e-9)
    a, b, d = (found.ngrams.vocabulary.index(word) for word in "abd")
    assert after(found.ngrams, d, a)[b] > 0.3 > after(found.ngrams, d, a)[d]


def test_building_from_files(tmp_path):
    for name, seed in (("books.txt", 1), ("talk.txt", 2), ("dev.txt", 1)):
        (tmp_path / name).write_text("\n".join(" ".join(words) for words in text(seed, 200, 8)))
    (tmp_path / "words.txt").write_text("w0  EY\nw1  B IY\nw2  S IY\n")
    texts = [tmp_path / "books.txt", tmp_path / "talk.txt"]
    built = build(texts, Plan(vocabulary=tmp_path / "words.txt", tune=tmp_path / "dev.txt", size_mb=0.005, bits=16))
    assert built.weights[0] > 0.6, "the text to tune on is of the first kind"
    assert {"w0", "w1", "w2", UNKNOWN} < set(built.ngrams.vocabulary) and "w5" not in built.ngrams.vocabulary
    assert built.n_sentences == 400
    pooled = build(texts, Plan())
    assert pooled.weights == () and pooled.n_sentences == 400 and "w5" in pooled.ngrams.vocabulary


def test_a_size_too_small_for_the_words_and_empty_texts_are_named(tmp_path):
    (tmp_path / "books.txt").write_text("a b c\n")
    (tmp_path / "none.txt").write_text("\n")
    with pytest.raises(LanguageModelError, match=r"3 words alone take .* MB; wanted at most 0.001"):
        build([tmp_path / "books.txt"], Plan(size_mb=0.001))
    with pytest.raises(LanguageModelError, match=r"none.txt: holds no words"):
        build([tmp_path / "books.txt"], Plan(vocabulary=tmp_path / "none.txt"))
    (tmp_path / "others.txt").write_text("d\n")
    with pytest.raises(LanguageModelError, match="no word of the text is in the vocabulary"):
        build([tmp_path / "books.txt"], Plan(vocabulary=tmp_path / "others.txt"))
    with pytest.raises(LanguageModelError, match="the text to tune on holds no words"):
        build([tmp_path / "books.txt"] * 2, Plan(tune=tmp_path / "none.txt"))
