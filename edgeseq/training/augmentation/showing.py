"""What augmentation makes of one utterance: its sound, its log-mel, and what was drawn, in words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeseq.errors import UsageError
from edgeseq.output.drawing import import_matplotlib
from edgeseq.training.augmentation.acoustics import Acoustics
from edgeseq.training.augmentation.chain import RowChain, draw_clip
from edgeseq.training.augmentation.effect import apply_all
from edgeseq.training.augmentation.level import Waveform
from edgeseq.training.augmentation.spec_augment import draw_spec_augment
from edgeseq.training.chance import RowChance
from edgeseq.training.frontend import build_frontend
from edgeseq.training.recipe import Recipe
from edgeseq.training.recipe_file import parse_recipe

NONE_OF_IT: dict[str, dict[str, Any]] = {
    "speed": {"speed": (1.0, 1.0)},
    "clip_level_db": {"clip_level_db": (0.0, 0.0)},
    "level_db": {"level_db": (0.0, 0.0)},
    "spec_augment": {"spec_augment": {"mel_masks": 0, "time_masks": 0, "mel_warp": 0.0}},
}
"""A recipe's keys whose augmentation has no probability, and the values at which it does nothing."""

WITH_PROBABILITY = ("room", "microphone", "noise", "recorded_noise", "clipping", "band", "telephone")
KEYS = (*NONE_OF_IT, *WITH_PROBABILITY)


@dataclass(frozen=True)
class AugmentedClip:
    """One way in which an utterance may be heard."""

    title: str
    samples: Waveform
    log_mel: NDArray[np.float32]
    """as the network gets it, except for normalization; natural logarithm, `[n_frames, n_mels]`"""
    told: tuple[tuple[str, str], ...]
    """key of the recipe, what was drawn"""


def only(recipe: Recipe, keys: Collection[str]) -> Recipe:
    """Do what `keys` name for certain, and nothing else. Raises UsageError for others than KEYS, RecipeError as recipes do."""
    if unknown := sorted(set(keys) - set(KEYS)):
        raise UsageError(f"{unknown[0]!r} is not an augmentation. Choose from: {', '.join(KEYS)}.")
    values = recipe.model_dump()
    for key, nothing in NONE_OF_IT.items():
        values["augment"] |= {} if key in keys else nothing
    for key in WITH_PROBABILITY:
        values["augment"][key]["probability"] = float(key in keys)
    return parse_recipe(values, f"augment {', '.join(keys)}")


def as_it_is(samples: Waveform, recipe: Recipe) -> AugmentedClip:
    """Hear an utterance `[n_samples]`, at the recipe's rate, unchanged."""
    return AugmentedClip("as it is", samples, _log_mel(samples, recipe), ())


def hear(samples: Waveform, recipe: Recipe, seed: int) -> AugmentedClip:
    """Augment an utterance as training does at full difficulty; the tail that the recipe keeps free is appended."""
    rate = recipe.frontend.sample_rate
    rng = np.random.default_rng(seed)
    of_clip = draw_clip(recipe.augment, rng.uniform(*recipe.augment.speed), 1.0, rng)
    row = np.pad(apply_all(of_clip, samples, rate), (0, int(recipe.joining.tail_seconds * rate)))
    of_row = RowChain(recipe.augment, rate).draw(len(row), rng)
    heard = apply_all(of_row, row, rate)
    frames = torch.from_numpy(_log_mel(heard, recipe))[None]
    on_mel = draw_spec_augment(frames.shape, recipe.augment.spec_augment, 1.0, RowChance(seed, 0, [0]))
    parts = [part for effect in (*of_clip, *of_row) for part in (effect.parts if isinstance(effect, Acoustics) else [effect])]
    told = [(part.key, str(part)) for part in parts]
    return AugmentedClip(f"seed {seed}", heard, on_mel.apply(frames)[0].numpy(), (*told, ("spec_augment", on_mel.words(0))))


def _log_mel(samples: Waveform, recipe: Recipe) -> NDArray[np.float32]:
    frontend = build_frontend(recipe.frontend)
    begun = torch.cat([frontend.init_state(1), torch.from_numpy(samples)[None]], dim=1)
    return np.asarray(frontend.log_mel(begun)[0].numpy())


def draw_picture(heard: Sequence[AugmentedClip], recipe: Recipe, path: Path) -> None:
    """Draw waveform and log-mel of each, one under the other, on one axis of time, as PNG."""
    import_matplotlib()
    from matplotlib.figure import Figure

    rate, hop = recipe.frontend.sample_rate, recipe.frontend.hop_samples
    left = (build_frontend(recipe.frontend).first_centre - hop / 2) / rate
    seconds = max(len(one.samples) for one in heard) / rate
    figure = Figure(figsize=(10, 1.9 * len(heard)), layout="constrained")
    axes = figure.subplots(len(heard), 2, squeeze=False, sharex=True)
    for (wave, mel), one in zip(axes, heard, strict=True):
        wave.plot(np.arange(len(one.samples)) / rate, one.samples, linewidth=0.3)
        wave.set(title=one.title, ylim=(-1, 1), xlim=(0, seconds))
        extent = (left, left + len(one.log_mel) * hop / rate, 0.0, float(one.log_mel.shape[1]))
        mel.imshow(one.log_mel.T, origin="lower", aspect="auto", extent=extent, interpolation="nearest")
        mel.set(ylabel="mel")
    for bottom in axes[-1]:
        bottom.set_xlabel("seconds")
    figure.savefig(path, dpi=80)
