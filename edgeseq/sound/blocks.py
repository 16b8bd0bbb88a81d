"""Streams of sound, cut into blocks: resampled, re-cut, paced, checked; nothing is lost at their ends.

A block is a float32 array `[n_samples]`, mono, in [-1, 1]; it may be empty. A source is an iterator of
blocks; one that can lose sound, such as a microphone, says so among its blocks by `Lost`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from edgeseq.errors import AudioError, EdgeseqError

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]

EMPTY: Floats = np.zeros(0, dtype=np.float32)
BLOCK_SECONDS = 1.0
"""of sound read from a file at a time"""
WAIT_SECONDS = 0.1
"""A source that has nothing to give yet yields an empty block this often, so that its reader may stop."""
MIN_RATE, MAX_RATE = 1_000, 1_000_000
"""Hz; what lies outside is a broken header"""
MOST_CHANNELS = 64
"""of a file"""
MOST_VALUES = 1 << 18
"""of all channels that are read at a time: a megabyte as float32"""
MAX_AMPLITUDE = 2.0**31
"""Full scale is 1. Floats that mean integers are merely loud; beyond this float32 arithmetic overflows."""


@dataclass(frozen=True)
class Lost:
    """Among blocks: here so much sound is missing."""

    seconds: float
    reason: str
    """for people: why"""


def resample(blocks: Iterable[Floats], from_rate: int, to_rate: int) -> Iterator[Floats]:
    """Change the sample rate of a stream; no sample is lost at its end, also when the source fails there."""
    if from_rate == to_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32")
    failure = None
    try:
        for block in blocks:
            yield stream.resample_chunk(block) if len(block) else block
    except EdgeseqError as fault:
        failure = fault
    yield stream.resample_chunk(EMPTY, last=True)
    if failure is not None:
        raise failure


def cut(blocks: Iterable[Floats], n_samples: int) -> Iterator[Floats]:
    """Cut blocks to pieces of `n_samples`; only the last is shorter. Empty blocks pass through."""
    rest = EMPTY
    failure = None
    try:
        for block in blocks:
            if not len(block):
                yield block
            rest = np.concatenate([rest, block])
            n_whole = len(rest) // n_samples * n_samples
            for start in range(0, n_whole, n_samples):
                yield rest[start : start + n_samples]
            rest = rest[n_whole:]
    except EdgeseqError as fault:
        failure = fault
    if len(rest):
        yield rest
    if failure is not None:
        raise failure


def paced(blocks: Iterable[Floats], sample_rate: int) -> Iterator[Floats]:
    """Give each block when a microphone would: once its last sample has been said.

    Every block is timed from the start, so that no drift builds up. While it waits it gives empty blocks.
    """
    start, n_samples = time.monotonic(), 0
    for block in blocks:
        n_samples += len(block)
        while (wait := start + n_samples / sample_rate - time.monotonic()) > 0:
            time.sleep(min(wait, WAIT_SECONDS))
            if wait > WAIT_SECONDS:
                yield EMPTY
        yield block


def first_unusable(samples: Floats) -> int | None:
    """Find the first value that is no number, infinite or absurdly large; None if all are usable."""
    if not len(samples) or np.abs(samples).max() <= MAX_AMPLITUDE:  # False for NaN
        return None
    return int(np.flatnonzero(~(np.abs(samples) <= MAX_AMPLITUDE))[0])


def checked(blocks: Iterable[Floats], rate: int, name: str) -> Iterator[Floats]:
    """Pass on the blocks of `name`; raise AudioError for unusable values and if there was no sound.

    Where all of it was zeros, that is logged behind the last block.
    """
    n_samples, is_zero = 0, True
    for block in blocks:
        bad = first_unusable(block)
        if bad is not None:
            raise AudioError(
                f"{name}: at {(n_samples + bad) / rate:.3f} s the sound has the value {block[bad]}; "
                "wanted numbers in [-1, 1].\n"
                "  Whatever wrote it divided by zero or is broken: repair it there."
            )
        n_samples += len(block)
        is_zero = is_zero and not block.any()
        yield block
    if not n_samples:
        raise AudioError(f"{name}: holds no sound (0 samples). Record or copy it again.")
    if is_zero:
        log.warning("%s: holds nothing but zeros, %.2f s of them.", name, n_samples / rate)


def check_rate(rate: int, name: str) -> None:
    """Raise AudioError for a sample rate that nothing is recorded at."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(
            f"{name}: says it is sampled at {rate} Hz; wanted {MIN_RATE:,} to {MAX_RATE:,}.\n"
            "  Its header is broken: record or convert it again."
        )


def check_channels(n: int, name: str) -> None:
    """Raise AudioError for more channels than anything is recorded with."""
    if not 1 <= n <= MOST_CHANNELS:
        raise AudioError(
            f"{name}: says it has {n} channels; wanted 1 to {MOST_CHANNELS}.\n  Its header is broken, or it is not a recording."
        )


def samples_at_once(rate: int, n_channels: int) -> int:
    """Tell how many samples of each channel are read at a time: up to a second, and no more values than MOST_VALUES."""
    return max(1, min(round(rate * BLOCK_SECONDS), MOST_VALUES // n_channels))


def mono(samples: Floats) -> Floats:
    """Average the channels of `[n_samples, n_channels]`."""
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
