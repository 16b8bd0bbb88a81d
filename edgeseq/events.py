"""What a recognizer says: words, hypotheses that may still change, hypotheses that will not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar


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

    def to_dict(self) -> dict[str, Any]:
        """Return the form that a jsonl line holds, rounded to milliseconds."""
        return {
            "word": self.word,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "confidence": round(self.confidence, 3),
        }


@dataclass(frozen=True)
class Hypothesis:
    """What was said in a stretch of sound, by the best guess."""

    type: ClassVar[str] = "hypothesis"

    text: str
    start: float
    """seconds since the stream opened"""
    end: float
    """seconds since the stream opened"""
    confidence: float
    """mean over the words, 0 to 1"""
    words: tuple[Word, ...]

    def to_dict(self, file: str | None = None) -> dict[str, Any]:
        """Return the form that a jsonl line holds, rounded to milliseconds; `file` is named if there is one."""
        return {
            "type": self.type,
            **({} if file is None else {"file": file}),
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "text": self.text,
            "confidence": round(self.confidence, 3),
            "words": [word.to_dict() for word in self.words],
        }

    def to_json(self, file: str | None = None) -> str:
        """Return one jsonl line, without its line end.

        >>> Final("no", 0, 0.71, 0.97, ()).to_json()
        '{"type": "final", "start": 0, "end": 0.71, "text": "no", "confidence": 0.97, "words": []}'
        """
        return json.dumps(self.to_dict(file), ensure_ascii=False)


@dataclass(frozen=True)
class Partial(Hypothesis):
    """A hypothesis about the utterance that is being said; the next one may change it."""

    type: ClassVar[str] = "partial"


@dataclass(frozen=True)
class Final(Hypothesis):
    """A hypothesis about an utterance that has ended; it will not change."""

    type: ClassVar[str] = "final"


Event = Partial | Final
