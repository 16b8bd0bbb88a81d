"""A tiny world to train in: two words, a low tone and a high one, said by six voices of different pitch."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")

import soundfile

from edgeseq.training.recipe_file import parse_recipe

RATE = 8000
TONES = {"a": (400, 400), "b": (1600, 1600)}


def say(word, pitch, seconds=0.16):
    time = np.arange(int(seconds * RATE)) / RATE
    return np.concatenate([0.3 * np.sin(2 * np.pi * pitch * tone * time) for tone in TONES[word]]).astype(np.float32)


@pytest.fixture(scope="session")
def tone_corpus(tmp_path_factory):
    """A manifest of twelve clips, 8 kHz."""
    folder = tmp_path_factory.mktemp("tones")
    lines = []
    for voice, pitch in enumerate((0.8, 0.9, 1.0, 1.1, 1.2, 1.3)):
        for word in TONES:
            samples = say(word, pitch)
            name = f"{word}_{voice}.flac"
            soundfile.write(folder / name, samples, RATE)
            line = {
                "audio_filepath": name,
                "duration": len(samples) / RATE,
                "text": word,
                "speaker": f"voice{voice}",
            }
            lines.append(json.dumps(line))
    manifest = folder / "train.jsonl"
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return manifest


@pytest.fixture
def tiny_recipe(tone_corpus):
    """Make a recipe that trains on the tones; keywords replace parts of it."""

    def make(**parts):
        values = {
            "name": "tones",
            "language": "zxx",
            "license": "CC0-1.0",
            "data_statement": "sine tones",
            "network": {"hidden_size": 32, "num_layers": 2, "dropout": 0.1},
            "data": {"train": [{"manifest": str(tone_corpus), "easy": True}], "valid": [str(tone_corpus)]},
            "joining": {"row_seconds": 1.5},
            "train": {
                "steps": 6,
                "batch_size": 4,
                "easy_steps": 2,
                "ramp_steps": 2,
                "warmup_steps": 2,
                "checkpoint_every": 2,
                "precision": "32",
            },
        }
        return parse_recipe(values | parts, "test")

    return make
