"""Phrase files: YAML (or JSON, which is YAML) to phrases, every fault of a file at once, each with line and column.

    language: en                      # optional; numbers are spelled in English
    threshold: -0.5                   # optional; lowest score that is reported, nats per token
    intents:
      brew:
        - "(brew | make me) [a | an] [{size}] {drink}"
        - {say: "the usual", weight: 2, slots: {drink: latte}}
    rules:
      please: "[please | would you]"
    slots:
      size: [small, large, {say: "eight ounce", mean: "8 oz"}]
      minutes: 1..90
    spellings:
      latte: [latte, lattay]          # how the model's tokens spell an odd word; every spelling may be heard
      lungo: /L UH NG G OW/           # or its phones, where those are the tokens

YAML is read as nodes, never as objects: nothing in a file is executed, and `on`, `no` and `8` stay what was written.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from edgeseq.phrases.content import Phrase, Phrases, Rule, Slot, SlotValue, all_nodes, is_phones, references
from edgeseq.phrases.faults import Fault, PhraseError, Place
from edgeseq.phrases.notation import (
    NAME,
    Choice,
    Node,
    Sequence,
    parse_phrase,
    parse_range,
)
from edgeseq.phrases.yaml_nodes import Locator, Value, as_written, is_null, kind_of, parse_yaml, place_at, place_of, typed
from edgeseq.tokens.table import normalize_text

KEYS = ("language", "threshold", "intents", "rules", "slots", "spellings")
PHRASE_KEYS = ("say", "weight", "slots")
VALUE_KEYS = ("say", "mean")
MAX_BYTES = 10_000_000
"""Size of a phrase file; what is larger was not written for this."""
LANGUAGE_OF_NUMBERS = "en"


def _spelling(text: str, language: str) -> str:
    return text.strip() if is_phones(text.strip()) else normalize_text(text, language)


def read_phrases(path: str | os.PathLike[str], language: str = "") -> Phrases:
    """Read a phrase file; `language` is that of its texts where it names none.

    Raises PhraseError that lists all faults; OSError if it cannot be opened.
    """
    path = Path(path)
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise PhraseError(
            str(path), [Fault(Place(1, 1), f"the file is larger than {MAX_BYTES:,} bytes; wanted a phrase file.")]
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        before = content[: fault.start].decode("utf-8", errors="replace")
        place = place_at(before, len(before))
        message = f"byte {content[fault.start]:#04x} is not UTF-8; wanted a text file saved as UTF-8."
        raise PhraseError(str(path), [Fault(place, message)]) from None
    return parse_phrases(text, str(path), language)


def parse_phrases(text: str, name: str = "phrases", language: str = "") -> Phrases:
    """Read the text of a phrase file; messages use `name`, `language` is that of texts that name none.

    Raises PhraseError that lists all faults.

    >>> phrases = parse_phrases("intents: {light: [turn [the] light (on | off)]}")
    Traceback (most recent call last):
    ...
    edgeseq.phrases.faults.PhraseError: 1 fault in phrases:
      phrases:1:24: wanted a comma or ']' here, but '[' came (a phrase that holds brackets needs quotes around it).
    >>> list(parse_phrases("intents: {light: ['turn [the] light (on | off)']}").intents)
    ['light']
    """
    reader = _Reader(text, name, language)
    try:
        phrases = replace(reader.read(), n_letters=len(text))
        faults = reader.faults + check_references(phrases)
    except RecursionError:
        fault = Fault(Place(1, 1), "phrases are nested too deeply; wanted fewer brackets within brackets, and rules for them.")
        raise PhraseError(name, [fault]) from None
    if faults:
        raise PhraseError(name, faults)
    return phrases


def check_references(phrases: Phrases) -> list[Fault]:
    """Find names that stand for nothing, numbers in languages without them, and rules that use themselves."""
    faults = []
    known = [*phrases.slots, *phrases.rules]
    for node in all_nodes(phrases):
        for reference in references(node):
            if reference.numbers is not None:
                faults += _check_numbers(phrases, reference.place)
            elif reference.name not in known:
                near = difflib.get_close_matches(reference.name, known, n=1)
                guess = f"did you mean {{{near[0]}}}?" if near else f"wanted one of: {', '.join(known) or 'none is defined'}."
                faults.append(Fault(reference.place, f"no slot or rule is called {reference.name!r}; {guess}"))
    for slot in phrases.slots.values():
        if slot.numbers is not None:
            faults += _check_numbers(phrases, slot.place)
    return faults or _check_recursion(phrases)


def _check_numbers(phrases: Phrases, place: Place) -> list[Fault]:
    if phrases.language.split("-")[0].split("_")[0] in ("", LANGUAGE_OF_NUMBERS):
        return []
    message = f"numbers are spelled in English only, and the language is {phrases.language!r}; wanted a list of number words."
    return [Fault(place, message)]


def _check_recursion(phrases: Phrases) -> list[Fault]:
    """Find rules and slots that end up in themselves; depth first, each circle once."""
    faults: list[Fault] = []
    done: set[str] = set()

    def nodes_of(name: str) -> Iterator[Node]:
        if name in phrases.rules:
            yield phrases.rules[name].node
        else:
            yield from (value.node for value in phrases.slots[name].values)

    for start in (*phrases.rules, *phrases.slots):
        if start in done:
            continue
        path = [start]
        pending = [iter([r for node in nodes_of(start) for r in references(node) if r.numbers is None])]
        while pending:
            reference = next(pending[-1], None)
            if reference is None:
                done.add(path.pop())
                pending.pop()
            elif reference.name in path:
                circle = " -> ".join([*path[path.index(reference.name) :], reference.name])
                faults.append(Fault(reference.place, f"{{{reference.name}}} uses itself ({circle}); wanted phrases that end."))
            elif reference.name not in done:
                path.append(reference.name)
                pending.append(iter([r for node in nodes_of(reference.name) for r in references(node) if r.numbers is None]))
    return faults


@dataclass
class _Reader:
    """Walks the nodes of one YAML document and collects faults."""

    text: str
    name: str
    language: str
    faults: list[Fault] = field(default_factory=list)

    def read(self) -> Phrases:
        """Read everything that can be read."""
        root = self._compose()
        if root is None:
            return Phrases(self.name, {})
        top = self._mapping(root, "the file", KEYS)
        language = self._scalar(top["language"], "the language") if "language" in top else ""
        self.language = language or self.language
        if "intents" not in top and not self.faults:
            self._fault(root, "there are no intents; wanted `intents:`, and below it a name and a list of phrases.")
        spellings, places = self._spellings(top.get("spellings"))
        return Phrases(
            name=self.name,
            intents=self._intents(top.get("intents")),
            rules=self._rules(top.get("rules")),
            slots=self._slots(top.get("slots"), top.get("rules")),
            spellings=spellings,
            spelling_places=places,
            language=language,
            threshold=self._threshold(top["threshold"]) if "threshold" in top else None,
        )

    def _compose(self) -> yaml.Node | None:
        root, fault = parse_yaml(self.text)
        if fault is not None:
            self.faults.append(fault)
        elif root is None:
            self.faults.append(Fault(Place(1, 1), "the file is empty; wanted `intents:`, a name and a list of phrases."))
        return root

    def _threshold(self, node: yaml.Node) -> float | None:
        value = typed(node)
        if isinstance(value, bool | str) or value is None or value > 0:
            self._fault(node, f"the threshold is {as_written(node)}; wanted a number of 0 or less, nats a token.")
            return None
        return float(value)

    def _mapping(self, node: yaml.Node, what: str, keys: tuple[str, ...] | None = None) -> dict[str, yaml.Node]:
        """List the entries of a mapping, without those that repeat or have no business there."""
        if not isinstance(node, yaml.MappingNode):
            self._fault(node, f"{what} is {kind_of(node)}; wanted a mapping (`name: ...`).")
            return {}
        entries: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None:
                self._fault(key, f"a key of {what} is {kind_of(key)}; wanted a name.")
            elif name in entries:
                self._fault(key, f"{name!r} stands twice in {what}; wanted it once.")
            elif keys is not None and name not in keys:
                near = difflib.get_close_matches(name, keys, n=1)
                guess = f"did you mean {near[0]!r}?" if near else f"wanted one of: {', '.join(keys)}."
                self._fault(key, f"{what} has no key {name!r}; {guess}")
            else:
                entries[name] = value
        return entries

    def _named(self, node: yaml.Node | None, what: str) -> dict[str, yaml.Node]:
        """List named things whose names may be referred to."""
        if node is None or is_null(node):
            return {}
        entries = self._mapping(node, what)
        if isinstance(node, yaml.MappingNode):
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and not NAME.fullmatch(key.value):
                    self._fault(key, f"{key.value!r} is not a name; wanted letters, digits and _, a letter first.")
        return entries

    def _intents(self, node: yaml.Node | None) -> dict[str, tuple[Phrase, ...]]:
        named = self._named(node, "intents")
        if node is not None and not named and not self.faults:
            self._fault(node, "intents holds none; wanted a name and a list of phrases.")
        return {name: tuple(self._phrases(value, name)) for name, value in named.items()}

    def _phrases(self, node: yaml.Node, name: str) -> Iterator[Phrase]:
        for entry in self._entries(node, f"intent {name!r}"):
            if isinstance(entry, yaml.MappingNode):
                yield self._weighted(entry)
            else:
                yield Phrase(self._phrase(entry), place_of(entry))

    def _entries(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        """List the entries of a list; one entry may stand without a list around it."""
        if isinstance(node, yaml.SequenceNode):
            if not node.value:
                self._fault(node, f"{what} is an empty list; wanted at least one phrase.")
            return list(node.value)
        return [node]

    def _weighted(self, node: yaml.Node) -> Phrase:
        entries = self._mapping(node, "a phrase", PHRASE_KEYS)
        weight = 1.0
        if "weight" in entries:
            value = typed(entries["weight"])
            if isinstance(value, bool | str) or value is None or not 0 < value < float("inf"):
                self._fault(entries["weight"], f"the weight is {as_written(entries['weight'])}; wanted a number above 0.")
            else:
                weight = float(value)
        slots = self._named(entries.get("slots"), "slots of a phrase")
        return Phrase(
            node=self._say(node, entries, "a phrase"),
            place=place_of(node),
            weight=weight,
            slots=tuple((name, self._value(value)) for name, value in slots.items()),
        )

    def _say(self, node: yaml.Node, entries: Mapping[str, yaml.Node], what: str) -> Node:
        if "say" not in entries:
            self._fault(node, f'{what} has no `say`; wanted {{say: "the words", ...}}.')
            return Sequence(())
        return self._phrase(entries["say"])

    def _rules(self, node: yaml.Node | None) -> dict[str, Rule]:
        return {name: self._rule(value, name) for name, value in self._named(node, "rules").items()}

    def _rule(self, node: yaml.Node, name: str) -> Rule:
        options = [self._phrase(entry) for entry in self._entries(node, f"rule {name!r}")]
        return Rule(options[0] if len(options) == 1 else Choice(tuple(options), (1.0,) * len(options)), place_of(node))

    def _slots(self, node: yaml.Node | None, rules: yaml.Node | None) -> dict[str, Slot]:
        named = self._named(node, "slots")
        if isinstance(rules, yaml.MappingNode):
            for key, _ in rules.value:
                if isinstance(key, yaml.ScalarNode) and key.value in named:
                    self._fault(key, f"{key.value!r} is both a rule and a slot; wanted two names.")
        return {name: self._slot(value, name) for name, value in named.items()}

    def _slot(self, node: yaml.Node, name: str) -> Slot:
        if isinstance(node, yaml.ScalarNode) and ".." in node.value:
            numbers = parse_range(node.value)
            if numbers is None:
                self._fault(node, f"slot {name!r} is {node.value!r}; wanted a range such as 1..90 or 5..60/5, or a list.")
            return Slot((), numbers, place_of(node))
        return Slot(tuple(self._slot_value(entry) for entry in self._entries(node, f"slot {name!r}")), None, place_of(node))

    def _slot_value(self, node: yaml.Node) -> SlotValue:
        if isinstance(node, yaml.MappingNode):
            entries = self._mapping(node, "an entry of a slot", VALUE_KEYS)
            mean = self._value(entries["mean"]) if "mean" in entries else None
            return SlotValue(self._say(node, entries, "an entry of a slot"), mean)
        parsed = self._phrase(node)
        if isinstance(node, yaml.ScalarNode) and all(mark not in node.value for mark in "()[]{}|\\"):
            written = " ".join(node.value.split())
            return SlotValue(parsed, None if normalize_text(written, self.language) == written else written)
        return SlotValue(parsed)

    def _spellings(self, node: yaml.Node | None) -> tuple[dict[str, tuple[str, ...]], dict[str, Place]]:
        if node is None or is_null(node):
            return {}, {}
        spellings, places = {}, {}
        for written, value in self._mapping(node, "spellings").items():
            word = normalize_text(written, self.language)
            if len(word.split()) != 1:
                self._fault(
                    value, f"spellings are of single words, and {written!r} is not one; wanted a slot's `say` and `mean`."
                )
            texts = [
                _spelling(self._scalar(entry, "a spelling"), self.language)
                for entry in self._entries(value, f"spelling of {word!r}")
            ]
            if "" in texts:
                self._fault(value, f"a spelling of {word!r} is empty; wanted letters.")
            spellings[word], places[word] = tuple(dict.fromkeys(texts)), place_of(value)
        return spellings, places

    def _phrase(self, node: yaml.Node) -> Node:
        """Parse the text of one phrase, its faults placed in the file."""
        if not isinstance(node, yaml.ScalarNode):
            self._fault(node, f"a phrase is {kind_of(node)}; wanted text, in quotes if it holds brackets.")
            return Sequence(())
        locate = Locator(self.text, node)
        parsed, faults = parse_phrase(node.value, locate, self.language)
        self.faults += faults
        return parsed

    def _scalar(self, node: yaml.Node, what: str) -> str:
        if isinstance(node, yaml.ScalarNode):
            return str(node.value)
        self._fault(node, f"{what} is {kind_of(node)}; wanted text.")
        return "?"

    def _value(self, node: yaml.Node) -> Value:
        value = typed(node)
        if value is None:
            self._fault(node, f"a slot's value is {kind_of(node)}; wanted text, a number, true or false.")
            return ""
        return value

    def _fault(self, node: yaml.Node, message: str) -> None:
        self.faults.append(Fault(place_of(node), message))
