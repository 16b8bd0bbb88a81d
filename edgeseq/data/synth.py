"""Training speech from text: who says what, in which manner, and the files made of it.

What a file says and how is a pure function of (seed, text, number, attempt), so a stopped run
resumes where it was, and asking for more files per text, or for more texts, keeps the files that are there.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseq.data.clips import write_clip
from edgeseq.data.engines import ENGINES, INSTALL, LOOK_SECONDS, Engine, SynthesisRequest, Voice, find_engine
from edgeseq.data.manifest import Recording, read_manifest, write_manifest
from edgeseq.errors import EdgeseqError, UsageError

MANIFEST = "manifest.jsonl"

SHARES = {"espeak-ng": 0.45, "flite": 0.275, "festival": 0.275}
"""Share of each engine among the files; those of missing engines go to the others."""

PITCH_OCTAVES = (-0.4, 0.45)
SPEED_OCTAVES = (-0.5, 0.5)
ATTEMPTS = 4
"""Manners drawn for a file before it is given up."""

MARGIN_SECONDS = 0.05
"""Silence left before and after speech: closely cut, as collected single words are."""
SILENCE = 0.01
"""Level, as a fraction of the clip's peak, under which it is silence (-40 dB)."""
PEAK = 0.7
"""Peak that each file is brought to: engines differ by 12 dB."""
LIST_SECONDS = 5.0
"""Time between two writes of the manifest: what a kill may cost."""

Progress = Callable[[int, int], None]
"""Called with the number of files done and wanted."""


@dataclass(frozen=True)
class Utterance:
    """One file to be made."""

    text: str
    number: int
    """among the files of this text, from 0"""
    request: SynthesisRequest

    @property
    def name(self) -> str:
        """File name, relative to the manifest."""
        return f"{slug(self.text)}/{self.number:05d}.flac"


@dataclass(frozen=True)
class SynthReport:
    """What a run did, in files."""

    made: int
    kept: int
    """were there already"""
    failed: tuple[str, ...]
    """names of files that no attempt gave"""
    manifest: Path
    stopped: bool
    """whether it was interrupted"""


def slug(text: str) -> str:
    """Name the folder of a text; texts whose names would be alike differ by a checksum.

    >>> slug("three one"), slug("Three, one!")
    ('three-one', 'three-one-3a40198a')
    """
    words = re.sub(r"[^a-z0-9']+", "-", text.lower()).strip("-")[:40].strip("-")
    return words if words.replace("-", " ") == text else f"{words}-{zlib.crc32(text.encode()):08x}".strip("-")


