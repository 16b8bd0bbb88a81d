"""The greedy decoder as one decoder among others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.decoding.decoder import kind_of
from edgeseq.decoding.greedy import GreedyDecoder

pytest.importorskip("onnx")
import tone_language as tones

DECODER = GreedyDecoder(tones.metadata())
"""Rows of 40 ms; `_` below is blank."""


def rows(symbols, height=0.9):
    ids = ["_▁abcdefghijklmnopqrstuvwxyz".index(symbol) for symbol in symbols]
    probabilities = np.full((len(ids), len(tones.TOKENS)), (1 - height) / (len(tones.TOKENS) - 1))
    probabilities[np.arange(len(ids)), ids] = height
    return np.log(probabilities).astype(np.float32)


def hear(symbols, state=None):
    return DECODER.step(rows(symbols), DECODER.init_state() if state is None else state)


def text(hypothesis):
    return None if hypothesis is None else " ".join(word.word for word in hypothesis.words)


def test_words_and_their_times():
    state = hear("__▁o_n__▁a")
    hypothesis = DECODER.final(state)
    assert text(hypothesis) == "on a"
    assert [(word.start, word.end) for word in hypothesis.words] == [
        (pytest.approx(2.5 * 0.04), pytest.approx(5.5 * 0.04)),
        (pytest.approx(8.5 * 0.04), pytest.approx(9.5 * 0.04)),
    ]
    assert hypothesis.confidence == pytest.approx(0.9)
    assert (DECODER.n_steps(state), DECODER.last_token_step(state), DECODER.stable_words(state)) == (10, 9, 1)
    assert not DECODER.is_complete(state) and kind_of(DECODER) == "greedy"


def test_nothing_said():
    for symbols in ("", "___", "_▁_"):
        state = hear(symbols)
        assert DECODER.partial(state) is DECODER.final(state) is None
    assert DECODER.last_token_step(hear("__")) == -1 and DECODER.last_token_step(hear("_▁")) == 1


def test_the_next_utterance_begins_with_nothing_and_time_goes_on():
    state = DECODER.follow(hear("▁a__"))
    assert text(DECODER.partial(state)) is None and DECODER.last_token_step(state) == -1 and DECODER.n_steps(state) == 4
    state = hear("_▁b", state)
    assert text(DECODER.final(state)) == "b" and DECODER.final(state).words[0].start == pytest.approx(5.5 * 0.04)


def test_a_letter_that_goes_on_over_the_end_is_said_once():
    state = DECODER.follow(hear("▁ab"))
    assert DECODER.final(hear("bb_", state)) is None
    assert text(DECODER.final(hear("bb_c", state))) == "c"
    assert text(DECODER.final(hear("_b", state))) == "b"


@settings(deadline=None, max_examples=60)
@given(st.text("_▁ab", min_size=1, max_size=30), st.lists(st.integers(0, 30), max_size=5))
def test_any_cut_gives_the_same_state(symbols, borders):
    whole, state = hear(symbols), DECODER.init_state()
    for part in np.split(rows(symbols), sorted(border for border in borders if border <= len(symbols))):
        state = DECODER.step(part, state)
    assert state == whole
