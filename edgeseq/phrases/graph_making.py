"""From tokens to the graph that is searched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeseq.phrases.automaton import Dfa
from edgeseq.phrases.graph import Mark, PhraseGraph
from edgeseq.tokens.table import TokenTable


@dataclass(frozen=True)
class TokenAutomaton:
    """All phrases as tokens and marks: symbols above those of tokens are in `marks`."""

    dfa: Dfa
    said: tuple[tuple[int, bool], ...]
    """what symbols of tokens stand for: token, whether it opens a word"""
    marks: tuple[Mark, ...]


def to_graph(automaton: TokenAutomaton, tokens: TokenTable) -> PhraseGraph:
    """Move marks onto arcs and make a node of each token with which a state is entered."""
    return _GraphMaker(automaton, tokens).make()


@dataclass(frozen=True)
class _Beyond:
    """What can be reached from a state by marks alone."""

    arcs: tuple[tuple[int, int, float, tuple[int, ...]], ...]
    """(symbol of a token, state after it, weight, marks before it)"""
    end: tuple[float, tuple[int, ...]] | None
    """(weight, marks) if a phrase may end"""


class _GraphMaker:
    def __init__(self, automaton: TokenAutomaton, tokens: TokenTable) -> None:
        self.automaton = automaton
        self.tokens = tokens
        self.known: dict[int, _Beyond] = {}
        self.outputs: dict[tuple[int, ...], int] = {(): 0}

    def make(self) -> PhraseGraph:
        """Walk all nodes in order of their states, so that arcs lead on."""
        entered = self._entered()
        numbers = {node: number for number, node in enumerate(entered)}
        first_arc, target, weight, output = [0], [], [], []
        end_weight, end_output = np.full(len(entered), -np.inf), np.zeros(len(entered), dtype=np.int32)
        for number, (state, _) in enumerate(entered):
            beyond = self._beyond(state)
            best: dict[int, tuple[float, tuple[int, ...]]] = {}
            for symbol, after, arc_weight, marks in beyond.arcs:
                node = numbers[after, symbol]
                if node not in best or arc_weight > best[node][0]:
                    best[node] = (arc_weight, marks)
            for node in sorted(best):
                target.append(node)
                weight.append(best[node][0])
                output.append(self._output(best[node][1]))
            first_arc.append(len(target))
            if beyond.end is not None and number > 0:
                end_weight[number], end_output[number] = beyond.end[0], self._output(beyond.end[1])
        return PhraseGraph(
            tokens=self.tokens.symbols,
            phones=self.tokens.kind == "phones",
            label=np.array([self.automaton.said[symbol][0] for _, symbol in entered], dtype=np.int32),
            opens=np.array([self.automaton.said[symbol][1] for _, symbol in entered], dtype=np.bool_),
            first_arc=np.array(first_arc, dtype=np.int32),
            target=np.array(target, dtype=np.int32),
            weight=np.array(weight, dtype=np.float64),
            output=np.array(output, dtype=np.int32),
            end_weight=end_weight,
            end_output=end_output,
            outputs=tuple(tuple(self._mark(symbol) for symbol in marks) for marks in self.outputs),
        )

    def _entered(self) -> list[tuple[int, int]]:
        """List nodes as (state, symbol of a token), by state; first the one before any phrase."""
        start = (0, self.tokens.blank_id)
        by_state: dict[int, set[int]] = {}
        pending = [0]
        seen = {0}
        while pending:
            for symbol, after, _, _ in self._beyond(pending.pop()).arcs:
                by_state.setdefault(after, set()).add(symbol)
                if after not in seen:
                    seen.add(after)
                    pending.append(after)
        return [start, *((state, symbol) for state in sorted(by_state) for symbol in sorted(by_state[state]))]

    def _beyond(self, state: int) -> _Beyond:
        if state not in self.known:
            self.known[state] = self._walk(state)
        return self.known[state]

    def _walk(self, start: int) -> _Beyond:
        """Follow marks until tokens or an end; of two ways to the same end the heavier, else the earlier counts."""
        arcs: list[tuple[int, int, float, tuple[int, ...]]] = []
        end: tuple[float, tuple[int, ...]] | None = None
        pending: list[tuple[int, float, tuple[int, ...]]] = [(start, 0.0, ())]
        while pending:
            state, weight, marks = pending.pop(0)
            if self.automaton.dfa.final[state] and (end is None or weight > end[0]):
                end = (weight, marks)
            for symbol, after in self.automaton.dfa.arcs[state]:
                if symbol < len(self.automaton.said):
                    arcs.append((symbol, after, weight, marks))
                else:
                    pending.append((after, weight + getattr(self._mark(symbol), "log_weight", 0.0), (*marks, symbol)))
        return _Beyond(tuple(arcs), end)

    def _mark(self, symbol: int) -> Mark:
        return self.automaton.marks[symbol - len(self.automaton.said)]

    def _output(self, marks: tuple[int, ...]) -> int:
        return self.outputs.setdefault(marks, len(self.outputs))
