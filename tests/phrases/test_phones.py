"""Phrases of phones, with and without a separator between words: the search against every sentence, cuts, sounds in common."""

import math
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from phrase_sentences import phrase_file, phrases_of, random_rows, sentences, sure, viterbi_of_phones

from edgeseq.phrases.checking import ambiguities, examples, text_of
from edgeseq.phrases.compiling import compile_phrases, to_tokens, to_words
from edgeseq.phrases.file import parse_phrases
from edgeseq.phrases.graph import PhraseGraph
from edgeseq.phrases.graph_making import to_graph
from edgeseq.phrases.search import PhraseDecoder
from edgeseq.phrases.trellis import SHARED_SOUND_PRICE
from edgeseq.stream.serialization import pack, unpack
from edgeseq.tokens.table import TokenTable

WORDS = ["".join(letters) for n in (1, 2) for letters in product("abc", repeat=n)]
LEXICON = [(word, tuple(word)) for word in WORDS]
SEPARATED = TokenTable.of_phones(LEXICON)
ALONE = TokenTable.of_phones(LEXICON, word_start=False)
BLANK, SEPARATOR, A, B, C = range(5)


def decoder_of(phrases, tokens=ALONE, **settings):
    metadata = SimpleNamespace(
        tokens=tokens.symbols, token_table=tokens, blank_id=0, step_samples=320, sample_rate=8000, phrase_threshold=None
    )
    return PhraseDecoder(compile_phrases(phrases, tokens), metadata, **{"threshold": None, **settings})


def heard(decoder, rows):
    return decoder.final(decoder.step(rows, decoder.init_state()))


def said(final):
    return " ".join(word.word for word in final.words)


def unseparated_rows(seed, n_steps, sharpness=2.0):
    rows = random_rows(seed, n_steps, sharpness)
    rows[:, SEPARATOR] -= 30
    return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


@settings(max_examples=120, deadline=None)
@given(phrase_file, st.integers(0, 2**32), st.integers(1, 14), st.sampled_from([math.inf, 1.0]))
def test_the_best_phrase_is_the_best_of_all_sentences(parts, seed, n_steps, filler):
    phrases = phrases_of(parts)
    every = sentences(phrases)
    assume(len(every) <= 200 and all(words for words, *_ in every))
    rows = unseparated_rows(seed, n_steps)
    ids = {word: tuple(ALONE.encode(word)) for word in WORDS}
    scored = {words: viterbi_of_phones(rows, [ids[word] for word in words], filler=filler) for words, *_ in every}
    best = max(scored[words] + weight for words, _, _, weight in every)
    final = heard(decoder_of(phrases, beam=math.inf, filler=filler), rows)
    if best == -math.inf:
        assert final is None
        return
    words = tuple(word.word for word in final.words)
    readings = [(weight, intent, slots) for others, intent, slots, weight in every if others == words]
    heaviest = max(weight for weight, _, _ in readings)
    assert scored[words] + heaviest == pytest.approx(best, abs=1e-9)
    assert (final.intent, final.slots) in [(i, s) for weight, i, s in readings if weight > heaviest - 1e-9]


@settings(max_examples=50, deadline=None)
@given(phrase_file, st.integers(0, 2**32), st.lists(st.integers(0, 14), max_size=4), st.sampled_from([ALONE, SEPARATED]))
def test_any_cutting_and_saving_gives_the_same_state(parts, seed, cuts, tokens):
    phrases = phrases_of(parts)
    assume(all(words for words, *_ in sentences(phrases)))
    rows = random_rows(seed, 14).astype(np.float32)
    decoder = decoder_of(phrases, tokens, beam=6.0)
    whole = decoder.step(rows, decoder.init_state())
    state = decoder.init_state()
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 14], strict=True):
        state = unpack(pack(decoder.step(rows[start:end], state)), [type(state)])
    assert pack(state) == pack(whole)
    assert decoder.final(state) == decoder.final(whole) and decoder.partial(state) == decoder.partial(whole)


