"""When somebody begins and stops speaking, by level: see `edgeseq/stream/voice.py` for what that can and cannot tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeseq.sound.blocks import EMPTY, Floats
from edgeseq.stream.voice import SPEECH_SCORE, LevelVoice

WINDOW_SECONDS = 0.03
STOP_SECONDS = 0.6
"""without voice, after which somebody has stopped"""


@dataclass(frozen=True)
class Change:
    """Somebody began to speak, or stopped."""

    is_voice: bool
    seconds: float
    """since the stream opened: the first voice, or the end of the last"""


class VoiceWatch:
    """Follows one stream."""

    def __init__(self, rate: int) -> None:
        """Hear samples at `rate` Hz."""
        self._rate, self._n_window = rate, max(1, round(WINDOW_SECONDS * rate))
        self._voice = LevelVoice(rate)
        self._state = self._voice.init_state()
        self._rest, self._n_heard, self._last_voice = EMPTY, 0, -1

    def hear(self, samples: Floats) -> list[Change]:
        """Take the next samples, float32 mono; any length."""
        samples = np.concatenate([self._rest, samples])
        changes = []
        for first in range(0, len(samples) - self._n_window + 1, self._n_window):
            score, self._state = self._voice.step(samples[first : first + self._n_window], self._state)
            changes += self._note(score >= SPEECH_SCORE)
        self._rest = samples[len(samples) // self._n_window * self._n_window :].copy()
        return changes

    def end(self) -> list[Change]:
        """End the stream: who still speaks has stopped."""
        last, self._last_voice = self._last_voice, -1
        return [] if last < 0 else [Change(False, last / self._rate)]

    def _note(self, is_voice: bool) -> list[Change]:
        """Note the next window."""
        began, self._n_heard = self._n_heard, self._n_heard + self._n_window
        if is_voice:
            was_quiet, self._last_voice = self._last_voice < 0, self._n_heard
            return [Change(True, began / self._rate)] if was_quiet else []
        if self._last_voice >= 0 and self._n_heard - self._last_voice >= STOP_SECONDS * self._rate:
            return self.end()
        return []
