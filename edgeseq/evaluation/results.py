"""What `edgeseq eval` measures besides error rates: word times, words taken back, honesty of confidences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeseq.decoding.decoder import kind_of
from edgeseq.evaluation.calibration import Bin, expected_calibration_error, fit_map, reliability
from edgeseq.evaluation.clip_results import ClipResult
from edgeseq.evaluation.evaluate import partials_report, rated_words, times_report
from edgeseq.evaluation.partials import PartialStats
from edgeseq.evaluation.word_times import Errors, TimesReport
from edgeseq.stream.recognizer import Recognizer


@dataclass(frozen=True)
class Calibration:
    """Confidences of words against the share that is right."""

    bins: tuple[Bin, ...]
    """as words report them: mapped, if the model holds a map"""
    error: float
    """expected calibration error, 0 to 1"""
    uncalibrated_error: float
    """of the confidences as the decoder gives them"""
    is_mapped: bool


@dataclass(frozen=True)
class Results:
    """What was measured; None where it was not asked for."""

    times: TimesReport | None = None
    partials: tuple[PartialStats, PartialStats] | None = None
    """of all words, and of those that partials call stable"""
    calibration: Calibration | None = None
    measured: dict[str, Any] = field(default_factory=dict)
    """for `edgeseq export --measured`"""

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `edgeseq eval --json` prints them."""
        figures: dict[str, Any] = {}
        if self.times is not None:
            figures["times"] = self.times.to_dict()
        if self.partials is not None:
            figures["partials"] = {"all": self.partials[0].to_dict(), "stable": self.partials[1].to_dict()}
        if self.calibration is not None:
            bins = [
                {"words": b.n_words, "confidence": round(b.confidence, 4), "right": round(b.right, 4)}
                for b in self.calibration.bins
            ]
            figures["calibration"] = {
                "ece": round(self.calibration.error, 5),
                "ece_uncalibrated": round(self.calibration.uncalibrated_error, 5),
                "bins": bins,
            }
        return figures | ({"measured": self.measured} if self.measured else {})

    def to_text(self) -> str:
        """Say the figures to people, each line after a line end."""
        lines = []
        if self.times is not None:
            lines += [_times_line("word starts", self.times.starts), _times_line("word ends", self.times.ends)]
        if self.partials is not None:
            lines += [_partials_line("partials", self.partials[0]), _partials_line("stable ones", self.partials[1])]
        if self.calibration is not None:
            lines += _calibration_lines(self.calibration)
        return "".join(f"\n{line}" for line in lines)


def measure(
    heard: Sequence[ClipResult],
    recognizer: Recognizer,
    *,
    times: bool = False,
    partials: bool = False,
    calibration: bool = False,
) -> Results:
    """Measure what is asked for on clips that were heard.

    For `times` the clips are those of `timed_clips`; for `calibration` they were heard by `recognizer.uncalibrated()`.
    """
    measured: dict[str, Any] = {}
    found_times = times_report(heard) if times else None
    if found_times is not None:
        about = recognizer.metadata
        measured["emission_delay_seconds"] = round(about.emission_delay_seconds + found_times.starts.bias, 4)
        measured["ending_delay_seconds"] = round(about.ending_delay_seconds + found_times.ends.bias, 4)
    found_calibration = None
    if calibration:
        confidences, right = rated_words(heard)
        found_calibration = calibrate(confidences, right, recognizer)
        if confidences:
            measured["confidence_maps"] = {kind_of(recognizer.decoder): fit_map(confidences, right).to_dict()}
    return Results(found_times, partials_report(heard) if partials else None, found_calibration, measured)


def calibrate(confidences: Sequence[float], right: Sequence[bool], recognizer: Recognizer) -> Calibration:
    """Compare a decoder's confidences, and what the model's map makes of them, with the share of right words."""
    confidence_map = recognizer.metadata.confidence_map(kind_of(recognizer.decoder))
    raw = reliability(confidences, right)
    told = raw if confidence_map is None else reliability([confidence_map(c) for c in confidences], right)
    return Calibration(
        tuple(told), expected_calibration_error(told), expected_calibration_error(raw), is_mapped=confidence_map is not None
    )


def _times_line(name: str, errors: Errors) -> str:
    return (
        f"{name:<13} {100 * errors.within:.1f} % within 80 ms ({errors.n_words:,} words; bias {1000 * errors.bias:+.0f} ms, "
        f"90 % lie within {1000 * errors.spread:.0f} ms around; without the bias {100 * errors.within_unbiased:.1f} %)"
    )


def _partials_line(name: str, shown: PartialStats) -> str:
    taken_back = f"{shown.taken_back:,} taken back ({100 * shown.rate:.2f} %)"
    return f"{name:<13} {shown.words:,} words shown, {taken_back}, {shown.grown:,} grew"


def _calibration_lines(calibration: Calibration) -> list[str]:
    before = f" (without the model's map {100 * calibration.uncalibrated_error:.2f} %)" if calibration.is_mapped else ""
    rows = [
        f"  {100 * one.confidence:5.1f} % sure, {100 * one.right:5.1f} % right, {one.n_words:,} words"
        for one in calibration.bins
    ]
    return [f"calibration   {100 * calibration.error:.2f} % expected error{before}", *rows]
