"""Intents and slots against those of a manifest: its keys `intent` and `slots`, of recordings in which a phrase is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeseq.data.manifest import Recording
from edgeseq.errors import ManifestError
from edgeseq.evaluation.intervals import wilson_interval
from edgeseq.events import Event, Final
from edgeseq.tokens.table import normalize_text


@dataclass(frozen=True)
class Meaning:
    """What a phrase means."""

    intent: str
    slots: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def is_like(self, other: Meaning | None) -> bool:
        """Tell whether intent and all slots are the same; capitals do not matter, and 5, 5.0 and "5" are the same."""
        return other is not None and self.intent == other.intent and self.plain_slots == other.plain_slots

    @property
    def plain_slots(self) -> dict[str, str]:
        """Values as text that can be compared."""
        return {name: _plain(value) for name, value in self.slots.items()}


def _plain(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return format(value, "g") if is_number else normalize_text(str(value))


def meaning_of(recording: Recording) -> Meaning | None:
    """Read what the manifest says that a recording means; None where it does not say. Raises ManifestError."""
    intent, slots = recording.extra.get("intent"), recording.extra.get("slots")
    if intent is None and slots is None:
        return None
    if not isinstance(intent, str) or not isinstance(slots or {}, dict):
        raise ManifestError(
            f"{recording.path}: 'intent' is {intent!r} and 'slots' {slots!r}; wanted the name of an intent and an object "
            'such as {"room": "hall"}.\n  Correct the line, or leave both keys out.'
        )
    return Meaning(intent, slots or {})


def understood(events: Iterable[Event]) -> Meaning | None:
    """Give what was understood of a recording; of several phrases their intents, which are then no phrase's."""
    finals = [event for event in events if isinstance(event, Final) and event.intent is not None]
    if len(finals) == 1:
        return Meaning(str(finals[0].intent), finals[0].slots)
    return Meaning(" + ".join(str(final.intent) for final in finals)) if finals else None


@dataclass(frozen=True)
class Understanding:
    """How many recordings were understood as they were meant."""

    clips: int
    intents: int
    """recordings whose intent is right"""
    right: int
    """recordings whose intent is right, all slots, and no slot more"""
    rejected: int
    """recordings for which nothing was reported"""
    confusions: tuple[tuple[str, str, str, int], ...]
    """the most frequent errors: slot (or "intent"), value in the manifest, value understood ("" for none), how often"""

    @property
    def ci95(self) -> tuple[float, float]:
        """The 95 % interval of the share that is right."""
        return wilson_interval(self.right, self.clips)

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `edgeseq eval --json` prints them."""
        return {
            "clips": self.clips,
            "intent_right": self.intents,
            "right": self.right,
            "share": round(self.right / self.clips, 5),
            "ci95": [round(bound, 5) for bound in self.ci95],
            "rejected": self.rejected,
        }

    def to_lines(self) -> list[str]:
        """Say the figures to people."""
        low, high = (100 * bound for bound in self.ci95)
        return [
            f"intent right  {100 * self.intents / self.clips:.2f} %  ({self.intents:,} of {self.clips:,})",
            f"slots, too    {100 * self.right / self.clips:.2f} %  ({self.right:,} of {self.clips:,}; "
            f"95 % interval {low:.2f} to {high:.2f} %)",
        ]


def compare_meanings(pairs: Sequence[tuple[Meaning, Meaning | None]], most: int = 10) -> Understanding | None:
    """Count over (meant, understood) pairs; None where there are none."""
    if not pairs:
        return None
    errors = Counter(error for meant, heard in pairs for error in _errors(meant, heard))
    return Understanding(
        clips=len(pairs),
        intents=sum(heard is not None and heard.intent == meant.intent for meant, heard in pairs),
        right=sum(meant.is_like(heard) for meant, heard in pairs),
        rejected=sum(heard is None for _, heard in pairs),
        confusions=tuple((*error, n) for error, n in errors.most_common(most)),
    )


def _errors(meant: Meaning, heard: Meaning | None) -> list[tuple[str, str, str]]:
    """List what differs; slots only where the intent is right."""
    if heard is None or heard.intent != meant.intent:
        return [("intent", meant.intent, "" if heard is None else heard.intent)]
    wanted, got = meant.plain_slots, heard.plain_slots
    return [
        (name, wanted.get(name, ""), got.get(name, ""))
        for name in sorted(wanted.keys() | got.keys())
        if wanted.get(name) != got.get(name)
    ]