def read_texts(path: Path) -> list[str]:
    """Read texts to speak, one a line; blank lines, lines that begin with # and repeats are skipped."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise EdgeseqError(f"{path}: cannot be read ({fault}). A text file is wanted, one text a line.") from None
    if tabs := [number for number, line in enumerate(lines, start=1) if "\t" in line]:
        raise EdgeseqError(
            f"{path}: line {tabs[0]} holds a tab ({len(tabs)} lines do). Wanted: a text a line, no more.\n"
            "  `cut -f 2` takes the second column of a table."
        )
    texts = list(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip() and line[0] != "#"))
    if not texts:
        raise EdgeseqError(f"{path}: holds no text. One text a line is wanted.")
    return texts


def installed_voices(
    engines: Sequence[str] = (),
    exclude_engines: Sequence[str] = (),
    voices: str = "*",
    exclude_voices: str = "",
    licences: Sequence[str] = (),
    known: Sequence[Engine] = ENGINES,
) -> tuple[Voice, ...]:
    """List the voices of the engines that are installed, or of those in `engines`, less `exclude_engines`.

    `voices` and `exclude_voices` are shell patterns over `engine/voice`, such as `flite/*` or `*+f[1-5]`; `licences` are
    such patterns over SPDX identifiers, by default any licence is allowed. Raises UsageError for unknown names, EdgeseqError
    when nothing is left.
    """
    wanted = [find_engine(name, known) for name in engines] or list(known)
    unwanted = {find_engine(name, known).name for name in exclude_engines}
    found = {one.name: one.voices() for one in wanted if one.name not in unwanted}
    if missing := [name for name in engines if name not in unwanted and not found[name]]:
        raise EdgeseqError(f"Not installed, or without voices: {', '.join(missing)}.\n  On Debian: {INSTALL}")
    if not any(found.values()):
        raise EdgeseqError(f"No speech synthesizer is installed ({', '.join(found)}).\n  On Debian: {INSTALL}")
    chosen = tuple(
        voice
        for several in found.values()
        for voice in several
        if fnmatchcase(voice.speaker, voices) and not fnmatchcase(voice.speaker, exclude_voices)
    )
    if not chosen:
        raise UsageError(f"No voice is called like {voices!r}. `edgeseq data synth --list-voices` lists all.")
    allowed = tuple(voice for voice in chosen if is_allowed(voice.licence, licences)) if licences else chosen
    if not allowed:
        there = ", ".join(sorted({voice.licence for voice in chosen}))
        raise UsageError(f"No voice is under a licence like {', '.join(licences)}. Those chosen are under: {there}.")
    return allowed


def is_allowed(licence: str, allowed: Sequence[str]) -> bool:
    """Tell whether a licence is like one of the shell patterns in `allowed`.

    >>> is_allowed("CC-BY-4.0", ["CC0-1.0", "CC-BY-*"]), is_allowed("GPL-3.0-or-later", ["CC0-1.0", "CC-BY-*"])
    (True, False)
    """
    return any(fnmatchcase(licence, pattern) for pattern in allowed)


def draw(text: str, number: int, seed: int, voices: Mapping[str, Sequence[Voice]], attempt: int = 0) -> Utterance:
    """Draw who says `text` and how; `voices` by engine. The same arguments always give the same answer."""
    random = np.random.default_rng([seed, zlib.crc32(text.encode()), number, attempt])
    names = list(voices)
    shares = np.array([SHARES.get(name, 1.0) for name in names])
    of_engine = voices[names[random.choice(len(names), p=shares / shares.sum())]]
    voice = of_engine[int(random.integers(len(of_engine)))]
    pitch = round(2 ** random.uniform(*PITCH_OCTAVES), 3) if voice.pitched else 1.0
    speed = round(2 ** random.uniform(*SPEED_OCTAVES), 3) if voice.paced else 1.0
    return Utterance(text, number, SynthesisRequest(text, voice, pitch, speed))


def synthesize(
    texts: Sequence[str],
    per_text: int,
    folder: Path,
    voices: Sequence[Voice],
    *,
    seed: int = 0,
    sample_rate: int = 16_000,
    jobs: int = 0,
    known: Sequence[Engine] = ENGINES,
    on_progress: Progress = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
) -> SynthReport:
    """Speak each text `per_text` times into mono FLAC files under `folder`, listed in its manifest.jsonl; equal texts are one.

    `known` holds the engines of `voices`. Files that the manifest lists already are kept. `stop` is asked several times a
    second; once it says so, programs that speak are ended, and what is finished is listed.
    Raises UsageError when `folder` holds other speech, EdgeseqError when nothing could be spoken.
    """
    by_engine = _by_engine(voices)
    plan = [draw(text, number, seed, by_engine) for number in range(per_text) for text in dict.fromkeys(texts)]
    listed = _already_listed(folder, plan, seed, by_engine)
    order = {utterance.name: number for number, utterance in enumerate(plan)}
    maker = _Maker(folder, sample_rate, order, dict(listed), known, on_progress, stop)
    pending = [utterance for utterance in plan if utterance.name not in listed]
    try:
        for attempt in range(ATTEMPTS):
            again = [draw(u.text, u.number, seed, by_engine, attempt) for u in pending] if attempt else pending
            pending = maker.make(again, jobs or os.cpu_count() or 1)
    finally:
        maker.write()
    stopped = stop() and bool(pending)
    report = SynthReport(
        made=len(maker.listed) - len(listed),
        kept=len(listed),
        failed=() if stopped else tuple(utterance.name for utterance in pending),
        manifest=folder / MANIFEST,
        stopped=stopped,
    )
    if not maker.listed and not stopped:
        raise EdgeseqError(f"{folder}: none of {len(plan)} texts could be spoken, by any of {len(voices)} voices.")
    return report


def trim(samples: npt.NDArray[np.float32], sample_rate: int) -> npt.NDArray[np.float32]:
    """Cut silence from both ends of `samples` [n_samples], except 50 ms; everything when all is silent."""
    window = max(1, sample_rate // 200)  # 5 ms
    n_windows = -(-len(samples) // window)
    padded = np.pad(samples, (0, n_windows * window - len(samples)))
    levels = np.abs(padded).reshape(n_windows, window).max(axis=1, initial=0.0)
    loud = np.flatnonzero(levels > SILENCE * levels.max(initial=0.0))
    if not len(loud):
        return samples[:0]
    margin = round(MARGIN_SECONDS * sample_rate)
    return samples[max(0, loud[0] * window - margin) : (loud[-1] + 1) * window + margin]


def plausible(samples: npt.NDArray[np.float32], sample_rate: int, text: str) -> bool:
    """Tell speech from the failures of voices: too short, too long for its text, or silent."""
    seconds = len(samples) / sample_rate
    letters = sum(character.isalnum() for character in text)
    shortest, longest = 2 * MARGIN_SECONDS + 0.015 * letters, 1.0 + 0.2 * letters
    return shortest < seconds < longest and float(np.abs(samples).max(initial=0.0)) > 1e-3


def _by_engine(voices: Sequence[Voice]) -> dict[str, list[Voice]]:
    grouped: dict[str, list[Voice]] = {}
    for voice in voices:
        grouped.setdefault(voice.engine, []).append(voice)
    return grouped


def _already_listed(
    folder: Path, plan: Sequence[Utterance], seed: int, voices: Mapping[str, Sequence[Voice]]
) -> dict[str, Recording]:
    """Give the recordings of the folder's manifest by name; all must be of this plan and still be there."""
    manifest = folder / MANIFEST
    if not manifest.exists():
        return {}
    wanted = {utterance.name: utterance for utterance in plan}
    listed: dict[str, Recording] = {}
    strangers = []
    for recording in read_manifest(manifest, check_files=False):
        name = recording.path.relative_to(folder).as_posix() if recording.path.is_relative_to(folder) else ""
        if name not in wanted or not _is_drawn(recording, wanted[name], seed, voices):
            strangers.append(name or str(recording.path))
        elif recording.path.is_file():
            listed[name] = recording
    if strangers:
        raise UsageError(
            f"{manifest}: lists {len(strangers)} files that these texts, voices, counts and seed do not give "
            f"({strangers[0]} ...).\n  Choose another --out, or remove {folder} first."
        )
    return listed


