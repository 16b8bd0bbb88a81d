"""One row of log-probs through a phrase graph: Viterbi over tokens and blanks, for as many ways as are open.

Every node of the graph is two CTC states (Graves et al. 2006, section 4.1): its token, and the blank after it. A row lets a
token continue, a blank follow it, or an arc lead to the next token: from token or blank if the two tokens differ, from the
blank alone if they are the same. A word may begin with the phone that the word before it ends with, at a price without blank
between them: people join the two. Node 0 comes before any phrase, and its blank is the filler: silence, or anything else at a
price. Between words of phones their separator counts as blank, too.

A loop over the open ways, in plain Python: with a beam there are about ten, and for those it takes a quarter of the time of
the same in numpy; even for a thousand, numpy with all that it needs around it was no quicker.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgeseq.phrases.graph import PhraseGraph

SPARE_HISTORY = 512
"""Tokens of given-up ways that may be kept before the history is cleared of them."""
SHARED_SOUND_PRICE = 1.0
"""Nats that it costs if one sound is the end of a word and the beginning of the next; above 0, a long sound is one."""
BETWEEN, FILLER = -2, -1
"""Where a row's costs between words and as filler stand, behind those of its tokens."""
NOT_SO_LOW = float(np.finfo(np.float64).min)
"""Without a beam all is kept that is possible at all."""

Way = tuple[int, float, float, int, int]
"""An open node: its number, the score of the best way whose last row said its token, of the best whose last row was blank
after it, and the index in the history of each such way's last token (-1 before the first)."""
PastToken = tuple[int, int, int, float]
"""A token that was said: the arc by which it was reached, the index of the token before it (-1 for the first of a phrase),
the row at which it was reached since the stream opened, and the score of the way up to there, best symbols included."""
Floats = npt.NDArray[np.float64]
Arc = tuple[int, int, int, float, float]
"""An arc: number, target, token, what it costs without blank before (infinite: blank is needed), weight."""


@dataclass(frozen=True)
class Front:
    """All ways that are open, and their past."""

    ways: tuple[Way, ...] = ((0, -math.inf, 0.0, -1, -1),)
    """by node, ascending"""
    ended: float = -math.inf
    """score of the best way whose phrase had ended before the last row"""
    ended_past: int = -1
    history: tuple[PastToken, ...] = ()
    """tokens of the open ways; those before come first"""
    n_needed: int = 0
    """length of the history when it was last cleared"""

    @property
    def is_idle(self) -> bool:
        """Tell that no phrase has begun."""
        return self.ended == -math.inf and len(self.ways) == 1 and self.ways[0][0] == 0


@dataclass(frozen=True)
class Row:
    """One row, as the search takes it."""

    cost: Floats
    """log-probs less the best of the row, `[n_tokens]`"""
    filler: float
    """what the row costs as filler, 0 or less"""
    between: float
    """what it costs between two words, 0 or less"""
    step: int
    """number of the row since the stream opened"""
    free: float
    """sum of the best symbols' log-probs since the utterance began, this row's included"""


