"""Symbols and ids."""

import doctest

import pytest

import edgeseq.tokens.table
from edgeseq.errors import ManifestError
from edgeseq.tokens.table import TokenTable


def test_doctests():
    assert doctest.testmod(edgeseq.tokens.table).failed == 0


def test_spelling_and_reading_are_inverse():
    tokens = TokenTable.of_characters(["three one four", "zwölf"])
    for text in ("three", "zwölf one three", ""):
        assert tokens.decode(tokens.encode(text)) == text


def test_texts_of_consecutive_pieces_join_to_the_text_of_the_whole():
    tokens = TokenTable.of_characters(["three one four"])
    assert tokens.decode(tokens.encode("three one") + tokens.encode("four")) == "three one four"


def test_decomposed_and_composed_letters_are_one():
    tokens = TokenTable.of_characters(["zwo\u0308lf"])
    assert tokens.encode("zwo\u0308lf") == tokens.encode("zw\u00f6lf")


def test_characters_outside_the_tokens_are_named():
    with pytest.raises(ManifestError, match=r"'q'.*no token"):
        TokenTable.of_characters(["one"]).encode("on q")
