import gzip

import numpy as np
import pytest
from uneven_text import text

from edgeseq.errors import LanguageModelError
from edgeseq.lm.arpa import read_arpa, write_arpa
from edgeseq.lm.binary import write_compiled
from edgeseq.lm.kneser_ney import estimate
from edgeseq.lm.model import LanguageModel

SMALL = """
\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-1.5\t<unk>
-99\t<s>\t-0.25
-0.5\t</s>
-0.75\ta\t-0.125
-1\tb\t-0.5

\\2-grams:
-0.25\t<s> a
-0.5\ta b
-0.125\tb </s>

\\end\\
"""


def save(folder, content, name="lm.arpa"):
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def compiled(arpa, **options):
    path = arpa.with_suffix(".lm")
    write_compiled(read_arpa(arpa), path, **options)
    return LanguageModel(path)


def shares(model, sentence):
    return [score for _, score, _ in model.sentence(sentence.split())]


def test_scores_by_hand(tmp_path):
    model = compiled(save(tmp_path, SMALL))
    assert shares(model, "a b") == [-0.25, -0.5, -0.125]
    assert shares(model, "b a") == [-0.25 - 1, -0.5 - 0.75, -0.125 - 0.5]  # backoff of <s>, of b, of a
    assert shares(model, "zzz") == [-0.25 - 1.5, -0.5]  # unknown has no backoff


def test_order_within_a_section_and_spaces_do_not_matter(tmp_path):
    lines = SMALL.splitlines()
    lines[13:16] = reversed(lines[13:16])
    shuffled = "\r\n".join(lines).replace("\t", "   ")
    assert shares(compiled(save(tmp_path, "made by a program\n" + shuffled)), "a b") == [-0.25, -0.5, -0.125]


def test_words_in_capitals_are_those_that_models_spell(tmp_path):
    capitals = SMALL.replace("\ta\t", "\tA\t").replace("\ta b", "\tA b").replace("<s>\t", "<S>\t")
    assert capitals.count("A") == 2
    assert shares(compiled(save(tmp_path, capitals)), "a b") == [-0.25, -0.5, -0.125]


def test_gzip(tmp_path):
    path = tmp_path / "lm.arpa.gz"
    path.write_bytes(gzip.compress(SMALL.encode()))
    assert shares(compiled(path), "a b") == [-0.25, -0.5, -0.125]
    path.write_bytes(gzip.compress(SMALL.encode())[:-20])
    with pytest.raises(LanguageModelError, match="breaks off"):
        read_arpa(path)


def test_contexts_that_are_missing_change_no_score(tmp_path):
    """SRILM drops n-grams that longer ones begin with."""
    trigram = SMALL.replace("ngram 2=3", "ngram 2=3\nngram 3=2").replace(
        "\\end\\", "\\3-grams:\n-0.375 b a b\n-0.0625 a b a\n\n\\end\\"
    )
    model = compiled(save(tmp_path, trigram))
    assert shares(model, "b a b") == [-1.25, -1.25, -0.375, -0.125]
    assert shares(model, "b a a") == [-1.25, -1.25, -0.125 - 0.75, -0.125 - 0.5]
    assert shares(model, "a b a") == [-0.25, -0.5, -0.0625, -0.625]


def test_a_model_without_unknown_words(tmp_path):
    model = compiled(save(tmp_path, SMALL.replace("-1.5\t<unk>\n", "").replace("1=5", "1=4")))
    assert shares(model, "zzz")[0] == -0.25 - 100


def test_written_and_read_again(tmp_path):
    ngrams = estimate(text(3), 3).ngrams
    for name in ("lm.arpa", "lm.arpa.gz"):
        write_arpa(ngrams, tmp_path / name)
        again = read_arpa(tmp_path / name)
        assert again.vocabulary == ngrams.vocabulary
        for table, other in zip(again.tables, ngrams.tables, strict=True):
            assert np.array_equal(table.word, other.word) and np.array_equal(table.context, other.context)
            assert np.allclose(table.log10_prob, other.log10_prob, atol=1e-5)
            assert np.allclose(table.log10_backoff, other.log10_backoff, atol=1e-5)


def changed(old, new):
    assert old in SMALL
    return SMALL.replace(old, new)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a text\n", r"lm.arpa:1: there is no line \\data\\"),
        ("", "there is no line"),
        ("\\data\\\n\\1-grams:\n", r":2: '\\1-grams:' is read; wanted the counts"),
        (changed("ngram 2=3", "ngram 3=3"), ":4: 'ngram 3=3' gives the count of order 3"),
        (changed("2=3", "2=99999999999"), "99,999,999,999 n-grams; wanted at most"),
        (changed("2=3", "2=300000"), "which the file's [0-9]+ bytes cannot hold"),
        (changed("2=3", "2=4"), r":18: '\\end\\' is read after 3 2-grams; \\data\\ announces 4"),
        (changed("2=3", "2=2"), r":16: another 2-gram '-0.125\tb </s>'"),
        (changed("1=5", "1=4"), ":11: another 1-gram"),
        (changed("\\2-grams:", "\\3-grams:"), r":13: '\\3-grams:' is read; wanted the section \\2-grams:"),
        (SMALL[: SMALL.index("-0.125\tb </s>")], "the file ends here after 2 2-grams"),
        (changed("\\end\\", ""), r"the file ends here; wanted \\end\\"),
        (changed("-0.5\ta b", "-0.5\ta"), ":15: '-0.5\ta' has 2 fields; wanted a log10 probability, 2 words"),
        (changed("-0.5\ta b", "x\ta b"), ":15: 'x\ta b' holds something else where a number was wanted"),
        (changed("-0.5\ta b", "0.5\ta b"), "log10 probability 0.5"),
        (changed("-0.5\ta b", "nan\ta b"), "log10 probability nan"),
        (changed("\ta\t-0.125", "\ta\tinf"), "backoff inf"),
        (changed("-0.5\ta b", "-0.5\ta c"), ":15: the word 'c' is not among the 1-grams"),
        (changed("-1\tb\t-0.5", "-1\ta\t-0.5"), ":11: the word 'a' comes a second time"),
        (changed("-1\tb\t-0.5", "-1\tA\t-0.5"), ":11: the word 'A' comes a second time.\n.*lower case"),
        (changed("-0.5\ta b", "-0.5\t<s> a"), ":15: the n-gram '<s> a' comes a second time; it is in line 14"),
        (changed("<s>", "s"), "there is no <s>"),
    ],
)
def test_faults_are_told_with_their_line(tmp_path, content, message):
    with pytest.raises(LanguageModelError, match=message):
        read_arpa(save(tmp_path, content))


def test_what_is_not_utf8(tmp_path):
    (tmp_path / "lm.arpa").write_bytes(SMALL.replace("\tb", "\t\xe9").encode("latin1"))
    with pytest.raises(LanguageModelError, match=":11: the line is not UTF-8"):
        read_arpa(tmp_path / "lm.arpa")
