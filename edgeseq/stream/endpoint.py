"""Has the speaker finished? Rules as data, in seconds, asked after every network step.

A rule fires when all that it asks for is there; the utterance ends with the first rule that fires. Silence is time without
a new token (the network's own blanks), and, where a voice-activity score is given, without voice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edgeseq.errors import UsageError

ENDPOINT_SECONDS = 0.8
"""Longer than the pauses inside a spoken number, shorter than a listener's patience."""
COMPLETE_SECONDS = 0.4
"""After a phrase that may end here nobody needs to wait that long."""
LONGEST_SECONDS = 30.0
"""An endless utterance is reported in pieces."""
HURRY_SECONDS, HURRY_SILENCE_SECONDS = 20.0, 0.2
"""Before it is cut at the longest, the first pause between two words will do."""

TOLERANCE_SECONDS = 1e-6
"""Steps are counted; 20 of 40 ms are 0.8 s, whatever floating point says."""


@dataclass(frozen=True, kw_only=True)
class EndpointRule:
    """An utterance ends when all of these hold."""

    min_silence_seconds: float = 0.0
    """since the newest token (and the last voice)"""
    min_utterance_seconds: float = 0.0
    """since its first token; without any, since the utterance before ended"""
    needs_words: bool = True
    """something must have been said"""
    needs_complete: bool = False
    """what was said must be able to stand alone: with phrases, a phrase has ended"""

    def __post_init__(self) -> None:
        """Raise UsageError for a rule that would fire at every step, and for negative times."""
        times = (self.min_silence_seconds, self.min_utterance_seconds)
        if not (all(0 <= time < float("inf") for time in times) and sum(times) > 0):
            raise UsageError(
                f"an endpoint rule asks for {self.min_silence_seconds} s of silence and an utterance of "
                f"{self.min_utterance_seconds} s; wanted numbers from 0, and more than 0 seconds in one of them."
            )


@dataclass(frozen=True)
class Pause:
    """What the rules are asked about: the utterance so far, at one network step."""

    silence_seconds: float
    utterance_seconds: float
    has_words: bool
    is_complete: Callable[[], bool]
    """asked only when it matters, for it may take time"""


Rules = tuple[EndpointRule, ...]


def endpoint_rules(
    silence_seconds: float = ENDPOINT_SECONDS,
    complete_seconds: float = COMPLETE_SECONDS,
    longest_seconds: float = LONGEST_SECONDS,
) -> Rules:
    """Make the usual rules: silence after words, less of it after a complete phrase, a longest utterance.

    From two thirds of the longest on, a short pause ends the utterance too, so that words are rarely cut.

    >>> [rule.min_silence_seconds for rule in endpoint_rules(silence_seconds=0.6)]
    [0.6, 0.4, 0.2, 0.0]
    """
    hurry = longest_seconds * HURRY_SECONDS / LONGEST_SECONDS
    return (
        EndpointRule(min_silence_seconds=silence_seconds),
        EndpointRule(min_silence_seconds=min(complete_seconds, silence_seconds), needs_complete=True),
        EndpointRule(min_silence_seconds=min(HURRY_SILENCE_SECONDS, silence_seconds), min_utterance_seconds=hurry),
        EndpointRule(min_utterance_seconds=longest_seconds),
    )


DEFAULT_RULES = endpoint_rules()


def first_that_fires(rules: Iterable[EndpointRule], pause: Pause) -> EndpointRule | None:
    """Find the rule by which the utterance is over; None while it continues."""
    for rule in rules:
        if (
            pause.silence_seconds >= rule.min_silence_seconds - TOLERANCE_SECONDS
            and pause.utterance_seconds >= rule.min_utterance_seconds - TOLERANCE_SECONDS
            and (pause.has_words or not rule.needs_words)
            and (not rule.needs_complete or pause.is_complete())
        ):
            return rule
    return None
