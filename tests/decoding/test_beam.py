import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeseq.decoding.beam import BeamDecoder, BeamOptions
from edgeseq.decoding.beam_state import BeamState
from edgeseq.decoding.fusion import Fusion, Weights
from edgeseq.decoding.hotwords import Hotword, Hotwords
from edgeseq.decoding.lexicon import Lexicon
from edgeseq.errors import UsageError
from edgeseq.lm.binary import write_compiled
from edgeseq.lm.kneser_ney import estimate
from edgeseq.lm.model import LanguageModel
from edgeseq.lm.ngrams import letters
from edgeseq.stream import serialization as saving
from edgeseq.tokens.table import TokenTable

TOKENS = TokenTable(("<blk>", "▁", "a", "b"))
WORDS = ["a b", "b ab", "ab ab b", "a", "b b a ab"]
EVERYTHING = BeamOptions(beam=10**6, token_threshold=0.0, beam_threshold=math.inf, nbest=5)


def random_rows(seed, n_rows, n_tokens=4, sharpness=2.0):
    logits = np.random.default_rng(seed).normal(size=(n_rows, n_tokens)) * sharpness
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def spoken(text, tokens=TOKENS, height=0.9, blanks=1):
    """Rows in which each token of `text` is likely once, blanks between."""
    ids = [token for letter in tokens.encode(text) for token in [letter] + [0] * blanks]
    rows = np.full((len(ids) + 2, len(tokens)), (1 - height) / (len(tokens) - 1))
    rows[np.arange(len(ids)), ids] = height
    rows[len(ids) :, 0] = height
    return np.log(rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)


def decoder(options=EVERYTHING, tokens=TOKENS, **parts):
    return BeamDecoder(Fusion(tokens, **parts), 0.02, options)


def decode(one, rows, *borders, state=None):
    state = one.init_state() if state is None else state
    for part in np.split(rows, borders):
        state = one.step(part, state)
    return state


def text_of(hypothesis):
    return "" if hypothesis is None else " ".join(word.word for word in hypothesis.words)


def all_prefixes(rows, blank=0):
    """Brute force: sum every alignment into the prefix that it collapses to (Graves et al. 2006, equation 3)."""
    found = {}
    for path in itertools.product(range(rows.shape[1]), repeat=len(rows)):
        prefix = tuple(token for token, _ in itertools.groupby(path) if token != blank)
        probability = math.exp(sum(float(rows[step, token]) for step, token in enumerate(path)))
        found[prefix] = found.get(prefix, 0.0) + probability
    return found


@pytest.fixture(scope="module")
def language_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    for level, spell in (("word", str.split), ("char", lambda text: letters(text.split()))):
        ngrams = estimate([spell(text) for text in WORDS], 3).ngrams
        write_compiled(ngrams, folder / f"{level}.lm")
    return {level: LanguageModel(folder / f"{level}.lm") for level in ("word", "char")}


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), n_rows=st.integers(0, 5))
def test_without_limits_every_prefix_has_the_sum_of_its_alignments(seed, n_rows):
    rows = random_rows(seed, n_rows)
    found = dict(decoder().prefixes(decode(decoder(), rows)))
    expected = all_prefixes(rows)
    assert found.keys() == expected.keys()
    assert [math.exp(found[prefix]) for prefix in expected] == pytest.approx(list(expected.values()), rel=1e-9)


def weigh(tokens, fusion):
    """Weigh a prefix from scratch, as a whole utterance."""
    words = TOKENS.decode(tokens).split()
    lm, scale = fusion.lm, fusion.weights.lm * math.log(10)
    weight = fusion.weights.word_bonus * len(words)
    if lm is not None:
        weight += scale * sum(score for _, score, _ in lm.sentence(words))
    if fusion.lexicon is not None and not all(fusion.lexicon.words(word) for word in words):
        return -math.inf
    return weight


def well_formed(prefix):
    """Each word with letters, opened by `▁`; the last may have none yet."""
    return prefix[:1] in ((), (1,)) and (1, 1) not in itertools.pairwise(prefix)


