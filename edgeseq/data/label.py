"""Transcripts from a teacher: labels for recordings that have none, and a check of those that others wrote."""

from __future__ import annotations

import math
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jiwer

from edgeseq.data.clips import read_clip
from edgeseq.data.corpora import only_words
from edgeseq.data.folder import SOUND, FolderItem, measure
from edgeseq.data.jobs import Journal, Outcome, run
from edgeseq.data.manifest import SHAR_INDEX, Recording, find_data, read_manifest, write_manifest
from edgeseq.data.teacher_file import Teacher
from edgeseq.data.teachers import Answer, TeacherProgram
from edgeseq.errors import AudioError, ManifestError, TeacherError
from edgeseq.output.figures import in_figures
from edgeseq.tokens.table import normalize_text

RATE = 16_000
"""Hz of the WAV files that teachers get."""
MOST_WORDS_A_SECOND = 5.0
"""Nobody reads out faster; more of them were made up."""
REPEATS = 3
"""So often in a row, up to `LONGEST_REPEAT` words are a loop."""
LONGEST_REPEAT = 4
GIVE_UP = 3
"""A teacher that fails so often before its first answer does not work at all."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LabelReport:
    """What came of labelling."""

    labelled: tuple[Recording, ...]
    skipped: Counter[str]
    """reason -> recordings left out"""
    failed: tuple[str, ...]
    """recordings without an answer, and why"""
    stopped: bool

    @property
    def hours(self) -> float:
        """Length of what was labelled."""
        return sum(recording.duration for recording in self.labelled) / 3600


@dataclass(frozen=True)
class Mismatch:
    """A transcript that does not match its audio."""

    recording: Recording
    heard: str
    """the teacher's words"""
    wer: float
    """of these against the transcript, a fraction"""

    def to_dict(self) -> dict[str, Any]:
        """Give it as `edgeseq data label --check --json` prints it."""
        recording = self.recording
        where = {"audio_filepath": str(recording.path)} | ({"offset": recording.offset} if recording.offset else {})
        return {**where, "text": recording.text, "heard": self.heard, "wer": round(self.wer, 4)}


@dataclass(frozen=True)
class CheckReport:
    """What came of a check."""

    n_compared: int
    n_unsure: int
    """answers below the bound, which say nothing"""
    wer: float
    """of all that was compared, a fraction"""
    mismatches: tuple[Mismatch, ...]
    """the worst first"""
    failed: tuple[str, ...]
    stopped: bool


def recordings_of(source: Path) -> tuple[list[Recording], list[str]]:
    """List what a manifest names, with texts or without, or the sound files in a folder; and why files there are no sound.

    Raises ManifestError where there are no recordings.
    """
    if not source.is_dir() or (source / SHAR_INDEX).is_file():
        return read_manifest(find_data(source), allow_empty_text=True), []
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in SOUND and not path.name.startswith("."))
    faults: list[str] = []
    recordings = list(measure([FolderItem(path, "") for path in files], faults))
    if not recordings:
        why = f"no sound files, but {faults[0]}" if faults else "no sound files"
        raise ManifestError(f"{source}: holds {why}.\n  Wanted: files that end in {' '.join(SOUND)}, or a manifest.")
    return recordings, faults


def label(
    recordings: Sequence[Recording],
    teacher: Teacher,
    out: Path,
    *,
    min_confidence: float | None = None,
    journal: Journal | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_progress: Progress = lambda done, total: None,
) -> LabelReport:
    """Have a teacher transcribe recordings, and write a manifest of those that it is sure of.

    `min_confidence` replaces the teacher's own. Texts are words in lower case, punctuation left out. Raises TeacherError
    where the teacher does not work at all; then nothing is written.
    """
    least = teacher.min_confidence if min_confidence is None else min_confidence
    labelled: list[Recording] = []
    skipped: Counter[str] = Counter()
    failed: list[str] = []
    for recording, outcome in _hear(recordings, teacher, journal, stop, on_progress):
        if outcome.fault is not None:
            failed.append(f"{recording.where}: {outcome.fault}")
            continue
        answer = Answer(**outcome.result)
        if why := why_not(answer, recording.duration, least):
            skipped[why] += 1
        else:
            labelled.append(_with_label(recording, answer, teacher))
    if labelled:
        write_manifest(out, labelled)
    return LabelReport(tuple(labelled), skipped, tuple(failed), stop())


def why_not(answer: Answer, seconds: float, min_confidence: float) -> str:
    """Say why an answer about `seconds` of sound is not a label; "" where it is one.

    >>> why_not(Answer("Yes, yes, yes, yes."), 2.0, 0.0), why_not(Answer("Turn it on.", 0.9), 2.0, 0.8)
    ('repeats itself', '')
    """
    words = _words(answer.text).split()
    if not words:
        return "no speech"
    if _is_unsure(answer, min_confidence):
        return "unsure"
    if any(character.isdigit() for character in answer.text):
        return "numbers in figures"
    if len(words) > MOST_WORDS_A_SECOND * seconds:
        return "more words than can be said"
    return "repeats itself" if _loops(words) else ""


