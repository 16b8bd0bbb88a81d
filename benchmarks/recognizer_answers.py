"""Answers of recognizers to recordings, their cost, and a file that keeps both."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.recognizer_peers import Peer
from edgeseq.bench.machine import machine
from edgeseq.data.clips import read_clip
from edgeseq.data.label import RATE
from edgeseq.data.manifest import Recording
from edgeseq.data.teachers import TeacherProgram
from edgeseq.errors import TeacherError, UsageError
from edgeseq.whole_file import written_whole

TICKS = os.sysconf("SC_CLK_TCK")
FIRST_SECONDS = 1.0
"""Length of the silence that a program hears first; when it has answered, it is loaded."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Clip:
    """A recording of one set."""

    part: str
    """of which set: the manifest's folder and name, or the folder of noise"""
    recording: Recording

    @property
    def key(self) -> str:
        """Name it without paths of this machine."""
        stretch = f"@{self.recording.offset:g}" if self.recording.offset else ""
        return f"{self.part}:{self.recording.path.name}{stretch}"


@dataclass(frozen=True)
class Heard:
    """One answer."""

    text: str
    seconds: float
    """of sound"""
    processor_seconds: float
    fault: str = ""
    """why there is none"""


@dataclass
class Measured:
    """One recognizer at work."""

    asked: dict[str, Any]
    loading_seconds: float = 0.0
    """processor time until it has answered about a second of silence"""
    peak_mb: float = 0.0
    """largest memory of its process, 10^6 bytes"""
    date: str = ""
    processor: str = ""
    answers: dict[str, Heard] = field(default_factory=dict)
    """by the clip's key"""


class Answers:
    """A JSON file of what recognizers answered; without a path, kept in memory alone."""

    def __init__(self, path: Path | None) -> None:
        """Read what is there. Raises UsageError for a file that is something else."""
        self._path = path
        self._peers: dict[str, Measured] = {}
        if path is not None and path.exists():
            try:
                for name, kept in json.loads(path.read_text(encoding="utf-8"))["peers"].items():
                    heard = {key: Heard(**one) for key, one in kept.pop("answers").items()}
                    self._peers[name] = Measured(**kept, answers=heard)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
                raise UsageError(f"{path}: holds no answers of recognizers ({fault}). Name another --answers.") from fault

    def of(self, peer: Peer) -> Measured:
        """Give what is known of a peer as it is now: nothing where its command or one of its files has changed."""
        kept, asked = self._peers.get(peer.name), peer.asked()
        return kept if kept is not None and kept.asked == asked else Measured(asked)

    def keep(self, peer: Peer, measured: Measured) -> None:
        """Write the file with this peer in it."""
        self._peers[peer.name] = measured
        if self._path is not None:
            with written_whole(self._path) as beside:
                beside.write_text(json.dumps({"peers": {n: asdict(m) for n, m in self._peers.items()}}, indent=1) + "\n")


def measure(
    peer: Peer, clips: Sequence[Clip], known: Measured, on_progress: Progress = lambda done, total: None
) -> Iterator[Measured]:
    """Have a peer answer about those clips about which nothing is known yet; gives what is known after each answer.

    Raises TeacherError where it does not answer about a second of silence: then it is not installed, or does not work.
    """
    left = [clip for clip in clips if clip.key not in known.answers]
    if not left:
        yield known
        return
    found = replace(known, answers=dict(known.answers), date=date.today().isoformat(), processor=_machine())
    n_at_once = peer.recordings or len(left)
    for first in range(0, len(left), n_at_once):
        for n_done, _ in enumerate(_measure_process(peer, left[first : first + n_at_once], found), start=first + 1):
            on_progress(n_done, len(left))
            yield found


def _measure_process(peer: Peer, clips: Sequence[Clip], found: Measured) -> Iterator[None]:
    """Have one process answer about clips."""
    with tempfile.TemporaryDirectory(prefix="edgeseq-") as folder, closing(TeacherProgram(peer.teacher)) as program:
        file = Path(folder, "recording.wav")
        found.loading_seconds = _load(program, file)
        for clip in clips:
            if program.pid is None:
                _load(program, file)
            found.answers[clip.key] = _hear(program, clip.recording, file)
            found.peak_mb = max(found.peak_mb, peak_mb(program.pid))
            yield


def _load(program: TeacherProgram, file: Path) -> float:
    soundfile.write(file, np.zeros(round(FIRST_SECONDS * RATE), dtype=np.int16), RATE, subtype="PCM_16")
    program.ask(file)
    return processor_seconds(program.pid)


def _hear(program: TeacherProgram, recording: Recording, file: Path) -> Heard:
    samples = read_clip(recording, RATE)
    seconds = len(samples) / RATE
    soundfile.write(file, samples, RATE, subtype="PCM_16")
    before = processor_seconds(program.pid)
    try:
        answer = program.ask(file)
    except TeacherError as fault:
        return Heard("", seconds, 0.0, str(fault))
    return Heard(answer.text, seconds, round(processor_seconds(program.pid) - before, 3))


def processor_seconds(pid: int | None) -> float:
    """Read the processor time of a process and of its children that have ended, user and system."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def peak_mb(pid: int | None) -> float:
    """Read the largest memory of a process, 10^6 bytes."""
    if pid is None:
        return 0.0
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    return float(*_high_water(lines)) * 1024 / 1e6


def _high_water(lines: Sequence[str]) -> Iterator[str]:
    return (line.split()[1] for line in lines if line.startswith("VmHWM:"))


def _machine() -> str:
    about = machine()
    return f"{about['processor']}, {about['cores']} cores, {platform.system()}"
