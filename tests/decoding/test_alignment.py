"""Forced alignment against all paths, one by one."""

from itertools import groupby, product

import numpy as np
import pytest

from edgeseq.decoding.alignment import align, spelling_graph

BLANK = 0


def collapse(path):
    return tuple(token for token, _ in groupby(path) if token != BLANK)


def spellings(words):
    return {tuple(token for way in ways for token in way) for ways in product(*words)}


def best_of_all(log_probs, words):
    """The score of the best path that collapses to a spelling, or None."""
    wanted, rows = spellings(words), range(len(log_probs))
    scores = [
        sum(log_probs[row, token] for row, token in zip(rows, path, strict=True))
        for path in product(range(log_probs.shape[1]), repeat=len(log_probs))
        if collapse(path) in wanted
    ]
    return max(scores, default=None)


@pytest.mark.parametrize(
    "words",
    [
        [[(1,)]],
        [[(1, 2)], [(2, 1)]],
        [[(1, 1)]],
        [[(1, 2), (2,)], [(2, 1), (3,)]],
        [[(1,), (2, 3)], [(1,)]],
        [],
    ],
)
@pytest.mark.parametrize("n_rows", [1, 2, 3, 5, 6])
def test_the_best_of_all_paths(words, n_rows):
    rng = np.random.default_rng(n_rows)
    log_probs = np.log(rng.dirichlet(np.ones(4), size=n_rows)).astype(np.float32)
    path = align(log_probs, spelling_graph(words, BLANK))
    best = best_of_all(log_probs, words)
    if best is None:
        assert path is None
    else:
        assert collapse(path) in spellings(words)
        assert log_probs[np.arange(n_rows), path].sum() == pytest.approx(best, rel=1e-5)


def test_no_rows_hold_no_text():
    assert align(np.zeros((0, 4), dtype=np.float32), spelling_graph([[(1,)]], BLANK)) is None


def test_the_pronunciation_that_was_said_is_found():
    log_probs = np.log(np.full((5, 4), 0.01, dtype=np.float32))
    for row, token in enumerate([1, 0, 3, 3, 0]):
        log_probs[row, token] = 0.0
    assert align(log_probs, spelling_graph([[(1, 2), (1, 3)]], BLANK)).tolist() == [1, 0, 3, 3, 0]
