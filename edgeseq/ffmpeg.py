"""Sound through the program ffmpeg, for what soundfile cannot open: m4a, webm and the sound of films."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import IO

from edgeseq.audio_stream import decode, read_pieces
from edgeseq.blocks import Floats
from edgeseq.errors import AudioError, CutShortError

LOSSES = ("partial file", "ended prematurely", "truncat", "invalid data found when processing input")
"""In what ffmpeg says, although it ends well: something of the recording is missing."""


def read_with_ffmpeg(path: str | os.PathLike[str], sample_rate: int, reason: str) -> Iterator[Floats]:
    """Read a file as blocks of mono float32 samples at `sample_rate` Hz; `reason` is why soundfile did not.

    Raises AudioError at once if ffmpeg is missing, while reading if it finds no sound, CutShortError
    after the last block if something is lost.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioError(
            f"{path}: soundfile cannot read it ({reason}), and ffmpeg, which reads more, is not installed.\n"
            "  Install it (`sudo apt install ffmpeg`) or convert the file to WAV or FLAC."
        )
    return _decode(program, os.fspath(path), sample_rate, reason)


def _decode(program: str, path: str, sample_rate: int, reason: str) -> Iterator[Floats]:
    # The first track of sound, all channels, as a WAV stream. The whitelist keeps play lists from the
    # network.
    command = [program, "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-i", f"file:{path}"]
    command += ["-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]
    n_samples = 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, start_new_session=True
        )
        assert process.stdout is not None
        try:
            pieces = read_pieces(os.dup(process.stdout.fileno()))
            first = next((piece for piece in pieces if piece), None)
            if first is not None:
                for block in decode(_chain(first, pieces), sample_rate, sample_rate, path):
                    n_samples += len(block)
                    yield block
            exit_code = process.wait()
        finally:
            process.kill()
            process.stdout.close()
            process.wait()
        _judge(exit_code, _last_line(said), n_samples / sample_rate, path, reason)


def _chain(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from pieces


def _judge(exit_code: int, line: str, seconds: float, path: str, reason: str) -> None:
    """Raise what ffmpeg's exit code and last line mean."""
    if not seconds:
        raise AudioError(
            f"{path}: neither soundfile ({reason}) nor ffmpeg ({line or 'no sound in it'}) can read it.\n"
            "  Check that it is a recording, and that it is whole."
        )
    if exit_code or any(loss in line.lower() for loss in LOSSES):
        raise CutShortError(
            f"{path}: breaks off at {seconds:.2f} s (ffmpeg: {line or f'exit code {exit_code}'}).\n"
            "  The words up to there are told; copy the file again."
        )


def _last_line(said: IO[bytes]) -> str:
    said.seek(0, os.SEEK_END)
    said.seek(max(0, said.tell() - 4096))
    lines = [line for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
