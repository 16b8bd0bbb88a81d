import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.decoding.ctc import CtcState, Token, extend, greedy_step

BLANK = 0


def log_probs_of(rows):
    probabilities = np.asarray(rows, dtype=np.float64)
    return np.log(probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)


def peaks(ids, n_tokens=4, height=0.9):
    rows = np.full((len(ids), n_tokens), (1 - height) / (n_tokens - 1))
    rows[np.arange(len(ids)), ids] = height
    return log_probs_of(rows)


def decode(log_probs, *borders):
    tokens, state = (), CtcState()
    for part in np.split(log_probs, borders):
        new, state = greedy_step(part, state, BLANK)
        tokens = extend(tokens, new)
    return list(tokens), state


def oracle(log_probs):
    """The textbook, row by row."""
    tokens, previous = [], BLANK
    for step, row in enumerate(log_probs):
        best, confidence = int(row.argmax()), float(np.exp(row.max().astype(np.float64)))
        if best != BLANK and best == previous:
            tokens[-1] = (*tokens[-1][:2], max(tokens[-1][2], confidence))
        elif best != BLANK:
            tokens.append((best, step, confidence))
        previous = best
    return tokens


def test_repeats_merge_and_blanks_separate():
    tokens, state = decode(peaks([0, 1, 1, 0, 1, 2, 2, 0, 0]))
    assert [(t.id, t.step) for t in tokens] == [(1, 1), (1, 4), (2, 5)]
    assert state.n_steps == 9


def test_a_repeat_over_a_border_is_one_token():
    for border in range(1, 6):
        tokens, _ = decode(peaks([0, 1, 1, 1, 0, 1]), border)
        assert [(t.id, t.step) for t in tokens] == [(1, 1), (1, 5)]


def test_a_token_that_goes_on_grows_surer_but_never_less_sure():
    rising = np.concatenate([peaks([1], height=0.6), peaks([1], height=0.9), peaks([1], height=0.7)])
    tokens, _ = decode(rising, 1, 2)
    assert [t.confidence for t in tokens] == [pytest.approx(0.9, abs=1e-6)]
    new, _ = greedy_step(peaks([1], height=0.7), CtcState(1, Token(1, 0, 0.9)), BLANK)
    assert new == []


def test_no_rows_change_nothing():
    state = CtcState(3, Token(1, 2, 0.5))
    assert greedy_step(np.zeros((0, 4), dtype=np.float32), state, BLANK) == ([], state)


def test_blank_may_be_any_column():
    tokens, _ = greedy_step(peaks([3, 0, 3]), CtcState(), blank_id=3)
    assert [(t.id, t.step) for t in tokens] == [(0, 1)]


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_rows=st.integers(1, 60),
    borders=st.lists(st.integers(0, 60), max_size=8),
)
def test_any_cut_equals_the_whole_and_the_textbook(seed, n_rows, borders):
    rng = np.random.default_rng(seed)
    log_probs = log_probs_of(rng.random((n_rows, 3)) ** 4 + 1e-9)
    tokens, _ = decode(log_probs, *sorted(b for b in borders if b <= n_rows))
    assert [(t.id, t.step, pytest.approx(t.confidence)) for t in tokens] == oracle(log_probs)
