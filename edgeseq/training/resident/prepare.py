"""What a training with all sound on one device needs before its first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from edgeseq.tokens.table import TokenTable
from edgeseq.training.augmentation.sound_library import find_sounds
from edgeseq.training.recipe import Recipe
from edgeseq.training.resident.rendering import refuse_unsupported
from edgeseq.training.resident.rows import Choice
from edgeseq.training.resident.store import Store, decode_all, fill_store, speeds_between
from edgeseq.training.sources import Source


@dataclass(frozen=True)
class Prepared:
    """Sound on the device, and what may be drawn from it."""

    recipe: Recipe
    tokens: TokenTable
    store: Store
    choice: Choice
    noises: Sequence[NDArray[np.int16]]
    """recorded noise, int16 `[n_samples]` each"""
    responses: Sequence[NDArray[np.float32]]
    """impulse responses of rooms, float32 `[n_samples]` each"""


def prepare(recipe: Recipe, tokens: TokenTable, sources: Sequence[Source], device: torch.device, threads: int) -> Prepared:
    """Decode all sound of `sources` to `device`. Raises RecipeError for augmentation that is not to be had there."""
    refuse_unsupported(recipe.augment)
    rate = recipe.frontend.sample_rate
    recordings = [recording for source in sources for recording in source.recordings]
    targets = [np.array(tokens.encode(recording.text), np.int32) for recording in recordings]
    weights = _repeated(sources, [source.weight / len(source.recordings) for source in sources])
    speeds = speeds_between(*recipe.augment.speed)
    store = fill_store(decode_all(recordings, rate, threads), speeds, rate, device)
    easy = _repeated(sources, [source.easy for source in sources]).astype(bool)
    choice = Choice(store.lengths, targets, weights / weights.sum(), easy, speeds.index(Fraction(1)))
    sounds, rooms = recipe.augment.recorded_noise.sounds, recipe.augment.room.responses
    noises = [] if sounds is None else decode_all(find_sounds(sounds), rate, threads)
    responses = [] if rooms is None else decode_all(find_sounds(rooms), rate, threads)
    return Prepared(recipe, tokens, store, choice, noises, [response.astype(np.float32) for response in responses])


def _repeated(sources: Sequence[Source], values: Sequence[float]) -> NDArray[np.float64]:
    """Give each recording the value of its source."""
    return np.repeat(np.array(values, np.float64), [len(source.recordings) for source in sources])
