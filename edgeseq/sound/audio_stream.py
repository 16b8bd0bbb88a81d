"""Sound that comes as a stream of bytes: WAV by its header, or raw samples."""

from __future__ import annotations

import io
import os
import select
from collections.abc import Iterator

import soundfile

from edgeseq.errors import AudioError, CutShortError, UsageError
from edgeseq.sound import wav
from edgeseq.sound.blocks import EMPTY, WAIT_SECONDS, Floats, check_rate, checked, resample, samples_at_once
from edgeseq.sound.containers import LONGEST_BEGINNING, WAV, recognize
from edgeseq.sound.doubts import Mixer, log
from edgeseq.sound.wav import SampleLayout

PIECE_BYTES = 65_536
BEHIND_BYTES, BEHIND_WAITS = 4096, 5
"""After the samples of a WAV this much is looked at, and this many empty pieces are waited for."""


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
    """Turn bytes into blocks at `sample_rate`; what is not a WAV is taken to be raw samples at `raw_rate`."""
    head, layout, is_whole = b"", None, True
    for piece in pieces:
        head += piece
        layout = find_layout(head, raw_rate, name)
        if layout is not None:
            is_whole = False
            break
        yield EMPTY
    if is_whole:
        layout = _layout_of_all(head, raw_rate, name)
    assert layout is not None
    check_rate(layout.rate, name)
    samples = _decode_samples(head[layout.offset :], pieces, layout, name)
    yield from resample(checked(samples, layout.rate, name), layout.rate, sample_rate)


def find_layout(head: bytes, raw_rate: int, name: str) -> SampleLayout | None:
    """Tell from a stream's first bytes how its samples lie; None if more bytes are needed.

    Raises AudioError for a WAV that cannot be read and for other kinds of files.
    """
    if len(head) < LONGEST_BEGINNING:
        return None
    kind = recognize(head)
    if kind is not None and kind != WAV:
        raise AudioError(f"{name}: looks like {kind.name}; wanted WAV, or raw 16-bit samples.")
    if kind is None:
        return raw_layout(raw_rate)
    layout = wav.find_layout(head, name)
    return None if layout is None else wav.for_pipe(layout)


def raw_layout(rate: int) -> SampleLayout:
    """Give the layout of raw samples: 16-bit little-endian mono."""
    return SampleLayout(rate, 1, "PCM_16", 2, 0, None)


def _layout_of_all(head: bytes, raw_rate: int, name: str) -> SampleLayout:
    """Give the layout of a stream that is over, whose first bytes did not tell it."""
    if not head:
        raise AudioError(f"{name}: ended before any sound came. Check the program that writes into it.")
    if len(head) < LONGEST_BEGINNING and not (b"RIFF".startswith(head[:4]) or recognize(head)):
        return raw_layout(raw_rate)
    raise AudioError(f"{name}: ended within its header ({len(head)} bytes). Record or copy it again.")


def _decode_samples(rest: bytes, pieces: Iterator[bytes], layout: SampleLayout, name: str) -> Iterator[Floats]:
    """Blocks at the stream's own rate, of what is there but at most a second."""
    n_left, n_bytes = layout.n_bytes, 0
    mixer = Mixer(name, layout.rate)
    most = samples_at_once(layout.rate, layout.n_channels) * layout.frame_bytes
    while True:
        n_there = len(rest) if n_left is None else min(len(rest), n_left - n_bytes)
        while n_there >= layout.frame_bytes:
            whole = rest[: min(most, n_there // layout.frame_bytes * layout.frame_bytes)]
            rest, n_bytes, n_there = rest[len(whole) :], n_bytes + len(whole), n_there - len(whole)
            yield mixer.mix(to_floats(whole, layout))
        if n_left is not None and n_left - n_bytes < layout.frame_bytes:
            mixer.judge()
            _look_behind(rest[n_left % 2 + n_left - n_bytes :], pieces, name)
            return
        piece = next(pieces, None)
        if piece is None:
            break
        if not piece:
            yield EMPTY
        rest += piece
    mixer.judge()
    if n_left is not None:
        seconds = layout.frame_bytes * layout.rate
        raise CutShortError(
            f"{name}: breaks off at {n_bytes / seconds:.2f} s; its header promises "
            f"{n_left / seconds:.2f} s.\n  The words up to there are printed; record or copy it again."
        )


def to_floats(samples: bytes, layout: SampleLayout) -> Floats:
    """Decode whole samples: float32 `[n_samples, n_channels]` in [-1, 1]."""
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
    return decoded


def _look_behind(rest: bytes, pieces: Iterator[bytes], name: str) -> None:
    """Say so where something that may be sound follows the samples that a WAV's header promises."""
    n_waits = 0
    for piece in pieces:
        rest += piece
        n_waits += not piece
        if len(rest) >= BEHIND_BYTES or n_waits >= BEHIND_WAITS:
            break
    tell_behind(wav.left_behind(rest, len(rest)), name)


def tell_behind(behind: str, name: str) -> None:
    """Log what was not heard."""
    if behind:
        log.warning("%s: %s; what lies there is not heard. Convert it to one whole WAV first.", name, behind)
