"""Is somebody speaking? A score for each network chunk, which endpoint rules may listen to besides the network's blanks.

The one that comes along judges by level alone: it helps where a slow speaker stretches words, and takes music and traffic for
speech. Anything with its two methods may replace it, such as a small voice-activity network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from edgeseq.model.network import Floats

S = TypeVar("S")

SPEECH_SCORE = 0.5
"""From here on a chunk counts as voice."""
FLOOR_RISE_DB = 3.0
"""a second: so fast does the noise floor follow what has become louder for good"""
QUIET_DB, LOUD_DB = 3.0, 15.0
"""above the floor: score 0 and score 1"""
LOWEST_DB = -80.0
"""of full scale; below is digital silence"""


class VoiceActivity(Protocol[S]):
    """Scores chunks of one stream; its state is a value, as that of a decoder."""

    @property
    def identity(self) -> str:
        """Name it; a saved stream is refused by another one."""

    def init_state(self) -> S:
        """Open a stream."""

    def step(self, chunk: Floats, state: S) -> tuple[float, S]:
        """Judge the next network chunk, float32 `[chunk_samples]`: 0 no voice, 1 voice."""


AnyVoiceActivity = VoiceActivity[Any]


@dataclass(frozen=True)
class LevelState:
    """What is remembered of a stream."""

    floor_db: float | None = None
    """level of the noise; None before the first chunk"""


@dataclass(frozen=True)
class LevelVoice:
    """Calls loud what is clearly above the quietest of the last seconds."""

    sample_rate: int
    """Hz"""

    @property
    def identity(self) -> str:
        """Name it."""
        return f"level {self.sample_rate}"

    def init_state(self) -> LevelState:
        """Open a stream."""
        return LevelState()

    def step(self, chunk: Floats, state: LevelState) -> tuple[float, LevelState]:
        """Judge the next chunk by its mean power.

        >>> voice = LevelVoice(8000)
        >>> score, state = voice.step(np.full(640, 0.001, np.float32), voice.init_state())
        >>> score, voice.step(np.full(640, 0.1, np.float32), state)[0]
        (0.0, 1.0)
        """
        power = float(np.mean(chunk.astype(np.float64) ** 2)) if len(chunk) else 0.0
        level_db = max(LOWEST_DB, 10 * math.log10(power + 1e-12))
        rise_db = FLOOR_RISE_DB * len(chunk) / self.sample_rate
        floor_db = level_db if state.floor_db is None else min(level_db, state.floor_db + rise_db)
        score = (level_db - floor_db - QUIET_DB) / (LOUD_DB - QUIET_DB)
        return min(max(score, 0.0), 1.0), LevelState(floor_db)
