"""The speech of a lesson: a few texts and other speech by many voices, and held-out voices to measure with."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edgeseq.data.engines import ENGINES, Engine, Voice
from edgeseq.data.label import recordings_of
from edgeseq.data.manifest import Recording, read_manifest, write_manifest
from edgeseq.data.other_speech import others_for, without
from edgeseq.data.synth import MANIFEST, SynthReport, synthesize
from edgeseq.errors import EdgeseqError, UsageError
from edgeseq.tokens.normalizing import normalize_text

HELD_OUT_VOICES = 6
"""One in this number of voices of a synthesizer is held out."""
HELD_OUT_SEED = 1
HELD_OUT_PEOPLE = 10
"""So is one in this number of speakers of recorded other speech, or recordings whose speaker is not known."""
LONGEST_SECONDS = 3.0
"""Recorded other speech is cut to stretches of this length, that of a row in training."""
SPEAKABLE = re.compile(r"[a-z]+('[a-z]+)*'?")

Progress = Callable[[int, int], None]
"""Called with the number of files done and wanted."""


@dataclass(frozen=True)
class Lesson:
    """What is taught, with how much speech, and where that lies."""

    texts: tuple[str, ...]
    folder: Path
    per_text: int = 250
    """recordings of each text to train on"""

    @property
    def own(self) -> Path:
        """The manifest of the texts, to train on."""
        return self.folder / "own" / MANIFEST

    @property
    def others(self) -> Path:
        """The manifest of synthesized other speech, to train on."""
        return self.folder / "others" / MANIFEST

    @property
    def recorded(self) -> Path:
        """The manifest of recorded other speech, to train on; there only where some was given."""
        return self.folder / "recorded.jsonl"

    @property
    def held_out(self) -> Path:
        """The manifest that is measured on: texts and other speech by voices that the training does not hear."""
        return self.folder / "held-out.jsonl"

    @property
    def held_out_recorded(self) -> Path:
        """That of recorded other speech; there only where some was given."""
        return self.folder / "held-out-recorded.jsonl"


@dataclass(frozen=True)
class Spoken:
    """What was made for a lesson."""

    reports: tuple[SynthReport, ...]
    n_voices: int
    n_held_out: int
    """held-out voices; 0 where there are too few, and the same voices are measured"""

    @property
    def stopped(self) -> bool:
        """Whether it was interrupted."""
        return any(report.stopped for report in self.reports)


def check_texts(texts: Sequence[str], *, any_language: bool = False) -> tuple[str, ...]:
    """Normalize texts, and leave repeats out. Raises UsageError for those that no English voice can say as they are spelled.

    >>> check_texts(["Yes", "no", "lights  off", "yes"])
    ('yes', 'no', 'lights off')
    """
    normal = tuple(dict.fromkeys(normalize_text(text) for text in texts))
    for text in normal:
        words = text.split()
        can_say = str.isalpha if any_language else SPEAKABLE.fullmatch
        if not words or not all(can_say(word) for word in words):
            raise UsageError(
                f"{text!r} cannot be spoken as it is written. Wanted: words in English letters, such as yes or 'lights off'.\n"
                "  Write numbers as words. For another language describe its synthesizer: --engine-file (docs/synthesis.md)."
            )
    return normal


def hold_out(voices: Sequence[Voice]) -> tuple[tuple[Voice, ...], tuple[Voice, ...]]:
    """Divide voices into those to train with and those to measure with: no variant of espeak-ng's is among both.

    Where a synthesizer has fewer than four, none of its voices is held out.
    """
    kept: set[tuple[str, str]] = set()
    for engine in dict.fromkeys(voice.engine for voice in voices):
        timbres = sorted({_timbre(voice) for voice in voices if voice.engine == engine})
        kept |= {(engine, timbre) for timbre in timbres[::HELD_OUT_VOICES] if len(timbres) > 3}
    apart = tuple(voice for voice in voices if (voice.engine, _timbre(voice)) in kept)
    return tuple(voice for voice in voices if voice not in apart), apart


def _timbre(voice: Voice) -> str:
    """Name what a voice sounds like: espeak-ng's variants sound alike in every accent."""
    return voice.name.partition("+")[2] or voice.name