def _is_drawn(recording: Recording, first: Utterance, seed: int, voices: Mapping[str, Sequence[Voice]]) -> bool:
    """Whether one of the attempts would have drawn this recording."""
    for attempt in range(ATTEMPTS):
        drawn = draw(first.text, first.number, seed, voices, attempt) if attempt else first
        if recording.text == drawn.text and _manner(drawn).items() <= recording.extra.items():
            return True
    return False


def _manner(utterance: Utterance) -> dict[str, str | float]:
    request = utterance.request
    return {
        "synthesizer": request.voice.engine,
        "voice": request.voice.name,
        "pitch": request.pitch,
        "speed": request.speed,
    }


class _Maker:
    """Makes files and keeps the manifest's list of them."""

    def __init__(
        self,
        folder: Path,
        sample_rate: int,
        order: Mapping[str, int],
        listed: dict[str, Recording],
        engines: Sequence[Engine],
        on_progress: Progress,
        stop: Callable[[], bool],
    ) -> None:
        self.folder, self.sample_rate, self.order = folder, sample_rate, order
        self.listed, self.engines, self.on_progress, self.stop = listed, engines, on_progress, stop
        folder.mkdir(parents=True, exist_ok=True)
        for half in folder.glob("*/.*.part"):
            half.unlink(missing_ok=True)

    def make(self, utterances: Sequence[Utterance], jobs: int) -> list[Utterance]:
        """Make files in parallel; gives back those that failed, or were not come to before a stop."""
        left = {utterance.name: utterance for utterance in utterances}
        written = time.monotonic()
        batches = iter(_batches(utterances, self.engines))
        running: set[Future[dict[Utterance, Recording | None]]] = set()
        with ThreadPoolExecutor(jobs) as pool:
            while True:
                while len(running) < 2 * jobs and not self.stop() and (batch := next(batches, None)):
                    running.add(pool.submit(self._make_batch, batch))
                if not running:
                    return list(left.values())
                done, running = wait(running, LOOK_SECONDS, FIRST_COMPLETED)
                if self.stop():
                    running = {future for future in running if not future.cancel()}
                for future in done:
                    for utterance, recording in future.result().items():
                        if recording:
                            self.listed[utterance.name] = recording
                            del left[utterance.name]
                self.on_progress(len(self.listed), len(self.order))
                if time.monotonic() - written > LIST_SECONDS:
                    self.write()
                    written = time.monotonic()

    def write(self) -> None:
        """Write the manifest in the plan's order."""
        if self.listed:
            names = sorted(self.listed, key=self.order.__getitem__)
            write_manifest(self.folder / MANIFEST, [self.listed[name] for name in names])

    def _make_batch(self, batch: Sequence[Utterance]) -> dict[Utterance, Recording | None]:
        """Speak utterances of one engine; None for those that failed."""
        speaker = find_engine(batch[0].request.voice.engine, self.engines)
        with tempfile.TemporaryDirectory(prefix="edgeseq-synth-") as scratch:
            files = [Path(scratch) / f"{number}.wav" for number in range(len(batch))]
            if not self.stop():
                speaker.speak([utterance.request for utterance in batch], files, self.stop)
            return {u: self._keep(u, file) for u, file in zip(batch, files, strict=True)}

    def _keep(self, utterance: Utterance, spoken: Path) -> Recording | None:
        """Put a file in place, unless all is to stop: a batch is up to a hundred of them."""
        return None if self.stop() else _finish(utterance, spoken, self.folder, self.sample_rate)


