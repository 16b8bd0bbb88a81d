"""Which threshold? What it lets through of the phrases that are said, and of other speech."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edgeseq.data.clips import read_clip
from edgeseq.data.manifest import Recording
from edgeseq.evaluation.intervals import wilson_interval
from edgeseq.evaluation.phrase_measuring import finals_of
from edgeseq.evaluation.understanding import meaning_of, understood
from edgeseq.events import Final
from edgeseq.phrases.search import PhraseDecoder
from edgeseq.stream.recognizer import Recognizer
from edgeseq.tokens.table import normalize_text

SHARES = (0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
"""Shares of other speech for which a threshold is shown."""
DIGITS = 3
"""Digits of thresholds, after the point."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PhraseResult:
    """What was nearest to a phrase in one recording."""

    recording: Recording
    finals: tuple[Final, ...]
    """with rejection off"""

    @property
    def best(self) -> float:
        """The highest score, -inf where there is no phrase at all."""
        return max((_score(final) for final in self.finals), default=-math.inf)

    def is_right(self, threshold: float) -> bool:
        """Tell whether what a threshold lets through is what was said: intent and slots where they are known, or the text."""
        given = [final for final in self.finals if _score(final) >= threshold]
        meant = meaning_of(self.recording)
        if meant is not None:
            return meant.is_like(understood(given))
        return " ".join(final.text for final in given) == normalize_text(self.recording.text)


def _score(final: Final) -> float:
    return -math.inf if final.phrase_score is None else final.phrase_score


@dataclass(frozen=True)
class Row:
    """A threshold and what it does."""

    threshold: float
    right: int
    """recordings of phrases that are understood as they were said"""
    accepted: int
    """recordings of other speech for which a phrase is reported"""


@dataclass(frozen=True)
class Thresholds:
    """What thresholds do, the strictest first."""

    rows: tuple[Row, ...]
    suggested: Row
    """the one that lets most phrases through with no more of other speech than allowed"""
    said: int
    """recordings of phrases"""
    other: int
    """recordings of other speech"""
    at_best: int
    """recordings of phrases that are right when nothing is rejected"""
    accept: float
    """share of other speech that may be accepted"""

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `--json` prints them; `measured` is for `edgeseq export --measured`."""
        return {
            "said": self.said,
            "other": self.other,
            "right_without_rejection": self.at_best,
            "rows": [self._row(row) for row in self.rows],
            "suggested": self._row(self.suggested) | {"accepted_ci95": [round(b, 5) for b in self._interval()]},
            "measured": {"phrase_threshold": self.suggested.threshold},
        }

    def _row(self, row: Row) -> dict[str, Any]:
        return {"threshold": row.threshold, "right": row.right, "accepted": row.accepted}

    def _interval(self) -> tuple[float, float]:
        return wilson_interval(self.suggested.accepted, self.other)

    def to_lines(self) -> list[str]:
        """Say the figures to people."""
        low, high = (100 * bound for bound in self._interval())
        return [
            f"{self.said:,} recordings of phrases, {100 * self.at_best / self.said:.1f} % right when nothing is rejected; "
            f"{self.other:,} recordings of other speech",
            "threshold   phrases right   other speech accepted",
            *(
                f"{row.threshold:9.3f} {100 * row.right / self.said:13.1f} % {100 * row.accepted / self.other:21.1f} %"
                for row in self.rows
            ),
            f"suggested: {self.suggested.threshold:g} ({100 * self.suggested.right / self.said:.1f} % right; accepts "
            f"{100 * self.suggested.accepted / self.other:.1f} % of other speech, 95 % interval {low:.1f} to {high:.1f} %)",
            *([] if self.is_reached else [self._unreached()]),
        ]

    @property
    def is_reached(self) -> bool:
        """Tell whether any threshold accepts no more than is allowed."""
        return self.suggested.accepted <= self.accept * self.other

    def _unreached(self) -> str:
        return (
            f"No threshold accepts as little as {100 * self.accept:g} %: to the network itself the rest sounds like phrases "
            "and nothing else.\n  Train it on other words, too."
        )


def hear_nearest(
    recognizer: Recognizer,
    decoder: PhraseDecoder,
    recordings: Sequence[Recording],
    on_progress: Progress = lambda done, total: None,
) -> list[PhraseResult]:
    """Hear recordings, each as a stream of its own, and give the nearest phrases, however far."""
    nearest = PhraseDecoder(decoder.graph, recognizer.metadata, threshold=None, beam=decoder.beam, filler=decoder.filler)
    listening = recognizer.with_decoder(nearest)
    heard = []
    for recording in recordings:
        heard.append(PhraseResult(recording, tuple(finals_of(listening, read_clip(recording, recognizer.sample_rate)))))
        on_progress(len(heard), len(recordings))
    return heard


def choose_threshold(said: Sequence[PhraseResult], other: Sequence[PhraseResult], accept: float) -> Thresholds:
    """Weigh thresholds; the suggested one lets through `accept` (a share) of other speech at most."""
    scores = sorted((one.best for one in other), reverse=True)

    def row(share: float) -> Row:
        threshold = _threshold_for(scores, share)
        accepted = sum(score >= threshold for score in scores)
        return Row(threshold, sum(one.is_right(threshold) for one in said), accepted)

    rows = {row.threshold: row for row in map(row, SHARES)}
    at_best = sum(one.is_right(-math.inf) for one in said)
    return Thresholds(tuple(rows.values()), row(accept), len(said), len(other), at_best, accept)


def _threshold_for(scores: Iterable[float], share: float) -> float:
    """Give the lowest threshold, rounded, that at most a share of the scores (best first) reaches; 0 where none does."""
    known = list(scores)
    step = 10.0**-DIGITS
    first_refused = known[math.floor(share * len(known))] if share < 1 else -math.inf
    if first_refused == -math.inf:
        first_refused = min((score for score in known if score > -math.inf), default=-1.0) - step
    return min(0.0, round(math.floor(first_refused / step) * step + step, DIGITS))
