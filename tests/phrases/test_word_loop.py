"""The words beside the phrases against every way to say them, written out."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from phrase_sentences import viterbi_of_phones

from edgeseq.phrases.compiling import compile_phrases
from edgeseq.phrases.file import parse_phrases
from edgeseq.phrases.search import PhraseDecoder
from edgeseq.phrases.word_loop import MOST_WAYS, word_loop
from edgeseq.stream.serialization import pack, unpack
from edgeseq.tokens.table import TokenTable

PHONES = TokenTable.of_phones([("ah", ("a",)), ("ahb", ("a", "b")), ("baa", ("b", "a", "a"))])
METADATA = SimpleNamespace(tokens=PHONES.symbols, token_table=PHONES, blank_id=0, step_samples=640, sample_rate=16000)
LOOP = word_loop(PHONES)
WORDS = {tuple(PHONES.ids[phone] for phone in phones) for phones in ("a", "ab", "baa")}


def _rows(seed, n_steps, n_tokens=5, sharpness=1.0):
    rows = sharpness * np.random.default_rng(seed).normal(size=(n_steps, n_tokens))
    return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


def _heard(loop, rows):
    state = loop.init_state()
    for row in rows:
        state = loop.advance(row - row.max(), state)
    return state


@pytest.mark.parametrize("seed", range(6))
def test_the_loop_finds_the_best_of_all_words(seed):
    rows = _rows(seed, 6)
    several = [words for n in range(7) for words in itertools.product(WORDS, repeat=n) if sum(map(len, words)) <= 6]
    best = max(viterbi_of_phones(rows, words, WORDS) for words in several)
    state = _heard(LOOP, rows)
    assert LOOP.score(state, ended=True) == pytest.approx(best, abs=1e-9)
    begun = [(*words, word[:n]) for words in several for word in WORDS for n in range(1, len(word))]
    best = max(best, *(viterbi_of_phones(rows, words, WORDS, complete=False) for words in begun))
    assert LOOP.score(state, ended=False) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_a_phrase_is_rated_against_the_words_of_the_lexicon(seed):
    rows = _rows(seed, 12)
    decoder = PhraseDecoder(compile_phrases(parse_phrases("intents: {x: [ahb ah]}"), PHONES), METADATA, threshold=None)
    said = [PHONES.encode(word)[1:] for word in ("ahb", "ah")]
    phrase = viterbi_of_phones(rows, [tuple(word) for word in said], filler=decoder.filler)
    against_words = min(phrase - LOOP.score(_heard(LOOP, rows), ended=True), 0.0)
    final = decoder.final(decoder.step(rows, decoder.init_state()))
    assert final.phrase_score == pytest.approx((phrase + against_words) / 2 / 3, abs=1e-9)
    assert final.phrase_score < 0


def test_words_may_begin_behind_sure_silence():
    rows = np.log(np.full((8, len(PHONES)), 1e-9))
    rows[[0, 1, 2, 3, 4, 5, 6, 7], [0, 0, 0, 2, 3, 0, 0, 2]] = 0.0
    states = list(itertools.accumulate(rows, lambda state, row: LOOP.advance(row, state), initial=LOOP.init_state()))
    assert [len(state.node) for state in states[:5]] == [0, 0, 0, 0, 1]
    assert [LOOP.score(state, ended=True) for state in (states[3], states[5], states[8])] == [0.0, 0.0, 0.0]


def _said(ids, surety=7.0):
    rows = np.full((2 * len(ids), len(PHONES)), -surety)
    rows[np.arange(2 * len(ids)), [id_ for token in ids for id_ in (token, 0)]] = -0.005
    return rows


def test_another_word_costs_more_than_the_same_word_said_indistinctly():
    decoder = PhraseDecoder(compile_phrases(parse_phrases("intents: {x: [ahb]}"), PHONES), METADATA, threshold=None)

    def score(ids):
        return decoder.final(decoder.step(_said(ids), decoder.init_state())).phrase_score

    start, a, b = (PHONES.ids[symbol] for symbol in ("▁", "a", "b"))
    assert score([start, a, b]) == pytest.approx(0, abs=1e-9)
    # "abb" is no word, so that only the filler behind the phrase counts; "a" is one, and b costs the phrase 7 nats
    assert score([start, a, b, b]) == pytest.approx(-3 / 2 / 2, abs=0.01)
    assert score([start, a]) == pytest.approx(-7 / 2, abs=0.02)


def test_a_new_utterance_begins_with_an_empty_loop_and_a_state_can_be_saved():
    decoder = PhraseDecoder(compile_phrases(parse_phrases("intents: {x: [ahb]}"), PHONES), METADATA, threshold=None)
    rows = _rows(7, 20)
    state = decoder.step(rows, decoder.init_state())
    again = unpack(pack(state), [type(state)])
    assert decoder.final(again) == decoder.final(state)
    for begin in (decoder.follow, decoder.restart):
        assert len(begin(state).loop.node) == 0 and begin(state).loop.nothing == 0.0
    stepped = decoder.init_state()
    for row in rows:
        before = stepped.loop.token.copy()
        following = decoder.step(row[None], stepped)
        assert np.array_equal(stepped.loop.token, before), "the old state was modified"
        stepped = following
    assert np.array_equal(stepped.loop.token, state.loop.token) and stepped.loop.nothing == state.loop.nothing


def test_the_ways_that_are_kept_do_not_grow_with_the_lexicon():
    symbols = "abcdefghijklmnop"
    spelled = ["".join(letters) for n in (1, 2, 3) for letters in itertools.product(symbols, repeat=n)]
    tokens = TokenTable.of_phones((word, tuple(word)) for word in spelled)
    loop = word_loop(tokens)
    state = _heard(loop, _rows(0, 30, len(tokens), sharpness=0.2))
    assert len(loop._tree) > 4000 and 0 < len(state.node) <= MOST_WAYS
    assert np.array_equal(state.node, np.unique(state.node))
