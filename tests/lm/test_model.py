import random

import pytest
from uneven_text import text

from edgeseq.errors import LanguageModelError, UsageError
from edgeseq.lm.arpa import write_arpa
from edgeseq.lm.binary import MAGIC, open_compiled, write_compiled
from edgeseq.lm.corpus import read_sentences
from edgeseq.lm.kneser_ney import estimate
from edgeseq.lm.model import LanguageModel
from edgeseq.lm.ngrams import letters


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """By order: n-grams, compiled, and as ARPA."""
    folder = tmp_path_factory.mktemp("lm")
    found = {}
    for order in (1, 2, 3, 4):
        ngrams = estimate(text(order), order, (0, 0, 1)[:order]).ngrams
        write_arpa(ngrams, folder / f"{order}.arpa")
        write_compiled(ngrams, folder / f"{order}.lm", source="a test")
        found[order] = (ngrams, LanguageModel(folder / f"{order}.lm"), folder / f"{order}.arpa")
    return found


def sentences(seed=9, n=200):
    rng = random.Random(seed)
    return [[f"w{rng.choice([0, 1, 2, 3, 4, 7, 29, 99])}" for _ in range(rng.randint(0, 8))] for _ in range(n)]


@pytest.mark.parametrize("order", [2, 3, 4])
def test_scores_are_kenlms(models, order):
    kenlm = pytest.importorskip("kenlm", reason="kenlm is not installed (pip install kenlm; it builds from source)")
    _, model, arpa = models[order]
    theirs = kenlm.Model(str(arpa))
    for sentence in [*sentences(), *text(77)]:
        expected = [score for score, *_ in theirs.full_scores(" ".join(sentence))]
        assert [score for _, score, _ in model.sentence(sentence)] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_scores_are_the_definitions(models, order):
    ngrams, model, _ = models[order]
    tables, texts = [], [()]
    for table in ngrams.tables:
        texts = [(*texts[c], ngrams.vocabulary[w]) for c, w in zip(table.context, table.word, strict=True)]
        tables.append(dict(zip(texts, zip(table.log10_prob, table.log10_backoff, strict=True), strict=True)))

    def score(ngram):
        if ngram in tables[len(ngram) - 1]:
            return tables[len(ngram) - 1][ngram][0]
        return tables[len(ngram) - 2].get(ngram[:-1], (0, 0.0))[1] + score(ngram[1:])

    for sentence in sentences():
        known = [word if word in ngrams.vocabulary else "<unk>" for word in sentence]
        padded = ("<s>", *known, "</s>")
        expected = [score(padded[max(0, at - order + 1) : at + 1]) for at in range(1, len(padded))]
        assert [share for _, share, _ in model.sentence(sentence)] == pytest.approx(expected, abs=1e-5)


def test_sixteen_bits_are_as_exact_as_the_header_says(models, tmp_path):
    ngrams, exact, _ = models[3]
    header = write_compiled(ngrams, tmp_path / "small.lm", bits=16)
    small = LanguageModel(tmp_path / "small.lm")
    assert 0 < header["largest_error"] < 1e-4
    assert (tmp_path / "small.lm").stat().st_size < exact.path.stat().st_size
    for sentence in sentences():
        for (_, share, _), (_, other, _) in zip(small.sentence(sentence), exact.sentence(sentence), strict=True):
            assert abs(share - other) <= 3 * header["largest_error"] + 1e-6


def test_words_and_their_beginnings(models):
    _, model, _ = models[3]
    assert [model.word(n) for n in range(len(model))] == sorted(model.word(n) for n in range(len(model)))
    assert all(model.word_id(model.word(n)) == n for n in range(len(model)))
    assert model.word_id("nothing") == model.unknown_id == model.word_id("")
    shares = {word: model.score((), model.word_id(word))[0] for word in map(model.word, range(len(model)))}
    low, high = model.span("w1")
    assert [model.word(n) for n in range(low, high)] == sorted(word for word in shares if word.startswith("w1"))
    assert model.best_unigram(low, high) == max(share for word, share in shares.items() if word.startswith("w1"))
    assert model.span("w11", (low, high)) == model.span("w11") and len(set(model.span("x"))) == 1


def test_letters_of_any_language(tmp_path):
    ngrams = estimate([letters(words.split()) for words in ("grüße ключ", "ключ 鍵")], 3).ngrams
    write_compiled(ngrams, tmp_path / "c.lm")
    model = LanguageModel(tmp_path / "c.lm")
    assert model.level == "char"
    assert [unit for unit, *_ in model.sentence(["鍵"])] == ["▁", "鍵", "</s>"]
    assert all(known for *_, known in model.sentence(["ключ"]))


def test_a_compiled_file_that_is_none_or_damaged(models, tmp_path):
    _, model, arpa = models[3]
    with pytest.raises(LanguageModelError, match=r"edgeseq lm compile .*3.arpa --out"):
        LanguageModel(arpa)
    content = model.path.read_bytes()
    path = tmp_path / "bad.lm"
    for damaged, message in (
        (content[:-1], f"{len(content) - 1:,} bytes; wanted {len(content):,}"),
        (content[:40], "header is damaged or cut short"),
        (content[:10], "not a compiled language model"),
        (b"", "not a compiled language model"),
        (MAGIC + b"9" + content[len(MAGIC) + 1 :], "format version '9'; this edgeseq reads '1'"),
        (content[:30] + b"#" + content[31:], "header is damaged"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(LanguageModelError, match=message):
            open_compiled(path)
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with pytest.raises(LanguageModelError, match="checksum is"):
        LanguageModel(path).check_whole()
    model.check_whole()


def test_bits_that_there_are_not(models, tmp_path):
    with pytest.raises(UsageError, match="8 bits"):
        write_compiled(models[2][0], tmp_path / "x.lm", bits=8)


def test_text_comes_as_lines_tables_and_manifests(tmp_path):
    for name, content in (
        ("t.txt", "One  two\n\nTHREE\n"),
        ("t.tsv", "id-1\tone two\nid-2\tthree\n"),
        ("t.jsonl", '{"text": "one two"}\n{"text": "three"}\n'),
    ):
        (tmp_path / name).write_text(content)
        assert list(read_sentences(tmp_path / name)) == [["one", "two"], ["three"]]
    assert next(read_sentences(tmp_path / "t.txt", "char"))[:4] == ["▁", "o", "n", "e"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.txt", b"fine\ncaf\xe9\n", "t.txt:2: byte 4 of the line is not UTF-8"),
        ("t.txt", b"a </s> b\n", "t.txt:1: the text holds </s>"),
        ("t.jsonl", b'{"text": "a"}\n{"words": 1}\n', "t.jsonl:2: not an object with"),
    ],
)
def test_text_with_faults(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LanguageModelError, match=message):
        list(read_sentences(tmp_path / name))
