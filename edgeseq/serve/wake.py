"""Wake words: which names are listened for, and when one was said.

Today they are phrases: those that the model was started with, by intent or text, or else the names that a client gives,
compiled for it. So a name needs a short pause after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from edgeseq.errors import UsageError
from edgeseq.events import Event, Final
from edgeseq.phrases.compiling import compile_phrases
from edgeseq.phrases.file import parse_phrases
from edgeseq.phrases.importers import escaped
from edgeseq.phrases.search import PhraseDecoder, usual_threshold
from edgeseq.serve.biasing import spelled
from edgeseq.serve.limits import Limits
from edgeseq.stream.endpoint import DEFAULT_RULES, EndpointRule
from edgeseq.stream.recognizer import Recognizer

PAUSE_SECONDS = 0.2
"""Silence after a name, before it is reported."""
MOST_NAMES = 20
"""that a client may give"""


@dataclass(frozen=True)
class Hit:
    """A name that was said."""

    name: str
    """as the client or the phrase file writes it"""
    end: float
    """seconds since the stream opened"""


@dataclass(frozen=True)
class WakeWords:
    """What is listened for."""

    recognizer: Recognizer
    """understands the names and little else"""
    names: tuple[str, ...] | None
    """that count, as intents or as what is said; None: all intents do"""
    given: Mapping[str, str] = field(default_factory=dict)
    """intent -> the client's name that it was made of"""

    def hits(self, events: Iterable[Event]) -> list[Hit]:
        """Find names among the events of a stream."""
        finals = [event for event in events if isinstance(event, Final) and event.intent is not None]
        named = [(self._name(final.intent or "", final.text), final.end) for final in finals]
        return [Hit(name, end) for name, end in named if name is not None]

    def _name(self, intent: str, text: str) -> str | None:
        if intent in self.given:
            return self.given[intent]
        if self.names is None or intent in self.names:
            return intent
        return next((name for name in self.names if _plain(name) == text), None)


def listen_for(recognizer: Recognizer, names: Sequence[str] | None, limits: Limits) -> WakeWords:
    """Prepare to listen for names; None, or none, means all that the model knows.

    Raises UsageError for names that the model cannot spell, too many of them, or none where it knows none.
    """
    check_count(names or ())
    wanted = tuple(dict.fromkeys(names or ()))
    quick = (EndpointRule(min_silence_seconds=PAUSE_SECONDS, needs_complete=True), *DEFAULT_RULES)
    if isinstance(recognizer.decoder, PhraseDecoder):
        return WakeWords(recognizer.with_rules(quick), wanted or None)
    if not wanted:
        raise UsageError("this model knows no wake words: give names, or start the server with --phrases.")
    given = {f"name_{n}": name for n, name in enumerate(wanted)}
    return WakeWords(recognizer.with_decoder(_phrases_of(given, recognizer, limits)).with_rules(quick), wanted, given)


def check_count(names: Sequence[str]) -> None:
    """Raise UsageError for more names than are listened for."""
    if len(names) > MOST_NAMES:
        raise UsageError(f"{len(names)} wake words; this server listens for at most {MOST_NAMES} at once.")


def _phrases_of(names: Mapping[str, str], recognizer: Recognizer, limits: Limits) -> PhraseDecoder:
    """Make phrases of names by intent."""
    tokens = recognizer.metadata.token_table
    texts = {intent: spelled(_plain(name), tokens, guessing=True) for intent, name in names.items()}
    strange = [names[intent][:40] for intent, text in texts.items() if text is None]
    if strange:
        raise UsageError(f"this model cannot spell the wake words {', '.join(strange)}; wanted words of its language.")
    intents = {intent: [" ".join(map(escaped, (text or "").split()))] for intent, text in texts.items()}
    phrases = parse_phrases(json.dumps({"intents": intents}), "wake words")
    graph = compile_phrases(phrases, tokens, limits.phrases_nodes)
    return PhraseDecoder(graph, recognizer.metadata, threshold=usual_threshold(recognizer.metadata))


def _plain(name: str) -> str:
    """Turn an identifier into words.

    >>> _plain("ok_nabu")
    'ok nabu'
    """
    return " ".join(name.replace("_", " ").lower().split())
