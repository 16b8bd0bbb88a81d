"""What may be wrong with sound although it can be read: one line for each, for the person who listens in vain."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from edgeseq.sound.blocks import Floats, Lost, mono

Report = Callable[[str], None]
"""Takes a line for people."""

CANCELLED = 1e-3
"""Mixed, channels have less than this share of their own power (30 dB less)."""
AUDIBLE = 1e-6
"""Power of a channel (-60 dB of full scale) from which on that matters."""
DOUBT_SECONDS = 1.0
"""of sound are judged at a time"""
ZERO_SECONDS = 2.0
"""without anything but one value: no open microphone is that quiet"""
STEADY = 2.0**-17
"""Half of what 16 bits can tell apart."""

log = logging.getLogger(__name__)


class Mixer:
    """Channels to one, with a line where they cancel each other."""

    def __init__(self, name: str, rate: int, report: Report | None = None) -> None:
        """Mix the sound called `name`; `report` takes the line, by default the log."""
        self._name, self._report = name, report or log.warning
        self._n_wanted = max(1, round(DOUBT_SECONDS * rate))
        self._n, self._mixed, self._apart = 0, 0.0, 0.0
        self._is_done = False

    def mix(self, samples: Floats) -> Floats:
        """Average the channels of `[n_samples, n_channels]`."""
        mixed = mono(samples)
        if samples.shape[1] > 1 and not self._is_done:
            self._n += len(samples)
            self._mixed += float(np.sum(np.square(mixed, dtype=np.float64)))
            self._apart += float(np.sum(np.square(samples, dtype=np.float64))) / samples.shape[1]
            if self._n >= self._n_wanted:
                self.judge()
        return mixed

    def judge(self) -> None:
        """Say whether the channels cancelled each other since the last time."""
        if self._apart > AUDIBLE * self._n and self._mixed < CANCELLED * self._apart and not self._is_done:
            self._is_done = True
            self._report(
                f"{self._name}: its channels cancel each other: one is the other turned upside down, and almost nothing is "
                "left of them together. Record or convert one channel alone."
            )
        self._n, self._mixed, self._apart = 0, 0.0, 0.0


def watch_zeros(blocks: Iterable[Floats | Lost], rate: int, name: str, report: Report) -> Iterator[Floats | Lost]:
    """Pass on live blocks of sound at `rate`; say so, once, where the first `ZERO_SECONDS` hold nothing but one value."""
    n_zeros: int | None = 0
    for block in blocks:
        if n_zeros is not None and not isinstance(block, Lost):
            n_zeros = n_zeros + len(block) if is_steady(block) else None
            if n_zeros is not None and n_zeros >= ZERO_SECONDS * rate:
                n_zeros = None
                report(f"{name} gives nothing but zeros: is the microphone muted, or another one meant? See `edgeseq devices`.")
        yield block


def is_steady(block: Floats) -> bool:
    """Whether a block holds one value throughout."""
    return not len(block) or float(block.max() - block.min()) < STEADY
