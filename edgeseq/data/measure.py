"""What a manifest's files are: their headers, and, decoded, their levels and a digest of their sound."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseq.data.manifest import Recording
from edgeseq.data.stored_sound import open_sound, stretch_of
from edgeseq.errors import AudioError
from edgeseq.sound.opening import UnreadableError

Progress = Callable[[int, int], None]

FEW = 1000
"""Fewer recordings are measured in this process: others would take as long to start."""
AT_A_TIME = 64
"""Recordings that a process is handed at once."""

FLAT_SAMPLES = 3
"""This many neighbours at the recording's own peak are a clipped top."""
LOUD = 0.1
"""Below this peak, against full scale, nothing counts as clipped: quantization is coarse there."""


@dataclass(frozen=True)
class FileFacts:
    """One recording's file, and the stretch of it that the recording names."""

    fault: str = ""
    """why it cannot be read; all else is then 0"""
    file_seconds: float = 0.0
    sample_rate: int = 0
    """Hz"""
    n_bytes: int = 0
    n_frames: int = 0
    """samples a channel of the whole file"""
    peak: float = 0.0
    """largest absolute sample of the stretch, against full scale; 0 where only headers were read"""
    rms: float = 0.0
    n_clipped: int = 0
    """flat tops: places where `FLAT_SAMPLES` neighbours lie at the peak"""
    digest: str = ""
    """of the stretch's samples, mono; "" where only headers were read"""


def measure_all(recordings: Sequence[Recording], decode: bool, jobs: int, on_progress: Progress) -> list[FileFacts]:
    """Measure recordings, in their order, in `jobs` processes (0: one a core)."""
    jobs = jobs or len(os.sched_getaffinity(0))
    if jobs == 1 or len(recordings) < FEW:
        return list(_counted((measure(one, decode) for one in recordings), len(recordings), on_progress))
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        parts = pool.map(_measure_part, _parts(recordings), _repeat(decode))
        try:
            return list(_counted((one for part in parts for one in part), len(recordings), on_progress))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _parts(recordings: Iterable[Recording]) -> Iterator[list[Recording]]:
    rest = iter(recordings)
    while part := list(islice(rest, AT_A_TIME)):
        yield part


def _repeat(decode: bool) -> Iterator[bool]:
    while True:
        yield decode


def _measure_part(recordings: list[Recording], decode: bool) -> list[FileFacts]:
    return [measure(recording, decode) for recording in recordings]


def _counted(measured: Iterable[FileFacts], total: int, on_progress: Progress) -> Iterator[FileFacts]:
    for number, one in enumerate(measured, start=1):
        on_progress(number, total)
        yield one


def measure(recording: Recording, decode: bool) -> FileFacts:
    """Open one recording's file, and read its stretch if it is to be decoded; never raises for a bad file."""
    try:
        n_bytes = recording.within[1] if recording.within else recording.path.stat().st_size
        with open_sound(recording) as sound:
            rate, n_frames = sound.samplerate, sound.frames
            header = FileFacts("", n_frames / rate, rate, n_bytes, n_frames)
            if decode:
                return _with_levels(header, stretch_of(sound, recording).samples)
            if round(recording.offset * rate) >= n_frames:
                return FileFacts(f"holds {n_frames / rate:.2f} s; no sound at {recording.offset:g} s")
            if sound.n_promised > n_frames:
                return FileFacts(
                    f"breaks off {(sound.n_promised - n_frames) / rate:.2f} s before the end that its header tells"
                )
            return header
    except AudioError as fault:
        return FileFacts(_reason(fault, recording))
    except OSError as fault:
        return FileFacts(fault.strerror or str(fault))


def _reason(fault: AudioError, recording: Recording) -> str:
    """Say why, without the name, which precedes it."""
    if isinstance(fault, UnreadableError):
        return fault.reason
    line = str(fault).split("\n")[0]
    for name in (recording.where, str(recording.path)):
        line = line.removeprefix(f"{name}: ")
    return line


def _with_levels(header: FileFacts, samples: npt.NDArray[np.float32]) -> FileFacts:
    power = float(np.dot(samples, samples))
    peak = float(max(samples.max(), -samples.min())) if len(samples) else 0.0
    return FileFacts(
        "",
        header.file_seconds,
        header.sample_rate,
        header.n_bytes,
        header.n_frames,
        peak,
        float(np.sqrt(power / max(1, len(samples)))),
        _flat_tops(samples, peak),
        hashlib.blake2b(samples.tobytes(), digest_size=16).hexdigest(),
    )


def _flat_tops(samples: npt.NDArray[np.float32], peak: float) -> int:
    """Count the places where neighbours lie together at the recording's own peak, as amplifiers and converters leave them."""
    if peak < LOUD:
        return 0
    top = np.flatnonzero(np.abs(samples) >= peak * np.float32(0.9999))
    together = top[FLAT_SAMPLES - 1 :] - top[: 1 - FLAT_SAMPLES] == FLAT_SAMPLES - 1
    return int(np.count_nonzero(together))


def file_digest(path: Path, within: tuple[int, int] | None = None) -> str:
    """Digest a file's content, or that of bytes within it."""
    with path.open("rb") as file:
        if within is None:
            return hashlib.file_digest(file, "blake2b").hexdigest()
        file.seek(within[0])
        return hashlib.blake2b(file.read(within[1])).hexdigest()
