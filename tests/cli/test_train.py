"""`edgeseq train` and `edgeseq export` as programs: what they print, write, and how they end."""

import json
import os
import re
import shlex
import signal

import command_line
import numpy as np
import pytest

pytest.importorskip("torch")

import soundfile

RECIPE = """\
name: tones
language: zxx
license: CC0-1.0
data_statement: sine tones
network: {hidden_size: 16, num_layers: 1}
data: {train: [{manifest: tones/train.jsonl, easy: true}], valid: [tones/train.jsonl]}
joining: {row_seconds: 1.0}
train: {steps: 4, batch_size: 4, easy_steps: 2, ramp_steps: 1, warmup_steps: 1, checkpoint_every: 2}
"""


@pytest.fixture
def folder(tmp_path):
    """A working folder with a recipe and a corpus of two tones under data/."""
    (tmp_path / "data" / "tones").mkdir(parents=True)
    lines = []
    for text, pitch in (("a", 300), ("b", 1500)):
        samples = 0.3 * np.sin(2 * np.pi * pitch * np.arange(2400) / 8000)
        soundfile.write(tmp_path / "data" / "tones" / f"{text}.wav", samples, 8000)
        lines.append(json.dumps({"audio_filepath": f"{text}.wav", "duration": 0.3, "text": text}))
    (tmp_path / "data" / "tones" / "train.jsonl").write_text("\n".join(lines))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No data but the folder's, and one thread."""
    monkeypatch.delenv("EDGESEQ_DATA", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def run(*words, cwd):
    done = command_line.run(*words, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def test_from_recipe_to_transcript(folder):
    code, _, err = run("train", "recipe.yaml", cwd=folder)
    assert code == 0, err
    assert all(0 <= int(share) <= 100 for share in re.findall(r"(\d+) % waiting for data", err)) and "% waiting" in err
    assert "step 4/4" in err and "words wrong" in err and "edgeseq export runs/tones" in err
    code, _, err = run("export", "runs/tones", "--out", "models/tones", "--flush-seconds", "0.2", cwd=folder)
    assert code == 0, err
    code, _, err = run("transcribe", "--model", "models/tones", "data/tones/a.wav", cwd=folder)
    assert code == 0, err


def test_check_reads_recipe_and_data_only(folder):
    code, out, err = run("train", "recipe.yaml", "--check", cwd=folder)
    assert code == 0, err
    assert "2 recordings" in out and "2 recordings to measure on" in out and not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.valid=[gone.jsonl]", "gone.jsonl: no such manifest"),
        ("finetune={weights: gone}", "there is no gone. Looked for:"),
    ],
)
def test_check_misses_what_a_training_would_miss(folder, change, said):
    code, _, err = run("train", "recipe.yaml", "--check", change, cwd=folder)
    assert code in (1, 2) and said in err


def test_faults_of_a_recipe_end_with_exit_code_2(folder):
    code, _, err = run("train", "recipe.yaml", "train.stepps=3", "network.cell=gruu", cwd=folder)
    assert code == 2
    assert "2 faults" in err and "did you mean 'steps'" in err and "Traceback" not in err


def test_missing_data_names_the_command_that_brings_it(folder):
    code, _, err = run("train", "recipe.yaml", "data.train.0.manifest=fsdd/train.jsonl", cwd=folder)
    assert code == 1
    assert "edgeseq data import fsdd" in err and "Traceback" not in err


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("to_group", [False, True])
def test_sigterm_saves_a_checkpoint_and_resume_goes_on(folder, to_group, workers):
    process = command_line.start(
        "train", "recipe.yaml", "train.steps=100000", "--workers", workers, cwd=folder, start_new_session=True
    )
    metrics = folder / "runs" / "tones" / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text()):
        assert process.poll() is None, process.stderr.read()
    (os.killpg if to_group else os.kill)(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    workers_given = f"--workers {workers} " if workers != 1 else ""
    assert f"Continue with: edgeseq train recipe.yaml train.steps=100000 {workers_given}--resume\n" in err
    assert "Traceback" not in err
    assert list((folder / "runs" / "tones" / "checkpoints").glob("step-*.pt"))
    code, _, err = run("train", "recipe.yaml", "train.steps=100000", cwd=folder)
    assert code == 2 and "--resume" in err


def test_the_hint_goes_on_with_the_same_run(folder):
    """Followed to the letter, it trains on in the same folder, by the same recipe; and the export says how far that was."""
    process = command_line.start(
        "train", "recipe.yaml", "train.steps=100000", "--out", "runs/my run", "--workers", 0, cwd=folder
    )
    metrics = folder / "runs" / "my run" / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text()):
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    (hint,) = [line.partition("Continue with: ")[2] for line in err.splitlines() if "Continue with: " in line]
    assert hint == "edgeseq train recipe.yaml train.steps=100000 --out 'runs/my run' --workers 0 --resume"
    before = len(metrics.read_text().splitlines())
    process = command_line.start(*shlex.split(hint)[1:], cwd=folder)
    while len(metrics.read_text().splitlines()) <= before:
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert hint in err and not (folder / "runs" / "tones").exists()
    _, _, err = run("export", "runs/my run", "--out", "exported", "--flush-seconds", "0.3", "--unproven", cwd=folder)
    assert "its training was stopped after" in err and "of 100,000 steps" in err


def test_doctests():
    import doctest

    import edgeseq.cli.train

    assert doctest.testmod(edgeseq.cli.train).failed == 0
