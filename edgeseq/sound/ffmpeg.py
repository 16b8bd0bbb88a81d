"""Sound through the program ffmpeg, for what soundfile cannot open: m4a, webm, the sound of films, and streams by their URL."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, BinaryIO, cast
from urllib.parse import urlsplit, urlunsplit

from edgeseq.errors import AudioError, CutShortError, UsageError
from edgeseq.sound.audio_stream import decode, read_pieces
from edgeseq.sound.blocks import EMPTY, Floats

LOSSES = ("partial file", "ended prematurely", "truncat", "invalid data found when processing input")
"""In what ffmpeg says, although it ends well: something of the recording is missing."""

HEADER_BYTES = 128
"""of a WAV that ffmpeg writes, without samples; it is a few less"""

OVER_TCP, OVER_UDP = "tcp,tls,crypto", "udp,rtp,srtp"
PROTOCOLS = {
    "http": f"http,https,{OVER_TCP}",
    "https": f"http,https,{OVER_TCP}",
    "rtsp": f"rtsp,{OVER_TCP},{OVER_UDP}",
    "rtsps": f"rtsp,rtsps,{OVER_TCP},{OVER_UDP}",
    "rtmp": f"rtmp,{OVER_TCP}",
    "rtmps": f"rtmp,rtmps,{OVER_TCP}",
    "rtp": OVER_UDP,
    "udp": "udp",
    "tcp": "tcp",
    "srt": "srt",
}
"""Kind of a URL -> what ffmpeg may speak for it: the network's protocols, never files or programs of this machine."""
DEVICE = "file:/dev/stdin"
"""An open file, opened again by ffmpeg, so that it can go to and fro in it."""
LOCAL_PROTOCOLS = "file,pipe"
"""for files: play lists among them must not reach into the network"""
LOCAL_FORMATS = ",".join(
    (
        "aac ac3 aiff amr ape asf asf_o au avi caf dsf dts dtshd eac3 flac flv loas matroska mlp mov mp3 mpc mpc8 mpeg mpegts",
        "mxf nistsphere nut ogg oma qcp rm shn sox tak truehd tta voc w64 wav webm wtv wv xwma",
    )
).replace(" ", ",")
"""ffmpeg's names of what files may be. Others name more files (play lists), or have no header: text passes as raw AMR."""


def is_url(path: str) -> bool:
    """Whether a name is a URL rather than a file.

    >>> is_url("rtsp://camera/1"), is_url("C:/a.wav"), is_url("a b.wav")
    (True, False, False)
    """
    return re.match(r"[a-z][a-z0-9+.-]+://", path, re.IGNORECASE) is not None


def without_password(path: str) -> str:
    """Leave name and password out of a URL, so that it can be shown; a file's name stays as it is.

    >>> without_password("rtsp://me:secret@camera:554/1")
    'rtsp://camera:554/1'
    """
    if not is_url(path):
        return path
    parts = urlsplit(path)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def read_url(url: str, sample_rate: int) -> Iterator[Floats]:
    """Read what a URL gives as blocks of mono float32 samples at `sample_rate` Hz; empty ones while nothing comes.

    Raises UsageError for a kind of URL that is not read, AudioError at once if ffmpeg is missing; while reading, see
    `read_with_ffmpeg`.
    """
    kind = url.partition(":")[0].lower()
    if kind not in PROTOCOLS:
        raise UsageError(
            f"{without_password(url)}: streams of the kind '{kind}' are not read. Wanted: {', '.join(PROTOCOLS)}, or a file."
        )
    program = ffmpeg()
    if program is None:
        raise AudioError(
            f"{without_password(url)}: network streams are read through ffmpeg, which is not installed.\n"
            "  Install it: sudo apt install ffmpeg"
        )
    return _decode(program, url, PROTOCOLS[kind], sample_rate, f"a {kind} stream")


def ffmpeg() -> str | None:
    """Find the program; None where it is not installed."""
    return shutil.which("ffmpeg")


def read_with_ffmpeg(path: str | os.PathLike[str], sample_rate: int, reason: str) -> Iterator[Floats]:
    """Read a file as blocks of mono float32 samples at `sample_rate` Hz; `reason` is why soundfile did not.

    Raises AudioError at once if ffmpeg is missing, while reading if it finds no sound, CutShortError
    after the last block if something is lost.
    """
    return _decode(_found(str(path), reason), f"file:{os.fspath(path)}", LOCAL_PROTOCOLS, sample_rate, reason)