@pytest.mark.parametrize("level", ["word", "char", "lexicon", "word and lexicon"])
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), n_rows=st.integers(1, 5))
def test_language_weighs_whole_utterances_as_it_should(language_models, level, seed, n_rows):
    rows = random_rows(seed, n_rows)
    lexicon = Lexicon([("a", "a"), ("ab", "ab"), ("b", "b")]) if "lexicon" in level else None
    fusion = Fusion(TOKENS, language_models.get(level.split()[0]), lexicon, weights=Weights(0.7, 0.3))
    one = BeamDecoder(fusion, 0.02, EVERYTHING)
    state = decode(one, rows)
    sound = all_prefixes(rows)
    checked = 0
    for beam in state.beams:
        prefix = tuple(token for token, *_ in (*beam[6], (beam[3], 0, 0))) if beam[4] >= 0 else ()
        if not well_formed(prefix) or prefix[-1:] == (1,):
            continue
        end = fusion.end(beam[7])
        expected = weigh(prefix, fusion)
        if expected == -math.inf:
            assert end == -math.inf
            continue
        checked += 1
        weighed = math.log(beam[1] + beam[2]) + state.log_scale + end
        assert weighed == pytest.approx(math.log(sound[prefix]) + expected, abs=1e-6)
        assert beam[8] + end == pytest.approx(expected, abs=1e-6)
    assert checked


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_rows=st.integers(0, 80),
    borders=st.lists(st.integers(0, 80), max_size=8),
    sharpness=st.sampled_from([1.0, 3.0, 8.0]),
)
def test_any_cut_gives_the_identical_state(language_models, seed, n_rows, borders, sharpness):
    rows = random_rows(seed, n_rows, sharpness=sharpness)
    one = decoder(BeamOptions(beam=4), lm=language_models["word"], hotwords=Hotwords([Hotword("ab a")], TOKENS))
    whole = decode(one, rows)
    assert decode(one, rows, *sorted(border for border in borders if border <= n_rows)) == whole
    fresh = decoder(BeamOptions(beam=4), lm=language_models["word"], hotwords=Hotwords([Hotword("ab a")], TOKENS))
    assert decode(fresh, rows, *range(1, n_rows)) == whole  # nothing remembered changes a result


@settings(deadline=None, max_examples=30)
@example(seed=183, n_rows=85, at=81)  # a word without letters among the shared ones
@given(seed=st.integers(0, 2**32 - 1), n_rows=st.integers(0, 200), at=st.integers(0, 200))
def test_stable_words_stay(seed, n_rows, at):
    rows = random_rows(seed, n_rows, sharpness=4.0)
    one = decoder(BeamOptions(beam=4))
    state = decode(one, rows[:at])
    stable = text_of(one.partial(state)).split()[: one.stable_words(state)]
    state = decode(one, rows[at:], state=state)
    for later in (one.partial(state), one.final(state)):
        assert text_of(later).split()[: len(stable)] == stable


def test_a_saved_state_goes_on_to_the_same_words():
    rows = random_rows(3, 300, sharpness=4.0)
    one = decoder(BeamOptions(beam=6), hotwords=Hotwords([Hotword("ab a")], TOKENS))
    state = decode(one, rows[:170])
    restored = saving.unpack(saving.pack(state), [BeamState])
    assert restored == state
    assert decode(one, rows[170:], state=restored) == decode(one, rows[170:], state=state)


def test_memory_does_not_grow_with_the_stream_but_for_words():
    one = decoder(BeamOptions(beam=4))
    rows = random_rows(1, 500, sharpness=4.0)
    state, sizes = one.init_state(), []
    for _ in range(12):
        state = one.step(rows, state)
        sizes.append(len(saving.pack(replace(state, told=()))))
        assert max(len(beam[6]) for beam in state.beams) < 200
    assert max(sizes[6:]) < 2 * max(sizes[:6])
    assert one.n_steps(state) == 6000 and len(one.final(state).words) >= sum(map(len, state.told)) > 100


def test_long_streams_do_not_underflow():
    one = decoder(BeamOptions(beam=4, token_threshold=0.0))
    rows = np.tile(random_rows(1, 100, sharpness=0.5), (50, 1))
    state = one.step(rows, one.init_state())
    assert all(beam[1] + beam[2] > 0 for beam in state.beams)
    assert one.prefixes(state)[0][1] < -1000


