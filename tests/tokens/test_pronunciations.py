"""Phones by a lexicon: read, spelled, looked up, kept."""

import doctest

import numpy as np
import pytest

from edgeseq.decoding.dictation import DictationDecoder
from edgeseq.decoding.fusion import Weights
from edgeseq.decoding.hotwords import Hotword, Hotwords
from edgeseq.decoding.lexicon_tree import LexiconTree, phone_entries
from edgeseq.decoding.word_ends import WordEnds
from edgeseq.errors import ManifestError, WordListError
from edgeseq.serve.biasing import spelled
from edgeseq.tokens import pronunciations
from edgeseq.tokens.pronunciations import read_entries
from edgeseq.tokens.table import TokenTable

LEXICON = """\
;;; as CMUdict writes it
READ  R EH D
READ(2)  R IY D   # now
RED  R EH D
ON  A N
GONE  G A N
SINGS  S I NG Z
SIN  S I N
GZ  G Z
"""
TABLE = TokenTable.of_phones((word, phones) for _, word, phones in read_entries(LEXICON.splitlines()))


def test_doctests():
    assert doctest.testmod(pronunciations).failed == 0


def test_texts_are_spelled_by_the_first_pronunciation():
    assert [TABLE.symbols[token] for token in TABLE.encode("Read on")] == ["▁", "R", "EH", "D", "▁", "A", "N"]
    with pytest.raises(ManifestError, match=r"holds 'reed', which the lexicon"):
        TABLE.encode("read reed")


def test_words_are_told_by_their_sound():
    assert TABLE.decode(TABLE.encode("red sings gone")) == "read sings gone"
    assert TABLE.decode([TABLE.ids[symbol] for symbol in ("▁", "S", "I", "▁", "R", "IY", "D")]) == "S-I read"


def test_it_comes_back_from_what_is_kept():
    assert TokenTable.from_details(TABLE.symbols, TABLE.details) == TABLE
    assert TABLE.pronunciations["read"] == (("R", "EH", "D"), ("R", "IY", "D"))


@pytest.mark.parametrize(
    ("symbols", "details", "message"),
    [
        (TABLE.symbols, {"kind": "syllables"}, "wanted characters, subwords or phones"),
        (TABLE.symbols, {"kind": "phones"}, "are missing"),
        (("<blk>", "▁", "A"), {"kind": "phones", "lexicon": "an A N\n"}, r"'an' without phones, or .*\['N'\]"),
        (("<blk>", "▁", "A"), {"kind": "phones", "lexicon": "an\n"}, "'an' without phones"),
        (("<blk>", "▁", "a"), {"kind": "subwords", "scores": [0, 1]}, "2 scores for 3 tokens"),
        (("<blk>", "a"), {"kind": "subwords", "scores": [0, 1]}, "no token '▁'"),
    ],
)
def test_tables_that_do_not_fit_together(symbols, details, message):
    with pytest.raises(ValueError, match=message):
        TokenTable.from_details(symbols, details)


def rows_of(*symbols):
    """Rows that say each symbol for sure, blanks between."""
    path = [token for symbol in symbols for token in (TABLE.ids[symbol], 0)]
    rows = np.full((len(path), len(TABLE)), 1e-4)
    rows[np.arange(len(path)), path] = 1
    return np.log(rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (("▁", "S", "I", "NG", "Z"), "sings"),
        (("▁", "S", "I", "N", "▁", "G", "Z"), "sin gz"),  # the same letters, but other phones
        (("▁", "R", "IY", "D", "▁", "R", "EH", "D"), "read read"),
    ],
)
def test_the_beam_search_finds_the_words_of_the_lexicon(said, text):
    ends = WordEnds(LexiconTree(phone_entries(TABLE)), None, Weights(), TABLE.word_start_id)
    decoder = DictationDecoder(TABLE, 0.04, ends)
    state = decoder.step(rows_of(*said), decoder.init_state())
    assert " ".join(word.word for word in decoder.final(state).words) == text


def test_hotwords_count_in_each_pronunciation():
    hotwords = Hotwords([Hotword("read on", 1.0)], TABLE)
    for said in (["▁", "R", "EH", "D", "▁", "A", "N"], ["▁", "R", "IY", "D", "▁", "A", "N"]):
        node, total = 0, 0.0
        for symbol in said:
            added, node = hotwords.step(node, TABLE.ids[symbol])
            total += added
        assert total + hotwords.end(node) == 5.0
    with pytest.raises(WordListError, match="'write': the lexicon lacks 'write'"):
        Hotwords([Hotword("write")], TABLE)


def test_what_clients_may_ask_for():
    assert spelled("Read: on!", TABLE) == "read on" and spelled("write", TABLE) is None
