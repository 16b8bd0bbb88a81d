"""WAV headers: how the samples lie, how many there should be, and whether that was known when the header was written.

Programs that write a WAV into a pipe, and recorders that crash, leave 0, 0xFFFFFFFF or something near 2 GiB as its length;
such a file is read to its end. (Sizes and layout: https://wavefilegem.com/how_wave_files_work.html)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from edgeseq.errors import AudioError
from edgeseq.sound.blocks import MOST_CHANNELS

MAX_HEADER_BYTES = 1 << 20
"""Chunks before the samples: names, pictures. More than this is not sound."""
GIB = 1 << 30
NEAR_BYTES = 1 << 16
"""A length as near to 2 or 4 GiB stands for "not known yet": sox, arecord and ffmpeg write different ones."""

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


@dataclass(frozen=True)
class SampleLayout:
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

    @property
    def n_promised(self) -> int:
        """Samples of each channel that the header promises; 0 if it does not say."""
        return (self.n_bytes or 0) // self.frame_bytes

    def within(self, file_bytes: int) -> SampleLayout:
        """Say the same of a file whose size is known: a length that fits into it is meant, however large."""
        if self.n_bytes is None or not is_placeholder(self.n_bytes):
            return self
        if not self.n_bytes or self.offset + self.n_bytes > file_bytes:
            return replace(self, n_bytes=None)
        return self


def is_wav(head: bytes) -> bool:
    """Tell by its first bytes whether a file is a WAV, also one for more than 4 GiB."""
    return head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE"


def is_placeholder(n_bytes: int) -> bool:
    """Whether a length stands for "not known yet".

    >>> [is_placeholder(n) for n in (0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF - 36, 3 << 30, 16000)]
    [True, True, True, True, False, False]
    """
    return n_bytes == 0 or abs(n_bytes - 2 * GIB) <= NEAR_BYTES or 4 * GIB - NEAR_BYTES <= n_bytes <= 4 * GIB - 1


def find_layout(head: bytes, name: str) -> SampleLayout | None:
    """Read a WAV's header; None if more bytes are needed.

    Its `n_bytes` may still be a placeholder: `SampleLayout.within` and `for_pipe` say what it means. Raises AudioError for a
    WAV that is not read here.
    """
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


def for_pipe(layout: SampleLayout) -> SampleLayout:
    """Say the same of a stream: whatever may be a placeholder is one."""
    return replace(layout, n_bytes=None) if is_placeholder(layout.n_bytes or 0) else layout


def _layout(form: bytes, offset: int, n_bytes: int, name: str) -> SampleLayout:
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
    return SampleLayout(rate, n_channels, subtype, bits // 8, offset, n_bytes)


def left_behind(tail: bytes, n_bytes: int) -> str:
    """Say what lies behind the samples of a WAV, if it may be sound; "" for chunks such as names and pictures, and for zeros.

    `tail` is the beginning of its `n_bytes`.

    >>> [left_behind(tail, len(tail)) for tail in (b"LIST" + bytes([4, 0, 0, 0]) + b"note", bytes(100), bytes(range(200)))]
    ['', '', 'its header promises fewer samples than there are']
    """
    at = 0
    while len(tail) - at >= 8 and any(tail[at:]):
        kind, size = tail[at : at + 4], struct.unpack_from("<I", tail, at + 4)[0]
        if kind in (b"RIFF", b"RF64", b"BW64"):
            return "another WAV follows the first"
        if kind[:3] in (b"TAG", b"ID3") or kind == b"APET":
            return ""
        if not all(32 <= byte < 127 for byte in kind) or at + 8 + size > n_bytes:
            return "its header promises fewer samples than there are" if n_bytes - at >= LEAST_BEHIND else ""
        at += 8 + size + size % 2
    return ""


LEAST_BEHIND = 64
"""Bytes behind the samples that are worth a word."""
