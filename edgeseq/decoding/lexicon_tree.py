"""A lexicon of many thousand words as a prefix tree in flat arrays: small, made in a fraction of a second, shared by streams.

Nodes are numbered breadth first, so that the children of a node are neighbours. Words that share a beginning share its nodes
(Ney and others 1992); each node knows the best score of the words that it can still become, which a search puts in place of the
word's own until that is known (language model lookahead: Ortmanns, Ney and Eiden 1996).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from edgeseq.tokens.table import TokenTable

Ints = npt.NDArray[np.int32]

ROOT = 0
PAD = 0
"""In the matrix of pronunciations: behind the last phone of each, before all others."""


@dataclass(frozen=True)
class Entries:
    """Pronunciations, one behind the other, in the order of their file."""

    words: bytes
    """each once, UTF-8, closed by a line feed"""
    word: Ints
    """of each pronunciation, `[n_entries]`, an index into `words`"""
    tokens: npt.NDArray[np.uint16]
    """of all pronunciations, `[n_tokens in all]`"""
    ends: Ints
    """of each pronunciation in `tokens`, `[n_entries]`"""

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, Sequence[int]]]) -> Entries:
        """Gather pairs (word, its tokens).

        >>> Entries.of([("tea", [3, 2]), ("tee", [3, 2])]).words
        b'tea\\ntee\\n'
        """
        numbers: dict[str, int] = {}
        word: list[int] = []
        tokens: list[int] = []
        ends: list[int] = []
        for name, spelled in pairs:
            word.append(numbers.setdefault(name, len(numbers)))
            tokens += spelled
            ends.append(len(tokens))
        words = "".join(f"{name}\n" for name in numbers).encode()
        return cls(words, np.array(word, np.int32), np.array(tokens, np.uint16), np.array(ends, np.int32))

    def __len__(self) -> int:
        """Count the pronunciations."""
        return len(self.word)

    @cached_property
    def identity(self) -> str:
        """Tell these words and sounds from others."""
        crc = zlib.crc32(self.words)
        for part in (self.word, self.tokens, self.ends):
            crc = zlib.crc32(np.ascontiguousarray(part).tobytes(), crc)
        return f"{crc:08x}"


def phone_entries(tokens: TokenTable) -> Entries:
    """List the pronunciations that a model of phones includes."""
    ids = tokens.ids
    return Entries.of(
        (word, [ids[phone] for phone in phones]) for word, ways in tokens.pronunciations.items() for phones in ways
    )


class LexiconTree:
    """All pronunciations as one tree. Read-only.

    >>> tree = LexiconTree(Entries.of([("tea", [3, 2]), ("tee", [3, 2]), ("teal", [3, 2, 4])]))
    >>> [list(map(int, part)) for part in (tree.token, tree.parent, tree.first_child)]
    [[0, 3, 2, 4], [-1, 0, 1, 2], [1, 2, 3, 4, 4]]
    >>> [list(map(int, tree.words_at(node))) for node in range(len(tree))]
    [[], [], [0, 1], [2]]
    """

    def __init__(self, entries: Entries) -> None:
        """Build it of pronunciations that have a token at least."""
        matrix, order = _sorted(entries)
        lengths = np.diff(entries.ends, prepend=0)[order]
        node_at, parent, self.token, self.depth = _nodes(matrix, lengths)
        self.parent = parent
        self.first_child = np.searchsorted(parent[1:], np.arange(len(parent) + 1)).astype(np.int32) + 1
        """children of node n are first_child[n] up to first_child[n + 1]"""
        self.n_children = np.diff(self.first_child)
        self.n_children[ROOT] = 0
        """the root's apart: a word begins in another way than it continues"""
        ends = np.empty(len(entries), np.int32)
        ends[order] = node_at
        by_node = np.argsort(ends, kind="stable")
        self.first_word = np.searchsorted(ends[by_node], np.arange(len(parent) + 1)).astype(np.int32)
        """words that end in node n are word[first_word[n]] up to word[first_word[n + 1]], in the order of the file"""
        self.word = entries.word[by_node]
        self.is_end = np.diff(self.first_word) > 0
        self._names = entries.words
        self._first_letter = np.append(0, np.flatnonzero(np.frombuffer(self._names, np.uint8) == ord("\n")) + 1)
        self.identity = entries.identity

    def __len__(self) -> int:
        """Count the nodes."""
        return len(self.token)

    @property
    def n_words(self) -> int:
        """Count the words."""
        return len(self._first_letter) - 1

    def name(self, word: int) -> str:
        """Give a word by its number."""
        return self._names[self._first_letter[word] : self._first_letter[word + 1] - 1].decode()

    @property
    def names(self) -> list[str]:
        """List all words by their numbers."""
        return self._names.decode().split("\n")[:-1]

    def words_at(self, node: int) -> Ints:
        """Give the words that end in a node."""
        return self.word[self.first_word[node] : self.first_word[node + 1]]

    def path(self, node: int) -> tuple[int, ...]:
        """List the tokens from the root to a node."""
        tokens = []
        while node != ROOT:
            tokens.append(int(self.token[node]))
            node = int(self.parent[node])
        return tuple(tokens[::-1])

    def best_below(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Give for each node the best score of the words that it may become; scores: `[n_words]`."""
        best = np.full(len(self), -np.inf)
        np.maximum.at(best, np.repeat(np.arange(len(self)), np.diff(self.first_word)), scores[self.word])
        levels = np.searchsorted(self.depth, np.arange(1, int(self.depth[-1]) + 2)).tolist()
        for first, end in reversed(list(pairwise(levels))):
            np.maximum.at(best, self.parent[first:end], best[first:end])
        return best


def _sorted(entries: Entries) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.intp]]:
    """Lay pronunciations out as rows, `[n_entries, longest]`, tokens counted from 1, sorted; give their former places, too."""
    lengths = np.diff(entries.ends, prepend=0)
    longest = int(lengths.max(initial=1))
    matrix = np.full((len(entries), longest), PAD, dtype=">u2")
    row = np.repeat(np.arange(len(entries)), lengths)
    column = np.arange(len(entries.tokens)) - np.repeat(entries.ends - lengths, lengths)
    matrix[row, column] = entries.tokens + 1
    order = np.argsort(matrix.view(f"S{2 * longest}")[:, 0], kind="stable")
    return matrix[order].astype(np.uint16), order


def _nodes(matrix: npt.NDArray[np.uint16], lengths: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Number the beginnings of sorted rows; give each row's last node, and each node's parent, token and depth."""
    n_rows, longest = matrix.shape
    same = np.logical_and.accumulate(matrix[1:] == matrix[:-1], axis=1).sum(axis=1)
    shared = np.minimum(np.concatenate([np.zeros(min(1, n_rows), same.dtype), same]), lengths)
    columns = np.arange(longest)[:, None]
    is_new = (columns >= shared) & (columns < lengths)
    number = np.zeros((longest + 1, n_rows), np.int32)
    number[1:][is_new] = np.arange(1, np.count_nonzero(is_new) + 1)
    np.maximum.accumulate(number, axis=1, out=number)
    parent = np.concatenate([[-1], number[:-1][is_new]]).astype(np.int32)
    token = np.concatenate([[0], matrix.T[is_new] - 1]).astype(np.int32)
    depth = np.concatenate([[0], np.nonzero(is_new)[0] + 1]).astype(np.int32)
    return number[lengths, np.arange(n_rows)], parent, token, depth
