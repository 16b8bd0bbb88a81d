"""Files and pipes to blocks of sound: mono, float32, at the rate a model wants, in bounded memory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import soundfile

from edgeseq.errors import AudioError, CutShortError
from edgeseq.sound import audio_stream
from edgeseq.sound.blocks import Floats, check_channels, check_rate, checked, mono, resample, samples_at_once
from edgeseq.sound.ffmpeg import is_url, read_url, read_with_ffmpeg

STANDARD_INPUT = "-"

UNKNOWN_LENGTH = ("MP3", "OGG")
"""Formats whose number of samples soundfile estimates."""


def read_blocks(path: str | os.PathLike[str], sample_rate: int, raw_rate: int | None = None) -> Iterator[Floats]:
    """Read a file, or standard input if `path` is '-', as blocks of mono float32 samples at `sample_rate` Hz.

    Files: whatever soundfile reads, and through ffmpeg, if it is installed, whatever that reads; so are URLs
    (http, rtsp ...). Channels are averaged. Standard input and named pipes: WAV by its header, else raw 16-bit
    little-endian mono at `raw_rate` (default: `sample_rate`). Blocks are up to a second long; a pipe
    that waits gives empty ones.

    Raises AudioError at once when the file cannot be opened. While reading: AudioError for values that
    are no numbers or where there is no sound at all, CutShortError after the last block of a recording
    that breaks off.
    """
    name = "standard input" if str(path) == STANDARD_INPUT else str(path)
    if str(path) == STANDARD_INPUT:
        pieces = audio_stream.read_pieces(audio_stream.open_standard_input())
        return audio_stream.decode(pieces, sample_rate, raw_rate or sample_rate, name)
    if is_url(str(path)):
        return read_url(str(path), sample_rate)
    _check_file(Path(path))
    if _is_pipe(path) or audio_stream.is_unfinished_wav(path):
        pieces = audio_stream.read_pieces(os.open(path, os.O_RDONLY))
        return audio_stream.decode(pieces, sample_rate, raw_rate or sample_rate, name)
    return _read_file(path, sample_rate, name)


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except OSError as fault:
        raise AudioError(f"{path}: cannot be opened ({fault.strerror}). Check the name.") from fault
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"{path}: a folder; wanted a sound file.")
    if not os.access(path, os.R_OK):
        raise AudioError(f"{path}: may not be read by you (permission denied).")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise AudioError(f"{path}: an empty file (0 bytes). Record or copy it again.")


def _is_pipe(path: str | os.PathLike[str]) -> bool:
    return not stat.S_ISREG(Path(path).stat().st_mode)


def _read_file(path: str | os.PathLike[str], sample_rate: int, name: str) -> Iterator[Floats]:
    try:
        file = soundfile.SoundFile(path)
    except soundfile.SoundFileError as fault:
        reason = str(getattr(fault, "error_string", fault)).rstrip(".")
        return read_with_ffmpeg(path, sample_rate, reason)
    check_rate(file.samplerate, name)
    check_channels(file.channels, name)
    return resample(checked(_decode(file, name), file.samplerate, name), file.samplerate, sample_rate)


def _decode(file: soundfile.SoundFile, name: str) -> Iterator[Floats]:
    """Blocks at the file's own rate; CutShortError if there are fewer samples than the file says."""
    n_block, n_read = samples_at_once(file.samplerate, file.channels), 0
    reason = "the file ends there"
    with closing(file):
        while True:
            try:
                samples = file.read(n_block, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as fault:
                reason = str(fault)
                break
            if not len(samples):
                break
            n_read += len(samples)
            yield mono(samples)
        n_missing = _n_promised(file, name) - n_read
    if n_missing > 0:
        raise CutShortError(
            f"{name}: breaks off at {n_read / file.samplerate:.2f} s ({reason}); its header promises "
            f"{(n_read + n_missing) / file.samplerate:.2f} s.\n"
            "  The words up to there are told; copy it again."
        )


def _n_promised(file: soundfile.SoundFile, name: str) -> int:
    """Samples that the file's header promises; soundfile cuts the number of a WAV to what is there."""
    if file.format in UNKNOWN_LENGTH:
        return 0
    return max(file.frames, audio_stream.promised_samples(name) if file.format in ("WAV", "WAVEX") else 0)
