"""Bytes of clients to samples: float32 mono in [-1, 1].

Messages are cut anywhere, so what makes no whole sample waits for the next one; a client that sends a WAV, header and all, is
understood, and other kinds of files are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from edgeseq.errors import AudioError
from edgeseq.sound import wav
from edgeseq.sound.audio_stream import to_floats
from edgeseq.sound.blocks import EMPTY, Floats, mono
from edgeseq.sound.containers import LONGEST_BEGINNING, WAV, recognize

PCM16_SCALE = 32768.0
LOUDEST = 64.0
"""Largest of float samples; what is above was scaled as integers."""


MOST_TEXT_BYTES = 4096
"""of a binary message that may be text"""


class Samples:
    """A client's sound, message by message."""

    def __init__(self, read: Callable[[bytes], Floats], width: int) -> None:
        """Read whole samples of `width` bytes by `read`."""
        self._read, self._width = read, width
        self._rest = b""
        self._is_new = True
        self._layout: wav.SampleLayout | None = None
        self._n_left: int | None = None
        self.rate: int | None = None
        """Hz, of a WAV that came; None for samples without a header"""

    def take(self, content: bytes) -> Floats:
        """Take the next bytes; what makes no whole sample is kept. Raises AudioError for what is not sound of this protocol."""
        content = self._rest + content
        self._rest = b""
        if self._is_new or (self._n_left == 0 and wav.is_wav(content)):
            content = self._begin(content)
        if self._layout is None:
            whole = len(content) // self._width * self._width
            self._rest = self._rest or content[whole:]
            return self._read(content[:whole])
        return self._take_wav(content, self._layout)

    def drop_rest(self) -> None:
        """Forget the part of a sample that waits: the sound has ended."""
        self._rest, self._is_new, self._layout, self._n_left = b"", True, None, None

    def _begin(self, content: bytes) -> bytes:
        """Look what the first bytes are; give those that are samples."""
        if b"RIFF".startswith(content[:4]) and len(content) < LONGEST_BEGINNING:
            self._rest = content
            return b""
        kind = recognize(content) if content else None
        if kind is not None and kind != WAV:
            raise AudioError(f"this looks like {kind.name}; wanted samples as the protocol has them, or a WAV.")
        if kind == WAV:
            layout = wav.find_layout(content, "the WAV that came")
            if layout is None:
                self._rest = content
                return b""
            self._layout = wav.for_pipe(layout)
            self.rate, self._n_left, content = layout.rate, self._layout.n_bytes, content[layout.offset :]
        self._is_new = not content and self._layout is None
        return content

    def _take_wav(self, content: bytes, layout: wav.SampleLayout) -> Floats:
        """Decode a WAV's samples; chunks behind them are none."""
        n_there = len(content) if self._n_left is None else min(self._n_left, len(content))
        whole = n_there // layout.frame_bytes * layout.frame_bytes
        if self._n_left is None:
            self._rest = content[whole:]
        else:
            self._n_left -= whole
            if self._n_left < layout.frame_bytes:
                self._n_left = 0
            else:
                self._rest = content[whole:]
        return mono(to_floats(content[:whole], layout)) if whole else EMPTY


def pcm16_samples() -> Samples:
    """Take 16-bit little-endian samples."""
    return Samples(from_pcm16, 2)


def float32_samples() -> Samples:
    """Take 32-bit little-endian floats."""
    return Samples(from_float32, 4)


def as_text(message: str | bytes) -> str | bytes:
    """Give a binary message that holds a JSON object as the text it is: some clients send all their messages as binary.

    >>> as_text(b'{"eof" : 1}'), as_text(b"{}00")
    ('{"eof" : 1}', b'{}00')
    """
    if isinstance(message, str) or message[:1] != b"{" or len(message) > MOST_TEXT_BYTES:
        return message
    try:
        text = message.decode()
        return text if isinstance(json.loads(text), dict) else message
    except (ValueError, RecursionError):
        return message


def from_pcm16(content: bytes) -> Floats:
    """Read 16-bit little-endian samples. Raises AudioError for half a sample."""
    _check_whole(content, 2, "16-bit")
    return np.frombuffer(content, dtype="<i2").astype(np.float32) / np.float32(PCM16_SCALE)


def from_float32(content: bytes) -> Floats:
    """Read 32-bit little-endian floats. Raises AudioError for parts of a sample, NaN, and numbers far from [-1, 1]."""
    _check_whole(content, 4, "32-bit float")
    samples = np.frombuffer(content, dtype="<f4").astype(np.float32)
    loudest = float(np.abs(samples).max(initial=0.0))
    if not loudest <= LOUDEST:  # NaN, too
        raise AudioError(f"the loudest of {len(samples):,} float samples is {loudest:g}; wanted numbers in [-1, 1].")
    return samples


def to_pcm16(samples: Floats) -> bytes:
    """Write 16-bit little-endian samples; what is louder than 1 is clipped."""
    return np.clip(np.rint(samples * PCM16_SCALE), -32768, 32767).astype("<i2").tobytes()


def _check_whole(content: bytes, width: int, kind: str) -> None:
    if len(content) % width:
        raise AudioError(f"{len(content):,} bytes are not a whole number of {kind} samples; wanted a multiple of {width}.")
