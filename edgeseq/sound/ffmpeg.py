"""Sound through the program ffmpeg, for what soundfile cannot open: m4a, webm, the sound of films, and streams by their URL."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import IO
from urllib.parse import urlsplit, urlunsplit

from edgeseq.errors import AudioError, CutShortError, UsageError
from edgeseq.sound.audio_stream import decode, read_pieces
from edgeseq.sound.blocks import EMPTY, Floats

LOSSES = ("partial file", "ended prematurely", "truncat", "invalid data found when processing input")
"""In what ffmpeg says, although it ends well: something of the recording is missing."""

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
LOCAL_PROTOCOLS = "file,pipe"
"""for files: play lists among them must not reach into the network"""


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
    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioError(
            f"{without_password(url)}: network streams are read through ffmpeg, which is not installed.\n"
            "  Install it: sudo apt install ffmpeg"
        )
    return _decode(program, url, PROTOCOLS[kind], sample_rate, f"a {kind} stream")


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
    return _decode(program, f"file:{os.fspath(path)}", LOCAL_PROTOCOLS, sample_rate, reason)


def _decode(program: str, source: str, protocols: str, sample_rate: int, reason: str) -> Iterator[Floats]:
    # The first track of sound, all channels, as a WAV stream.
    command = [program, "-nostdin", "-v", "error", "-protocol_whitelist", protocols, "-i", source]
    command += ["-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]
    path = without_password(source.removeprefix("file:"))
    n_samples = 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, start_new_session=True
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
