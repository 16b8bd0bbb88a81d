"""Sound that comes as a stream of bytes: WAV by its header, or raw samples.

Programs that write a WAV into a pipe cannot know its length and put 0, 0xFFFFFFFF or something near 2
GiB there; such a stream goes on to its end. (Sizes and layout:
https://wavefilegem.com/how_wave_files_work.html)
"""

from __future__ import annotations

import io
import os
import select
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import soundfile

from edgeseq.errors import AudioError, CutShortError, UsageError
from edgeseq.sound.blocks import (
    EMPTY,
    MOST_CHANNELS,
    WAIT_SECONDS,
    Floats,
    check_rate,
    checked,
    mono,
    resample,
    samples_at_once,
)

PIECE_BYTES = 65_536
MAX_HEADER_BYTES = 1 << 20
"""Chunks before the samples: names, pictures. More than this is no sound."""
UNFINISHED_BYTES = 0x7FFF_0000
"""A length from here on stands for "not known yet" (sox, arecord and ffmpeg write different ones)."""

PCM, FLOAT, ALAW, ULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
SUBTYPES = {
    (PCM, 8): "PCM_U8",
    (PCM, 16): "PCM_16",
    (PCM, 24): "PCM_24",
    (PCM, 32): "PCM_32",
    (FLOAT, 32): "FLOAT",
    (FLOAT, 64): "DOUBLE",
    (ALAW, 8): "ALAW",
    (ULAW, 8): "ULAW",
}
"""(WAV format tag, bits a sample) -> soundfile's name."""

OTHER_FORMATS = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"FORM": "AIFF", b"\x1aE\xdf\xa3": "WebM"}
"""First bytes of files that people pipe by mistake."""


@dataclass(frozen=True)
class Layout:
    """How samples lie in a stream of bytes."""

    rate: int
    n_channels: int
    subtype: str
    sample_bytes: int
    offset: int
    """bytes before the first sample"""
    n_bytes: int | None
    """of samples; None: up to the end"""

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.n_channels * self.sample_bytes


def open_standard_input() -> int:
    """Return the file descriptor of standard input; UsageError if a person's keyboard is at its other end."""
    if os.isatty(0):
        raise UsageError(
            "'-' reads sound from standard input, which is this terminal.\n"
            "  Pipe something into it: arecord -f S16_LE -r 8000 | edgeseq listen --input - --rate 8000"
        )
    return os.dup(0)


def read_pieces(descriptor: int) -> Iterator[bytes]:
    """Read bytes as they come, to the end; an empty piece each time that nothing came for a while."""
    try:
        while True:
            if not select.select([descriptor], [], [], WAIT_SECONDS)[0]:
                yield b""
                continue
            piece = os.read(descriptor, PIECE_BYTES)
            if not piece:
                return
            yield piece
    finally:
        os.close(descriptor)


def decode(pieces: Iterator[bytes], sample_rate: int, raw_rate: int, name: str) -> Iterator[Floats]:
    """Turn bytes into blocks at `sample_rate`; raw bytes are taken to be at `raw_rate`."""
    head, layout = b"", None
    for piece in pieces:
        head += piece
        layout = find_layout(head, raw_rate, name)
        if layout is not None:
            break
        yield EMPTY
    if not head:
        raise AudioError(f"{name}: ended before any sound came. Check the program that writes into it.")
    if layout is None:
        raise AudioError(f"{name}: ended within its header ({len(head)} bytes). Record or copy it again.")
    check_rate(layout.rate, name)
    samples = _decode_samples(head[layout.offset :], pieces, layout, name)
    yield from resample(checked(samples, layout.rate, name), layout.rate, sample_rate)


def find_layout(head: bytes, raw_rate: int, name: str) -> Layout | None:
    """Tell from a stream's first bytes how its samples lie; None if more bytes are needed.

    Raises AudioError for a WAV that cannot be read and for other kinds of files.
    """
    if len(head) < 4:
        return None
    for magic, kind in OTHER_FORMATS.items():
        if head.startswith(magic):
            raise AudioError(
                f"{name}: looks like {kind}; a pipe may hold WAV or raw 16-bit samples.\n"
                "  Give the file by its name, or put `ffmpeg -i - -f wav -` in between."
            )
    if head[:4] not in (b"RIFF", b"RF64"):
        return Layout(raw_rate, 1, "PCM_16", 2, 0, None)
    return _find_wav_layout(head, name)


