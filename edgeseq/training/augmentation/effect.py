"""What an augmentation is, once it is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Protocol

import numpy as np

from edgeseq.training.augmentation.level import Waveform


class Effect(Protocol):
    """One change of a waveform, all its values drawn."""

    key: ClassVar[str]
    """the recipe's, under `augment`"""

    def apply(self, samples: Waveform, sample_rate: int) -> Waveform:
        """Change `samples`; the length stays, but for that of a changed speed."""

    def __str__(self) -> str:
        """Tell the drawn values in words."""


def happens(probability: float, rng: np.random.Generator) -> bool:
    """Draw whether something is done; what never is takes no random number, so that a new key changes no older recipe."""
    return probability > 0 and bool(rng.random() < probability)


def apply_all(effects: Iterable[Effect], samples: Waveform, sample_rate: int) -> Waveform:
    """Change `samples` by one effect after the other."""
    for effect in effects:
        samples = effect.apply(samples, sample_rate)
    return samples