def test_a_word_may_begin_with_the_sound_that_the_word_before_ends_with():
    decoder = decoder_of(parse_phrases("intents: {x: ['ab ba', 'aa ca']}"))
    apart = heard(decoder, sure([A, B, BLANK, B, A]))
    together = heard(decoder, sure([A, B, B, A]))
    assert said(apart) == said(together) == "ab ba"
    assert apart.phrase_score == pytest.approx(0, abs=1e-9)
    # against the words of the lexicon, too: "ab" and "a" cost nothing
    assert together.phrase_score == pytest.approx(-SHARED_SOUND_PRICE / 4)
    # within a word blank is needed, as ever in CTC: a row is lost to it
    assert heard(decoder, sure([A, BLANK, A, C, A])).phrase_score == pytest.approx(0, abs=1e-9)
    assert heard(decoder, sure([A, A, A, C, A])).phrase_score < -1


def test_a_long_sound_is_one_word():
    decoder = decoder_of(parse_phrases("intents: {x: ['a', 'a a', 'a a a']}"))
    assert [said(heard(decoder, sure(rows))) for rows in ([A] * 6, [A, A, BLANK, A], [A, BLANK, A, BLANK, A, A])] == [
        "a",
        "a a",
        "a a a",
    ]


def test_a_separator_is_silence_between_words_and_not_within_them():
    decoder = decoder_of(parse_phrases("intents: {x: ['ab ca', 'c']}"), SEPARATED)
    for rows in ([SEPARATOR, A, B, SEPARATOR, C, A], [A, B, C, A], [A, B, BLANK, SEPARATOR, C, A, BLANK]):
        final = heard(decoder, sure(rows))
        assert said(final) == "ab ca" and final.phrase_score == pytest.approx(0, abs=1e-9)
    times = [round(t, 6) for w in heard(decoder, sure([SEPARATOR, A, B, SEPARATOR, C, A])).words for t in (w.start, w.end)]
    assert times == [0.06, 0.1, 0.18, 0.22]
    within = heard(decoder, sure([A, SEPARATOR, B, C, A], surety=9))
    assert said(within) == "ab ca" and within.phrase_score < -1


def test_where_words_begin_the_separator_decides_if_it_is_said():
    phrases = parse_phrases("intents: {x: ['ab ca'], y: ['a bc a']}")
    decoder = decoder_of(phrases, SEPARATED)
    assert heard(decoder, sure([A, B, SEPARATOR, C, A])).intent == "x"
    assert heard(decoder, sure([A, SEPARATOR, B, C, SEPARATOR, A])).intent == "y"


def test_sentences_of_the_same_sounds_are_ambiguous_wherever_words_begin():
    phrases = parse_phrases("intents: {x: ['ab ca', 'cc a'], y: ['a bc a', 'c ba']}")
    (ambiguity,) = ambiguities(to_tokens(to_words(phrases), phrases, ALONE), ALONE)
    assert {text_of(ambiguity.first), text_of(ambiguity.second)} == {"ab ca", "a bc a"}
    assert ambiguity.text == text_of(ambiguity.first)


def test_graphs_are_kept_and_read():
    phrases = parse_phrases("intents: {x: ['(a | ab) [ca] {s}']}\nslots: {s: [b, 'c a']}\nspellings: {ab: [ab, 'a b']}")
    for tokens in (ALONE, SEPARATED):
        graph = to_graph(to_tokens(to_words(phrases), phrases, tokens), tokens)
        again = PhraseGraph.from_bytes(graph.to_bytes())
        assert again.digest == graph.digest and np.array_equal(again.opens, graph.opens) and SEPARATOR not in graph.label
        read = {(text_of(reading), reading.slots["s"]) for reading in examples(again, 50)}
        beginnings = ["a", "ab", "a ca", "ab ca"]
        assert read == {(f"{beginning} {value}", value) for beginning in beginnings for value in ("b", "c a")}


def test_other_words_are_rejected_and_partials_grow():
    decoder = decoder_of(parse_phrases("intents: {x: ['ab ca']}"), threshold=-0.5)
    assert heard(decoder, sure([C, C, BLANK, A, A, BLANK, B, BLANK, B, A])) is None
    state, partials = decoder.init_state(), []
    for row in sure([BLANK, A, A, B, BLANK, C, A, BLANK]):
        state = decoder.step(row[None], state)
        partial = decoder.partial(state)
        partials.append(None if partial is None else said(partial))
    assert partials[-1] == "ab ca" and "ab" in partials and set(partials) <= {None, "", "ab", "ab ca"}
    assert decoder.is_complete(state) and decoder.last_token_step(state) == 6
