"""What a decoder understood, as events: times less the model's delays, confidences as measurements map them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from edgeseq.decoding.decoder import Hypothesis
from edgeseq.events import Event, Final, Partial, Word
from edgeseq.model.confidence import ConfidenceMap
from edgeseq.model.metadata import CtcMetadata

R = TypeVar("R", Partial, Final)


def to_event(
    kind: type[R], hypothesis: Hypothesis, metadata: CtcMetadata, confidence_map: ConfidenceMap | None, **more: Any
) -> R:
    """Say a hypothesis as an event; its times count from where the decoder began, and may lie behind the last sound."""
    words = timed(hypothesis.words, metadata, math.inf)
    confidence = hypothesis.confidence
    if confidence_map is not None:
        words = tuple(replace(word, confidence=confidence_map(word.confidence)) for word in words)
        of_words = sum(word.confidence for word in words) / len(words)
        confidence = of_words if hypothesis.phrase_score is None else confidence
    return kind(
        text=hypothesis.text,
        start=words[0].start,
        end=words[-1].end,
        confidence=confidence,
        words=words,
        intent=hypothesis.intent,
        slots=hypothesis.slots,
        phrase_score=hypothesis.phrase_score,
        alternatives=hypothesis.alternatives,
        **more,
    )


def join(finals: Sequence[Event], heard_seconds: float) -> Final:
    """Make one final of a recording's utterances; a single one stays as it is."""
    if len(finals) == 1 and isinstance(finals[0], Final):
        return finals[0]
    words = tuple(word for final in finals for word in final.words)
    if not words:
        return Final("", 0.0, heard_seconds, 0.0, ())
    confidence = sum(final.confidence * len(final.words) for final in finals) / len(words)
    return Final(" ".join(word.word for word in words), words[0].start, words[-1].end, confidence, words)


def timed(words: tuple[Word, ...], metadata: CtcMetadata, heard_seconds: float) -> tuple[Word, ...]:
    """Subtract the model's measured delays; no time lies outside the sound, no word ends within the next."""
    starts = [min(max(0.0, word.start - metadata.emission_delay_seconds), heard_seconds) for word in words]
    ends = [min(max(0.0, word.end - metadata.ending_delay_seconds), heard_seconds) for word in words]
    last_ends = [*starts[1:], heard_seconds]
    return tuple(
        Word(word.word, start, max(start, min(end, latest)), word.confidence)
        for word, start, end, latest in zip(words, starts, ends, last_ends, strict=True)
    )
