"""The sound of a manifest's line, and clips written so that none is ever half there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseq.data.manifest import Recording
from edgeseq.data.stored_sound import open_sound
from edgeseq.errors import AudioError
from edgeseq.sound.audio import read_blocks
from edgeseq.whole_file import written_whole

Samples = npt.NDArray[np.float32]


def read_clip(recording: Recording, sample_rate: int) -> Samples:
    """Read the stretch that a recording names: float32 [n_samples], mono, in [-1, 1], at `sample_rate`.

    Without `offset` the file is read whole, by whatever reads it. Raises AudioError when it cannot be read,
    breaks off, or holds no sound there.
    """
    if not recording.offset and recording.within is None:
        return np.concatenate([np.zeros(0, np.float32), *read_blocks(recording.path, sample_rate)])
    return _read_stretch(recording, sample_rate)


def _read_stretch(recording: Recording, sample_rate: int) -> Samples:
    import soundfile
    import soxr

    try:
        with open_sound(recording) as file:
            rate = file.samplerate
            file.seek(min(round(recording.offset * rate), file.frames))
            samples = file.read(round(recording.duration * rate), dtype="float32", always_2d=True).mean(axis=1)
    except (soundfile.SoundFileError, OSError) as fault:
        raise AudioError(f"{recording.path}: cannot be read ({fault}). Wanted: a sound file.") from None
    if not len(samples):
        raise AudioError(f"{recording.path}: no sound at {recording.offset} s. Correct 'offset' in the manifest.")
    if not np.isfinite(samples).all():
        raise AudioError(f"{recording.path}: holds NaN or infinite samples. Record or convert it again.")
    return np.asarray(soxr.resample(samples, rate, sample_rate), dtype=np.float32)


def write_clip(path: Path, samples: Samples, sample_rate: int) -> None:
    """Write FLAC, 16 bit, mono, making the folder; the file appears whole or not at all.

    Raises AudioError when the disk does not take it.
    """
    import soundfile

    try:
        with written_whole(path) as half:
            soundfile.write(half, samples, sample_rate, format="FLAC", subtype="PCM_16")
    except (OSError, soundfile.SoundFileError) as fault:
        raise AudioError(f"{path}: cannot be written ({fault}). Is the disk full?") from None
