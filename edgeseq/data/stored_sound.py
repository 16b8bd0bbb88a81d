"""Opening a recording's sound file, be it a file of its own or within an archive."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from edgeseq.data.manifest import Recording
from edgeseq.errors import AudioError

if TYPE_CHECKING:
    import soundfile


def open_sound(recording: Recording) -> soundfile.SoundFile:
    """Open what a recording names; its samples are those of the whole file.

    Raises OSError or soundfile.SoundFileError as soundfile does, AudioError where an archive is shorter than it was.
    """
    import soundfile

    if recording.within is None:
        return soundfile.SoundFile(recording.path)
    first, n_bytes = recording.within
    with recording.path.open("rb") as archive:
        archive.seek(first)
        content = archive.read(n_bytes)
    if len(content) < n_bytes:
        raise AudioError(
            f"{recording.path}: ends before byte {first + n_bytes:,}, where a recording should end.\n"
            f"  Copy it again; if it was written anew: edgeseq data shar --index {recording.path.parent}"
        )
    return soundfile.SoundFile(io.BytesIO(content))
