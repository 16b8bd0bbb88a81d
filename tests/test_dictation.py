"""The search over a lexicon tree: exact without limits, the same however it is cut, saved and forked."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq import saving
from edgeseq.dictation import DictationDecoder, DictationOptions
from edgeseq.errors import UsageError
from edgeseq.fusion import LN10, Weights
from edgeseq.hotwords import Hotword, Hotwords
from edgeseq.lexicon_tree import LexiconTree, phone_entries
from edgeseq.lm.binary import write_compiled
from edgeseq.lm.kneser_ney import estimate
from edgeseq.lm.model import LanguageModel
from edgeseq.tokens import TokenTable
from edgeseq.tree_search import BLANK, CONTEXT, LAST, NODE, TOKEN, TreeState
from edgeseq.word_ends import WordEnds

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
EVERYTHING = DictationOptions(10**6, token_threshold=0.0, beam_threshold=500.0, certain_blank=1.0, joining_penalty=0.5)


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "words.lm"
    write_compiled(estimate([text.split() for text in SENTENCES], 3).ngrams, path)
    return LanguageModel(path)


def random_rows(seed, n_rows, sharpness=2.0):
    logits = np.random.default_rng(seed).normal(size=(n_rows, len(TOKENS))) * sharpness
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def spoken(text, height=0.9, blanks=1, separated=True):
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
        promised = one.ends._ahead[node] - one.ends._ahead[0]
        key = (phones_of(node), bool(numbers[LAST] == SEPARATOR), context, int(numbers[CONTEXT - 1]))
        found[key] = (masses[BLANK] + masses[TOKEN]) * math.exp(state.log_scale - promised)
    expected = Reference(model, weights, 0.5, hotwords).masses(rows)
    assert found.keys() == expected.keys()
    assert [found[key] for key in expected] == pytest.approx(list(expected.values()), rel=1e-9)
