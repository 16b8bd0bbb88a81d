"""The search over a lexicon tree: exact without limits, the same however it is cut, saved and forked."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.decoding.dictation import DictationDecoder, DictationOptions
from edgeseq.decoding.fusion import LN10, Weights
from edgeseq.decoding.hotwords import Hotword, Hotwords
from edgeseq.decoding.lexicon_tree import LexiconTree, phone_entries
from edgeseq.decoding.tree_search import BLANK, CONTEXT, LAST, NODE, TOKEN, TreeState
from edgeseq.decoding.word_ends import WordEnds
from edgeseq.errors import UsageError
from edgeseq.lm.binary import write_compiled
from edgeseq.lm.kneser_ney import estimate
from edgeseq.lm.model import LanguageModel
from edgeseq.stream import serialization as saving
from edgeseq.tokens.table import TokenTable

ENTRIES = [
    ("a", ("A",)),
    ("ab", ("A", "B")),
    ("be", ("B",)),
    ("bee", ("B",)),
    ("bah", ("B", "A")),
    ("bah", ("B", "A", "A")),
    ("aba", ("A", "B", "A")),
    ("rare", ("A", "A")),
    ("scarce", ("A", "A")),
]
TOKENS = TokenTable.of_phones(ENTRIES)
SEPARATOR, A, B = (TOKENS.ids[symbol] for symbol in ("▁", "A", "B"))
TREE = LexiconTree(phone_entries(TOKENS))
SENTENCES = ["a bee", "be ab a", "ab a bah aba", "bee bee", "a be", "bah aba ab"]
EVERYTHING = DictationOptions(
    10**6, token_threshold=0.0, beam_threshold=500.0, word_threshold=500.0, certain_blank=1.0, joining_penalty=0.5
)


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "words.lm"
    write_compiled(estimate([text.split() for text in SENTENCES], 3).ngrams, path)
    return LanguageModel(path)


def random_rows(seed, n_rows, sharpness=2.0):
    logits = np.random.default_rng(seed).normal(size=(n_rows, len(TOKENS))) * sharpness
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def spoken(text, height=0.9, blanks=1, separated=True):
    """Rows in which each token of `text` is likely once, blanks between."""
    ids = [t for token in TOKENS.encode(text) if separated or token != SEPARATOR for t in [token] + [0] * blanks]
    rows = np.full((len(ids) + 2, len(TOKENS)), (1 - height) / (len(TOKENS) - 1))
    rows[np.arange(len(ids)), ids] = height
    rows[len(ids) :, 0] = height
    return np.log(rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)


def decoder(options=None, lm=None, hotwords=None, weights=None):
    ends = WordEnds(TREE, lm, Weights() if weights is None else weights, SEPARATOR, hotwords)
    return DictationDecoder(TOKENS, 0.04, ends, options)


def decode(one, rows, *borders, state=None):
    state = one.init_state() if state is None else state
    for part in np.split(rows, borders):
        state = one.step(part, state)
    return state


def text_of(hypothesis):
    return "" if hypothesis is None else hypothesis.text


def packed(state):
    return saving.pack(state)


class Reference:
    """Every alignment, token by token through every word: slow, and without anything that the search does to be quick."""

    def __init__(self, lm, weights, joining, hotwords=None):
        self.lm, self.weights, self.joining, self.hotwords = lm, weights, joining, hotwords
        self.words = {}
        for word, phones in ENTRIES:
            self.words.setdefault(tuple(TOKENS.ids[phone] for phone in phones), []).append(word)
        self.beginnings = {phones[:n] for phones in self.words for n in range(len(phones) + 1)}
        known = {word for word, _ in ENTRIES if lm is None or lm.word_id(word) != lm.unknown_id}
        self.n_unknown = len({word for word, _ in ENTRIES} - known)

    def masses(self, rows):
        """Probability of each (open phones, whether a separator was the last token, context)."""
        found = {}
        for path in itertools.product(range(rows.shape[1]), repeat=len(rows)):
            tokens = tuple(token for token, _ in itertools.groupby(path) if token != 0)
            sound = math.exp(sum(float(rows[step, token]) for step, token in enumerate(path)))
            for key, weight in self.parses(tokens).items():
                found[key] = found.get(key, 0.0) + sound * weight
        return found

    def parses(self, tokens):
        begin = () if self.lm is None else self.lm.begin
        node = 0 if self.hotwords is None else self.hotwords.step(0, SEPARATOR)[1]
        states = {((), False, begin, node): 1.0}
        for token in tokens:
            after = {}
            for state, weight in states.items():
                for other, factor in self.arcs(state, token):
                    after[other] = after.get(other, 0.0) + weight * factor
            states = after
        return states

    def arcs(self, state, token):
        phones, separated, context, node = state
        if token == SEPARATOR:
            if phones:
                yield from ((((), True, *after), weight) for after, weight in self.closed(phones, context, node))
            elif not separated:
                yield ((), True, context, node), 1.0
            return
        boost, on = (0.0, node) if self.hotwords is None else self.hotwords.step(node, token)
        if phones and (*phones, token) in self.beginnings:
            yield ((*phones, token), False, context, on), math.exp(boost)
        starts = [((context, node), 1.0)] if not phones else self.closed(phones, context, node)
        for (before, at), weight in starts:
            boost, on = (0.0, at) if self.hotwords is None else self.hotwords.step(at, token)
            if (token,) in self.beginnings:
                joined = 1.0 if separated else math.exp(-self.joining)
                yield ((token,), False, before, on), weight * joined * math.exp(self.weights.word_bonus + boost)

    def closed(self, phones, context, node):
        boost, node = (0.0, node) if self.hotwords is None else self.hotwords.step(node, SEPARATOR)
        if self.lm is None:
            return [((context, node), math.exp(boost))] if phones in self.words else []
        found, seen = [], set()
        for word in self.words.get(phones, ()):
            number = self.lm.word_id(word)
            if number in seen:
                continue
            seen.add(number)
            score, after = self.lm.score(context, number)
            score -= math.log10(self.n_unknown) if number == self.lm.unknown_id else 0.0
            found.append(((after, node), math.exp(self.weights.lm * LN10 * score + boost)))
        return found


def phones_of(node):
    phones = []
    while node > 0:
        phones.append(int(TREE.token[node]))
        node = int(TREE.parent[node])
    return tuple(phones[::-1])


@pytest.mark.parametrize("parts", ["nothing", "lm", "lm and hotwords"])
@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 2**32 - 1), n_rows=st.integers(1, 6))
def test_without_limits_every_hypothesis_has_the_sum_of_its_alignments(lm, parts, seed, n_rows):
    rows, weights = random_rows(seed, n_rows), Weights(0.7, 0.3)
    model = lm if "lm" in parts else None
    hotwords = Hotwords([Hotword("ab a", 0.6), Hotword("bee", 0.4)], TOKENS) if "hotwords" in parts else None
    one = decoder(EVERYTHING, model, hotwords, weights)
    state = decode(one, rows)
    found = {}
    for numbers, masses in zip(state.numbers, state.masses, strict=True):
        node = int(numbers[NODE])
        context = tuple(row for row in numbers[CONTEXT:].tolist())
        while context and context[-1] < 0:
            context = context[:-1]
        promised = one.ends._promised[node]
        key = (phones_of(node), bool(numbers[LAST] == SEPARATOR), context, int(numbers[CONTEXT - 1]))
        found[key] = (masses[BLANK] + masses[TOKEN]) * math.exp(state.log_scale - promised)
    expected = Reference(model, weights, 0.5, hotwords).masses(rows)
    assert found.keys() == expected.keys()
    assert [found[key] for key in expected] == pytest.approx(list(expected.values()), rel=1e-9)


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 2**32 - 1), n_rows=st.integers(1, 3))
def test_whole_utterances_are_ranked_by_their_sum(lm, seed, n_rows):
    rows, weights = random_rows(seed, n_rows), Weights(0.7, 0.3)
    one = decoder(replace(EVERYTHING, nbest=9), lm, None, weights)
    state = decode(one, rows)
    reference, expected = Reference(lm, weights, 0.5), []
    for (phones, _, context, node), mass in reference.masses(rows).items():
        for (after, _), weight in reference.closed(phones, context, node) if phones else [((context, node), 1.0)]:
            expected.append(mass * weight * math.exp(weights.lm * LN10 * lm.score(after, lm.end_id)[0]))
    found = np.array([mass for mass, *_ in one._ranked(state)])
    expected = np.sort(expected)[::-1]
    assert len(expected) <= 64 and found / found.sum() == pytest.approx(expected / expected.sum(), rel=1e-9)
    final = one.final(state)
    texts = [text_of(final), *(final.alternatives if final is not None else ())]
    assert len(set(texts)) == len(texts)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_rows=st.integers(0, 80),
    borders=st.lists(st.integers(0, 80), max_size=8),
    sharpness=st.sampled_from([1.0, 3.0, 8.0]),
)
def test_any_cut_gives_the_identical_state(lm, seed, n_rows, borders, sharpness):
    rows = random_rows(seed, n_rows, sharpness=sharpness)
    hotwords = Hotwords([Hotword("ab a")], TOKENS)
    one, fresh = (decoder(DictationOptions(beam=12), lm, hotwords) for _ in range(2))
    whole = packed(decode(one, rows))
    assert packed(decode(one, rows, *sorted(border for border in borders if border <= n_rows))) == whole
    assert packed(decode(fresh, rows, *range(1, n_rows))) == whole  # nothing remembered changes a result


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), n_rows=st.integers(0, 200), at=st.integers(0, 200))
def test_stable_words_stay(lm, seed, n_rows, at):
    rows = random_rows(seed, n_rows, sharpness=5.0)
    one = decoder(DictationOptions(beam=20), lm)
    state = decode(one, rows[:at])
    stable = text_of(one.partial(state)).split()[: one.stable_words(state)]
    state = decode(one, rows[at:], state=state)
    for later in (one.partial(state), one.final(state)):
        assert text_of(later).split()[: len(stable)] == stable


def test_a_saved_state_goes_on_to_the_same_words_and_a_fork_leaves_it_alone(lm):
    rows = random_rows(3, 300, sharpness=4.0)
    one = decoder(DictationOptions(beam=30), lm, Hotwords([Hotword("ab a")], TOKENS))
    state = decode(one, rows[:170])
    content = packed(state)
    restored = saving.unpack(content, [TreeState])
    assert packed(restored) == content
    ended = decode(one, rows[170:], state=state)
    decode(one, random_rows(4, 50), state=state)
    assert packed(state) == content  # stepping modifies nothing
    assert packed(decode(one, rows[170:], state=restored)) == packed(ended)
    assert one.final(decode(one, rows[170:], state=restored)) == one.final(ended)


def test_memory_does_not_grow_with_the_stream_but_for_words(lm):
    one = decoder(DictationOptions(beam=30), lm)
    rows = random_rows(1, 500, sharpness=4.0)
    state, sizes = one.init_state(), []
    for _ in range(10):
        state = one.step(rows, state)
        sizes.append(len(packed(replace(state, told=()))))
        assert len(state.history) < 1500
    assert max(sizes[5:]) < 2 * max(sizes[:5])
    assert one.n_steps(state) == 5000 and len(one.final(state).words) >= sum(map(len, state.told)) > 100


def test_long_streams_do_not_underflow(lm):
    one = decoder(DictationOptions(beam=30, token_threshold=0.0), lm)
    state = one.step(np.tile(random_rows(1, 100, sharpness=0.5), (30, 1)), one.init_state())
    assert (state.masses[:, BLANK] + state.masses[:, TOKEN] > 0).all()
    assert state.log_scale < -1000


@pytest.mark.parametrize("separated", [True, False])
def test_words_have_times_and_confidences_with_separators_and_without(separated):
    one = decoder()
    first, second = one.final(decode(one, spoken("ab bah", 0.99, 2, separated))).words
    offset = 3 if separated else 0
    assert (first.word, second.word) == ("ab", "bah")
    assert (first.start, first.end) == (pytest.approx(0.04 * (offset + 0.5)), pytest.approx(0.04 * (offset + 3.5)))
    assert second.start == pytest.approx(0.04 * (2 * offset + 6.5))
    assert 0.8 < first.confidence < 0.99


def test_a_language_model_chooses_among_words_that_sound_alike(lm):
    assert text_of(decoder().final(decode(decoder(), spoken("a bee")))) == "a be"  # the first in the lexicon
    one = decoder(lm=lm, weights=Weights(1.0))
    assert text_of(one.final(decode(one, spoken("bee bee")))) == "bee bee"
    assert text_of(one.final(decode(one, spoken("be ab a")))) == "be ab a"


def test_words_that_the_language_model_lacks_share_its_unknown_word(lm):
    one = decoder(lm=lm)
    ended = one.ends.at(np.array([one_node("A", "A")]), one.ends.start()[None])
    assert len(ended.word) == 1  # it cannot tell them apart, so the first stands for both
    unknown = lm.score(lm.begin, lm.unknown_id)[0] - math.log10(2)
    promised = one.ends._promised[one_node("A", "A")]
    assert math.log(ended.factor[0]) == pytest.approx(0.5 * LN10 * unknown - promised)


def one_node(*phones):
    node = 0
    for phone in phones:
        children = range(TREE.first_child[node], TREE.first_child[node + 1])
        (node,) = [child for child in children if TREE.token[child] == TOKENS.ids[phone]]
    return node


def test_rows_of_blank_change_nothing_but_the_scale(lm):
    one = decoder(lm=lm)
    state = decode(one, spoken("ab a"))
    blank = np.full((50, len(TOKENS)), math.log(1e-4), dtype=np.float32)
    blank[:, 0] = math.log(1 - 4e-4)
    after = one.step(blank, state)
    assert after.numbers is state.numbers and after.settled
    assert (after.n_steps, text_of(one.final(after))) == (state.n_steps + 50, "ab a")
    silent = one.step(blank, one.init_state())
    assert (one.partial(silent), one.final(silent), one.last_token_step(silent)) == (None, None, -1)


def test_blank_may_be_made_less_likely():
    rows = spoken("a", 0.98)
    rows[2] = np.log([0.7, 0.02, 0.26, 0.02])
    for penalty, text in ((0.0, ""), (2.0, "a")):
        one = decoder(weights=Weights(blank_penalty=penalty))
        assert text_of(one.final(decode(one, rows))) == text


def test_an_utterance_without_a_sure_word_is_left_out():
    rows = spoken("ab a")
    usual = decoder()
    surest = max(word.confidence for word in usual.final(decode(usual, rows)).words)
    for least, text in ((surest - 0.01, "ab a"), (surest + 0.01, "")):
        one = decoder(options=DictationOptions(min_confidence=least))
        assert text_of(one.final(decode(one, rows))) == text
    shy = decoder(options=DictationOptions(min_confidence=1.0))
    assert shy.partial(decode(shy, rows)) is None and usual.partial(decode(usual, rows)) is not None
    with pytest.raises(UsageError, match=r"least confidence 1\.5; wanted 0 to 1"):
        DictationOptions(min_confidence=1.5)


def test_the_next_utterance_begins_clean_and_does_not_repeat_the_open_token():
    one = decoder()
    state = one.follow(decode(one, spoken("ab")[:5]))
    held = np.log(np.array([[0.02, 0.02, 0.02, 0.94]] * 3)).astype(np.float32)
    state = one.step(held, state)
    assert one.final(state) is None and one.n_steps(state) == 8
    state = decode(one, spoken("bah a"), state=state)
    assert text_of(one.final(state)) == "bah a"
    assert one.final(state).words[0].start > 8 * 0.04


def test_hotwords_change_what_is_heard_and_may_change_while_a_stream_runs():
    rows = spoken("a ab a", height=0.99)
    rows[8] = np.log([0.04, 0.02, 0.36, 0.58])  # the second phone of "ab": "aa" is less likely
    plain = decoder()
    boosted = plain.with_hotwords(Hotwords([Hotword("rare", 2.0)], TOKENS))
    assert text_of(plain.final(decode(plain, rows))) == "a ab a"
    assert text_of(boosted.final(decode(boosted, rows))) == "a rare a"
    for at in (0, 5, 9):  # behind the word, one past of several has been chosen
        state = decode(boosted, rows[at:], state=decode(plain, rows[:at]))
        assert text_of(boosted.final(state)) == "a rare a", at
        back = decode(plain, rows[at:], state=decode(boosted, rows[:at]))
        assert text_of(plain.final(back)) == "a ab a", at


def test_hypotheses_that_never_agree_are_decided():
    rows = np.tile(spoken("ab a")[:-2], (150, 1))
    rows[2] = np.log([0.01, 0.01, 0.49, 0.49])  # the very first phone stays open
    one = decoder(DictationOptions(beam=8))
    state = decode(one, rows)
    assert len(state.history) < 1500
    assert len(one.final(state).words) == 300


def test_where_no_separator_is_said_leaving_it_out_costs_nothing():
    rows = spoken("ab bah a", separated=False)
    ends = WordEnds(TREE, None, Weights(), SEPARATOR, None)
    costing, free = (DictationOptions(joining_penalty=nats) for nats in (5.0, 0.0))
    alone = DictationDecoder(replace(TOKENS, word_start=False), 0.04, ends, costing)
    assert packed(decode(alone, rows)) == packed(decode(decoder(free), rows)) != packed(decode(decoder(costing), rows))


@pytest.mark.parametrize(
    ("options", "seen"),
    [({"beam": 0}, "beam 0"), ({"nbest": 0}, "n-best 0"), ({"token_threshold": 1.0}, "1.0"), ({"certain_blank": 0.0}, "0.0")],
)
def test_options_out_of_range(options, seen):
    with pytest.raises(UsageError, match=seen):
        DictationOptions(**options)


def test_rows_of_another_width():
    with pytest.raises(UsageError, match=r"\[3, 5\]; wanted \[n_steps, 4\]"):
        decoder().step(np.zeros((3, 5), dtype=np.float32), decoder().init_state())
