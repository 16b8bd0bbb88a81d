"""Files and pipes to blocks of sound: mono, float32, at the rate a model wants, in bounded memory."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

import soundfile

from edgeseq.errors import AudioError, CutShortError
from edgeseq.sound import audio_stream
from edgeseq.sound.blocks import EMPTY, Floats, check_channels, check_rate, checked, resample, samples_at_once
from edgeseq.sound.containers import ENOUGH_BYTES, LONGEST_BEGINNING, WAV, Kind, hidden_kind, recognize
from edgeseq.sound.doubts import Mixer
from edgeseq.sound.ffmpeg import ffmpeg, is_url, read_descriptor, read_piped, read_url, read_with_ffmpeg
from edgeseq.sound.opening import SoundFile, UnreadableError, check_path, open_sound

STANDARD_INPUT = "-"
IDLE_PIECES = 10
"""After this many empty pieces (a second) what has come of a pipe must be enough to tell its format."""
SPOOL_BYTES = 1 << 30
"""kept of a pipe whose kind of file can only be read as a whole"""
RAW_NAMES = ("", ".raw", ".pcm", ".s16", ".s16le", ".sw", ".sln", ".bin")
"""How names of raw samples end."""


def read_blocks(path: str | os.PathLike[str], sample_rate: int, raw_rate: int | None = None) -> Iterator[Floats]:
    """Read a file, or standard input if `path` is '-', as blocks of mono float32 samples at `sample_rate` Hz.

    What it is, its content tells: whatever soundfile reads, and through ffmpeg, if it is installed, whatever that reads;
    so are URLs (http, rtsp ...). Channels are averaged. Bytes that are no known kind of file are raw 16-bit little-endian
    mono samples at `raw_rate`; a pipe's also without it, at `sample_rate`. Blocks are up to a second long; a pipe that
    waits gives empty ones.

    Raises AudioError at once when the file cannot be opened. While reading: AudioError for values that
    are no numbers, for what is not sound, or where there is none at all, CutShortError after the last block of a recording
    that breaks off.
    """
    if str(path) == STANDARD_INPUT:
        return _read_standard_input(sample_rate, raw_rate)
    if is_url(str(path)):
        return read_url(str(path), sample_rate)
    if not stat.S_ISREG(check_path(path).st_mode):
        return _read_pipe(audio_stream.read_pieces(os.open(path, os.O_RDONLY)), sample_rate, raw_rate, str(path))
    try:
        return read_opened(open_sound(path), sample_rate, str(path))
    except UnreadableError as fault:
        may_be_raw = fault.kind is None and Path(path).suffix.lower() in RAW_NAMES
        if may_be_raw and raw_rate is not None:
            return audio_stream.decode(audio_stream.read_pieces(os.open(path, os.O_RDONLY)), sample_rate, raw_rate, str(path))
        if may_be_raw:
            raise AudioError(
                f"{path}: no known kind of sound file. If it holds raw 16-bit mono samples, give their rate: --rate 16000."
            ) from fault
        return read_with_ffmpeg(path, sample_rate, fault.reason)


def read_opened(sound: SoundFile, sample_rate: int, name: str) -> Iterator[Floats]:
    """Read an open file, which is closed behind its last block, as `read_blocks` does."""
    try:
        check_rate(sound.samplerate, name)
        check_channels(sound.channels, name)
    except AudioError:
        sound.close()
        raise
    return resample(checked(_decode(sound, name), sound.samplerate, name), sound.samplerate, sample_rate)


def _decode(sound: SoundFile, name: str) -> Iterator[Floats]:
    """Blocks at the file's own rate; CutShortError if there are fewer samples than the file says."""
    n_block, n_read = samples_at_once(sound.samplerate, sound.channels), 0
    reason, mixer = "the file ends there", Mixer(name, sound.samplerate)
    with closing(sound):
        while True:
            try:
                samples = sound.read(n_block, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as fault:
                reason = str(fault)
                break
            if not len(samples):
                break
            n_read += len(samples)
            yield mixer.mix(samples)
        mixer.judge()
        n_missing, behind = sound.n_promised - n_read, sound.behind
    audio_stream.tell_behind(behind, name)
    if n_missing > 0:
        raise CutShortError(
            f"{name}: breaks off at {n_read / sound.samplerate:.2f} s ({reason}); its header promises "
            f"{(n_read + n_missing) / sound.samplerate:.2f} s.\n"
            "  The words up to there are printed; copy it again."
        )


def _read_standard_input(sample_rate: int, raw_rate: int | None) -> Iterator[Floats]:
    descriptor, name = audio_stream.open_standard_input(), "standard input"
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and os.lseek(descriptor, 0, os.SEEK_CUR) == 0:
        return _read_descriptor(descriptor, sample_rate, raw_rate, name)
    return _read_pipe(audio_stream.read_pieces(descriptor), sample_rate, raw_rate, name)


def _read_descriptor(descriptor: int, sample_rate: int, raw_rate: int | None, name: str) -> Iterator[Floats]:
    """Read a file that is open, and close it."""
    kept = False
    try:
        return read_opened(open_sound(descriptor, name), sample_rate, name)
    except UnreadableError as fault:
        kept = True
        os.lseek(descriptor, 0, os.SEEK_SET)
        if fault.kind is None:
            return audio_stream.decode(audio_stream.read_pieces(descriptor), sample_rate, raw_rate or sample_rate, name)
        return _with_ffmpeg(descriptor, fault.kind, sample_rate, name, fault.reason)
    finally:
        if not kept:
            os.close(descriptor)


def _with_ffmpeg(descriptor: int, kind: Kind, sample_rate: int, name: str, reason: str) -> Iterator[Floats]:
    """Let ffmpeg read an open file that soundfile does not; the file is closed after that."""
    with os.fdopen(descriptor, "rb") as file:
        refuse(kind, name)
        yield from read_descriptor(file.fileno(), sample_rate, name, f"it looks like {kind.name}; {reason}")


def _read_pipe(pieces: Iterator[bytes], sample_rate: int, raw_rate: int | None, name: str) -> Iterator[Floats]:
    """Read bytes as they come: by what they are."""
    head, n_idle = b"", 0
    for piece in pieces:
        head += piece
        n_idle += not piece
        if is_enough(head, raw_rate) or (head and n_idle >= IDLE_PIECES):
            break
        yield EMPTY
    kind = recognize(head) or (hidden_kind(head) if raw_rate is None else None)
    following = chain([head] if head else [], pieces)
    if kind is None or kind == WAV:
        yield from audio_stream.decode(following, sample_rate, raw_rate or sample_rate, name)
        return
    refuse(kind, name)
    if kind.is_streamable and ffmpeg() is not None:
        yield from read_piped(following, sample_rate, name, f"it looks like {kind.name}")
    else:
        yield from _read_spooled(following, sample_rate, name)


def is_enough(head: bytes, raw_rate: int | None) -> bool:
    """Whether the first bytes of a pipe tell what it is; where a rate for raw samples is given, a few do."""
    if len(head) < LONGEST_BEGINNING:
        return False
    return len(head) >= ENOUGH_BYTES or recognize(head) is not None or (raw_rate is not None and head[0] not in b"\xff\x56G")


def refuse(kind: Kind, name: str) -> None:
    """Raise AudioError for a kind of file that holds no sound."""
    if not kind.is_sound:
        raise AudioError(
            f"{name}: looks like {kind.name}, which holds no sound that is read here.\n"
            "  Wanted: a recording, or raw 16-bit samples; for raw samples give their rate, as in --rate 16000."
        )


def _read_spooled(pieces: Iterator[bytes], sample_rate: int, name: str) -> Iterator[Floats]:
    """Keep a pipe's bytes in a file until it ends, then read that."""
    with tempfile.TemporaryFile() as opened:
        file, n_bytes = cast(BinaryIO, opened), 0
        for piece in pieces:
            n_bytes += file.write(piece)
            if n_bytes > SPOOL_BYTES:
                raise AudioError(
                    f"{name}: more than {SPOOL_BYTES:,} bytes of a kind of file that is read as a whole. Give it by its name."
                )
            yield EMPTY
        file.flush()
        yield from _read_descriptor(os.dup(file.fileno()), sample_rate, None, name)
