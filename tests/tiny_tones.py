"""Two words, a low tone and a high one, by six voices: a corpus that a small network learns in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

RATE = 8000
TONES = {"a": 400, "b": 1600}
VOICES = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
SECONDS = 0.32
FLUSH_SECONDS = 0.3


def write_tones(folder: Path) -> Path:
    """Write twelve clips and their manifest; returns its path."""
    folder.mkdir(parents=True)
    lines = []
    for number, voice in enumerate(VOICES):
        for word, pitch in TONES.items():
            samples = 0.3 * np.sin(2 * np.pi * pitch * voice * np.arange(round(SECONDS * RATE)) / RATE)
            name = f"{word}_{number}.flac"
            soundfile.write(folder / name, samples, RATE)
            line = {"audio_filepath": name, "duration": SECONDS, "text": word, "speaker": f"voice{number}"}
            lines.append(json.dumps(line))
    manifest = folder / "train.jsonl"
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return manifest


def tone_recipe(manifest: Path, **settings: object):
    """A recipe that learns them; `settings` are those of `train`."""
    from edgeseq.training.recipe_file import parse_recipe

    values = {
        "name": "tones",
        "language": "zxx",
        "license": "CC0-1.0",
        "data_statement": "sine tones",
        "network": {"hidden_size": 32, "num_layers": 2, "dropout": 0.0},
        "data": {"train": [{"manifest": str(manifest), "easy": True}], "valid": [str(manifest)]},
        "joining": {"row_seconds": 1.0},
        "train": {
            "steps": 150,
            "batch_size": 16,
            "lr": 5e-3,
            "easy_steps": 150,
            "ramp_steps": 0,
            "warmup_steps": 10,
            "valid_every": 50,
            "checkpoint_every": 50,
            "precision": "32",
        }
        | settings,
    }
    return parse_recipe(values, "test")


def train_run(folder: Path, **settings: object) -> Path:
    """Train on the tones, exporting nothing; returns the run's folder."""
    from edgeseq.training.trainer import train

    recipe = tone_recipe(write_tones(folder / "data"), **settings)
    train(recipe, folder / "tones", resume=False, report=lambda _: None, workers=0)
    return folder / "tones"
