"""Home Assistant's sentence templates (YAML), read by its own library hassil (extra `phrases`).

What a graph cannot hold is left out with a note: wildcards, lists that the file does not hold (Home Assistant fills
{name} and {area} itself), templates that end within a word around a list.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from edgeseq.errors import MissingExtraError
from edgeseq.phrases.faults import Fault, PhraseError, Place
from edgeseq.phrases.importers import Draft, checked_name, escaped
from edgeseq.phrases.yaml_nodes import parse_yaml, place_of
from edgeseq.tokens.table import normalize_text

MAX_SPELLINGS = 200
"""A part of a word that brackets take apart, as in `light[s]`."""
MAX_PERMUTED = 5
"""Parts in any order, `(a; b; c)`: all orders are written out."""


def read(text: str, name: str) -> Draft:
    """Read sentence templates. Raises PhraseError for a file that is none, MissingExtraError without hassil."""
    try:
        from hassil.errors import HassilError
        from hassil.intents import Intents
        from hassil.parser import ParseError
    except ImportError:
        raise MissingExtraError(
            "Home Assistant's templates are read by hassil, which is not installed.\n  pip install 'edgeseq[phrases]'"
        ) from None
    root, fault = parse_yaml(text)
    faults = [fault] if fault is not None else list(_template_faults(root))
    if faults:
        raise PhraseError(name, faults)
    try:
        intents = Intents.from_dict(yaml.safe_load(text))
        return _Converter(intents).convert()
    except (HassilError, ParseError, KeyError, TypeError, AttributeError, ValueError, AssertionError, yaml.YAMLError) as fault:
        seen = f"{type(fault).__name__}: {fault}"
        message = f"hassil cannot read this ({seen}); wanted `language:`, `intents:` and below each `data:` with `sentences:`."
        raise PhraseError(name, [Fault(Place(1, 1), message)]) from fault


def _template_faults(node: yaml.Node | None, *, is_template: bool = False) -> Iterator[Fault]:
    """Find sentences and rules that hassil cannot parse, for it does not say where they stand."""
    from hassil.parse_expression import parse_sentence
    from hassil.parser import ParseError

    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _template_faults(value, is_template=is_template or key.value in ("sentences", "expansion_rules"))
    elif isinstance(node, yaml.SequenceNode):
        for entry in node.value:
            yield from _template_faults(entry, is_template=is_template)
    elif isinstance(node, yaml.ScalarNode) and is_template:
        try:
            parse_sentence(node.value)
        except ParseError as fault:
            yield Fault(place_of(node), f"hassil cannot parse this template: {fault}.")


class _ImpossibleError(Exception):
    """A part of a template that a graph of whole words cannot hold."""


class _Converter:
    def __init__(self, intents: Any) -> None:
        self.source = intents
        self.rules: dict[str, str] = {}
        self.slots: dict[str, Any] = {}
        self.notes: list[str] = []
        self.left_out: dict[str, int] = {}

    def convert(self) -> Draft:
        converted: dict[str, list[str | Mapping[str, Any]]] = {}
        for name, intent in self.source.intents.items():
            phrases = [phrase for data in intent.data for phrase in self._block(data)]
            if phrases:
                converted[checked_name(name, converted)] = phrases
        if self.source.skip_words:
            self.notes.append(f"left out: skip_words ({', '.join(self.source.skip_words)}); speech has other fillers")
        self.notes += [f"left out {n} times: {what}" for what, n in self.left_out.items()]
        return Draft(converted, self.rules, self.slots, self.source.language, tuple(self.notes))

    def _block(self, data: Any) -> Iterable[str | Mapping[str, Any]]:
        """Translate a block of sentences with its own rules, lists and slots."""
        scope = _Scope(self, data.expansion_rules, data.slot_lists)
        slots = {key: value for key, value in data.slots.items() if isinstance(value, str | int | float | bool)}
        for sentence in data.sentences:
            try:
                say = scope.phrase(sentence.expression)
            except _ImpossibleError as fault:
                self.left_out[str(fault)] = self.left_out.get(str(fault), 0) + 1
                continue
            yield {"say": say, "slots": slots} if slots else say

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


class _Scope:
    """The names that one block of sentences knows."""

    def __init__(self, converter: _Converter, rules: Mapping[str, Any], lists: Mapping[str, Any]) -> None:
        self.converter = converter
        self.local = {**{f"<{key}>": value for key, value in rules.items()}, **lists}
        self.rules = {**converter.source.expansion_rules, **rules}
        self.lists = {**converter.source.slot_lists, **lists}
        self.names: dict[str, str] = {}
        self.open: list[str] = []

    def phrase(self, expression: Any) -> str:
        """Translate an expression. Raises _ImpossibleError."""
        from hassil.expression import Alternative, ListReference, Permutation, RuleReference, TextChunk

        if isinstance(expression, TextChunk):
            return " ".join(map(escaped, normalize_text(expression.original_text).split()))
        if isinstance(expression, RuleReference):
            return f"{{{self._rule(expression.rule_name)}}}"
        if isinstance(expression, ListReference):
            return self._list(expression)
        if isinstance(expression, Alternative):
            return self._alternative(expression)
        if isinstance(expression, Permutation):
            return self._permutation(expression)
        return self._sequence(expression.items)

    def _alternative(self, expression: Any) -> str:
        options, faults = [], []
        for item in expression.items:
            try:
                options.append(self.phrase(item))
            except _ImpossibleError as fault:
                faults.append(fault)
        words = [option for option in options if option]
        is_optional = expression.is_optional or len(words) < len(options)
        if not words:
            if faults and not is_optional:
                raise faults[0]
            return ""
        body = " | ".join(dict.fromkeys(words))
        return f"[{body}]" if is_optional else f"({body})"

    def _permutation(self, expression: Any) -> str:
        items = [self.phrase(item) for item in expression.items]
        if len(items) > MAX_PERMUTED:
            raise _ImpossibleError(f"more than {MAX_PERMUTED} parts in any order")
        return f"({' | '.join(' '.join(order) for order in itertools.permutations(filter(None, items)))})"

    def _sequence(self, items: Iterable[Any]) -> str:
        """Translate parts one after another; those that touch each other without a space are written out as words."""
        from hassil.expression import TextChunk

        parts, run = [], list[Any]()
        for item in items:
            if not isinstance(item, TextChunk):
                run.append(item)
                continue
            text = item.original_text
            pieces = text.split()
            if text[:1].isspace() or not pieces:
                parts.append(self._run(run))
                run = []
            for number, piece in enumerate(pieces):
                if number:
                    parts.append(self._run(run))
                    run = []
                run.append(piece)
            if text[-1:].isspace():
                parts.append(self._run(run))
                run = []
        parts.append(self._run(run))
        return " ".join(filter(None, parts))

    def _run(self, run: list[Any]) -> str:
        """Translate what stands without a space between."""
        if not run:
            return ""
        if len(run) == 1:
            return escaped(normalize_text(run[0])) if isinstance(run[0], str) else self.phrase(run[0])
        texts = [""]
        for item in run:
            texts = [text + more for text in texts for more in self._texts(item)]
            if len(texts) > MAX_SPELLINGS:
                raise _ImpossibleError(f"a word of more than {MAX_SPELLINGS} spellings")
        spelled = [" ".join(map(escaped, normalize_text(text).split())) for text in dict.fromkeys(texts)]
        words = list(filter(None, spelled))
        body = words[0] if len(words) == 1 == len(spelled) else " | ".join(words)
        if len(words) < len(spelled):
            return f"[{body}]"
        return body if len(words) == 1 else f"({body})"

    def _texts(self, item: Any) -> list[str]:
        """Write out all that a part can say, spaces kept."""
        from hassil.expression import Alternative, Group, Permutation, RuleReference, TextChunk

        if isinstance(item, str):
            return [item]
        if isinstance(item, TextChunk):
            return [item.original_text]
        if isinstance(item, Alternative):
            texts = [text for option in item.items for text in self._texts(option)]
            return [*texts, ""] if item.is_optional and "" not in texts else texts
        if isinstance(item, RuleReference) and item.rule_name in self.rules and item.rule_name not in self.open:
            self.open.append(item.rule_name)
            texts = self._texts(self.rules[item.rule_name].expression)
            self.open.pop()
            return texts
        if isinstance(item, Group) and not isinstance(item, Permutation):
            texts = [""]
            for part in item.items:
                texts = [text + more for text in texts for more in self._texts(part)]
                if len(texts) > MAX_SPELLINGS:
                    raise _ImpossibleError(f"a word of more than {MAX_SPELLINGS} spellings")
            return texts
        raise _ImpossibleError("a list or a rule that touches a word")

    def _rule(self, name: str) -> str:
        key = f"<{name}>"
        if name in self.open:
            raise _ImpossibleError(f"<{name}>, which uses itself")
        if key in self.names:
            return self.names[key]
        if name not in self.rules:
            raise _ImpossibleError(f"<{name}>, which the file does not hold")
        taken = {**self.converter.rules, **self.converter.slots}
        self.open.append(name)
        try:
            body = self.phrase(self.rules[name].expression)
        finally:
            self.open.pop()
        same = checked_name(name)
        made = same if self.converter.rules.get(same) == body else checked_name(name, taken)
        self.converter.rules[made] = self.names[key] = body
        self.names[key] = made
        return made

    def _list(self, reference: Any) -> str:
        slot = checked_name(reference.slot_name)
        if reference.is_inline_range:
            first, last, step = reference.get_inline_range()
            return f"{{{slot}:{first}..{last}{f'/{step}' if step > 1 else ''}}}"
        if reference.list_name not in self.lists:
            raise _ImpossibleError(f"{{{reference.list_name}}}, which the file does not hold")
        made = self._slot_of(reference.list_name)
        return f"{{{made}}}" if made == slot else f"{{{made}:{slot}}}"

    def _slot_of(self, name: str) -> str:
        if name in self.names:
            return self.names[name]
        values = self._values(name, self.lists[name])
        same = checked_name(name)
        if self.converter.slots.get(same) == values:
            made = same
        else:
            made = checked_name(name, {**self.converter.rules, **self.converter.slots})
        self.converter.slots[made] = values
        self.names[name] = made
        return made

    def _values(self, name: str, source: Any) -> Any:
        from hassil.intents import RangeSlotList, TextSlotList

        if isinstance(source, RangeSlotList):
            if source.fraction_type is not None or source.multiplier not in (None, 1):
                self.converter.note(f"{{{name}}}: whole numbers only, fractions and multipliers were left out")
            return f"{source.start}..{source.stop}{f'/{source.step}' if source.step > 1 else ''}"
        if not isinstance(source, TextSlotList):
            raise _ImpossibleError(f"{{{name}}}, a wildcard")
        values: list[Any] = []
        for value in source.values:
            say = self.phrase(getattr(value.text_in, "expression", value.text_in))
            if say:
                is_same = isinstance(value.value_out, str) and normalize_text(value.value_out) == say
                values.append(" ".join(value.value_out.split()) if is_same else {"say": say, "mean": value.value_out})
        return values
