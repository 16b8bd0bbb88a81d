"""The sound of a manifest's line, and clips written so that none is ever half there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseq.data.manifest import Recording
from edgeseq.data.stored_sound import read_stretch
from edgeseq.errors import AudioError
from edgeseq.whole_file import written_whole

Samples = npt.NDArray[np.float32]


def read_clip(recording: Recording, sample_rate: int) -> Samples:
    """Read the stretch that a recording names: float32 [n_samples], mono, in [-1, 1], at `sample_rate`.

    Raises AudioError when it cannot be read, breaks off, or holds no sound there.
    """
    import soxr

    found = read_stretch(recording)
    return np.asarray(soxr.resample(found.samples, found.rate, sample_rate), dtype=np.float32)


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
