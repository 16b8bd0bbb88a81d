"""Phrases to a graph of tokens: every part is built once, shared where it is used, and never written out as sentences.

Three stages, each exact. Words: rules and slots become small minimal automata over words and marks, phrases are joined of
them, and the whole is determinized and minimized. Tokens: each word is replaced by its spellings and the whole minimized
again, so that beginnings and endings of words are shared, too. A phone that opens a word is another symbol than the same phone
within one. Graph: marks move from arcs of their own onto the arcs behind
them, and a node is made for each token with which a state can be entered.

A slot's mark follows its words and says how many there are, not which: "eight ounce" and "twenty ounce" may end in the
same states. The intent's mark stands where only one intent is left, so that what follows is shared between intents.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from edgeseq.phrases.automaton import EPSILON, Dfa, Nfa, TooLargeError, determinize, minimize
from edgeseq.phrases.content import Phrase, Phrases, Slot
from edgeseq.phrases.faults import Fault, PhraseError, Place
from edgeseq.phrases.graph import IntentMark, Mark, PhraseGraph, SlotMark, WeightMark, WordMark
from edgeseq.phrases.graph_making import TokenAutomaton, to_graph
from edgeseq.phrases.notation import Choice, Node, NumberRange, Reference, Sequence, Word
from edgeseq.phrases.numbers import number_phrases
from edgeseq.phrases.spelling import check_spelling, guess_words, n_words, ways
from edgeseq.tokens.table import WORD_START, TokenTable

MAX_STATES = 400_000
"""States of any intermediate automaton; a grammar that needs more would not be searched in time on a small computer."""
LEAST_STATES, STATES_A_LETTER = 5_000, 10
"""What a phrase file may need at most, by its length: rules that use rules may stand for more than anybody can say."""

Ends = dict[int, int]
"""Where a part of a phrase ends: number of words counted -> state."""


@dataclass(frozen=True)
class WordAutomaton:
    """All phrases as words and marks."""

    dfa: Dfa
    symbols: tuple[str | Mark, ...]
    """what the numbers on arcs stand for"""


def compile_phrases(phrases: Phrases, tokens: TokenTable, max_states: int = MAX_STATES) -> PhraseGraph:
    """Make the graph that a model with these tokens searches. Raises PhraseError that lists all faults."""
    return to_graph(to_tokens(to_words(phrases, max_states), phrases, tokens, max_states), tokens)


def to_words(phrases: Phrases, max_states: int = MAX_STATES) -> WordAutomaton:
    """Join all phrases to one automaton. Raises PhraseError for phrases that may be empty and for those that are too large."""
    max_states = _most_states(phrases, max_states)
    try:
        return _to_words(phrases, max_states)
    except TooLargeError:
        place = next((phrase.place for intent in phrases.intents.values() for phrase in intent), Place(1, 1))
        message = (
            f"the phrases need more than {max_states:,} states; wanted smaller ranges, or fewer options one after another."
        )
        raise PhraseError(phrases.name, [Fault(place, message)]) from None
    except RecursionError:
        raise PhraseError(
            phrases.name, [Fault(Place(1, 1), "rules use rules more than a hundred deep; wanted fewer.")]
        ) from None


def _most_states(phrases: Phrases, max_states: int) -> int:
    return min(max_states, LEAST_STATES + STATES_A_LETTER * phrases.n_letters) if phrases.n_letters else max_states


def _to_words(phrases: Phrases, max_states: int) -> WordAutomaton:
    faults = [
        Fault(
            phrase.place, f"this phrase of intent {name!r} may be empty, for all of it is optional; wanted a word that is said."
        )
        for name, intent in phrases.intents.items()
        for phrase in intent
        if _may_be_empty(phrase.node, phrases, {})
    ]
    if faults:
        raise PhraseError(phrases.name, faults)
    lengths: dict[str, int] = {}
    for intent in phrases.intents.values():
        for phrase in intent:
            longest = _longest(phrase.node, phrases, lengths)
            if longest > max_states:  # a state a word at least: refused before anything is built
                shown = f"{longest:,}" if longest < 10**15 else f"more than {10**15:,}"
                message = f"too large: its longest sentence has {shown} words; wanted at most {max_states:,}."
                raise PhraseError(phrases.name, [Fault(phrase.place, message)])
    return _Joiner(phrases, max_states).join()


def _longest(node: Node, phrases: Phrases, known: dict[str, int]) -> int:
    """Count the words of the longest sentence that a part of a phrase allows; a number counts as one."""
    if isinstance(node, Sequence):
        return sum(_longest(item, phrases, known) for item in node.items)
    if isinstance(node, Choice):
        return max((_longest(option, phrases, known) for option in node.options), default=0)
    if isinstance(node, Word) or node.numbers is not None:
        return 1
    if node.name not in known:
        known[node.name] = max((_longest(part, phrases, known) for part in _parts_of(node.name, phrases)), default=0)
    return known[node.name]


def _parts_of(name: str, phrases: Phrases) -> list[Node]:
    """List what a rule or a slot stands for."""
    return [phrases.rules[name].node] if name in phrases.rules else [value.node for value in phrases.slots[name].values]


def _may_be_empty(node: Node, phrases: Phrases, known: dict[str, bool]) -> bool:
    if isinstance(node, Sequence):
        return all(_may_be_empty(item, phrases, known) for item in node.items)
    if isinstance(node, Choice):
        return any(_may_be_empty(option, phrases, known) for option in node.options)
    if isinstance(node, Word) or node.numbers is not None:
        return False
    if node.name not in known:
        known[node.name] = any(_may_be_empty(part, phrases, known) for part in _parts_of(node.name, phrases))
    return known[node.name]


class _Joiner:
    """Builds the automaton of words; rules and slots once each."""

    def __init__(self, phrases: Phrases, max_states: int) -> None:
        self.phrases = phrases
        self.max_states = max_states
        self.symbols: list[str | Mark] = []
        self.numbers: dict[tuple[type, str | Mark], int] = {}
        self.parts: dict[tuple[str, str | None, NumberRange | None], Dfa] = {}

    def join(self) -> WordAutomaton:
        """Join all intents."""
        nfa = Nfa(self.max_states)
        end = nfa.add_state()
        for name, intent in self.phrases.intents.items():
            for phrase in intent:
                self._add_phrase(nfa, name, phrase, end)
        dfa = determinize(nfa, {end})
        return WordAutomaton(_intents_early(dfa, self.symbols), tuple(self.symbols))

    def _add_phrase(self, nfa: Nfa, intent: str, phrase: Phrase, end: int) -> None:
        (state,) = self._add(nfa, phrase.node, {0: 0}, counting=False).values()
        for slot, value in phrase.slots:
            state = self._add_symbol(nfa, state, SlotMark(slot, 0, "value", value))
        nfa.add_arc(state, self._number(IntentMark(intent, math.log(phrase.weight))), end)

    def _number(self, symbol: str | Mark) -> int:
        key = (type(getattr(symbol, "value", None)), symbol)  # 1, 1.0 and True are equal, and yet other values
        number = self.numbers.get(key)
        if number is None:
            number = self.numbers[key] = len(self.symbols)
            self.symbols.append(symbol)
        return number

    def _add_symbol(self, nfa: Nfa, state: int, symbol: str | Mark) -> int:
        after = nfa.add_state()
        nfa.add_arc(state, self._number(symbol), after)
        return after

    def _add(self, nfa: Nfa, node: Node, starts: Ends, counting: bool) -> Ends:
        """Add a part of a phrase behind `starts`; words are counted within slots only."""
        if isinstance(node, Word):
            return {n + counting: self._add_symbol(nfa, state, node.text) for n, state in starts.items()}
        if isinstance(node, Sequence):
            for item in node.items:
                starts = self._add(nfa, item, starts, counting)
            return starts
        if isinstance(node, Choice):
            return self._add_choice(nfa, node, starts, counting)
        return self._add_copy(nfa, self._part(node), starts, counting)

    def _add_choice(self, nfa: Nfa, node: Choice, starts: Ends, counting: bool) -> Ends:
        ends: list[tuple[int, int]] = []
        for option, weight in zip(node.options, node.weights, strict=True):
            for n, state in self._add(nfa, option, starts, counting).items():
                ends.append((n, state if weight == 1 else self._add_symbol(nfa, state, WeightMark(math.log(weight)))))
        return _join(nfa, ends)

    def _add_copy(self, nfa: Nfa, part: Dfa, starts: Ends, counting: bool) -> Ends:
        """Put an automaton in place of its name, once for each count of words with which it may begin."""
        copies: dict[tuple[int, int], int] = {(0, n): state for n, state in starts.items()}
        pending = list(copies)
        ends = []
        for state, n in pending:  # grows while it is walked
            here = copies[state, n]
            if part.final[state]:
                ends.append((n, here))
            for symbol, target in part.arcs[state]:
                n_after = n + (counting and isinstance(self.symbols[symbol], str))
                if (target, n_after) not in copies:
                    copies[target, n_after] = nfa.add_state()
                    pending.append((target, n_after))
                nfa.add_arc(here, symbol, copies[target, n_after])
        return _join(nfa, ends)

    def _part(self, reference: Reference) -> Dfa:
        """Build a rule or a slot, or find it built."""
        key = (reference.name, reference.alias, reference.numbers)
        if key not in self.parts:
            self.parts[key] = self._build(reference)
        return self.parts[key]

    def _build(self, reference: Reference) -> Dfa:
        name, slot_name = reference.name, reference.alias or reference.name
        if reference.numbers is not None:
            return self._slot([(number_phrases(reference.numbers), "number", None)], slot_name)
        if name in self.phrases.slots:
            return self._slot(_contents(self.phrases.slots[name]), slot_name)
        node = self.phrases.rules[name].node
        if reference.alias is not None:
            return self._slot([(node, "text", None)], slot_name)
        nfa = Nfa(self.max_states)
        return determinize(nfa, set(self._add(nfa, node, {0: 0}, counting=False).values()))

    def _slot(self, contents: Iterable[tuple[Node, str, object]], slot: str) -> Dfa:
        nfa = Nfa(self.max_states)
        end = nfa.add_state()
        for node, kind, value in contents:
            for n, state in self._add(nfa, node, {0: 0}, counting=True).items():
                nfa.add_arc(state, self._number(SlotMark(slot, 0 if kind == "value" else n, kind, value)), end)
        return determinize(nfa, {end})


def _contents(slot: Slot) -> list[tuple[Node, str, object]]:
    """List what a slot takes: phrase, kind of value, value."""
    if slot.numbers is not None:
        return [(number_phrases(slot.numbers), "number", None)]
    return [(value.node, "text" if value.mean is None else "value", value.mean) for value in slot.values]


def _join(nfa: Nfa, ends: list[tuple[int, int]]) -> Ends:
    """Let ends with the same count of words continue as one."""
    states: dict[int, list[int]] = {}
    for n, state in ends:
        states.setdefault(n, []).append(state)
    joined: Ends = {}
    for n, ending in states.items():
        if len(ending) == 1:
            joined[n] = ending[0]
            continue
        joined[n] = nfa.add_state()
        for state in ending:
            nfa.add_arc(state, EPSILON, joined[n])
    return joined


def _intents_early(dfa: Dfa, symbols: list[str | Mark]) -> Dfa:
    """Move the marks of intents from the ends to where only one is left, and minimize again."""
    only = _only_intent(dfa, symbols)
    arcs: list[list[tuple[int, int]]] = [[] for _ in range(len(dfa))]
    final = [False] * len(dfa)
    between: dict[tuple[int, int], int] = {}
    for state, leaving in enumerate(dfa.arcs):
        for symbol, target in leaving:
            if isinstance(symbols[symbol], IntentMark):
                if only[state] is not None:
                    final[state] = True
                    continue
                final[target] = True
            elif only[state] is None and only[target] is not None:
                mark = only[target]
                assert mark is not None
                if (mark, target) not in between:
                    between[mark, target] = len(arcs)
                    arcs.append([(mark, target)])
                    final.append(False)
                target = between[mark, target]
            arcs[state].append((symbol, target))
    if only[0] is not None:  # one intent in all: its mark comes first
        arcs.append(arcs[0])
        final.append(final[0])
        arcs[0], final[0] = [(only[0], len(arcs) - 1)], False
    return minimize(arcs, final)


def _only_intent(dfa: Dfa, symbols: list[str | Mark]) -> list[int | None]:
    """Find for each state the one mark of an intent that all ways from it end with; None where there are several."""
    only: list[int | None] = [None] * len(dfa)
    for state in reversed(range(len(dfa))):
        seen = {symbol if isinstance(symbols[symbol], IntentMark) else only[target] for symbol, target in dfa.arcs[state]}
        only[state] = seen.pop() if len(seen) == 1 else None
    return only


def to_tokens(automaton: WordAutomaton, phrases: Phrases, tokens: TokenTable, max_states: int = MAX_STATES) -> TokenAutomaton:
    """Spell each word by tokens, guessing where the model's lexicon lacks one.

    Raises PhraseError for words that they cannot spell and for grammars too large.
    """
    tokens = guess_words(phrases, tokens)
    faults = check_spelling(phrases, tokens)
    if faults:
        raise PhraseError(phrases.name, faults)
    speller = _Speller(automaton, phrases.spellings, tokens, max_states)
    try:
        return speller.spell()
    except TooLargeError:
        message = f"the phrases, spelled, need more than {max_states:,} states; wanted fewer or shorter phrases."
        raise PhraseError(phrases.name, [Fault(Place(1, 1), message)]) from None


class _Speller:
    """Replaces words by their tokens, state by state."""

    def __init__(
        self, words: WordAutomaton, spellings: Mapping[str, tuple[str, ...]], tokens: TokenTable, max_states: int
    ) -> None:
        self.words = words
        self.tokens = tokens
        self.said = [(token, opens) for token, opens in enumerate(tokens.opens)]
        if tokens.kind == "phones":
            self.said = [(token, opens) for opens in (False, True) for token in range(len(tokens))]
        self.marks: list[Mark] = []
        self.numbers: dict[int, int] = {}
        self.nfa = Nfa(max_states, [[] for _ in range(len(words.dfa))])
        self.spelled: dict[int, list[tuple[tuple[str, ...], int | None]]] = {
            number: self._spellings(symbol, spellings, tokens)
            for number, symbol in enumerate(words.symbols)
            if isinstance(symbol, str)
        }

    def _spellings(
        self, word: str, spellings: Mapping[str, tuple[str, ...]], tokens: TokenTable
    ) -> list[tuple[tuple[str, ...], int | None]]:
        """List a word's units for each spelling, and the mark that says which word was meant if they do not."""
        return [
            (units, mark)
            for text in spellings.get(word, (word,))
            for mark in [None if text == word and tokens.kind != "phones" else self._add_mark(WordMark(word, n_words(text)))]
            for units in map(self._joined, ways(text, tokens))
        ]

    def _joined(self, units: tuple[str, ...]) -> tuple[str, ...]:
        """Put `▁` and the phone after it together."""
        if self.tokens.kind != "phones":
            return units
        return tuple(before + unit if before == WORD_START else unit for before, unit in pairwise(units) if unit != WORD_START)

    def _arcs(self, units: tuple[str, ...]) -> Iterable[tuple[int, int, int]]:
        """List the symbols that say a stretch of `units`, as `TokenTable.arcs`."""
        if self.tokens.kind != "phones":
            return self.tokens.arcs(units)
        ids, n = self.tokens.ids, len(self.tokens)
        opens = [unit.startswith(WORD_START) for unit in units]
        return [(i, i + 1, n * opens[i] + ids[unit.removeprefix(WORD_START)]) for i, unit in enumerate(units)]

    def _add_mark(self, mark: Mark) -> int:
        self.marks.append(mark)
        return len(self.said) + len(self.marks) - 1

    def spell(self) -> TokenAutomaton:
        """Spell everything."""
        for state, leaving in enumerate(self.words.dfa.arcs):
            beginnings: dict[tuple[str, ...], int] = {}
            for symbol, target in leaving:
                if symbol not in self.spelled:
                    if symbol not in self.numbers:
                        mark = self.words.symbols[symbol]
                        assert not isinstance(mark, str)
                        self.numbers[symbol] = self._add_mark(mark)
                    self.nfa.add_arc(state, self.numbers[symbol], target)
                    continue
                for units, mark_number in self.spelled[symbol]:
                    self._add_spelling(state, units, mark_number, target, beginnings)
        finals = {state for state, is_final in enumerate(self.words.dfa.final) if is_final}
        return TokenAutomaton(determinize(self.nfa, finals), tuple(self.said), tuple(self.marks))

    def _add_spelling(
        self, state: int, units: tuple[str, ...], mark: int | None, target: int, beginnings: dict[tuple[str, ...], int]
    ) -> None:
        """Add all ways to say a word by tokens behind `state`, along what other words of this state begin with."""
        if mark is not None:
            marked = self.nfa.add_state()
            self.nfa.add_arc(marked, mark, target)
            target = marked
        new = [end for end in range(1, len(units)) if units[:end] not in beginnings]
        beginnings.update({units[:end]: self.nfa.add_state() for end in new})
        places = [state, *(beginnings[units[:end]] for end in range(1, len(units))), target]
        for first, end, token in self._arcs(units):
            if end in new or end == len(units):
                self.nfa.add_arc(places[first], token, places[end])
