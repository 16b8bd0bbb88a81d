"""The search of a phrase graph against every sentence by itself, and as a stream."""

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from phrase_sentences import METADATA, TOKENS, phrase_file, phrases_of, random_rows, say, sentences, sure, viterbi

from edgeseq.errors import UsageError
from edgeseq.phrases.compiling import compile_phrases
from edgeseq.phrases.file import parse_phrases
from edgeseq.phrases.search import PhraseDecoder
from edgeseq.phrases.trellis import SPARE_HISTORY
from edgeseq.stream.serialization import pack
from edgeseq.tokens.table import TokenTable


def _decoder(phrases, **settings):
    return PhraseDecoder(compile_phrases(phrases, TOKENS), METADATA, **{"threshold": None, **settings})


@settings(max_examples=150, deadline=None)
@given(phrase_file, st.integers(0, 2**32), st.integers(1, 14), st.sampled_from([math.inf, 1.0]))
def test_the_best_phrase_is_the_best_of_all_sentences(parts, seed, n_steps, filler):
    phrases = phrases_of(parts)
    every = sentences(phrases)
    assume(len(every) <= 300 and all(words for words, *_ in every))
    rows = random_rows(seed, n_steps)
    scored = {words: viterbi(rows, TOKENS.encode(" ".join(words)), 0, filler) for words, *_ in every}
    best = max(scored[words] + weight for words, _, _, weight in every)

    decoder = _decoder(phrases, beam=math.inf, filler=filler)
    final = decoder.final(decoder.step(rows, decoder.init_state()))

    if best == -math.inf:
        assert final is None
        return
    said = tuple(word.word for word in final.words)
    readings = [(weight, intent, slots) for words, intent, slots, weight in every if words == said]
    assert scored[said] + max(weight for weight, _, _ in readings) == pytest.approx(best, abs=1e-9)
    n_tokens = len(TOKENS.encode(" ".join(said)))
    assert final.phrase_score == pytest.approx(scored[said] / n_tokens, abs=1e-9)
    heaviest = max(weight for weight, _, _ in readings)
    assert (final.intent, final.slots) in [(i, s) for weight, i, s in readings if weight > heaviest - 1e-9]


@settings(max_examples=60, deadline=None)
@given(phrase_file, st.integers(0, 2**32), st.lists(st.integers(0, 14), max_size=4), st.sampled_from([math.inf, 6.0]))
def test_any_cutting_gives_the_same_state(parts, seed, cuts, beam):
    phrases = phrases_of(parts)
    assume(all(words for words, *_ in sentences(phrases)))
    rows = random_rows(seed, 14).astype(np.float32)
    decoder = _decoder(phrases, beam=beam)
    whole = decoder.step(rows, decoder.init_state())
    state = decoder.init_state()
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 14], strict=True):
        before, content = state, _content(state)
        state = decoder.step(rows[start:end], state)
        assert _content(before) == content, "the old state was modified"
    assert _content(state) == _content(whole)
    assert decoder.final(state) == decoder.final(whole)
    assert decoder.partial(state) == decoder.partial(whole)


def _content(value):
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tolist()
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: _content(getattr(value, f.name)) for f in fields(value)}
    return value


@settings(max_examples=60, deadline=None)
@given(phrase_file, st.integers(0, 2**32), st.sampled_from([math.inf, 8.0, 2.0]))
def test_stable_words_are_not_taken_back(parts, seed, beam):
    phrases = phrases_of(parts)
    assume(all(words for words, *_ in sentences(phrases)))
    decoder = _decoder(phrases, beam=beam)
    state, promised = decoder.init_state(), []
    for row in random_rows(seed, 20, sharpness=5.0):
        state = decoder.step(row[None], state)
        partial = decoder.partial(state)
        if partial is None:
            assert not promised
            continue
        said = [word.word for word in partial.words]
        assert said[: len(promised)] == promised
        promised = said[: decoder.stable_words(state)]
    final = decoder.final(state)
    if final is not None:
        assert [word.word for word in final.words][: len(promised)] == promised