def check(
    recordings: Sequence[Recording],
    teacher: Teacher,
    *,
    max_wer: float,
    min_confidence: float | None = None,
    journal: Journal | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_progress: Progress = lambda done, total: None,
) -> CheckReport:
    """Compare transcripts with a teacher's words, where it is sure of these; those that differ by more are mismatches.

    `max_wer` is a fraction, `min_confidence` replaces the teacher's own. Raises TeacherError where it does not work at all.
    """
    least = teacher.min_confidence if min_confidence is None else min_confidence
    compared: list[tuple[int, int]] = []
    mismatches: list[Mismatch] = []
    failed: list[str] = []
    n_unsure = 0
    for recording, outcome in _hear(recordings, teacher, journal, stop, on_progress):
        if outcome.fault is not None:
            failed.append(f"{recording.where}: {outcome.fault}")
            continue
        answer = Answer(**outcome.result)
        if _is_unsure(answer, least):
            n_unsure += 1
            continue
        errors, n_words = count_errors(recording.text, answer.text)
        compared.append((errors, n_words))
        if errors > max_wer * n_words:
            mismatches.append(Mismatch(recording, _words(answer.text), errors / n_words if n_words else math.inf))
    wer = sum(errors for errors, _ in compared) / max(1, sum(n_words for _, n_words in compared))
    worst_first = tuple(sorted(mismatches, key=lambda one: -one.wer))
    return CheckReport(len(compared), n_unsure, wer, worst_first, tuple(failed), stop())


def count_errors(text: str, heard: str) -> tuple[int, int]:
    """Count the words in which what was heard differs from a transcript, and the transcript's words.

    Either may have its numbers in figures, or hyphens.

    >>> count_errors("It was twenty five, then.", "It was 25 then."), count_errors("yes", "")
    ((0, 4), (1, 1))
    """
    reference, hypothesis = (_words(re.sub(r"(?<=\d),(?=\d)", "", one)).replace("-", " ").split() for one in (text, heard))
    if not reference:
        return len(hypothesis), 0
    ways = [(" ".join(reference), " ".join(hypothesis))]
    if re.search(r"\d", text + heard):
        ways.append((in_figures(reference), in_figures(hypothesis)))
    found = [(jiwer.process_words(one, other), len(one.split())) for one, other in ways]
    return min((f.substitutions + f.deletions + f.insertions, n_words) for f, n_words in found)


def _is_unsure(answer: Answer, min_confidence: float) -> bool:
    return answer.confidence is not None and answer.confidence < min_confidence


def _hear(
    recordings: Sequence[Recording], teacher: Teacher, journal: Journal | None, stop: Callable[[], bool], on_progress: Progress
) -> Iterator[tuple[Recording, Outcome]]:
    """Ask about each recording, then give all that were reached, in their order."""
    items = {recording.where: recording for recording in recordings}
    outcomes: dict[str, Outcome] = {}
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="edgeseq-") as folder, closing(TeacherProgram(teacher, stop)) as program:
        opener = partial(partial, _ask, program, Path(folder))
        for key, outcome in run(opener, items, journal=journal, stop=stop):
            if outcome.fault and stop():
                break
            outcomes[key] = outcome
            on_progress(len(outcomes), len(items))
            faults += [outcome.fault] if outcome.fault else []
            if len(faults) == len(outcomes) == GIVE_UP:
                raise TeacherError(
                    f"The teacher {teacher.name} does not work: {faults[-1]}\n  This brings it: {teacher.install}"
                )
    for recording in recordings:
        if recording.where in outcomes:
            yield recording, outcomes[recording.where]


def _ask(program: TeacherProgram, folder: Path, recording: Recording) -> Outcome:
    import soundfile

    file = folder / "recording.wav"
    try:
        soundfile.write(file, read_clip(recording, RATE), RATE, subtype="PCM_16")
        answer = program.ask(file)
    except (AudioError, TeacherError, soundfile.SoundFileError) as fault:
        return Outcome(None, str(fault))
    return Outcome({"text": answer.text, "confidence": answer.confidence})


def _with_label(recording: Recording, answer: Answer, teacher: Teacher) -> Recording:
    about = {"teacher": teacher.name, "teacher_licence": teacher.licence}
    sure = {} if answer.confidence is None else {"confidence": answer.confidence}
    return replace(recording, text=_words(answer.text), extra={**recording.extra, **about, **sure})


def _words(text: str) -> str:
    return normalize_text(only_words(text))


def _loops(words: Sequence[str]) -> bool:
    """Whether a stretch of words comes `REPEATS` times in a row."""
    stretches = ((first, n) for n in range(1, LONGEST_REPEAT + 1) for first in range(len(words) - REPEATS * n + 1))
    return any(words[first : first + REPEATS * n] == [*words[first : first + n]] * REPEATS for first, n in stretches)
