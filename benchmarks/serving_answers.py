"""Compares answers of a server with those that the same sound gives alone: differences and delays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeseq.events import Event, Final
from edgeseq.sound.blocks import Floats
from edgeseq.stream.recognizer import Recognizer

PCM16_SCALE = 32768.0

Answers = list[tuple[int, str]]
"""number of a message -> text of an answer to it, in order"""


def answers_alone(recognizer: Recognizer, sound: Floats, n_message: int) -> Answers:
    """Say what a sound gives, alone, message by message: finals, and what is being said if it has changed."""
    samples, state = sound.astype(np.float32) / np.float32(PCM16_SCALE), recognizer.init_state()
    answers: Answers = []
    n = 0
    for n, first in enumerate(range(0, len(samples), n_message)):
        events, state = recognizer.step(samples[first : first + n_message], state)
        answers += [(n, text) for text in _texts(events)]
    last, _ = recognizer.flush(state)
    return answers + [(n + 1, text) for text in _texts([event for event in last if isinstance(event, Final)])]


def _texts(events: Sequence[Event]) -> list[str]:
    texts = [event.text for event in events if isinstance(event, Final)]
    return texts + ([events[-1].text] if events and not isinstance(events[-1], Final) else [])


def timed(stream: dict[str, Any], alone: Answers, vosk: bool) -> tuple[list[float], list[float], int]:
    """Give each answer's lateness, each message's, and how many answers differ from those alone."""
    sent = [at - due for due, at in zip(stream["due"], stream["sent"], strict=True)]
    told = [(at, json.loads(text)) for at, text in stream["answers"] if text.startswith("{")]
    n_closed = sum(text.startswith("closed") for _, text in stream["answers"])
    lates, n_different = _timed_vosk(stream, told, alone) if vosk else _timed_sherpa(stream, told, alone)
    return lates, sent, n_different + n_closed


def _timed_vosk(stream: dict[str, Any], told: list[tuple[float, dict[str, Any]]], alone: Answers) -> tuple[list[float], int]:
    """Each message has an answer; the last one is to the end."""
    due = [*stream["due"], stream["due"][-1]]
    lates = [at - when for when, (at, _) in zip(due, told, strict=False)]
    wanted: dict[int, list[str]] = {}
    for n, text in alone:
        wanted.setdefault(n, []).append(text)
    n_different, partial = abs(len(due) - len(told)), ""
    for n, (_, answer) in enumerate(told):
        texts = wanted.get(n, [])
        if "text" in answer:
            n_different += answer["text"] not in (" ".join(texts), " ".join(texts[:-1]))
            partial = texts[-1] if len(texts) > 1 and answer["text"] != " ".join(texts) else ""
        else:
            partial = texts[-1] if texts else partial
            n_different += answer["partial"] != partial
    return lates, n_different


def _timed_sherpa(stream: dict[str, Any], told: list[tuple[float, dict[str, Any]]], alone: Answers) -> tuple[list[float], int]:
    """The answers are those alone, in order; so it is known which message each answers."""
    due = [*stream["due"], stream["due"][-1]]
    heard = [(at, answer) for at, answer in told if answer["text"]]
    lates = [at - due[n] for (n, _), (at, _) in zip(alone, heard, strict=False)]
    n_different = abs(len(alone) - len(heard))
    n_different += sum(text != answer["text"] for (_, text), (_, answer) in zip(alone, heard, strict=False))
    return lates or [0.0], n_different
