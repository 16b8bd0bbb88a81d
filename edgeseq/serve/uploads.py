"""Files that clients send: kept on disk while they are heard, never in memory; opened by soundfile, or else by ffmpeg.

ffmpeg gets the file as its standard input and may open nothing else: of protocols only its own copy of that, of formats only
those that hold sound themselves (no play lists). It may use so much memory and processor time.
"""

from __future__ import annotations

import logging
import os
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import IO, BinaryIO

from edgeseq.errors import AudioError, CutShortError
from edgeseq.sound.audio import read_opened
from edgeseq.sound.audio_stream import decode, read_pieces
from edgeseq.sound.blocks import WAIT_SECONDS, Floats
from edgeseq.sound.opening import UnreadableError, open_sound

log = logging.getLogger(__name__)

NAME = "the file"
"""in messages; what clients call it stays out of them"""
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mp3", "ogg", "flac", "wav", "w64", "aiff", "au", "caf", "aac", "amr", "asf",
)  # fmt: skip
MEMORY_BYTES = 1 << 30
"""of ffmpeg's addresses"""
PROCESSOR_SECONDS = 120
"""For ffmpeg: 25 MB of speech take a few."""
SILENT_SECONDS = 20.0
"""ffmpeg may say nothing for this long."""


def read_upload(file: BinaryIO, sample_rate: int) -> Iterator[Floats]:
    """Read a file that was received as blocks of mono float32 samples at `sample_rate` Hz, up to a second long.

    Empty blocks come while ffmpeg works. Raises AudioError at once or on the way when it cannot be read.
    """
    file.flush()
    try:
        return _what_is_there(read_opened(open_sound(file.fileno(), NAME), sample_rate, NAME))
    except UnreadableError as fault:
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        return _read_with_ffmpeg(file, sample_rate, fault.reason)


def _what_is_there(blocks: Iterator[Floats]) -> Iterator[Floats]:
    """Pass blocks on; that a recording breaks off is logged: its words up to there are the answer."""
    n_samples = 0
    try:
        for block in blocks:
            n_samples += len(block)
            yield block
    except CutShortError as fault:
        if not n_samples:
            raise
        log.info("%s", str(fault).splitlines()[0])


def _read_with_ffmpeg(file: BinaryIO, sample_rate: int, reason: str) -> Iterator[Floats]:
    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioError(
            f"{NAME}: cannot be read ({reason}); this server has no ffmpeg, which reads more. Send WAV, FLAC, Ogg or MP3."
        )
    command = [program, "-nostdin", "-v", "error", "-threads", "1", "-protocol_whitelist", "cache,pipe"]
    command += ["-format_whitelist", ",".join(FORMATS), "-i", "cache:pipe:0"]  # the copy, so that it can go back in it
    command += ["-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]
    return _decode(command, file, sample_rate, reason)


class _TooSlowError(AudioError):
    """ffmpeg says nothing for too long."""


def _decode(command: list[str], file: BinaryIO, sample_rate: int, reason: str) -> Iterator[Floats]:
    n_samples, failed = 0, True
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdin=file, stdout=subprocess.PIPE, stderr=said
        )  # of this process's group: both end together
        assert process.stdout is not None
        try:
            resource.prlimit(process.pid, resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            resource.prlimit(process.pid, resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
            for block in decode(_patiently(read_pieces(os.dup(process.stdout.fileno()))), sample_rate, sample_rate, NAME):
                n_samples += len(block)
                yield block
            failed = process.wait() != 0
        except _TooSlowError:
            raise
        except AudioError:
            if n_samples:
                raise
        finally:
            process.kill()
            process.stdout.close()
            process.wait()
        if failed or not n_samples:
            at = f" beyond {n_samples / sample_rate:.1f} s" if n_samples else ""
            said_last = last_line(said)
            raise AudioError(f"{NAME}: cannot be read{at}: neither soundfile ({reason}) nor ffmpeg ({said_last}) can.")


def _patiently(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Pass pieces on; raise when none has come for too long, the time in which nobody asked for one left out."""
    silent_seconds = 0.0
    for piece in pieces:
        silent_seconds = 0.0 if piece else silent_seconds + WAIT_SECONDS
        if silent_seconds > SILENT_SECONDS:
            raise _TooSlowError(f"{NAME}: ffmpeg takes too long over it. Send WAV, FLAC, Ogg or MP3.")
        yield piece


def last_line(said: IO[bytes]) -> str:
    """Give the last thing that ffmpeg said, without addresses of its memory."""
    said.seek(0)
    lines = [line for line in said.read(16_384).decode(errors="replace").splitlines() if line.strip()]
    kept = [line for line in lines if "seekback" not in line and "Last message repeated" not in line]
    return re.sub(r"^\[[^]]*\] *|^cache:pipe:0: ", "", kept[-1].strip())[:200] if kept else "no sound in it"
