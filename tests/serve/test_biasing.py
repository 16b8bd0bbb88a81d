"""What clients give to be heard more readily becomes hotwords, within bounds."""

import pytest

pytest.importorskip("onnx")
from hypothesis import given
from hypothesis import strategies as st

from edgeseq.decoding.hotwords import DEFAULT_BOOST, Hotword, Hotwords
from edgeseq.decoding.loading import load_beam
from edgeseq.serve.biasing import LONGEST, NAME_BOOST, TERM_BOOST, biased, hotwords, spelled, terms_of_prompt, texts
from edgeseq.serve.limits import Limits
from edgeseq.tokens.table import TokenTable

TOKENS = TokenTable.of_characters(["abcdefghijklmnopqrstuvwxyz'é"])


def told(recognizer):
    return {hotword.phrase: hotword.boost for hotword in recognizer.decoder.hotwords.hotwords}


def test_names_come_before_terms(tone_recognizer):
    recognizer = biased(tone_recognizer, ["Zoe", "zoe", "Anna-Lena"], ["zoe", "kitchen light", "Tür", "42"])
    assert told(recognizer) == {"zoe": NAME_BOOST, "anna lena": NAME_BOOST, "kitchen light": TERM_BOOST}
    assert recognizer.network is tone_recognizer.network
    assert biased(tone_recognizer, ["zoe", "Anna-Lena"], ["kitchen light"]).decoder is recognizer.decoder, "clients share it"
    assert biased(tone_recognizer, ["42"], []) is tone_recognizer


def test_those_of_the_server_stay(tone_recognizer):
    own = load_beam(tone_recognizer.metadata, hotwords=[Hotword("zoe", 4.0), Hotword("abba")])
    recognizer = biased(tone_recognizer.with_decoder(own), ["Zoe", "Siobhan"])
    assert told(recognizer) == {"zoe": 4.0, "abba": DEFAULT_BOOST, "siobhan": NAME_BOOST}
    assert recognizer.decoder.options == own.options


def test_bounds(tone_recognizer):
    many = [f"{a}{b}{c}" for a in "abcdefgh" for b in "abcdefgh" for c in "abcdefgh"]
    assert len(told(biased(tone_recognizer, many, limits=Limits(phrases_nodes=40)))) == 10
    assert spelled("a" * LONGEST, TOKENS) and spelled("a" * (LONGEST + 1), TOKENS) is None
    assert texts(["a", 1, None, ["b"], "c"]) == ["a", "c"] and texts("abc") == texts(None) == texts({"a": 1}) == []


@given(st.lists(st.text(max_size=80)), st.lists(st.text(max_size=80)), st.integers(0, 200))
def test_whatever_comes_compiles(names, terms, most_letters):
    found = hotwords(names, terms, TOKENS, most_letters)
    assert len(Hotwords(found, TOKENS)) <= 1 + 2 * most_letters
    assert sum(len(hotword.phrase) + 1 for hotword in found) <= most_letters
    boosts = [hotword.boost for hotword in found]
    assert boosts == sorted(boosts, reverse=True)


@given(st.text(max_size=500))
def test_any_prompt_gives_terms(prompt):
    assert all(0 < len(term.split()) <= 4 for term in terms_of_prompt(prompt))
