"""The free loop beside the phrases against every way through it, written out."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from phrase_sentences import viterbi

from edgeseq.phrases.compiling import compile_phrases
from edgeseq.phrases.file import parse_phrases
from edgeseq.phrases.loop import PRIOR_WEIGHT, TokenLoop, phone_prior
from edgeseq.phrases.search import PhraseDecoder
from edgeseq.saving import pack, unpack
from edgeseq.tokens import TokenTable

PHONES = TokenTable.of_phones([("ah", ("a",)), ("ahb", ("a", "b")), ("baa", ("b", "a", "a"))])
METADATA = SimpleNamespace(tokens=PHONES.symbols, token_table=PHONES, blank_id=0, step_samples=640, sample_rate=16000)


def _rows(seed, n_steps, sharpness=2.0):
    rows = sharpness * np.random.default_rng(seed).normal(size=(n_steps, len(PHONES)))
    return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


def _collapsed(path):
    return [id_ for id_, _ in itertools.groupby(path) if id_ != PHONES.blank_id]


def _heard(loop, rows):
    state = loop.init_state()
    for row in rows:
        state = loop.advance(row - row.max(), state)
    return state


@pytest.mark.parametrize("seed", range(6))
def test_the_loop_finds_the_best_of_all_ways(seed):
    rows, prior = _rows(seed, 5), phone_prior(PHONES, weight=1.0)
    cost = rows - rows.max(axis=1, keepdims=True)
    every = itertools.product(range(len(PHONES)), repeat=len(rows))
    best = max(cost[range(len(rows)), path].sum() + prior.of(_collapsed(path)) for path in every)
    assert _heard(TokenLoop(prior, 0), rows).score == pytest.approx(best, abs=1e-9)


def test_the_prior_counts_pairs_of_the_lexicon():
    prior = phone_prior(PHONES, weight=1.0)
    start, a, b = (PHONES.ids[symbol] for symbol in ("▁", "a", "b"))
    likely = np.exp(prior.next)
    assert likely[:, PHONES.blank_id].max() == 0 and np.exp(prior.first).sum() == pytest.approx(1)
    assert likely[[start, a, b]].sum(axis=1) == pytest.approx(1)
    # behind the beginning of a word: a twice, b once, and half a time each of the three for what was not seen
    assert likely[start, [start, a, b]] == pytest.approx(np.array([0.5, 2.5, 1.5]) / 4.5)
    assert phone_prior(PHONES).next[start, a] == pytest.approx(PRIOR_WEIGHT * np.log(2.5 / 4.5))
    assert prior.of([]) == 0.0 and prior.of([start, a, b]) == pytest.approx(
        np.log(np.exp(prior.first[start]) * (2.5 / 4.5) * likely[a, b])
    )


@pytest.mark.parametrize("seed", range(6))
def test_a_phrase_of_phones_is_rated_against_the_loop(seed):
    rows, prior = _rows(seed, 12), phone_prior(PHONES)
    decoder = PhraseDecoder(compile_phrases(parse_phrases("intents: {x: [ahb ah]}"), PHONES), METADATA, threshold=None)
    said = PHONES.encode("ahb ah")
    expected = viterbi(rows, said, 0, decoder.filler) + prior.of(said) - _heard(TokenLoop(prior, 0), rows).score
    final = decoder.final(decoder.step(rows, decoder.init_state()))
    assert final.phrase_score == pytest.approx(expected / len(said), abs=1e-9) and final.phrase_score < 0


def test_what_the_loop_says_itself_costs_nothing_and_other_words_more():
    decoder = PhraseDecoder(compile_phrases(parse_phrases("intents: {x: [ahb ah]}"), PHONES), METADATA, threshold=None)

    def score(text):
        ids = [id_ for token in PHONES.encode(text) for id_ in (token, 0)]
        rows = np.full((len(ids), len(PHONES)), -7.0)
        rows[np.arange(len(ids)), ids] = -0.005
        return decoder.final(decoder.step(rows, decoder.init_state())).phrase_score

    assert score("ahb ah") == pytest.approx(0, abs=1e-9)
    assert score("ahb baa") < -0.9


def test_a_new_utterance_begins_with_an_empty_loop_and_a_state_can_be_saved():
    decoder = PhraseDecoder(compile_phrases(parse_phrases("intents: {x: [ahb]}"), PHONES), METADATA, threshold=None)
    rows = _rows(7, 20)
    state = decoder.step(rows, decoder.init_state())
    again = unpack(pack(state), [type(state)])
    assert decoder.final(again) == decoder.final(state)
    for begin in (decoder.follow, decoder.restart):
        assert begin(state).loop.score == 0.0
    stepped = decoder.init_state()
    for row in rows:
        before = stepped.loop.token.copy()
        following = decoder.step(row[None], stepped)
        assert np.array_equal(stepped.loop.token, before), "the old state was modified"
        stepped = following
    assert np.array_equal(stepped.loop.token, state.loop.token) and stepped.loop.nothing == state.loop.nothing
