"""`edgeseq teach`: words to a model."""

import json
import os
import subprocess

import pytest
from command_line import EDGESEQ, run

pytest.importorskip("torch")

from edgeseq.data.engines import EspeakNg

needs_espeak = pytest.mark.skipif(not EspeakNg().voices(), reason="espeak-ng is not installed")


def teach(folder, *words, **env):
    command = [*EDGESEQ, "teach", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


@pytest.mark.slow
@needs_espeak
def test_words_become_a_model_that_can_be_trained_further(tmp_path):
    command = ("yes", "no", "--per-text", 8, "--steps", 500, "--voices", "espeak-ng/en-us*", "--no-listen")
    taught = teach(tmp_path, *command)
    assert taught.returncode == 0, taught.stderr
    assert "voices are held out" in taught.stderr and "500 steps take about" in taught.stderr
    assert "your words right" in taught.stdout and "other words accepted" in taught.stdout
    model = tmp_path / "models" / "yes-no"
    files = {path.name for path in model.iterdir()}
    assert files == {"model.onnx", "model.int8.onnx", "weights.safetensors", "recipe.yaml", "eval.json"}
    assert json.loads((model / "eval.json").read_text())["synthesized_held_out_voices"]["own"] == 4
    assert (tmp_path / "runs" / "yes-no" / "report.html").is_file()
    heard = run("transcribe", "--model", model, tmp_path / "data" / "yes-no" / "own" / "yes" / "00000.flac")
    assert heard.returncode == 0
    checked = run("train", "models/yes-no/recipe.yaml", "--check", cwd=tmp_path)
    assert checked.returncode == 0 and "56 recordings" in checked.stdout
    again = teach(tmp_path, *command)
    assert again.returncode == 2 and "is there already" in again.stderr and "edgeseq train" in again.stderr


def test_words_that_cannot_be_spoken_are_refused_before_anything_is_made(tmp_path):
    refused = teach(tmp_path, "yes", "42")
    assert refused.returncode == 2 and "'42' cannot be spoken" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_without_a_synthesizer_it_says_what_to_install(tmp_path):
    refused = teach(tmp_path, "yes", PATH=str(tmp_path))
    assert refused.returncode == 1 and "sudo apt install espeak-ng" in refused.stderr