def is_unfinished_wav(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a WAV whose header was written before its length was known."""
    layout = _file_layout(path)
    return layout is not None and layout.n_bytes is None


def promised_samples(path: str | os.PathLike[str]) -> int:
    """Count the samples (of all channels at once) that a WAV file's header promises, 0 if it does not say."""
    layout = _file_layout(path)
    return (layout.n_bytes or 0) // layout.frame_bytes if layout is not None else 0


def _file_layout(path: str | os.PathLike[str]) -> Layout | None:
    with Path(path).open("rb") as file:
        head = file.read(4)
        if head not in (b"RIFF", b"RF64"):
            return None
        head += file.read(MAX_HEADER_BYTES)
    try:
        return find_layout(head, 0, str(path))
    except AudioError:
        return None  # soundfile or ffmpeg may know better


def _find_wav_layout(head: bytes, name: str) -> Layout | None:
    at, form, long_size = 12, None, None
    while len(head) >= at + 8:
        kind, size = head[at : at + 4], struct.unpack_from("<I", head, at + 4)[0]
        if kind == b"data":
            if form is None:
                raise AudioError(f"{name}: a WAV without a 'fmt ' chunk before its samples. Copy it again.")
            n_bytes = long_size if long_size is not None and size == 0xFFFF_FFFF else size
            return _layout(form, at + 8, n_bytes, name)
        if at + 8 + size > MAX_HEADER_BYTES:
            raise AudioError(f"{name}: a WAV without samples in its first megabyte; it is broken.")
        body = head[at + 8 : at + 8 + size]
        if kind == b"fmt " and len(body) == size >= 16:
            form = body
        elif kind == b"ds64" and len(body) == size >= 16:
            long_size = struct.unpack_from("<Q", body, 8)[0]
        at += 8 + size + size % 2
    return None


def _layout(form: bytes, offset: int, n_bytes: int, name: str) -> Layout:
    tag, n_channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", form)
    if tag == EXTENSIBLE and len(form) >= 26:
        tag = struct.unpack_from("<H", form, 24)[0]
    subtype = SUBTYPES.get((tag, bits))
    if subtype is None or not 1 <= n_channels <= MOST_CHANNELS:
        raise AudioError(
            f"{name}: a WAV of format {tag} with {bits} bits and {n_channels} channels, which is not read "
            "from a pipe.\n"
            "  Wanted PCM of 8 to 32 bits, float, A-law or mu-law; `ffmpeg -i - -f wav -` converts."
        )
    known = 0 < n_bytes < UNFINISHED_BYTES or n_bytes > 0xFFFF_FFFF
    return Layout(rate, n_channels, subtype, bits // 8, offset, n_bytes if known else None)


def _decode_samples(rest: bytes, pieces: Iterator[bytes], layout: Layout, name: str) -> Iterator[Floats]:
    """Blocks at the stream's own rate, of what is there but at most a second."""
    n_left, n_bytes = layout.n_bytes, 0
    most = samples_at_once(layout.rate, layout.n_channels) * layout.frame_bytes
    while True:
        if n_left is not None:
            rest = rest[: n_left - n_bytes]
        while len(rest) >= layout.frame_bytes:
            whole = rest[: min(most, len(rest) // layout.frame_bytes * layout.frame_bytes)]
            rest, n_bytes = rest[len(whole) :], n_bytes + len(whole)
            yield _to_floats(whole, layout)
        if n_left is not None and n_left - n_bytes < layout.frame_bytes:
            return
        piece = next(pieces, None)
        if piece is None:
            break
        if not piece:
            yield EMPTY
        rest += piece
    if n_left is not None:
        seconds = layout.frame_bytes * layout.rate
        raise CutShortError(
            f"{name}: breaks off at {n_bytes / seconds:.2f} s; its header promises "
            f"{n_left / seconds:.2f} s.\n  The words up to there are told; record or copy it again."
        )


def _to_floats(samples: bytes, layout: Layout) -> Floats:
    decoded, _ = soundfile.read(
        io.BytesIO(samples),
        dtype="float32",
        always_2d=True,
        format="RAW",
        subtype=layout.subtype,
        channels=layout.n_channels,
        samplerate=layout.rate,
        endian="LITTLE",
    )
    return mono(decoded)