def decoded(path: str | os.PathLike[str], reason: str) -> BinaryIO:
    """Decode a file to an unnamed temporary WAV, at its own rate; `reason` is why soundfile did not.

    Raises AudioError if ffmpeg is missing or finds no sound, or as much of it as there should be.
    """
    command = _command(_found(str(path), reason), f"file:{os.fspath(path)}", LOCAL_PROTOCOLS)
    file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  # the caller's
    with tempfile.TemporaryFile() as said:
        exit_code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=said).returncode
        line = _last_line(said)
    if file.seek(0, os.SEEK_END) > HEADER_BYTES and not exit_code and not _is_loss(line):
        return file
    with file:
        _judge(exit_code, line, 0.0, str(path), reason)
    raise AssertionError("judged without a fault")


def read_descriptor(descriptor: int, sample_rate: int, name: str, reason: str) -> Iterator[Floats]:
    """Read an open file, called `name`, as `read_with_ffmpeg` does."""
    return _decode(_found(name, reason), DEVICE, LOCAL_PROTOCOLS, sample_rate, reason, name, descriptor)


def read_piped(pieces: Iterator[bytes], sample_rate: int, name: str, reason: str) -> Iterator[Floats]:
    """Read bytes as they come from a source called `name`, as `read_with_ffmpeg` does."""
    reading, writing = os.pipe()
    is_over = threading.Event()
    feeder = threading.Thread(target=_feed, args=(pieces, writing, is_over), daemon=True)
    try:
        blocks = _decode(_found(name, reason), "pipe:0", LOCAL_PROTOCOLS, sample_rate, reason, name, reading)
        feeder.start()
        yield from blocks
    finally:
        os.close(reading)
        is_over.set()
        if feeder.ident is None:
            os.close(writing)
        else:
            feeder.join()


def _feed(pieces: Iterator[bytes], descriptor: int, is_over: threading.Event) -> None:
    """Write pieces to ffmpeg until they end, or nobody reads them any more."""
    with os.fdopen(descriptor, "wb", buffering=0) as pipe, suppress(BrokenPipeError):
        for piece in pieces:
            if is_over.is_set():
                return
            pipe.write(piece)


def _found(name: str, reason: str) -> str:
    program = ffmpeg()
    if program is None:
        raise AudioError(
            f"{name}: soundfile cannot read it ({reason}), and ffmpeg, which reads more, is not installed.\n"
            "  Install it (`sudo apt install ffmpeg`) or convert the file to WAV or FLAC."
        )
    return program


def _decode(
    program: str,
    source: str,
    protocols: str,
    sample_rate: int,
    reason: str,
    name: str | None = None,
    descriptor: int | None = None,
) -> Iterator[Floats]:
    command = _command(program, source, protocols)
    path = name or without_password(source.removeprefix("file:"))
    n_samples = 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if descriptor is None else descriptor,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            pieces = read_pieces(os.dup(process.stdout.fileno()))
            first = b""
            for first in pieces:
                if first:
                    break
                yield EMPTY
            if first:
                for block in decode(_chain(first, pieces), sample_rate, sample_rate, path):
                    n_samples += len(block)
                    yield block
            exit_code = process.wait()
        finally:
            process.kill()
            process.stdout.close()
            process.wait()
        _judge(exit_code, _last_line(said).replace(source, path), n_samples / sample_rate, path, reason)


def _command(program: str, source: str, protocols: str) -> list[str]:
    """The first track of sound, all channels, as a WAV stream."""
    command = [program, "-nostdin", "-v", "error", "-protocol_whitelist", protocols]
    if protocols == LOCAL_PROTOCOLS:
        command += ["-format_whitelist", LOCAL_FORMATS]
    return [*command, "-i", source, "-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]


def _chain(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from pieces


def _judge(exit_code: int, line: str, seconds: float, path: str, reason: str) -> None:
    """Raise what ffmpeg's exit code and last line mean."""
    if not seconds:
        found = line or "no sound in it"
        if is_url(path):
            raise AudioError(f"{path}: ffmpeg cannot read it ({found}).\n  Check the address, and that it gives sound now.")
        raise AudioError(
            f"{path}: neither soundfile ({reason}) nor ffmpeg ({found}) can read it.\n"
            "  Check that it is a recording, and that it is whole."
        )
    if exit_code or _is_loss(line):
        raise CutShortError(
            f"{path}: breaks off at {seconds:.2f} s (ffmpeg: {line or f'exit code {exit_code}'}).\n"
            "  The words up to there are printed; copy the file again."
        )


def _is_loss(line: str) -> bool:
    return any(loss in line.lower() for loss in LOSSES)


def _last_line(said: IO[bytes]) -> str:
    said.seek(0, os.SEEK_END)
    said.seek(max(0, said.tell() - 4096))
    lines = [line for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
