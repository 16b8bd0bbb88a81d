"""How well a model of a few commands does: its own words understood, other speech let pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edgeseq.evaluation.clip_results import ClipResult
from edgeseq.evaluation.intervals import wilson_interval


@dataclass(frozen=True)
class CommandScore:
    """Counts of recordings."""

    own: int
    """that hold a command"""
    right: int
    """those whose text is exactly the command"""
    others: int
    """that hold none"""
    accepted: int
    """those in which a command was heard"""

    @classmethod
    def of(cls, heard: Iterable[ClipResult]) -> CommandScore:
        """Count what was made of clips.

        >>> CommandScore.of([ClipResult("yes", "yes", 0, 1, (), 1, 0), ClipResult("", "no", 1, 0, (("", "no"),), 1, 0)])
        CommandScore(own=1, right=1, others=1, accepted=1)
        """
        clips = list(heard)
        own = [clip for clip in clips if not clip.is_wordless]
        others = [clip for clip in clips if clip.is_wordless]
        return cls(len(own), sum(clip.is_right for clip in own), len(others), sum(bool(clip.hypothesis) for clip in others))

    def to_dict(self) -> dict[str, Any]:
        """Give the counts, and 95 % intervals of the shares."""
        return {
            "own": self.own,
            "right": self.right,
            "right_ci95": _rounded(self.right, self.own),
            "others": self.others,
            "accepted": self.accepted,
            "accepted_ci95": _rounded(self.accepted, self.others),
        }

    def to_text(self) -> str:
        """Say both shares in a line.

        >>> CommandScore(60, 57, 200, 10).to_text()
        'your words right 95 % (57 of 60), other words accepted 5 % (10 of 200)'
        """
        right = f"your words right {_percent(self.right, self.own)}"
        return f"{right}, other words accepted {_percent(self.accepted, self.others)}"


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.0f} % ({count} of {total})" if total else "not measured"


def _rounded(count: int, total: int) -> list[float] | None:
    return [round(bound, 4) for bound in wilson_interval(count, total)] if total else None