def test_words_have_times_and_confidences():
    one = decoder(BeamOptions(nbest=3))
    state = decode(one, spoken("ab a", blanks=2))
    final = one.final(state)
    first, second = final.words
    assert (first.word, first.start, first.end) == ("ab", pytest.approx(0.01), pytest.approx(0.13))
    assert (second.word, second.start, second.end) == ("a", pytest.approx(0.19), pytest.approx(0.25))
    assert 0.7 < first.confidence < 0.91 and one.last_token_step(state) == 12
    assert len(final.alternatives) == 2 and "ab a" not in final.alternatives


def test_rivals_make_a_word_less_sure():
    sure = spoken("ab")
    torn = sure.copy()
    torn[4] = np.log([0.02, 0.02, 0.46, 0.5])
    confidences = [
        one.final(decode(one, rows)).words[0].confidence for one in [decoder(BeamOptions())] for rows in (sure, torn)
    ]
    assert confidences[1] < 0.6 < confidences[0]


def test_nothing_said_is_no_hypothesis():
    one = decoder(BeamOptions())
    silence = np.log(np.tile(np.array([[0.9997, 0.0001, 0.0001, 0.0001]]), (50, 1))).astype(np.float32)
    state = decode(one, silence)
    assert (one.partial(state), one.final(state), one.last_token_step(state), one.n_steps(state)) == (None, None, -1, 50)
    assert not one.is_complete(state)


def test_the_next_utterance_begins_clean_and_does_not_repeat_the_open_token():
    one = decoder(BeamOptions())
    state = one.follow(decode(one, spoken("ab")[:5]))
    held = np.log(np.array([[0.02, 0.02, 0.02, 0.94]] * 3)).astype(np.float32)
    state = one.step(held, state)
    assert one.final(state) is None and one.n_steps(state) == 8
    state = decode(one, spoken("b a"), state=state)
    assert text_of(one.final(state)) == "b a"
    assert one.final(state).words[0].start > 8 * 0.02


def test_a_lexicon_lets_through_only_its_words():
    rows = spoken("ab b a", height=0.8)
    only = decoder(BeamOptions(), lexicon=Lexicon([("aa", "aa"), ("ba", "ba"), ("a", "a")]))
    state = only.init_state()
    for row in rows:
        state = only.step(row[None], state)
        partial = only.partial(state)
        assert partial is None or {word.word for word in partial.words} <= {"aa", "ba", "a"}
    assert set(text_of(only.final(state)).split()) <= {"aa", "ba", "a"}


def test_a_lexicon_names_words_by_their_sound(language_models):
    lexicon = Lexicon([("ab", "abbey"), ("ab", "ab"), ("b", "bee")])
    one = decoder(BeamOptions(), lexicon=lexicon, lm=language_models["word"])
    assert text_of(one.final(decode(one, spoken("ab b")))) == "ab bee"  # of "abbey" and "ab" the model knows the latter
    one = decoder(BeamOptions(), lexicon=lexicon)
    assert text_of(one.final(decode(one, spoken("ab b")))) == "abbey bee"


def test_a_language_model_decides_where_sound_does_not(language_models):
    rows = spoken("a b", height=0.99)
    rows[6] = np.log([0.02, 0.02, 0.49, 0.47])  # "a" or "b"; the text has "a b", never "a a"
    assert text_of(decoder(BeamOptions()).final(decode(decoder(BeamOptions()), rows))) == "a a"
    for level in ("word", "char"):
        one = decoder(BeamOptions(), lm=language_models[level], weights=Weights(1.0))
        assert text_of(one.final(decode(one, rows))) == "a b"


