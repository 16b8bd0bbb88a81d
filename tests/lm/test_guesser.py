"""Pronunciations guessed from letters: the likeliest of all, and what happens with words that cannot be read."""

import math
from collections import defaultdict

import pytest
from spelling_language import dictionary

from edgeseq.data.graphones import write_guesser
from edgeseq.decoding.lexicon import read_phone_lexicon
from edgeseq.errors import LanguageModelError, WordListError
from edgeseq.lm.binary import write_compiled
from edgeseq.lm.guesser import MOST_LETTERS, Guesser, load_guesser
from edgeseq.lm.kneser_ney import estimate
from edgeseq.lm.model import LanguageModel
from edgeseq.tokens.packed_lexicon import pack, write_packed
from edgeseq.tokens.table import TokenTable

ONE_WAY = dictionary(300, seed=1)
ENTRIES = [*ONE_WAY.items(), *((word, (*phones[:-1], "OW")) for word, phones in ONE_WAY.items() if phones[-1] == "UW")]
"""A word may end in `u` in two ways."""


@pytest.fixture(scope="module")
def guesser(tmp_path_factory):
    path = tmp_path_factory.mktemp("guesser") / "en.guesser"
    write_guesser(ENTRIES, path)
    return load_guesser(path)


def all_readings(model: LanguageModel, word: str):
    """Add up the probability of each reading over all ways to cut a word."""
    units = [
        (n, *model.word(n).split(" ")) for n in range(len(model)) if n not in (model.begin_id, model.end_id, model.unknown_id)
    ]
    found = defaultdict(float)

    def onwards(left, context, phones, log10_prob):
        if not left:
            found[phones] += 10.0 ** (log10_prob + model.score(context, model.end_id)[0])
        for number, letters, *sounds in units:
            if left.startswith(letters):
                step, after = model.score(context, number)
                onwards(left[len(letters) :], after, (*phones, *sounds), log10_prob + step)

    onwards(word, model.begin, (), 0.0)
    found.pop((), None)
    return found


@pytest.mark.parametrize("word", ["sha", "xo", "bume", "mad"])
def test_the_best_are_those_of_all_readings(guesser, word, monkeypatch):
    monkeypatch.setattr("edgeseq.lm.guesser.MARGIN", 300.0)
    every = all_readings(guesser.model, word)
    found = Guesser(guesser.model, beam=10**6).pronounce(word, 10**6)
    assert len(found) == len(every)
    for phones, share in found:
        assert math.exp(share) == pytest.approx(every[phones] / sum(every.values()), rel=1e-6)
    assert [share for _, share in found] == sorted((share for _, share in found), reverse=True)
    assert guesser.pronounce(word)[0][0] == found[0][0]


def test_several_ways_where_they_are_nearly_as_likely(guesser):
    new = {word: phones for word, phones in dictionary(500, seed=5).items() if word not in ONE_WAY}
    for word, phones in new.items():
        ways = {phones, (*phones[:-1], "OW")} if word.endswith("u") else {phones}
        assert set(guesser.ways(word)) == ways and len(guesser.ways(word)) == len(ways)


def test_accents_are_left_out(guesser):
    assert guesser.ways("shádö") == guesser.ways("shado") != ()


@pytest.mark.parametrize("word", ["", "4x4", "ba*", "ш", "a" * (MOST_LETTERS + 1)])
def test_words_that_cannot_be_read(guesser, word):
    assert not guesser.reads(word) and guesser.pronounce(word, 3) == [] and guesser.ways(word) == ()


def test_a_long_word_is_read(guesser):
    assert guesser.reads("sha" * 33) and guesser.pronounce("sha" * 33)[0][0] == ("SH", "AA") * 33


def test_other_files_are_refused(tmp_path):
    write_compiled(estimate([["a", "word"]], 2).ngrams, tmp_path / "words.lm")
    with pytest.raises(LanguageModelError, match=r"a language model of words; wanted(?s:.)*edgeseq lexicon guesser"):
        load_guesser(tmp_path / "words.lm")
    (tmp_path / "none").write_bytes(b"nothing")
    with pytest.raises(LanguageModelError, match="not a compiled language model"):
        load_guesser(tmp_path / "none")


TEA = [("tea", ("SH", "AA")), ("a", ("OW",)), ("a", ("UW",))]
SYMBOLS = ("<blk>", "▁", "AA", "B", "D", "K", "M", "OW", "S", "SH", "UW")


def table(guesser, lexicon):
    return TokenTable.from_details(SYMBOLS, {"kind": "phones"}, lexicon, guesser)


def test_tokens_guess_what_their_lexicon_lacks(guesser):
    tokens = table(guesser, pack(TEA))
    assert tokens.unknown("a shado tea 4x4") == ["4x4", "shado"]
    more = tokens.with_guesses(["a shado", "tea 4x4"])
    assert more.unknown("a shado tea 4x4") == ["4x4"] and dict(more.guessed) == {"shado": guesser.ways("shado")}
    assert set(more.pronunciations) == {"a", "shado", "tea"} and more.pronunciations["a"] == (("OW",), ("UW",))
    assert more.with_guesses(["shado", "xo"]).with_guesses(["shado"]).unknown("shado xo tea") == []
    assert tokens.with_guesses(["tea a"]) is tokens and more != tokens
    without = table(None, pack(TEA))
    assert without.with_guesses(["shado"]) is without


def test_a_packed_lexicon_spells_like_one_in_lines(guesser):
    packed, lines = table(guesser, pack(TEA)), TokenTable(SYMBOLS, lexicon="a OW\na UW\ntea SH AA\n")
    assert packed.kind == "phones" and packed.encode("tea a") == lines.encode("tea a")
    assert packed.details == lines.details and dict(packed.pronunciations.items()) == lines.pronunciations
    assert hash(packed) == hash(table(None, pack(TEA))) and packed == table(None, pack(TEA))
    assert list(packed.ways("a")) == list(lines.ways("a"))


def test_other_phones_than_the_tokens(guesser):
    with pytest.raises(ValueError, match=r"the lexicon has phones that are no tokens: \['T'\]"):
        table(None, pack([("tea", ("T",))]))
    with pytest.raises(ValueError, match=r"the guesser has phones that are no tokens: \['UW'\]"):
        TokenTable.from_details(SYMBOLS[:-1], {"kind": "phones"}, pack(TEA[:2]), guesser)


def test_packed_lexicons_are_read_for_a_model(guesser, tmp_path):
    tokens, path = table(guesser, pack(TEA)), tmp_path / "x.lexicon"
    write_packed(pack([("shoe", ("SH", "UW"))]), path)
    found = read_phone_lexicon(path, tokens)
    assert found.pronunciations["shoe"] == (("SH", "UW"),) and found.guesser is guesser and "tea" not in found.pronunciations
    write_packed(pack([("tea", ("t", "iː"))]), path)
    with pytest.raises(WordListError, match=r"other phones than the model's: it has iː, t; the model hears AA B D"):
        read_phone_lexicon(path, tokens)
    write_packed(pack([]), path)
    with pytest.raises(WordListError, match="the lexicon is empty"):
        read_phone_lexicon(path, tokens)
