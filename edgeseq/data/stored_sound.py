"""A recording's sound: its stretch of a file, or of bytes within an archive. Everything that reads manifests reads it here."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeseq.data.manifest import Recording
from edgeseq.errors import AudioError, CutShortError

if TYPE_CHECKING:
    from edgeseq.sound.opening import SoundFile

ROUNDING_SECONDS = 0.0005
"""Durations in manifests are rounded: a stretch that ends so near to the file's end is meant to end there."""


@dataclass(frozen=True)
class Stretch:
    """Samples of a recording, as they are stored."""

    samples: npt.NDArray[np.float32]
    """mono, in [-1, 1], `[n_samples]`"""
    rate: int
    """Hz"""


@dataclass(frozen=True)
class Whole:
    """What a file holds."""

    seconds: float
    rate: int
    """Hz"""


def open_sound(recording: Recording) -> SoundFile:
    """Open what a recording names; its samples are those of the whole file.

    What soundfile does not read is decoded by ffmpeg, if that is installed. Raises AudioError for what cannot be read,
    also where an archive is shorter than it was.
    """
    from edgeseq.sound import opening
    from edgeseq.sound.ffmpeg import decoded

    if recording.within is None:
        try:
            return opening.open_sound(recording.path)
        except opening.UnreadableError as fault:
            if fault.kind is None or not fault.kind.is_sound:
                raise
            return opening.open_sound(decoded(recording.path, fault.reason), str(recording.path))
    first, n_bytes = recording.within
    try:
        with recording.path.open("rb") as archive:
            archive.seek(first)
            content = archive.read(n_bytes)
    except OSError as fault:
        raise AudioError(f"{recording.path}: cannot be opened ({fault.strerror}). Check the name.") from fault
    if len(content) < n_bytes:
        raise AudioError(
            f"{recording.path}: ends before byte {first + n_bytes:,}, where a recording should end.\n"
            f"  Copy it again; if it was written again: edgeseq data shar --index {recording.path.parent}"
        )
    return opening.open_sound(io.BytesIO(content), recording.where)


def whole_file(path: Path) -> Whole:
    """Measure a file. Raises AudioError for what cannot be read, breaks off, or holds no sound; messages name it first."""
    with open_sound(Recording(path, 0.0, "")) as sound:
        rate, n_frames, n_promised = sound.samplerate, sound.frames, sound.n_promised
    if not n_frames:
        raise AudioError(f"{path}: holds no sound (0 samples). Record or copy it again.")
    if n_promised > n_frames:
        missing = (n_promised - n_frames) / rate
        raise CutShortError(f"{path}: breaks off {missing:.2f} s before the end that its header tells. Copy it again.")
    return Whole(n_frames / rate, rate)


def read_stretch(recording: Recording) -> Stretch:
    """Read the stretch that a recording names. Raises AudioError for what cannot be read, breaks off, or has no sound there."""
    with open_sound(recording) as sound:
        return stretch_of(sound, recording)


def stretch_of(sound: SoundFile, recording: Recording) -> Stretch:
    """Read a recording's stretch of its open file; see `read_stretch`."""
    import soundfile

    rate, where = sound.samplerate, recording.where
    first = round(recording.offset * rate)
    if first >= sound.frames:
        raise AudioError(f"{where}: holds {sound.frames / rate:.2f} s; no sound at {recording.offset:g} s.")
    n_wanted, n_rounding = round(recording.duration * rate), 1 + round(ROUNDING_SECONDS * rate)
    if abs(first + n_wanted - sound.n_promised) <= n_rounding:
        n_wanted = sound.n_promised - first
    try:
        sound.seek(first)
        samples = sound.read(n_wanted, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as fault:
        raise AudioError(f"{where}: cannot be read ({str(fault).rstrip('.')}). Wanted: a sound file.") from fault
    n_missing = min(n_wanted, sound.n_promised - first) - len(samples)
    if n_missing > 0:
        raise CutShortError(
            f"{where}: breaks off {n_missing / rate:.2f} s before the end that its header tells. Copy it again."
        )
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if not len(mono):
        raise AudioError(f"{where}: no sound at {recording.offset:g} s. Correct 'offset' in the manifest.")
    if not np.isfinite(mono).all():
        raise AudioError(f"{where}: holds samples that are no numbers (NaN or infinite). Record or convert it again.")
    return Stretch(mono, rate)