def test_a_wide_beam_changes_nothing_and_a_narrow_one_keeps_less():
    phrases = parse_phrases("intents: {x: ['(a | b | c) (a | b | c) (a | b | c) [ab | ac]']}")
    rows = say("a b c ab")
    exact, wide, narrow = (_decoder(phrases, beam=beam) for beam in (math.inf, 30.0, 5.0))
    states = [d.step(rows, d.init_state()) for d in (exact, wide, narrow)]
    finals = [d.final(s) for d, s in zip((exact, wide, narrow), states, strict=True)]
    assert finals[0] == finals[1] == finals[2]
    assert " ".join(word.word for word in finals[0].words) == "a b c ab"
    assert len(states[2].front.ways) < len(states[1].front.ways) <= len(states[0].front.ways)


def test_times_are_those_of_the_first_and_last_token_of_a_word():
    decoder = _decoder(parse_phrases("intents: {x: [ab a]}"))
    final = decoder.final(decoder.step(say("ab a"), decoder.init_state()))
    # ▁ at rows 0 and 1, blank, a at 3, b at 6; ▁ at 9, a at 12; steps of 40 ms
    assert [(w.word, round(w.start, 3), round(w.end, 3)) for w in final.words] == [("ab", 0.02, 0.26), ("a", 0.38, 0.5)]


def test_confidence_is_near_one_whensure_and_low_when_not():
    decoder = _decoder(parse_phrases("intents: {x: [ab a]}"))
    sure, unsure = (decoder.final(decoder.step(say("ab a", surety=s), decoder.init_state())) for s in (9.0, 2.0))
    assert sure.confidence > 0.99 and unsure.confidence < 0.4
    assert all(0 <= word.confidence <= 1 for word in (*sure.words, *unsure.words))


def test_other_speech_and_silence_yield_nothing():
    phrases = parse_phrases("intents: {x: ['ab ac']}")
    for rows in (sure([0] * 50), say("c cc c c"), say("ab"), np.zeros((0, 5), np.float32)):
        decoder = _decoder(phrases, threshold=-1.0)
        state = decoder.step(rows, decoder.init_state())
        assert decoder.final(state) is None and not decoder.is_complete(state)
    decoder = _decoder(phrases, threshold=None)
    assert decoder.final(decoder.step(say("c cc c c"), decoder.init_state())) is not None


def test_other_sound_before_and_behind_a_phrase_costs_the_filler():
    decoder = _decoder(parse_phrases("intents: {x: ['ab ac']}"), filler=0.5)
    clean = decoder.final(decoder.step(say("ab ac"), decoder.init_state()))
    rows = np.concatenate([sure([3, 0]), say("ab ac"), sure([4, 0])])
    around = decoder.final(decoder.step(rows, decoder.init_state()))
    assert clean.phrase_score == 0 and around.phrase_score == pytest.approx(-1 / 6)
    assert around.words[0].start == pytest.approx(clean.words[0].start + 0.08)


def test_other_speech_shortly_before_counts_against_a_phrase():
    decoder = _decoder(parse_phrases("intents: {x: ['ab', 'c']}"), threshold=-0.5)
    unsure = np.log(np.array([[0.18, 0.4, 0.4, 0.01, 0.01]] * 12, dtype=np.float32))

    def score_after(rows, pause):
        state = decoder.step(rows, decoder.init_state())
        state = decoder.step(_say_nothing(pause), decoder.follow(state))
        return decoder.final(decoder.step(say("ab"), state))

    assert score_after(unsure, 2) is None
    later, much_later = score_after(unsure, 100), score_after(unsure, 1000)
    assert -0.5 < later.phrase_score < much_later.phrase_score < 0 and much_later.phrase_score > -1e-6
    assert score_after(_say_nothing(10), 2).phrase_score > -0.05
    assert score_after(say("c"), 2).phrase_score == 0, "a phrase is no other speech"


def _say_nothing(n_steps):
    return sure([0] * n_steps, 12.0)


