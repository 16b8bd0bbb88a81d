"""Forced alignment: which token each row stands for, where the text is known.

The likeliest path of a CTC network (Graves et al. 2006, section 3) that collapses to one of a text's spellings, by Viterbi
search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ways = Sequence[Sequence[int]]
"""The spellings of a word, each a sequence of token ids."""


@dataclass(frozen=True)
class SpellingGraph:
    """All CTC paths of a text: nodes, each a token or the blank."""

    tokens: NDArray[np.int64]
    """of each node, `[n_nodes]`"""
    before: NDArray[np.int64]
    """the node itself and those that a path may come from, `[n_nodes, most]`; `n_nodes` fills up"""
    is_first: NDArray[np.bool_]
    """whether a path may begin there, `[n_nodes]`"""
    is_last: NDArray[np.bool_]
    """whether a path may end there, `[n_nodes]`"""


class _Nodes:
    """The nodes so far: their tokens, and the nodes before each."""

    def __init__(self, blank_id: int) -> None:
        self.blank_id = blank_id
        self.tokens: list[int] = []
        self.before: list[list[int]] = []

    def add(self, token: int, before: Sequence[int]) -> int:
        """Add a node that follows itself and those of `before` that stand for other tokens."""
        node = len(self.tokens)
        self.tokens.append(token)
        self.before.append([node, *(other for other in before if self.tokens[other] != token)])
        return node

    def spell(self, way: Sequence[int], before: Sequence[int]) -> tuple[int, int]:
        """Add one spelling of a word behind the nodes `before`; return its first and its last node."""
        first = node = self.add(way[0], before)
        for token in way[1:]:
            node = self.add(token, [self.add(self.blank_id, [node]), node])
        return first, node


def spelling_graph(words: Sequence[Ways], blank_id: int) -> SpellingGraph:
    """Make the graph of `words`, each in any of its ways. A blank may stand anywhere, and must between equal tokens."""
    nodes = _Nodes(blank_id)
    gap, ends = nodes.add(blank_id, []), list[int]()
    firsts = [gap]
    for ways in words:
        spelled = [nodes.spell(way, [gap, *ends]) for way in ways]
        firsts += [] if ends else [first for first, _ in spelled]
        ends = [last for _, last in spelled]
        gap = nodes.add(blank_id, ends)
    n_nodes = len(nodes.tokens)
    most = max(map(len, nodes.before))
    before = np.array([[*others, *[n_nodes] * (most - len(others))] for others in nodes.before])
    numbers = np.arange(n_nodes)
    return SpellingGraph(np.array(nodes.tokens), before, np.isin(numbers, firsts), np.isin(numbers, [gap, *ends]))


def align(log_probs: NDArray[np.float32], graph: SpellingGraph) -> NDArray[np.int64] | None:
    """Find the token of each row on the likeliest path, `[n_rows]`; None where the rows are too few for the text.

    log_probs: natural logarithms, `[n_rows, n_tokens]`.
    """
    if not len(log_probs):
        return None
    emitted = log_probs[:, graph.tokens].astype(np.float64)
    n_rows, n_nodes = emitted.shape
    scores = np.append(np.where(graph.is_first, emitted[0], -np.inf), -np.inf)
    origins = np.zeros((n_rows, n_nodes), dtype=np.int64)
    for row in range(1, n_rows):
        reached = scores[graph.before]
        origins[row] = reached.argmax(axis=1)
        scores[:-1] = reached.max(axis=1) + emitted[row]
    finals = np.where(graph.is_last, scores[:-1], -np.inf)
    node = int(finals.argmax())
    if finals[node] == -np.inf:
        return None
    path = np.empty(n_rows, dtype=np.int64)
    for row in reversed(range(n_rows)):
        path[row] = node
        node = int(graph.before[node, origins[row, node]])
    return np.asarray(graph.tokens[path])