def test_hotwords_change_what_is_heard_and_only_that():
    rows = spoken("a bb a", height=0.99)
    torn = rows.copy()
    torn[8] = np.log([0.02, 0.02, 0.36, 0.6])  # the second letter of "bb": "ba" is less likely
    plain = decoder(BeamOptions())
    boosted = plain.with_hotwords(Hotwords([Hotword("ba", 2.0)], TOKENS))
    assert text_of(plain.final(decode(plain, torn))) == "a bb a"
    assert text_of(boosted.final(decode(boosted, torn))) == "a ba a"
    assert text_of(boosted.final(decode(boosted, rows))) == "a bb a"  # clearly said otherwise
    begun = plain.with_hotwords(Hotwords([Hotword("ba bbb", 2.0)], TOKENS))
    assert text_of(begun.final(decode(begun, torn))) == "a bb a"  # "ba" is only its beginning


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), phrases=st.sets(st.sampled_from(["a", "ab", "b a", "ab b", "ba ba"]), min_size=1))
def test_what_phrases_earn_is_what_whole_phrases_are_worth(seed, phrases):
    one = decoder(hotwords=Hotwords([Hotword(phrase, 0.5) for phrase in sorted(phrases)], TOKENS))
    state = decode(one, random_rows(seed, 5))
    for beam in state.beams:
        prefix = [token for token, *_ in (*beam[6], (beam[3], 0, 0))] if beam[4] >= 0 else []
        spelled = "".join(TOKENS.symbols[token] for token in prefix) + "▁"
        worth = 0.0
        for phrase in phrases:
            marked = "▁" + phrase.replace(" ", "▁") + "▁"
            n_times = sum(spelled.startswith(marked, at) for at in range(len(spelled)))
            worth += 0.5 * len(phrase.replace(" ", "")) * n_times
        assert beam[8] + one.fusion.end(beam[7]) == pytest.approx(worth, abs=1e-9)


def test_hotwords_may_change_while_a_stream_runs():
    rows = spoken("a bb a", height=0.99)
    rows[8] = np.log([0.02, 0.02, 0.36, 0.6])
    plain = decoder(BeamOptions())
    boosted = plain.with_hotwords(Hotwords([Hotword("ba", 2.0)], TOKENS))
    for at in (0, 5, 9, 11, 14):
        state = decode(boosted, rows[at:], state=decode(plain, rows[:at]))
        assert text_of(boosted.final(state)) == "a ba a", at
        back = decode(plain, rows[at:], state=decode(boosted, rows[:at]))
        assert text_of(plain.final(back)) == "a bb a", at


def test_language_may_change_while_a_stream_runs(language_models):
    rows = spoken("ab a b ab a b ab a b ab a b ab a b ab a b ab a b ab")
    plain = decoder(BeamOptions())
    state = decode(plain, rows[:90])
    assert state.told
    for parts in ({"lm": language_models["word"]}, {"lm": language_models["char"]}, {"lexicon": Lexicon([("a", "a")])}):
        other = decoder(BeamOptions(), **parts)
        after = decode(other, rows[90:], state=state)
        assert text_of(other.final(after)).startswith("ab a b ab a b")


def test_open_prefixes_that_never_agree_are_decided():
    rows = spoken(" ".join(["ab"] * 200))
    rows[4] = np.log([0.01, 0.01, 0.49, 0.49])  # the very first word stays open
    one = decoder(BeamOptions(beam=2))
    state = decode(one, rows)
    assert max(len(beam[6]) for beam in state.beams) <= 130
    assert len(one.final(state).words) == 200


@pytest.mark.parametrize(
    ("options", "seen"),
    [({"beam": 0}, "beam 0"), ({"nbest": 0}, "n-best 0"), ({"token_threshold": 1.0}, "1.0"), ({"beam_threshold": 0.0}, "0.0")],
)
def test_options_out_of_range(options, seen):
    with pytest.raises(UsageError, match=seen):
        BeamOptions(**options)


def test_weights_out_of_range_and_rows_of_another_width():
    with pytest.raises(UsageError, match="weight -1"):
        Weights(lm=-1)
    one = decoder(BeamOptions())
    with pytest.raises(UsageError, match=r"\[3, 5\]; wanted \[n_steps, 4\]"):
        one.step(np.zeros((3, 5), dtype=np.float32), one.init_state())


def test_an_utterance_without_a_sure_word_is_left_out():
    rows = spoken("ab")
    one = decoder(BeamOptions())
    surest = max(word.confidence for word in one.final(decode(one, rows)).words)
    shy = decoder(BeamOptions(min_confidence=min(1.0, surest + 0.01)))
    assert text_of(one.final(decode(one, rows))) and shy.final(decode(shy, rows)) is None
    with pytest.raises(UsageError, match=r"least confidence -1; "):
        BeamOptions(min_confidence=-1)


def test_blank_may_be_made_less_likely():
    rows = spoken("a", height=0.98)
    rows[2] = np.log([0.7, 0.02, 0.26, 0.02])
    for penalty, text in ((0.0, ""), (2.0, "a")):
        one = decoder(BeamOptions(), weights=Weights(blank_penalty=penalty))
        assert text_of(one.final(decode(one, rows))) == text
