"""One opened microphone, read from the ring: blocks in their order, and between them what is missing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeseq.sound.blocks import Floats, Lost
from edgeseq.sound.capture.clock import InputClock
from edgeseq.sound.capture.recorder import CaptureStream
from edgeseq.sound.capture.ring import Ring, Slot

GONE = "the microphone had gone"
TOO_SLOW = "the machine cannot keep up"
NOT_TAKEN = "nobody took the sound for too long"
OVERRUN = "the sound system lost it"

INT16_SCALE = np.float32(2.0**-15)


class RecordedStream:
    """Reads what a recorder writes; remembers where it is."""

    def __init__(self, opened: CaptureStream, ring: int, heard_until: float | None = None) -> None:
        """Read from the memory behind the descriptor `ring`; sound was heard until then before (steady clock), if at all."""
        self.opened = opened
        self.newest = opened.first_block - 1
        """number of the newest block that was announced"""
        self.heard_until = heard_until
        self._n_overruns, self._n_overruns_told = 0, 0
        self._ring = Ring(ring, opened.layout)
        self._clock = InputClock(opened.rate)
        self._next = opened.first_block
        self._sample = 0
        self._why_missing = NOT_TAKEN
        self._is_new = True

    @property
    def waiting_seconds(self) -> float:
        """Seconds of sound that was announced and not taken."""
        return (self.newest + 1 - self._next) * self.opened.block_samples / self.opened.rate

    def drop(self, kept_seconds: float) -> None:
        """Leave out the oldest of what is waiting; the next `take` marks it."""
        n_kept = round(kept_seconds * self.opened.rate / self.opened.block_samples)
        self._next = max(self._next, self.newest + 1 - n_kept)
        self._why_missing = TOO_SLOW

    def take(self, most_seconds: float) -> list[Floats | Lost]:
        """Take what is waiting, at most so much: blocks `[n_samples, n_channels]`, and where sound is missing a `Lost`."""
        n_most = max(1, round(most_seconds * self.opened.rate / self.opened.block_samples))
        taken: list[Floats | Lost] = []
        pieces: list[Floats] = []
        while self._next <= self.newest and len(pieces) < n_most:
            slot = self._ring.read(self._next)
            if slot is None:
                self._next = max(self._next + 1, self._ring.oldest(self.newest))
                continue
            self._next += 1
            missing = self._missing_before(slot)
            if missing is not None:
                taken += [*_joined(pieces), missing]
                pieces = []
            pieces.append(self._samples(slot))
        return taken + _joined(pieces)

    def take_overruns(self) -> int:
        """Count the overruns that the sound system has reported since this was last asked."""
        before, self._n_overruns_told = self._n_overruns_told, self._n_overruns
        return self._n_overruns - before

    def close(self) -> None:
        """Let go of the ring."""
        self._ring.close()

    def _missing_before(self, slot: Slot) -> Lost | None:
        """Compare a block with what was expected; note it as taken."""
        n_missing = slot.sample - self._sample
        late, self._clock = self._clock.step(slot.time, slot.sample)
        before, self.heard_until = self.heard_until, slot.time + self.opened.block_samples / self.opened.rate
        self._sample = slot.sample + self.opened.block_samples
        self._n_overruns = slot.n_overruns
        is_new, self._is_new = self._is_new, False
        why, self._why_missing = self._why_missing, NOT_TAKEN
        if is_new and before is not None:
            return Lost(max(0.0, slot.time - before), GONE)
        if n_missing:
            return Lost(n_missing / self.opened.rate, why)
        return Lost(late, OVERRUN) if late else None

    def _samples(self, slot: Slot) -> Floats:
        samples: npt.NDArray[np.float32]
        if self.opened.sample_format == "int16":
            samples = np.frombuffer(slot.content, np.int16).astype(np.float32) * INT16_SCALE
        else:
            samples = np.frombuffer(slot.content, np.float32)
        return samples.reshape(-1, self.opened.n_channels)


def _joined(pieces: list[Floats]) -> list[Floats | Lost]:
    if not pieces:
        return []
    return [pieces[0] if len(pieces) == 1 else np.concatenate(pieces)]
