"""The recipe of a lesson, and how long its training takes here."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from edgeseq.data.lesson import Lesson
from edgeseq.data.manifest import read_manifest
from edgeseq.training.recipe import Recipe
from edgeseq.training.sequence_model import build_model
from edgeseq.training.trainer import load_batches
from edgeseq.whole_file import write_whole

STEPS, STEPS_PER_TEXT, MOST_STEPS = 1700, 150, 8000
OTHERS_WEIGHT = 0.5
"""Share of synthesized other speech, against 1 of own words: more of it makes a model that misses more and accepts less."""
RECORDED_WEIGHT = 0.2
"""Share of recorded other speech: if all people were others, the network would hear synthesizers."""
NO_LICENCE = "NOASSERTION"
"""SPDX's word where nobody has stated one."""

FRONTEND = {"sample_rate": 16_000, "win_samples": 400, "hop_samples": 160, "n_mels": 40, "f_min": 60, "f_max": 7600}
NETWORK = {"cell": "gru", "hidden_size": 96, "num_layers": 2, "subsampling": 4, "dropout": 0.1}
AUGMENT = {  # synthesized voices are few and clean: all that makes them differ
    "uses": 3,
    "speed": [0.8, 1.2],
    "noise": {"probability": 0.7, "snr_db": [3, 40]},
    "room": {"probability": 0.4},
    "microphone": {"probability": 0.7, "gain_db": [-9, 9]},
    "band": {"probability": 0.3},
    "clipping": {"probability": 0.1},
    "spec_augment": {"mel_masks": 1, "mel_width": 6, "time_masks": 1, "time_width": 8, "mel_warp": 0.1},
}


def steps_for(n_texts: int) -> int:
    """Say how many steps a lesson of `n_texts` takes.

    >>> steps_for(2), steps_for(100)
    (2000, 8000)
    """
    return min(MOST_STEPS, STEPS + STEPS_PER_TEXT * n_texts)


def recipe_values(lesson: Lesson, name: str, *, steps: int | None = None, seed: int = 1) -> dict[str, Any]:
    """Give the recipe of a lesson whose speech is there; `steps` by default as many as its texts take."""
    steps = steps or steps_for(len(lesson.texts))
    recorded = lesson.recorded.is_file()
    sources: list[dict[str, Any]] = [
        {"manifest": manifest_name(lesson.own), "easy": True},
        {"manifest": manifest_name(lesson.others), "others": True, "weight": OTHERS_WEIGHT},
    ]
    if recorded:
        sources.append({"manifest": manifest_name(lesson.recorded), "others": True, "weight": RECORDED_WEIGHT})
    valid = [lesson.held_out, *([lesson.held_out_recorded] if recorded else [])]
    return {
        "name": name,
        "language": "en",
        "license": NO_LICENCE,
        "data_statement": statement(lesson),
        "frontend": FRONTEND,
        "network": NETWORK,
        "tokens": {"kind": "words"},
        "data": {"train": sources, "min_rows_per_token": 1.0, "valid": [manifest_name(path) for path in valid]},
        "joining": {"row_seconds": 3.0, "gap_seconds": [0.0, 0.5], "silence": 0.05},
        "augment": AUGMENT,
        "export": {"most_difference": 3.0},  # a percent of the held-out words is less than a word
        "train": {
            "seed": seed,
            "threads": 1,  # a network this small gains nothing from more, and loses where the cores are busy
            "steps": steps,
            "lr": 3e-3,
            "warmup_steps": min(100, steps // 10),
            "easy_steps": steps // 8,
            "ramp_steps": steps // 4,
            "averaging": {"kind": "exponential", "decay": 0.99},
            "valid_every": max(1, steps // 2),
            "checkpoint_every": max(1, steps // 4),
        },
    }


def statement(lesson: Lesson) -> str:
    """Say what the weights are trained on, and under which licences."""
    made = {
        f"{one.extra['synthesizer']} ({one.extra['licence']})"
        for manifest in (lesson.own, lesson.others)
        for one in read_manifest(manifest)
    }
    recorded = "; recordings of other speech" if lesson.recorded.is_file() else ""
    return f"{', '.join(lesson.texts)}, and other speech, synthesized with {', '.join(sorted(made))}{recorded}."


def manifest_name(path: Path) -> str:
    """Name a manifest as recipes do: below ./data, where it lies there, or else by its whole path."""
    data = Path("data").resolve()
    return str(path.resolve().relative_to(data) if path.resolve().is_relative_to(data) else path.resolve())


def write_recipe(path: Path, values: Mapping[str, Any], comment: Sequence[str]) -> None:
    """Write a recipe below lines of comment."""
    text = "".join(f"# {line}".rstrip() + "\n" for line in comment)
    text += yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=120)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())


def seconds_to_train(recipe: Recipe) -> float:
    """Estimate the seconds that a training takes here, from a step of each stage: easy, half hard, hard."""
    torch.set_num_threads(recipe.train.threads or 1)
    batches = load_batches(recipe)
    model = build_model(recipe.input, recipe.network, batches.task.n_outputs, batches.task.activation)
    train = recipe.train
    stages = (
        (0, train.easy_steps),
        (train.easy_steps + train.ramp_steps // 2, train.ramp_steps),
        (train.steps - 1, max(0, train.steps - train.easy_steps - train.ramp_steps)),
    )
    seconds = 0.0
    for step, n_steps in stages:
        began = time.monotonic()
        batch = batches[min(step, train.steps - 1)]
        made = time.monotonic() - began
        rows = model.step(batch.audio, model.init_state(len(batch.rows)))[0]
        batches.task.loss(rows, batch.targets).backward()
        computed = time.monotonic() - began - made
        made /= recipe.augment.uses
        seconds += n_steps * (max(made, computed) if (os.cpu_count() or 1) > 1 else made + computed)
    return seconds
