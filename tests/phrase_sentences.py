"""Phrases the slow way: every sentence written out, every sentence scored by itself. What the graph must agree with."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
from hypothesis import strategies as st

from edgeseq.phrases.content import Phrases
from edgeseq.phrases.file import parse_phrases
from edgeseq.phrases.notation import Choice, Node, Sequence, Word
from edgeseq.phrases.numbers import number_words
from edgeseq.phrases.trellis import SHARED_SOUND_PRICE
from edgeseq.tokens.table import TokenTable

TOKENS = TokenTable(("<blk>", "▁", "a", "b", "c"))
METADATA = SimpleNamespace(tokens=TOKENS.symbols, blank_id=0, step_samples=320, sample_rate=8000)

words = st.text("abc", min_size=1, max_size=2)


def _bracketed(inner):
    several = st.lists(inner, min_size=1, max_size=3)
    weighted = st.tuples(st.sampled_from(["", "/2/ ", "/0.5/ "]), inner).map("".join)
    return st.one_of(
        several.map(" ".join),
        st.lists(weighted, min_size=1, max_size=3).map(lambda options: f"({' | '.join(options)})"),
        several.map(lambda parts: f"[{' '.join(parts)}]"),
    )


phrase = st.recursive(st.one_of(words, st.sampled_from(["{s}", "{s:t}", "{r}", "{r:u}"])), _bracketed, max_leaves=5)
phrase_file = st.fixed_dictionaries(
    {
        "x": st.lists(st.tuples(phrase, st.sampled_from(["", ", weight: 3", ", slots: {k: 7}"])), min_size=1, max_size=2),
        "y": st.lists(st.tuples(phrase, st.just("")), min_size=1, max_size=2),
        "s": st.lists(words, min_size=1, max_size=3),
    }
)


def phrases_of(parts):
    intents = "".join(
        f"  {name}:\n" + "".join(f"    - {{say: '{say}'{more}}}\n" for say, more in parts[name]) for name in ("x", "y")
    )
    values = "".join(f"    - {word}\n" for word in parts["s"])
    values += "    - {say: c a, mean: 5}\n"
    return parse_phrases(f"intents:\n{intents}rules: {{r: '(a | b [c])'}}\nslots:\n  s:\n{values}")


def random_rows(seed, n_steps, sharpness=2.0):
    rows = sharpness * np.random.default_rng(seed).normal(size=(n_steps, len(TOKENS)))
    return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


def say(text, pause=1, surety=6.0):
    """Rows that say a text, each token for two rows, blanks between."""
    rows = []
    for id_ in TOKENS.encode(text):
        rows += [id_, id_] + [0] * pause
    return sure(rows, surety)


def sure(ids, surety=6.0):
    logits = np.zeros((len(ids), len(TOKENS)))
    logits[np.arange(len(ids)), ids] = surety
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def sentences(phrases: Phrases) -> list[tuple[tuple[str, ...], str, dict, float]]:
    """List (words, intent, slots, log weight) of all that may be said."""
    return [
        (words, name, {**slots, **dict(phrase.slots)}, weight + math.log(phrase.weight))
        for name, intent in phrases.intents.items()
        for phrase in intent
        for words, slots, weight in _expand(phrase.node, phrases)
    ]


def _expand(node: Node, phrases: Phrases):
    if isinstance(node, Word):
        yield (node.text,), {}, 0.0
    elif isinstance(node, Sequence):
        for parts in itertools.product(*(list(_expand(item, phrases)) for item in node.items)):
            slots = {}
            for part in parts:
                slots |= part[1]
            yield sum((part[0] for part in parts), ()), slots, sum(part[2] for part in parts)
    elif isinstance(node, Choice):
        for option, prior in zip(node.options, node.weights, strict=True):
            for words, slots, weight in _expand(option, phrases):
                yield words, slots, weight + math.log(prior)
    elif node.numbers is not None:
        for number in range(node.numbers.first, node.numbers.last + 1, node.numbers.step):
            yield number_words(number), {node.name: number}, 0.0
    elif node.name in phrases.rules:
        for words, slots, weight in _expand(phrases.rules[node.name].node, phrases):
            yield words, slots | ({node.alias: " ".join(words)} if node.alias else {}), weight
    else:
        for value in phrases.slots[node.name].values:
            for words, slots, weight in _expand(value.node, phrases):
                mean = " ".join(words) if value.mean is None else value.mean
                yield words, {**slots, node.alias or node.name: mean}, weight


def viterbi(rows: np.ndarray, ids: list[int], blank_id: int, filler: float = math.inf) -> float:
    """Score the best way to say `ids` in rows `[n_steps, n_tokens]` (float64), less the best symbols; filler around them."""
    cost = rows - rows.max(axis=1, keepdims=True)
    return best_alignment(cost, np.maximum(cost[:, blank_id], -filler), ids, blank_id)


def viterbi_of_phones(rows, words, known=None, filler: float = math.inf, complete: bool = True) -> float:
    """Score words of phones (tuples of ids) as `viterbi`; words may share a sound, and token 1 is silence behind them.

    known: words behind which it is silence also where they only begin another. complete: whether the last word is.
    """
    cost = rows - rows.max(axis=1, keepdims=True)
    between = cost[:, :2].max(axis=1)
    begun = [word[:n] for word in words for n in range(1, len(word) + 1)]
    borders = set(itertools.accumulate(map(len, words)))
    silent = borders if known is None else {n for n, beginning in enumerate(begun, start=1) if beginning in known}
    phones = [phone for word in words for phone in word]
    cost = np.column_stack([cost, between])  # the last column: blank, or the separator
    return best_alignment(cost, np.maximum(between, -filler), phones, 0, silent, borders, complete)


def best_alignment(cost, around, ids, blank_id, silent=frozenset(), borders=frozenset(), complete=True):
    """Score the best alignment of `ids`, `around` them `[n_steps]`; `silent`, `borders`: behind how many of them."""
    labels = [blank_id]
    for n, id_ in enumerate(ids, start=1):
        labels += [id_, cost.shape[1] - 1 if n in silent else blank_id]
    score = np.full(len(labels), -np.inf)
    score[0], ended = 0.0, -np.inf
    for t in range(len(cost)):
        new = np.full(len(labels), -np.inf)
        for s, label in enumerate(labels):
            options = [score[s]]
            if s >= 1:
                options.append(score[s - 1])
            if s >= 2 and s % 2 and label != labels[s - 2]:
                options.append(score[s - 2])
            elif s >= 2 and s % 2 and s // 2 in borders:
                options.append(score[s - 2] - SHARED_SOUND_PRICE)
            new[s] = max(options) + (around[t] if s == 0 else cost[t, label])
        if not complete:
            score = new
            continue
        ended = max(ended, *score[-2:]) + around[t]
        score = new
    return max(ended, *score[-2:])
