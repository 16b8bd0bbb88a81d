import doctest

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.decoding import lexicon_tree
from edgeseq.decoding.lexicon_tree import ROOT, Entries, LexiconTree

SPELLED = st.lists(st.tuples(st.sampled_from(["un", "deux", "été", "x"]), st.lists(st.integers(0, 3), min_size=1, max_size=5)))


def test_doctests():
    assert doctest.testmod(lexicon_tree).failed == 0


def follow(tree, tokens):
    """Walk from the root, a child at a time."""
    node = ROOT
    for token in tokens:
        children = range(tree.first_child[node], tree.first_child[node + 1])
        (node,) = [child for child in children if tree.token[child] == token]
    return node


@settings(deadline=None, max_examples=100)
@given(spelled=SPELLED.filter(len))
def test_every_beginning_is_a_node_and_knows_the_best_word_below(spelled):
    tree = LexiconTree(Entries.of(spelled))
    beginnings = {tuple(tokens[:n]) for _, tokens in spelled for n in range(len(tokens) + 1)}
    assert len(tree) == len(beginnings)
    scores = np.random.default_rng(len(spelled)).normal(size=len(tree.names))
    best, numbers = tree.best_below(scores), {name: number for number, name in enumerate(tree.names)}
    for beginning in beginnings:
        node = follow(tree, beginning)
        below = [scores[numbers[word]] for word, tokens in spelled if tuple(tokens[: len(beginning)]) == beginning]
        assert best[node] == max(below)
        assert (tree.path(node), tree.depth[node]) == (beginning, len(beginning))
        ends = [word for word, tokens in spelled if tuple(tokens) == beginning]
        assert [tree.name(word) for word in tree.words_at(node).tolist()] == ends
        assert tree.is_end[node] == bool(ends)


def test_identity_is_of_words_and_sounds():
    pairs = [("a", [1]), ("b", [1, 2])]
    others = [[("a", [1]), ("b", [2, 1])], [("a", [1]), ("c", [1, 2])], [("a", [1, 1]), ("b", [2])], pairs[:1]]
    assert Entries.of(pairs).identity == Entries.of(list(pairs)).identity
    assert len({Entries.of(some).identity for some in [pairs, *others]}) == 5