def test_complete_when_a_phrase_has_ended_and_not_before():
    decoder = _decoder(parse_phrases("intents: {x: ['a b [c]']}"), threshold=-1.0)
    state = decoder.init_state()
    seen = []
    for row in say("a b c"):
        state = decoder.step(row[None], state)
        seen.append((decoder.is_complete(state), decoder.last_token_step(state)))
    assert [complete for complete, _ in seen].index(True) == 9  # b begins
    assert seen[9][1] == 9 and seen[-1] == (True, 15)
    assert not seen[12][0] and seen[15][0]  # c has been opened; c was said


def test_the_next_utterance_begins_clean_and_time_goes_on():
    decoder = _decoder(parse_phrases("intents: {x: [ab, ac]}"))
    first = decoder.step(say("ab"), decoder.init_state())
    state = decoder.follow(first)
    assert decoder.n_steps(state) == 9 and decoder.last_token_step(state) == -1
    assert decoder.partial(state) is None and decoder.final(state) is None and decoder.stable_words(state) == 0
    second = decoder.final(decoder.step(say("ac"), state))
    assert [(w.word, round(w.start, 2)) for w in second.words] == [("ac", 0.38)]


def test_partials_grow_and_tell_the_intent_when_it_is_certain():
    decoder = _decoder(parse_phrases("intents: {x: [a b c], y: [a c c]}"), threshold=-1.0)
    state, seen = decoder.init_state(), []
    for row in say("a b c"):
        state = decoder.step(row[None], state)
        partial = decoder.partial(state)
        said = partial and (" ".join(w.word for w in partial.words), partial.intent)
        if said and said[0] and said not in seen:
            seen.append(said)
    assert seen == [("a", None), ("a b", None), ("a b", "x"), ("a b c", "x")]


def test_memory_does_not_grow_with_the_stream():
    phrases = parse_phrases("intents: {x: ['(a | b | c) (a | b) [{n}] (b | c) [a] [b] [c]']}\nslots: {n: [ab, bc, ca, cb]}")
    decoder = _decoder(phrases, beam=8.0)
    rows = random_rows(0, 6000, sharpness=4.0).astype(np.float32)
    state, longest = decoder.init_state(), 0
    for first in range(0, len(rows), 100):
        state = decoder.step(rows[first : first + 100], state)
        longest = max(longest, len(state.front.history))
    assert longest < 3 * SPARE_HISTORY
    assert len(state.front.history) > 0 or state.front.is_idle


@pytest.mark.slow
def test_memory_does_not_grow_in_ten_hours():
    phrases = parse_phrases("intents: {x: ['(a | b | c) (a | b) [{n}] (b | c) [a] [b] [c]']}\nslots: {n: [ab, bc, ca, cb]}")
    decoder = _decoder(phrases)
    state, largest = decoder.init_state(), 0
    for seed in range(9_000):
        state = decoder.step(random_rows(seed, 100, sharpness=4.0).astype(np.float32), state)
        largest = max(largest, len(pack(state)))
        if not state.front.ways:  # a phrase has ended and nothing else can be said any more
            state = decoder.follow(state)
    assert decoder.n_steps(state) == 900_000
    assert largest < 100_000


def test_tokens_of_another_model_are_refused():
    graph = compile_phrases(parse_phrases("intents: {x: [ab]}"), TokenTable(("<blk>", "▁", "b", "a")))
    with pytest.raises(UsageError, match="compiled for the tokens"):
        PhraseDecoder(graph, METADATA)
    graph = compile_phrases(parse_phrases("intents: {x: [ab]}"), TOKENS)
    for wrong in ({"threshold": 1.0}, {"beam": 0.0}, {"filler": -1.0}, {"threshold": math.nan}):
        with pytest.raises(UsageError, match="wanted a threshold"):
            PhraseDecoder(graph, METADATA, **wrong)
    one, other = PhraseDecoder(graph, METADATA), PhraseDecoder(graph, METADATA, threshold=-0.7)
    assert one.identity != other.identity and one.identity.startswith("phrases ")
