"""Figures of recognizers over the same recordings, as tables: plain text, Markdown and JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.recognizer_answers import Clip, Heard, Measured
from benchmarks.recognizer_peers import Peer
from benchmarks.recognizer_words import count_errors, spelled
from edgeseq.evaluation.evaluate import bootstrap


@dataclass(frozen=True)
class Score:
    """Words wrong in one set of recordings."""

    part: str
    clips: int
    people: int
    errors: int
    words: int
    ci95: tuple[float, float]
    """of `wer`, by bootstrap over people"""
    failed: int
    """recordings without an answer, whose words are all wrong"""

    @property
    def wer(self) -> float:
        """Share of the words that are wrong."""
        return self.errors / self.words


@dataclass(frozen=True)
class NoiseScore:
    """Words written where nobody speaks."""

    clips: int
    seconds: float
    written: int
    """words"""
    clips_with_words: int


@dataclass(frozen=True)
class Row:
    """One recognizer."""

    name: str
    streaming: bool
    scores: tuple[Score, ...]
    noise: NoiseScore | None
    rtf: float
    """processor time by sound, over the recordings of speech"""
    loading_seconds: float
    peak_mb: float
    files_mb: float
    date: str
    processor: str

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as --json prints them."""
        return asdict(self) | {"scores": [asdict(score) | {"wer": round(score.wer, 5)} for score in self.scores]}


def row_of(peer: Peer, measured: Measured, speech: Sequence[Clip], noise: Sequence[Clip]) -> Row:
    """Sum up what a peer answered."""
    heard = [measured.answers[clip.key] for clip in speech if not measured.answers[clip.key].fault]
    seconds = sum(one.seconds for one in heard)
    return Row(
        name=peer.name,
        streaming=peer.streaming,
        scores=tuple(score_of(clips, measured.answers) for clips in by_part(speech)),
        noise=_noise_of([measured.answers[clip.key] for clip in noise]) if noise else None,
        rtf=round(sum(one.processor_seconds for one in heard) / seconds, 5) if seconds else float("nan"),
        loading_seconds=round(measured.loading_seconds, 2),
        peak_mb=round(measured.peak_mb, 1),
        files_mb=round(peer.files_mb, 2),
        date=measured.date,
        processor=measured.processor,
    )


def by_part(clips: Iterable[Clip]) -> list[list[Clip]]:
    """Put the clips of each set together."""
    parts: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        parts[clip.part].append(clip)
    return list(parts.values())


def score_of(clips: Sequence[Clip], answers: dict[str, Heard]) -> Score:
    """Count the words of one set that are wrong, with an interval over its people."""
    people: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for clip in clips:
        counts = people[clip.recording.speaker or clip.key]
        for place, count in enumerate(count_errors(clip.recording.text, answers[clip.key].text)):
            counts[place] += count
    errors, words = np.array(list(people.values())).T
    low, high = bootstrap(lambda rows: errors[rows].sum(axis=1) / words[rows].sum(axis=1), len(people))
    n_failed = sum(bool(answers[clip.key].fault) for clip in clips)
    ci95 = (round(low, 5), round(high, 5))
    return Score(clips[0].part, len(clips), len(people), int(errors.sum()), int(words.sum()), ci95, n_failed)


def _noise_of(heard: Sequence[Heard]) -> NoiseScore:
    written = [len(spelled(one.text).split()) for one in heard]
    return NoiseScore(len(heard), round(sum(one.seconds for one in heard), 1), sum(written), sum(map(bool, written)))


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """Give the table, its head first."""
    first = rows[0]
    head = ["recognizer", "streaming", *(f"WER {score.part}, %" for score in first.scores)]
    head += ["real-time factor", "loading, s", "memory, MB", "model, MB"]
    head += [f"words in {first.noise.seconds / 60:.1f} min of noise"] if first.noise else []
    return [head, *map(_cells_of, rows)]


def _cells_of(row: Row) -> list[str]:
    rates = [
        f"{100 * score.wer:.1f} ({100 * score.ci95[0]:.1f} to {100 * score.ci95[1]:.1f})"
        + (f", {score.failed} failed" if score.failed else "")
        for score in row.scores
    ]
    costs = [f"{row.rtf:.3f}", f"{row.loading_seconds:.1f}", f"{row.peak_mb:.0f}", f"{row.files_mb:.0f}"]
    return [row.name, "yes" if row.streaming else "no", *rates, *costs, *([str(row.noise.written)] if row.noise else [])]


def to_text(table: Sequence[Sequence[str]]) -> str:
    """Align a table for people."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(cell.ljust(n) for cell, n in zip(line, widths, strict=True)).rstrip() for line in table)


def to_markdown(table: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    head, *rest = ("| " + " | ".join(line) + " |" for line in table)
    return "\n".join([head, "|" + "---|" * len(table[0]), *rest])
