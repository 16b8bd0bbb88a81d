"""What a phrase file allows: how many sentences (counted on the graph, never written out), examples, what is ambiguous."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgeseq.phrases.automaton import TooLargeError, count_paths, without
from edgeseq.phrases.compiling import MAX_STATES, WordAutomaton
from edgeseq.phrases.content import Phrases, all_nodes, references, words
from edgeseq.phrases.graph import Mark, PhraseGraph, Reading, read_way
from edgeseq.phrases.graph_making import TokenAutomaton
from edgeseq.tokens.table import TokenTable

MAX_PAIRS = 200_000
"""Pairs of states that are looked at in the search for ambiguities."""
MAX_AMBIGUITIES = 5
"""That are shown."""


@dataclass(frozen=True)
class SentenceCount:
    """How many different sentences there are."""

    n: int
    is_exact: bool
    """otherwise sentences that can be understood in two ways were counted twice"""


@dataclass(frozen=True)
class Ambiguity:
    """A sentence that the tokens spell alike and that means two things; phones do so wherever words begin."""

    text: str
    first: Reading
    second: Reading


def count_sentences(automaton: WordAutomaton) -> SentenceCount:
    """Count the sentences, each once, however many ways there are to understand it."""
    is_mark = [not isinstance(symbol, str) for symbol in automaton.symbols]
    try:
        return SentenceCount(count_paths(without(automaton.dfa, is_mark, MAX_STATES)), True)
    except TooLargeError:
        return SentenceCount(count_paths(automaton.dfa), False)


def examples(graph: PhraseGraph, n: int, seed: int = 0) -> list[Reading]:
    """Draw sentences, every one as likely as the others (up to those that share all their nodes)."""
    counts = [0] * graph.n_nodes
    for node in reversed(range(graph.n_nodes)):
        targets = graph.target[graph.first_arc[node] : graph.first_arc[node + 1]].tolist()
        counts[node] = int(graph.end_weight[node] > float("-inf")) + sum(counts[target] for target in targets)
    dice = random.Random(seed)
    drawn: dict[str, Reading] = {}
    for _ in range(4 * n):
        reading = graph.read(_draw(graph, counts, dice))
        drawn.setdefault(text_of(reading), reading)
        if len(drawn) == min(n, counts[0]):
            break
    return list(drawn.values())


def _draw(graph: PhraseGraph, counts: list[int], dice: random.Random) -> list[int]:
    """Draw a way from node 0 to an end."""
    way: list[int] = []
    node = 0
    while True:
        left = dice.randrange(counts[node])
        if graph.end_weight[node] > float("-inf"):
            if left == 0:
                return way
            left -= 1
        for arc in range(int(graph.first_arc[node]), int(graph.first_arc[node + 1])):
            target = int(graph.target[arc])
            if left < counts[target]:
                break
            left -= counts[target]
        way.append(arc)
        node = target


def text_of(reading: Reading) -> str:
    """Join the words of a reading."""
    return " ".join(word.text for word in reading.words)


Pair = tuple[int, int, bool]
"""Two states that the same tokens lead to, and whether they were understood differently on the way."""
Step = tuple[tuple[int, int], tuple[tuple[Mark, ...], tuple[Mark, ...]]]
"""Symbols of a token on either way (-1 at the end), and what precedes them."""


def ambiguities(automaton: TokenAutomaton, tokens: TokenTable) -> list[Ambiguity]:
    """Find sentences with two meanings, the shortest first: two ways through the automaton in step, breadth first."""
    beyond = [list(_beyond(automaton, state)) for state in range(len(automaton.dfa))]
    came_from: dict[Pair, tuple[Pair, Step] | None] = {(0, 0, False): None}
    pending: deque[Pair] = deque(came_from)
    found: dict[Any, Ambiguity] = {}
    while pending and len(came_from) < MAX_PAIRS and len(found) < MAX_AMBIGUITIES:
        pair = pending.popleft()
        for after, step in _both(automaton, beyond, pair):
            if step[0][0] < 0:
                ambiguity = _told([*_steps(came_from, pair), step], automaton, tokens)
                if ambiguity is not None:
                    found.setdefault(_kind(ambiguity), ambiguity)
            elif after not in came_from:
                came_from[after] = (pair, step)
                pending.append(after)
    return list(found.values())


def _beyond(automaton: TokenAutomaton, start: int) -> Iterator[tuple[int, int, tuple[Mark, ...]]]:
    """List (symbol of a token, state after it, marks before it); symbol -1 where a phrase may end."""
    pending: list[tuple[int, tuple[Mark, ...]]] = [(start, ())]
    for state, marks in pending:  # grows while it is walked
        if automaton.dfa.final[state]:
            yield -1, state, marks
        for symbol, after in automaton.dfa.arcs[state]:
            if symbol < len(automaton.said):
                yield symbol, after, marks
            else:
                pending.append((after, (*marks, automaton.marks[symbol - len(automaton.said)])))


def _both(
    automaton: TokenAutomaton, beyond: list[list[tuple[int, int, tuple[Mark, ...]]]], pair: Pair
) -> Iterator[tuple[Pair, Step]]:
    """Take the same token on both ways; two ways that are still one are compared in one order only."""
    first, second, differ = pair
    tokens = [token for token, _ in automaton.said] + [-1]
    for i, (symbol, state, marks) in enumerate(beyond[first]):
        for j, (other, other_state, other_marks) in enumerate(beyond[second]):
            if tokens[symbol] != tokens[other] or (first == second and not differ and j < i):
                continue
            now_differ = differ or marks != other_marks
            if symbol >= 0 or now_differ:
                yield (state, other_state, now_differ), ((symbol, other), (marks, other_marks))


def _steps(came_from: dict[Pair, tuple[Pair, Step] | None], pair: Pair) -> list[Step]:
    """List the steps that led to a pair, in order."""
    steps = []
    while (before := came_from[pair]) is not None:
        pair = before[0]
        steps.append(before[1])
    return steps[::-1]


def _told(steps: list[Step], automaton: TokenAutomaton, tokens: TokenTable) -> Ambiguity | None:
    """Read both ways; None if they mean the same after all."""
    first, second = (
        read_way(
            [(tokens.symbols[token], opens) for token, opens in (automaton.said[symbols[way]] for symbols, _ in steps[:-1])],
            [marks[way] for _, marks in steps],
        )
        for way in (0, 1)
    )
    if (first.intent, first.slots, text_of(first)) == (second.intent, second.slots, text_of(second)):
        return None
    letters = [automaton.said[symbol][0] for (symbol, _), _ in steps[:-1]]
    return Ambiguity(text_of(first) if tokens.kind == "phones" else tokens.decode(letters), first, second)


def _kind(ambiguity: Ambiguity) -> Any:
    """Tell ambiguities apart by what they confuse: one example of each is enough."""
    return frozenset((reading.intent, tuple(sorted(reading.slots))) for reading in (ambiguity.first, ambiguity.second))


def unused(phrases: Phrases) -> list[str]:
    """List rules, slots and spellings that nothing uses."""
    reached: set[str] = set()
    pending = [phrase.node for intent in phrases.intents.values() for phrase in intent]
    while pending:
        for reference in references(pending.pop()):
            if reference.numbers is None and reference.name not in reached:
                reached.add(reference.name)
                if reference.name in phrases.rules:
                    pending.append(phrases.rules[reference.name].node)
                else:
                    pending += [value.node for value in phrases.slots[reference.name].values]
    said = {word.text for node in all_nodes(phrases) for word in words(node)}
    return [
        *(f"{rule.place}: rule {name!r}" for name, rule in phrases.rules.items() if name not in reached),
        *(f"{slot.place}: slot {name!r}" for name, slot in phrases.slots.items() if name not in reached),
        *(f"{phrases.spelling_places[word]}: spelling of {word!r}" for word in phrases.spellings if word not in said),
    ]
