"""Recipes: each goes to the end, by its own commands, on a tiny made-up corpus in the layout of the real one."""

import json
import re
import shlex
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("lhotse")

from edgeseq.cli import app

ROOT = Path(__file__).parents[1]
FEW_STEPS = {
    "network.hidden_size": 16,
    "network.num_layers": 1,
    "train.steps": 4,
    "train.batch_size": 2,
    "train.easy_steps": 1,
    "train.ramp_steps": 1,
    "train.warmup_steps": 2,
    "train.valid_every": 4,
    "train.checkpoint_every": 2,
    "train.precision": "32",
    "export.most_difference": 100,
}


def speech(path, seconds, rate=16000):
    """Bursts of a hum, as long as words."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal(len(time))
    soundfile.write(path, 0.2 * np.sin(2 * np.pi * 200 * time) * np.sin(9 * time) ** 2 + 0.01 * noise, rate)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def librispeech(folder):
    parts = ("train-clean-100", "train-clean-360", "train-other-500", "dev-clean", "dev-other", "test-clean", "test-other")
    for number, part in enumerate(parts):
        chapter = folder / "LibriSpeech" / part / str(number) / "7"
        for name in ("0000", "0001"):
            speech(chapter / f"{number}-7-{name}.flac", 2.0)
        write(chapter / f"{number}-7.trans.txt", f"{number}-7-0000 A RED SUN\n{number}-7-0001 THE SEA\n")
    write(folder / "dictionary.txt", "A AH\nRED R EH D\nSUN S AH N\nTHE DH AH\nSEA S IY\n")


def commonvoice(folder):
    for split in ("train", "dev", "test"):
        rows = ["client_id\tpath\tsentence"]
        for number, sentence in enumerate(("Bat, bi.", "Kaixo mundua")):
            speech(folder / "cv-corpus" / "eu" / "clips" / f"{split}{number}.mp3", 2.0)
            rows.append(f"who{split}\t{split}{number}.mp3\t{sentence}")
        write(folder / "cv-corpus" / "eu" / f"{split}.tsv", "\n".join(rows) + "\n")


def speechcommands(folder):
    main, test = folder / "speech_commands_v0.02", folder / "speech_commands_test_set_v0.02"
    for word in ("yes", "no"):
        for speaker in ("0a", "0b", "0c"):
            speech(main / word / f"{speaker}_nohash_0.wav", 1.0)
        speech(test / word / "0c_nohash_0.wav", 1.0)
    speech(main / "_background_noise_" / "running_tap.wav", 2.0)
    write(main / "validation_list.txt", "yes/0b_nohash_0.wav\nno/0b_nohash_0.wav\n")
    write(main / "testing_list.txt", "yes/0c_nohash_0.wav\nno/0c_nohash_0.wav\n")


def fsdd(folder):
    """As many recordings as the real corpus has, which its import counts."""
    sound = np.random.default_rng(0).standard_normal(1600)
    for digit, speaker, number in product(range(10), ("ann", "ben", "cid", "dot", "eve", "fay"), range(50)):
        folder.mkdir(exist_ok=True)
        soundfile.write(folder / f"{digit}_{speaker}_{number}.wav", 0.1 * sound, 8000)


def nothing(folder):
    """A wake word is made from text alone."""


RECIPES = {
    "ctc": (fsdd, "fsdd/test.jsonl"),
    "librispeech-100": (librispeech, "librispeech/test-clean.jsonl"),
    "librispeech-960": (librispeech, "librispeech/test-other.jsonl"),
    "commonvoice": (commonvoice, "commonvoice/eu/test.jsonl"),
    "commands": (speechcommands, "speechcommands/test.jsonl"),
    "wakeword": (nothing, "wakeword/manifest.jsonl"),
}


def told_commands(recipe):
    """Commands of a recipe's first lines, continued lines joined, explanations in brackets taken out."""
    comments = [line[1:].strip() for line in recipe.read_text(encoding="utf-8").split("\nname:")[0].splitlines()]
    joined = re.sub(r"\n(?=data/|--)", " ", "\n".join(comments))
    return [re.sub(r"\s{3,}\(.*| +\([a-z].*", "", found) for found in re.findall(r"\bedgeseq (?:data|lexicon) .*", joined)]


def adapted(words):
    """A command as the tiny corpus needs it."""
    if words[:2] == ["data", "import"]:
        named = words.index("--from") if "--from" in words else len(words)
        return [*words[:named], *words[named + 2 :], "--from", "corpus"]
    if words[:2] == ["data", "synth"]:
        words[words.index("--per-text") + 1] = "1"
        return [*words, "--engines", "espeak-ng", "--jobs", "1"]
    if "--dictionary" in words:
        words[words.index("--dictionary") + 1] = "corpus/dictionary.txt"
    return words


def run(*words):
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, f"{words}: {done.output}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_goes_to_the_end(name, tmp_path, monkeypatch):
    make, test = RECIPES[name]
    if name in ("wakeword", "ctc") and shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed: sudo apt install espeak-ng")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EDGESEQ_DATA", raising=False)
    make(tmp_path / "corpus")
    shutil.copytree(ROOT / "recipes", "recipes")
    recipe = Path("recipes") / f"{name}.yaml"
    commands = [adapted(shlex.split(command)[1:]) for command in told_commands(recipe) if "commands.txt" not in command]
    assert commands
    for command in commands:
        run(*command)
    run("train", recipe, "--workers", 0, *(f"{key}={value}" for key, value in FEW_STEPS.items()))
    trained = next(Path("runs").iterdir()).name
    run("export", f"runs/{trained}", "--out", f"models/{trained}", "--flush-seconds", "0.2")
    figures = json.loads(run("eval", "--model", f"models/{trained}", "--manifest", test, "--json"))
    assert figures["clips"] >= 2 and figures["words"] >= 2
    if name == "wakeword":
        assert "computer" in run("phrases", "check", "recipes/phrases/wakeword.yaml", "--model", f"models/{trained}")


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_says_what_it_takes(path):
    """Data, command, time, cost and score stand above each recipe, and the page lists it."""
    head = path.read_text(encoding="utf-8").split("\nname:")[0]
    assert all(word in head for word in ("Bring the data:", "Start:", "Then:", "Takes:", "kWh", "Score:"))
    assert f"edgeseq train recipes/{path.name}" in head
    assert f"recipes/{path.name}" in (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
