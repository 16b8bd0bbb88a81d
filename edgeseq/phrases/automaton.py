"""Finite automata without circles: made from pieces, determinized, minimized, counted.

Symbols are whole numbers; what they mean is the caller's business. Marks (slots, intents, weights) are symbols like words, so
determinizing and minimizing are exact by construction: no output can be lost or moved across another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

EPSILON = -1
"""Symbol of an arc that takes nothing."""


class TooLargeError(Exception):
    """An automaton needs more states than allowed."""


@dataclass
class Nfa:
    """An automaton that is being built; state 0 is the first."""

    max_states: int
    arcs: list[list[tuple[int, int]]] = field(default_factory=lambda: [[]])
    """of each state: (symbol, target)"""

    def add_state(self) -> int:
        """Make a state and return it. Raises TooLargeError."""
        if len(self.arcs) >= self.max_states:
            raise TooLargeError
        self.arcs.append([])
        return len(self.arcs) - 1

    def add_arc(self, source: int, symbol: int, target: int) -> None:
        """Lead from `source` to `target`, taking `symbol`."""
        self.arcs[source].append((symbol, target))


@dataclass(frozen=True)
class Dfa:
    """A deterministic automaton; state 0 is the first and arcs lead to larger numbers only."""

    arcs: tuple[tuple[tuple[int, int], ...], ...]
    """of each state: (symbol, target), by symbol"""
    final: tuple[bool, ...]

    def __len__(self) -> int:
        """Count the states."""
        return len(self.arcs)


def determinize(nfa: Nfa, finals: set[int]) -> Dfa:
    """Make an automaton in which no two arcs of a state take the same symbol (subset construction), minimized.

    Raises TooLargeError when it needs more than `nfa.max_states` states.
    """
    closures: dict[int, tuple[int, ...]] = {}
    start = _closure(nfa, (0,), closures)
    numbers = {start: 0}
    subsets = [start]
    arcs: list[list[tuple[int, int]]] = []
    for subset in subsets:  # grows while it is walked
        targets: dict[int, list[int]] = {}
        for state in subset:
            for symbol, target in nfa.arcs[state]:
                if symbol != EPSILON:
                    targets.setdefault(symbol, []).append(target)
        leaving = []
        for symbol, reached in targets.items():
            closed = _closure(nfa, reached, closures)
            number = numbers.get(closed)
            if number is None:
                number = numbers[closed] = len(subsets)
                if number >= nfa.max_states:
                    raise TooLargeError
                subsets.append(closed)
            leaving.append((symbol, number))
        arcs.append(leaving)
    return minimize(arcs, [not finals.isdisjoint(subset) for subset in subsets])


def _closure(nfa: Nfa, states: Sequence[int], known: dict[int, tuple[int, ...]]) -> tuple[int, ...]:
    """List what can be reached from `states` without taking a symbol; states without other arcs than epsilon are left out."""
    if len(states) == 1 and states[0] in known:
        return known[states[0]]
    seen, pending = set(states), list(states)
    while pending:
        for symbol, target in nfa.arcs[pending.pop()]:
            if symbol == EPSILON and target not in seen:
                seen.add(target)
                pending.append(target)
    closed = tuple(sorted(seen)) if len(seen) > 1 else tuple(seen)
    if len(states) == 1:
        known[states[0]] = closed
    return closed


def minimize(arcs: Sequence[Sequence[tuple[int, int]]], final: Sequence[bool]) -> Dfa:
    """Merge states from which the same follows (Revuz 1992: without circles, one pass from the ends), drop dead ends."""
    order = _ends_first(arcs)
    class_of: dict[int, int] = {}
    classes: dict[tuple[bool, tuple[tuple[int, int], ...]], int] = {}
    for state in order:
        leaving = tuple(sorted((symbol, class_of[target]) for symbol, target in arcs[state] if class_of[target] >= 0))
        if not leaving and not final[state]:
            class_of[state] = -1
        else:
            class_of[state] = classes.setdefault((final[state], leaving), len(classes))
    if class_of[0] < 0:
        return Dfa(((),), (False,))
    # Classes are numbered ends first; turned round, arcs lead to larger numbers and the first state is 0.
    last = class_of[0]
    kept = [(is_final, leaving) for (is_final, leaving), number in classes.items() if number <= last]
    kept.reverse()
    return Dfa(
        tuple(tuple((symbol, last - target) for symbol, target in leaving) for _, leaving in kept),
        tuple(is_final for is_final, _ in kept),
    )


def _ends_first(arcs: Sequence[Sequence[tuple[int, int]]]) -> list[int]:
    """List the states that can be reached, each after all that it leads to (depth first, without recursion)."""
    order: list[int] = []
    state_of: dict[int, int] = {0: 0}  # 0: being walked, 1: listed
    path = [(0, iter(arcs[0]))]
    while path:
        state, leaving = path[-1]
        for _, target in leaving:
            if target not in state_of:
                state_of[target] = 0
                path.append((target, iter(arcs[target])))
                break
            assert state_of[target] == 1, "a circle"
        else:
            path.pop()
            state_of[state] = 1
            order.append(state)
    return order


def count_paths(dfa: Dfa) -> int:
    """Count the strings that an automaton takes."""
    counts = [0] * len(dfa)
    for state in reversed(range(len(dfa))):
        counts[state] = int(dfa.final[state]) + sum(counts[target] for _, target in dfa.arcs[state])
    return counts[0]


def without(dfa: Dfa, is_dropped: Sequence[bool], max_states: int) -> Dfa:
    """Forget symbols (those for which `is_dropped` holds, by number): what is left, determinized and minimized.

    Raises TooLargeError when it needs more than `max_states` states.
    """
    nfa = Nfa(max(max_states, len(dfa)))
    nfa.arcs = [[(EPSILON if is_dropped[symbol] else symbol, target) for symbol, target in leaving] for leaving in dfa.arcs]
    return determinize(nfa, {state for state, is_final in enumerate(dfa.final) if is_final})
