"""Greedy CTC: rows of log-probabilities to tokens, across chunk borders.

The best symbol of each row, repeats merged, blanks dropped (the map B of Graves et al. 2006, section 3.1). A
repeat may straddle a chunk border, so the decoder remembers the token that the last row was still saying.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Token:
    """One symbol that was said."""

    id: int
    step: int
    """network step at which it was first the best symbol, counted since the stream opened"""
    confidence: float
    """posterior probability at its peak, 0 to 1"""


@dataclass(frozen=True)
class CtcState:
    """All that greedy CTC must remember between two chunks."""

    n_steps: int = 0
    """rows seen since the stream opened"""
    open: Token | None = None
    """the token that the last row said; None after blank"""


def rows_needed(ids: Sequence[int]) -> int:
    """Count the rows that CTC needs at least to say tokens: one each, and a blank between equal neighbours.

    >>> rows_needed([3, 5, 5, 2])
    5
    """
    return len(ids) + sum(one == other for one, other in itertools.pairwise(ids))


def greedy_step(log_probs: npt.NDArray[np.floating], state: CtcState, blank_id: int) -> tuple[list[Token], CtcState]:
    """Decode the next rows of one stream.

    log_probs: `[n_steps, n_tokens]`, natural logarithm; `n_steps` may be 0.
    Returns the tokens that begin in these rows. When the token open at the border continues and grows surer, it
    comes again first, with the same `step`: `extend` replaces the former by it.

    >>> rows = np.log([[.9, .1], [.2, .8], [.1, .9], [.9, .1]])
    >>> first, state = greedy_step(rows[:2], CtcState(), blank_id=0)
    >>> again, state = greedy_step(rows[2:], state, blank_id=0)
    >>> [(t.id, t.step, round(t.confidence, 2)) for t in first + again]
    [(1, 1, 0.8), (1, 1, 0.9)]
    >>> [round(t.confidence, 2) for t in extend(first, again)]
    [0.9]
    """
    if len(log_probs) == 0:
        return [], state
    best = log_probs.argmax(axis=1)
    if (best == blank_id).all():  # as most rows are
        return [], CtcState(state.n_steps + len(log_probs))
    runs = _runs(log_probs, best, state.n_steps)
    fresh = list(runs)
    if state.open is not None and state.open.id == runs[0].id:
        runs[0] = _surer(state.open, runs[0])
        fresh = runs if runs[0] != state.open else runs[1:]
    last = runs[-1] if runs[-1].id != blank_id else None
    tokens = [token for token in fresh if token.id != blank_id]
    return tokens, CtcState(state.n_steps + len(log_probs), last)


def extend(tokens: Sequence[Token], new: Sequence[Token]) -> tuple[Token, ...]:
    """Append what `greedy_step` returned; a token that came again replaces its former self."""
    if tokens and new and new[0].step == tokens[-1].step:
        tokens = tokens[:-1]
    return (*tokens, *new)


def _runs(log_probs: npt.NDArray[np.floating], best: npt.NDArray[np.intp], n_steps: int) -> list[Token]:
    """List runs of equal symbols, blank too, each as a token that begins where the run does and is as sure as its peak."""
    if len(best) == 1:  # as recognizers step; ten times as quick
        peak = float(np.exp(np.float64(log_probs[0, best[0]])))
        return [Token(int(best[0]), n_steps, min(peak, 1.0))]
    starts = np.flatnonzero(np.diff(best, prepend=-1))
    ids = best[starts].tolist()
    peaks = np.exp(np.maximum.reduceat(log_probs.max(axis=1), starts).astype(np.float64)).tolist()
    return [Token(id_, n_steps + start, min(peak, 1.0)) for id_, start, peak in zip(ids, starts.tolist(), peaks, strict=True)]


def _surer(former: Token, now: Token) -> Token:
    return former if former.confidence >= now.confidence else Token(former.id, former.step, now.confidence)