class Trellis:
    """Advances the open ways of a stream. Read-only: streams share it."""

    def __init__(self, graph: PhraseGraph, blank_id: int, beam: float) -> None:
        """Search `graph`; give up ways that are `beam` nats worse than the best."""
        self.graph, self.beam = graph, beam
        self._blank_id = blank_id
        labels = graph.label[graph.target]
        self._openers = np.unique(labels[: graph.first_arc[1]])
        self._out: dict[int, tuple[int, int, float, tuple[Arc, ...]]] = {}  # of the nodes that were open so far

    def advance(self, front: Front, row: Row) -> Front:
        """Let every open way take one row."""
        if not front.ways:  # a phrase has ended, and every other way was given up
            return replace(front, ended=front.ended + row.filler)
        if front.is_idle and row.cost[self._openers].max() < row.filler - self.beam:
            _, token, blank, _, _ = front.ways[0]
            return replace(front, ways=((0, -math.inf, max(token, blank) + row.filler, -1, -1),))
        return self._take(front, row)

    def _outward(self, node: int) -> tuple[int, int, float, tuple[Arc, ...]]:
        """Give a node's token, what its blank is (an index of `_costs`), the weight of ending there, and its arcs."""
        graph, token = self.graph, int(self.graph.label[node])
        end_weight = float(graph.end_weight[node])
        may_end = end_weight > -math.inf
        arcs = []
        for arc in range(int(graph.first_arc[node]), int(graph.first_arc[node + 1])):
            target = int(graph.target[arc])
            next_token, opens = int(graph.label[target]), bool(graph.opens[target])
            may_end = may_end or opens
            price = 0.0 if next_token != token else SHARED_SOUND_PRICE if opens and graph.phones else math.inf
            arcs.append((arc, target, next_token, price, float(graph.weight[arc])))
        rest = FILLER if node == 0 else BETWEEN if may_end else self._blank_id
        outward = self._out[node] = (token, rest, end_weight, tuple(arcs))
        return outward

    def _take(self, front: Front, row: Row) -> Front:
        """Take the ways one by one."""
        cost: list[float] = [*row.cost.tolist(), row.between, row.filler]
        beam, out = self.beam, self._out
        ended, ended_past = front.ended, front.ended_past
        stays: list[Way] = []
        reached: dict[int, tuple[float, int, int]] = {}
        top = -math.inf
        for node, token, blank, token_past, blank_past in front.ways:
            label, rest, end_weight, arcs = out.get(node) or self._outward(node)
            best, past = (blank, blank_past) if token <= blank else (token, token_past)
            if best + end_weight > ended:
                ended, ended_past = best + end_weight, past
            for arc, target, arc_label, price, weight in arcs:
                score = (max(blank, token - price) if price else best) + cost[arc_label] + weight
                if score < top - beam:
                    continue
                known = reached.get(target)
                if known is None or score >= known[0]:
                    reached[target] = (score, arc, past if not price or token - price > blank else blank_past)
                    top = score if score > top else top
            token, blank = token + cost[label], best + cost[rest]
            top = max(top, token, blank)
            stays.append((node, token, blank, token_past, past))
        ended += row.filler
        limit = max(max(top, ended) - beam, NOT_SO_LOW)
        if ended < limit:
            ended, ended_past = -math.inf, -1
        return self._joined(front, row, stays, reached, limit, ended, ended_past)

    def _joined(
        self,
        front: Front,
        row: Row,
        stays: list[Way],
        reached: dict[int, tuple[float, int, int]],
        limit: float,
        ended: float,
        ended_past: int,
    ) -> Front:
        """Let tokens that were reached replace worse ways to the same nodes, all below the limit left out."""
        ways: list[Way] = []
        new: list[PastToken] = []
        n_history = len(front.history)
        replaced = {way[0]: way for way in stays if way[1] >= limit or way[2] >= limit}
        for node in sorted(reached.keys() | replaced.keys()):
            stay, entered = replaced.get(node), reached.get(node)
            if entered is None or entered[0] < limit or (stay is not None and entered[0] <= stay[1]):
                if stay is not None:
                    ways.append(stay)
                continue
            score, arc, before = entered
            _, _, blank, _, blank_past = stay or (node, 0.0, -math.inf, -1, -1)
            ways.append((node, score, blank, n_history + len(new), blank_past))
            new.append((arc, before, row.step, score + row.free))
        return _tidy(Front(tuple(ways), ended, ended_past, (*front.history, *new) if new else front.history, front.n_needed))


def way_to(history: Sequence[PastToken], last: int) -> list[PastToken]:
    """List the tokens of a way up to that of index `last`, in order."""
    way = []
    while last >= 0:
        way.append(history[last])
        last = history[last][1]
    return way[::-1]


def _tidy(front: Front) -> Front:
    """Forget the tokens of ways that were given up, when they have become many."""
    if len(front.history) <= 2 * front.n_needed + SPARE_HISTORY:
        return front
    wanted: set[int] = set()
    pending = [past for way in front.ways for past in way[3:]] + [front.ended_past]
    while pending:
        index = pending.pop()
        if index >= 0 and index not in wanted:
            wanted.add(index)
            pending.append(front.history[index][1])
    kept = sorted(wanted)
    moved = {old: new for new, old in enumerate(kept)} | {-1: -1}
    history = tuple((arc, moved[before], step, score) for arc, before, step, score in (front.history[i] for i in kept))
    ways = tuple((node, token, blank, moved[past], moved[other]) for node, token, blank, past, other in front.ways)
    return Front(ways, front.ended, moved[front.ended_past], history, len(history))
