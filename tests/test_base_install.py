"""The wheel of an sdist, installed without any extra into a clean environment, used outside the repository."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CLIP = ROOT / "demo" / "number.flac"
DIGITS = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "models/digits-en/model.int8.onnx").is_file(), reason="there is no model to ship"),
]


def pip(*words, python=sys.executable):
    """Run pip; skip where it fails for want of a network, which CI has."""
    done = subprocess.run([python, "-m", "pip", "-qq", "--retries", "1", *map(str, words)], capture_output=True, text=True)
    if (
        done.returncode
        and not os.environ.get("CI")
        and ("No matching distribution" in done.stderr or "Connection" in done.stderr)
    ):
        pytest.skip(f"pip has no network: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def wheel(distributions):
    return distributions[1]


@pytest.fixture(scope="session")
def board(wheel, tmp_path_factory):
    """A folder with nothing but an environment, `env`, that holds the base install."""
    folder = tmp_path_factory.mktemp("board")
    subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
    pip("install", wheel, python=folder / "env/bin/python")
    return folder


def on(board, *words):
    """Run a program of the environment as a new user would."""
    program, *rest = map(str, words)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(board), "LANG": "C.UTF-8"}
    command = [str(board / "env/bin" / program), *rest]
    return subprocess.run(command, cwd=board, env=env, capture_output=True, text=True, timeout=120)


def loaded_by(done):
    """Top-level modules that a run with `-X importtime` loaded."""
    return {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if "import time:" in line}


def test_the_wheel_brings_the_models_and_the_licences(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (about,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(about))
    released = {name for name in names if name.startswith("edgeseq/released/")}
    companions = ("english.lexicon", "english.lm", "en.guesser")
    wanted = {"digits-en": (), "english-small": companions}
    files = {f"{model}/{name}" for model, more in wanted.items() for name in ("model.int8.onnx", "README.md", *more)}
    assert released == {f"edgeseq/released/{file}" for file in files}
    assert {name.rpartition("/")[2] for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}
    assert metadata["License-Expression"] == "Apache-2.0 AND CC-BY-SA-4.0"
    assert {name.split("/")[0] for name in names} == {"edgeseq", about.split("/")[0]}
    assert wheel.stat().st_size < 15_000_000


def test_the_version_is_that_of_pyproject(board):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert on(board, "edgeseq", "--version").stdout == f"edgeseq {version}\n"


def test_there_is_no_torch(board):
    shown = on(board, "python", "-m", "pip", "list", "--format=freeze").stdout
    installed = {line.partition("==")[0].lower() for line in shown.splitlines()}
    assert {"edgeseq", "numpy", "onnxruntime"} <= installed
    assert not installed & {"torch", "torchaudio", "onnx", "scipy", "tensorboard", "mlflow-skinny", "wandb"}


def test_import_and_help_load_nothing_heavy(board):
    for words in (["-c", "import edgeseq"], ["env/bin/edgeseq", "--help"]):
        done = on(board, "python", "-X", "importtime", *words)
        assert done.returncode == 0 and "edgeseq" in loaded_by(done)
        assert not loaded_by(done) & {"torch", "onnxruntime", "numpy"}


def test_help(board):
    done = on(board, "edgeseq", "--help")
    assert done.returncode == 0 and "transcribe" in done.stdout and done.stderr == ""


def test_models_list_shows_the_models_of_the_wheel(board):
    done = on(board, "edgeseq", "models", "list")
    assert done.returncode == 0 and done.stdout.startswith("digits-en  8 bit") and "english-small  8 bit" in done.stdout
    assert str(board / "env") in done.stdout


def test_transcribe(board):
    done = on(board, "python", "-X", "importtime", "env/bin/edgeseq", "transcribe", CLIP)
    words = done.stdout.split()
    assert done.returncode == 0 and set(words) <= DIGITS and len(words) >= 8
    assert "onnxruntime" in loaded_by(done) and "torch" not in loaded_by(done)


def test_dictation_needs_nothing_but_the_wheel(board):
    done = on(board, "edgeseq", "transcribe", "--model", "english-small", CLIP)
    assert done.returncode == 0 and "nine five" in done.stdout, done.stderr


def test_the_model_works(board):
    done = on(board, "edgeseq", "models", "verify")
    assert done.returncode == 0 and "all checks passed" in done.stdout


@pytest.mark.parametrize("words", [["train", ROOT / "recipes/ctc.yaml"], ["export", "runs/mine", "--out", "models/mine"]])
def test_what_needs_the_training_extra_says_so(board, words):
    done = on(board, "edgeseq", *words)
    assert done.returncode == 1 and "edgeseq[train]" in done.stderr and "Traceback" not in done.stderr
    assert not (board / "runs").exists() and not (board / "models").exists()
