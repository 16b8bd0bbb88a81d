"""What each augmentation costs: `python -m benchmarks.augmentation` prints seconds of sound per second of a core."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from edgeseq.bench.sound import noise_bursts
from edgeseq.training.augmentation.chain import RowChain, draw_clip
from edgeseq.training.augmentation.effect import apply_all
from edgeseq.training.augmentation.showing import KEYS, only
from edgeseq.training.augmentation.spec_augment import spec_augment
from edgeseq.training.chance import RowChance
from edgeseq.training.recipe import Recipe
from edgeseq.training.recipe_file import load_recipe

SECONDS = 2.0
"""of a core, that each is measured for at least"""

WARM_UP_ROWS = 300
"""not counted: responses are read in them, each once in a training"""

VARIANTS = {
    "room, measured": ("room", ["augment.room.measured=1"]),
}


def augmented_per_second(recipe: Recipe, row_seconds: float) -> float:
    """Draw and apply what is done to clips and rows until the time is up; seconds of sound per second of a core."""
    rate = recipe.frontend.sample_rate
    samples = 0.1 * noise_bursts(row_seconds, rate)
    frames = torch.zeros(1, round(row_seconds * rate / recipe.frontend.hop_samples), recipe.frontend.n_mels)
    chain = RowChain(recipe.augment, rate)
    rng = np.random.default_rng(0)

    def hear_row(number: int) -> None:
        clip = draw_clip(recipe.augment, rng.uniform(*recipe.augment.speed), 1.0, rng)
        row = np.resize(apply_all(clip, samples, rate), len(samples))
        apply_all(chain.draw(len(row), rng), row, rate)
        spec_augment(frames, recipe.augment.spec_augment, 1.0, RowChance(0, number, [0]))

    for number in range(WARM_UP_ROWS):
        hear_row(number)
    n_rows, began = 0, time.process_time()
    while time.process_time() - began < SECONDS:
        hear_row(n_rows)
        n_rows += 1
    return n_rows * row_seconds / (time.process_time() - began)


def make_recordings(folder: Path) -> dict[str, str]:
    """Write ten noises of 20 s and ten responses of half a second, 16 kHz FLAC; gives the overrides that name them."""
    rng = np.random.default_rng(0)
    for name, seconds in (("noises", 20.0), ("responses", 0.5)):
        (folder / name).mkdir()
        for number in range(10):
            time_seconds = np.arange(round(seconds * 16_000)) / 16_000
            decay = np.exp(-time_seconds / 0.05) if name == "responses" else 1.0
            soundfile.write(folder / name / f"{number}.flac", 0.1 * decay * rng.standard_normal(len(time_seconds)), 16_000)
    return {
        "recorded_noise": f"augment.recorded_noise.sounds={folder / 'noises'}",
        "responses": f"augment.room.responses={folder / 'responses'}",
    }


def main() -> None:
    """Print a line for each augmentation, then the recipe's own mixture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/ctc.yaml"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        recordings = list(make_recordings(Path(scratch)).values())
        recipe = load_recipe(chosen.recipe, recordings)
        row_seconds = recipe.joining.row_seconds
        print(f"rows of {row_seconds:g} s at {recipe.frontend.sample_rate} Hz: seconds of sound per second of a core")
        nothing = augmented_per_second(only(recipe, []), row_seconds)
        print(f"{'nothing, levels only':24}{nothing:10,.0f}")
        for key in KEYS:
            _line(key, only(recipe, [key]), nothing, row_seconds)
        for name, (key, overrides) in VARIANTS.items():
            _line(name, only(load_recipe(chosen.recipe, [*recordings, *overrides]), [key]), nothing, row_seconds)
        _line(f"all of {chosen.recipe.name}", load_recipe(chosen.recipe), None, row_seconds)


def _line(name: str, recipe: Recipe, nothing: float | None, row_seconds: float) -> None:
    speed = augmented_per_second(recipe, row_seconds)
    alone = 1 / max(1 / speed - 1 / nothing, 1e-9) if nothing else speed
    shown = "beyond measure" if nothing and alone > 20 * nothing else f"{alone:,.0f}"
    print(f"{name:24}{shown:>10}", flush=True)


if __name__ == "__main__":
    main()