def _batches(utterances: Sequence[Utterance], engines: Sequence[Engine]) -> Iterator[list[Utterance]]:
    """Group by engine, and within a batch by voice, as many as the engine likes to be given."""
    waiting: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        name = utterance.request.voice.engine
        batch = waiting.setdefault(name, [])
        batch.append(utterance)
        if len(batch) == find_engine(name, engines).batch:
            yield sorted(waiting.pop(name), key=lambda u: u.request.voice.name)
    yield from waiting.values()


def _finish(utterance: Utterance, spoken: Path, folder: Path, sample_rate: int) -> Recording | None:
    """Resample, trim and level what was spoken, and put it in place."""
    import soundfile
    import soxr

    try:
        samples, rate = soundfile.read(spoken, dtype="float32")
    except (soundfile.SoundFileError, OSError):
        return None
    mono = samples if samples.ndim == 1 else samples.mean(axis=1, dtype=np.float32)
    clip = trim(soxr.resample(mono, rate, sample_rate).astype(np.float32), sample_rate)
    if not plausible(clip, sample_rate, utterance.text):
        return None
    target = folder / utterance.name
    write_clip(target, clip * (PEAK / np.abs(clip).max()), sample_rate)
    return Recording(
        path=target,
        duration=len(clip) / sample_rate,
        text=utterance.text,
        speaker=utterance.request.voice.speaker,
        extra=_manner(utterance) | {"licence": utterance.request.voice.licence},
    )