def speak(
    lesson: Lesson,
    voices: Sequence[Voice],
    *,
    known: Sequence[Engine] = ENGINES,
    seed: int = 0,
    jobs: int = 0,
    on_progress: Progress = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> Spoken:
    """Synthesize the texts and other speech, to train on and to measure with; what is there already is kept.

    Raises EdgeseqError for a text that no voice can say, UsageError where the folder holds other speech.
    """
    to_train, apart = hold_out(voices)
    n_held_out = max(2, lesson.per_text // 8)
    work = [
        (list(lesson.texts), lesson.per_text, lesson.own.parent, to_train, seed),
        (*others_for(lesson.texts, 5 * lesson.per_text), lesson.others.parent, to_train, seed),
        (list(lesson.texts), n_held_out, lesson.folder / "held-out-own", apart or to_train, seed + HELD_OUT_SEED),
        (*held_out_others(lesson, 8 * n_held_out), lesson.folder / "held-out-others", apart or to_train, seed + HELD_OUT_SEED),
    ]
    sizes = [len(texts) * count for texts, count, *_ in work]
    reports: list[SynthReport] = []
    for number, (texts, count, folder, speakers, drawn_by) in enumerate(work):
        show = partial(_show_sum, on_progress, sum(sizes[:number]), sum(sizes))
        made = synthesize(texts, count, folder, speakers, seed=drawn_by, jobs=jobs, known=known, on_progress=show, stop=stop)
        reports.append(made)
        if made.stopped:
            break
    spoken = Spoken(tuple(reports), len(to_train), len(apart))
    if not spoken.stopped:
        _refuse_unspoken(lesson)
        write_manifest(lesson.held_out, _held_out(lesson))
    return spoken


def _show_sum(on_progress: Progress, before: int, total: int, done: int, _wanted: int) -> None:
    on_progress(before + done, total)


def held_out_others(lesson: Lesson, count: int) -> tuple[list[str], int]:
    """Choose single words of other speech: they are easier to take for a command than sentences."""
    texts, _ = others_for(lesson.texts, 2 * count)
    words = [text for text in texts if " " not in text][:count]
    return words, max(1, round(count / len(words)))


def _refuse_unspoken(lesson: Lesson) -> None:
    said = {recording.text for recording in read_manifest(lesson.own)}
    if silent := [text for text in lesson.texts if text not in said]:
        raise EdgeseqError(
            f"No voice could say {', '.join(map(repr, silent))}. Spell it as it sounds, or choose other voices: --voices."
        )


def _held_out(lesson: Lesson) -> Iterator[Recording]:
    """List what is measured on; other speech without its text, which is kept as `said`."""
    yield from read_manifest(lesson.folder / "held-out-own" / MANIFEST)
    for recording in read_manifest(lesson.folder / "held-out-others" / MANIFEST):
        yield replace(recording, text="", extra={**recording.extra, "said": recording.text})


def add_recorded(lesson: Lesson, sources: Sequence[Path]) -> tuple[int, list[str]]:
    """Take folders or manifests of recorded speech as other speech: to train on, and a tenth of its speakers to measure with.

    Recordings whose text holds one of the lesson's words are left out, longer ones are cut. Returns the number of recordings
    and what could not be read. Raises ManifestError where a source holds none, UsageError where nothing is left.
    """
    found: list[Recording] = []
    faults: list[str] = []
    for source in sources:
        recordings, unreadable = recordings_of(source)
        faults += unreadable
        found += [one for one in recordings if without([one.text], lesson.texts) or not one.text]
    if not found:
        raise UsageError(f"{', '.join(map(str, sources))}: every recording holds one of your words. Name other speech.")
    lesson.folder.mkdir(parents=True, exist_ok=True)
    to_train = [one for one in found if not _is_kept_apart(one)] or found
    write_manifest(lesson.recorded, _stretches(to_train))
    write_manifest(lesson.held_out_recorded, _stretches([one for one in found if _is_kept_apart(one)] or found[:1]))
    return len(found), faults


def _is_kept_apart(recording: Recording) -> bool:
    return zlib.crc32((recording.speaker or recording.path.name).encode(errors="replace")) % HELD_OUT_PEOPLE == 0


def _stretches(recordings: Sequence[Recording]) -> Iterator[Recording]:
    """Cut recordings to stretches of nearly equal length, no text on them."""
    for recording in recordings:
        n_parts = max(1, -(-round(100 * recording.duration) // round(100 * LONGEST_SECONDS)))
        seconds = recording.duration / n_parts
        for part in range(n_parts):
            start = recording.offset + part * seconds
            yield replace(recording, text="", offset=round(start, 4), duration=round(seconds, 4), segments=None)
