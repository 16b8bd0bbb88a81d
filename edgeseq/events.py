"""What is reported about sound: words, results that may still change, final results, detections, sound that was not heard."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self


@dataclass(frozen=True)
class Word:
    """One word as it was heard."""

    word: str
    start: float
    """seconds since the stream opened"""
    end: float
    """seconds since the stream opened"""
    confidence: float
    """0 to 1"""

    def placed(self, began: float, lasted: float) -> Word:
        """Return it as part of a stream; see `Result.placed`."""
        return replace(self, start=began + min(self.start, lasted), end=began + min(self.end, lasted))

    def to_dict(self) -> dict[str, Any]:
        """Return the form that a jsonl line holds, rounded to milliseconds."""
        return {
            "word": self.word,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "confidence": round(self.confidence, 3),
        }


@dataclass(frozen=True)
class Result:
    """What was said in a stretch of sound, by the best guess."""

    type: ClassVar[str] = "result"

    text: str
    start: float
    """seconds since the stream opened"""
    end: float
    """seconds since the stream opened"""
    confidence: float
    """of the whole, 0 to 1"""
    words: tuple[Word, ...]
    intent: str | None = None
    """which phrase was said, where phrases are given"""
    slots: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """what was filled in; numbers as numbers"""
    phrase_score: float | None = None
    """how well the phrase explains what was heard; nats a step"""
    alternatives: tuple[str, ...] = ()
    """other texts, the likelier first"""

    def placed(self, began: float, lasted: float) -> Self:
        """Return it as part of a stream: its times begin `began` seconds into it, and none lies beyond `lasted` seconds."""
        if not began and all(word.start <= lasted and word.end <= lasted for word in self.words) and self.end <= lasted:
            return self
        words = tuple(word.placed(began, lasted) for word in self.words)
        return replace(self, start=began + min(self.start, lasted), end=began + min(self.end, lasted), words=words)

    def to_dict(self, file: str | None = None) -> dict[str, Any]:
        """Return the form that a jsonl line holds, rounded to milliseconds.

        `file` is named if there is one; `intent`, `slots`, `phrase_score` and `alternatives` where they apply.
        """
        return {
            "type": self.type,
            **({} if file is None else {"file": file}),
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "text": self.text,
            "confidence": round(self.confidence, 3),
            "words": [word.to_dict() for word in self.words],
            **self._phrase_fields(),
            **({"alternatives": list(self.alternatives)} if self.alternatives else {}),
        }

    def _phrase_fields(self) -> dict[str, Any]:
        score = {} if self.phrase_score is None else {"phrase_score": round(self.phrase_score, 3)}
        return score if self.intent is None else {"intent": self.intent, "slots": dict(self.slots), **score}

    def to_json(self, file: str | None = None) -> str:
        """Return one jsonl line, without its line end.

        >>> Final("no", 0, 0.71, 0.97, ()).to_json()
        '{"type": "final", "start": 0, "end": 0.71, "text": "no", "confidence": 0.97, "words": []}'
        """
        return json.dumps(self.to_dict(file), ensure_ascii=False)


@dataclass(frozen=True)
class Partial(Result):
    """A result about the utterance that is being said; the next one may change it."""

    type: ClassVar[str] = "partial"

    stable: int = 0
    """this many leading words will not change"""

    def to_dict(self, file: str | None = None) -> dict[str, Any]:
        """Return the form that a jsonl line holds; `stable` counts the words that will not change."""
        return {**super().to_dict(file), "stable": self.stable}


@dataclass(frozen=True)
class Final(Result):
    """A result about an utterance that has ended; it will not change."""

    type: ClassVar[str] = "final"


@dataclass(frozen=True)
class Gap:
    """Sound that was lost: nobody knows what was said there."""

    type: ClassVar[str] = "gap"

    start: float
    """seconds since the stream opened"""
    end: float
    """seconds since the stream opened"""
    reason: str
    """for people: why it was lost"""

    def to_dict(self, file: str | None = None) -> dict[str, Any]:
        """Return the form that a jsonl line holds, rounded to milliseconds."""
        named = {} if file is None else {"file": file}
        return {"type": self.type, **named, "start": round(self.start, 3), "end": round(self.end, 3), "reason": self.reason}

    def to_json(self, file: str | None = None) -> str:
        """Return one jsonl line, without its line end.

        >>> Gap(2.5, 4, "the microphone had gone").to_json()
        '{"type": "gap", "start": 2.5, "end": 4, "reason": "the microphone had gone"}'
        """
        return json.dumps(self.to_dict(file), ensure_ascii=False)


@dataclass(frozen=True)
class Detection:
    """Something that is there for a while: reported when it has begun, and again when it has ended."""

    type: ClassVar[str] = "detection"

    label: str
    start: float
    """seconds since the stream opened"""
    end: float | None
    """seconds since the stream opened; None while it lasts"""
    score: float
    """highest probability so far, 0 to 1"""

    def placed(self, began: float, lasted: float) -> Detection:
        """Return it as part of a stream; see `Result.placed`."""
        end = None if self.end is None else began + min(self.end, lasted)
        return replace(self, start=began + min(self.start, lasted), end=end)

    def to_dict(self, file: str | None = None) -> dict[str, Any]:
        """Return the form that a jsonl line holds, rounded to milliseconds; `end` is null while it lasts."""
        return {
            "type": self.type,
            **({} if file is None else {"file": file}),
            "label": self.label,
            "start": round(self.start, 3),
            "end": None if self.end is None else round(self.end, 3),
            "score": round(self.score, 3),
        }

    def to_json(self, file: str | None = None) -> str:
        """Return one jsonl line, without its line end.

        >>> Detection("speech", 0.32, None, 0.875).to_json()
        '{"type": "detection", "label": "speech", "start": 0.32, "end": null, "score": 0.875}'
        """
        return json.dumps(self.to_dict(file), ensure_ascii=False)


Event = Partial | Final
"""What a recognizer reports about sound that it has heard."""


def only_stable(events: Iterable[Event | Gap]) -> Iterator[Event | Gap]:
    """Cut partials to the words that will not change; leave out those that then tell nothing new."""
    told = 0
    for event in events:
        if not isinstance(event, Partial):
            told = 0
            yield event
        elif event.stable > told:
            told, words = event.stable, event.words[: event.stable]
            confidence = sum(word.confidence for word in words) / len(words)
            text = " ".join(word.word for word in words)
            yield Partial(text, words[0].start, words[-1].end, confidence, words, stable=told)
