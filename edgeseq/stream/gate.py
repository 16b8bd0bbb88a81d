"""A gate before the network: while nobody speaks the network need not run, and an idle board idles.

It listens for anything that rises above the noise, in any of a few bands, which costs a few microseconds a chunk. It opens
readily, for what it keeps out is lost: it does not tell speech from other sound, it tells change from none. Half a second is
kept from before, so that no onset is cut. It closes only after seconds of nothing, and never within an utterance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from edgeseq.model.network import Floats

FRAME_SECONDS = 0.02
"""A short sound is judged by itself, not by the mean of a chunk."""
BAND_EDGES = (150.0, 600.0, 1400.0, 2400.0, 4000.0, 8000.0)
"""Hz; hum and rumble are left out, and each band has a noise of its own. Narrower ones waver more in steady noise."""
OPEN_DB, HOLD_DB = 5.5, 4.5
"""above the noise of a band: opens the gate, and keeps it open"""
RISE_DB = 1.5
"""a second: so fast does the floor follow noise that has become louder for good"""
LOWEST_DB = -90.0
"""of full scale; noise below counts as this, so that the last bit of a converter opens nothing"""
HANG_SECONDS = 2.0
"""without anything, before it closes"""
PRE_ROLL_SECONDS = 0.5
"""heard again from before it opened"""


@dataclass(frozen=True)
class GateState:
    """What is remembered of a stream. A value."""

    recent: Floats
    """chunks before the present one, `PRE_ROLL_SECONDS` of them"""
    floor_db: npt.NDArray[np.float32] | None = None
    """level of the noise, `[n_bands]`; None before the first chunk"""
    quiet_samples: int = 0
    """since the last sound"""
    is_open: bool = True
    """A stream begins with an open gate: what the noise is like has yet to be heard."""


@dataclass(frozen=True)
class Gate:
    """Judges chunks of one stream by their levels. Holds no state."""

    sample_rate: int
    """Hz"""

    @property
    def identity(self) -> str:
        """Name it; a saved stream is refused by another one."""
        return f"bands {self.sample_rate}"

    def init_state(self) -> GateState:
        """Open a stream."""
        return GateState(np.zeros(0, np.float32))

    def step(self, chunk: Floats, state: GateState) -> GateState:
        """Hear the next network chunk, float32 `[n_samples]`: a sound opens the gate; it is not closed here."""
        level_db = self._levels(chunk)
        seconds = len(chunk) / self.sample_rate
        before_db = level_db if state.floor_db is None else state.floor_db
        floor_db = np.maximum(np.minimum(level_db, before_db + np.float32(RISE_DB * seconds)), np.float32(LOWEST_DB))
        is_sound = bool(np.any(level_db > floor_db + np.float32(HOLD_DB if state.is_open else OPEN_DB)))
        n_kept = -(-round(PRE_ROLL_SECONDS * self.sample_rate) // max(1, len(chunk))) * len(chunk)
        return replace(
            state,
            recent=np.concatenate([state.recent, chunk])[-n_kept:],
            floor_db=floor_db,
            quiet_samples=0 if is_sound else state.quiet_samples + len(chunk),
            is_open=state.is_open or is_sound,
        )

    def may_close(self, state: GateState) -> bool:
        """Tell whether nothing was heard for long enough."""
        return state.quiet_samples >= HANG_SECONDS * self.sample_rate

    def _levels(self, chunk: Floats) -> npt.NDArray[np.float32]:
        """Levels of the bands in dB of full scale `[n_bands]`, of the loudest frame."""
        n_frame = self._window.shape[0]
        frames = chunk[: len(chunk) // n_frame * n_frame].reshape(-1, n_frame)
        if not len(frames):
            frames = np.pad(chunk, (0, n_frame - len(chunk)))[None]
        power = np.square(np.abs(np.fft.rfft(frames * self._window))) @ self._bands
        return 10 * np.log10(power.max(axis=0) + np.float32(1e-12))

    @cached_property
    def _window(self) -> npt.NDArray[np.float32]:
        n_frame = max(1, round(FRAME_SECONDS * self.sample_rate))
        window = np.hanning(n_frame + 1)[:-1]
        # So scaled, the powers of all bands add up to the mean square of the samples.
        return (window * np.sqrt(2 / (n_frame * np.sum(window**2)))).astype(np.float32)

    @cached_property
    def _bands(self) -> npt.NDArray[np.float32]:
        """Which bins belong to which band, `[n_bins, n_bands]`."""
        hertz = np.fft.rfftfreq(len(self._window), 1 / self.sample_rate)
        pairs = [(low, high) for low, high in pairwise(BAND_EDGES) if low < self.sample_rate / 2]
        return np.stack([(hertz >= low) & (hertz < high) for low, high in pairs], axis=1).astype(np.float32)
