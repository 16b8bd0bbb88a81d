"""`edgeseq detect`, and what other commands say to a model of labels."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from command_line import run

pytest.importorskip("onnx")
import tone_frames as frames

SOUND = frames.join(frames.silence(0.4), frames.tone("low", 0.4), frames.silence(0.4))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return frames.save(tmp_path_factory.mktemp("frames") / "model.onnx")


@pytest.fixture(scope="module")
def wav(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "a.wav"
    soundfile.write(path, SOUND, frames.SAMPLE_RATE)
    return path


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_files_give_lines(model, wav):
    done = run("detect", "--model", model, wav, wav)
    assert done.returncode == 0, done.stderr
    begun, ended, *again = lines(done.stdout)
    assert begun == {"type": "detection", "file": str(wav), "label": "low", "start": 0.4, "end": None, "score": begun["score"]}
    assert (ended["start"], ended["end"]) == (0.4, 0.8) and again == [begun, ended]


def test_a_threshold_of_ones_own(model, wav):
    done = run("detect", "--model", model, "--threshold", "1", wav)
    assert done.returncode == 0 and not lines(done.stdout), done.stderr
    done = run("detect", "--model", model, "--threshold", "0.01", wav)  # below the model's release
    assert next(one["label"] for one in lines(done.stdout) if one["end"] is not None) == "low", done.stderr
    done = run("detect", "--model", model, "--threshold", "0", wav)
    assert done.returncode == 2 and "--threshold 0: wanted a probability above 0, at most 1" in done.stderr


def test_a_file_that_is_missing_does_not_stop_the_others(model, wav, tmp_path):
    done = run("detect", "--model", model, tmp_path / "none.wav", wav)
    assert done.returncode == 1 and "none.wav" in done.stderr and len(lines(done.stdout)) == 2


def test_lines_come_while_standard_input_is_open(model):
    command = [sys.executable, "-m", "edgeseq", "detect", "--model", str(model), "-"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        raw = (np.concatenate([SOUND, frames.tone("high", 0.5)]) * 32767).astype("<i2").tobytes()
        process.stdin.write(raw)
        process.stdin.flush()
        told = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert [(one["label"], one["end"] is None) for one in told] == [("low", True), ("low", False), ("high", True)]
        process.stdin.close()
        assert json.loads(process.stdout.read())["end"] == pytest.approx(1.7, abs=frames.ROW_SECONDS)
    assert process.returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ["transcribe", "{wav}", "--model", "{model}"],
        ["listen", "--input", "{wav}", "--model", "{model}"],
        ["eval", "--manifest", "{manifest}", "--model", "{model}"],
        ["serve", "--model", "{model}"],
        ["bench", "--model", "{model}"],
        ["phrases", "check", "{phrases}", "--model", "{model}"],
    ],
    ids=lambda words: words[0],
)
def test_commands_that_want_words_refuse_it(words, model, wav, tmp_path):
    (tmp_path / "m.jsonl").write_text(json.dumps({"audio_filepath": str(wav), "duration": 1.2, "text": "low"}) + "\n")
    (tmp_path / "phrases.yaml").write_text("intents:\n  low: [low]\n")
    places = {"wav": wav, "model": model, "manifest": tmp_path / "m.jsonl", "phrases": tmp_path / "phrases.yaml"}
    done = run(*(word.format(**places) for word in words))
    assert done.returncode == 2
    assert "tone-frames is a model of the task 'frames', which gives no words" in done.stderr and "Traceback" not in done.stderr


def test_a_model_of_words_is_refused(tone_model, wav):
    done = run("detect", "--model", tone_model, wav)
    assert done.returncode == 2 and "tones is a model of the task 'ctc', which detects nothing" in done.stderr


def test_it_is_shown_and_verified(model):
    shown = " ".join(run("models", "info", model).stdout.split())
    assert "'audio' float32 [batch, 640] to 'scores' float32 [batch, 4, 2]; remembers 'state_late'" in shown
    told = json.loads(run("models", "info", "--json", model).stdout)
    assert told["signature"]["inputs"][0]["name"] == "audio" and told["details"]["labels"] == ["low", "high"]
    assert "all checks passed" in run("models", "verify", model).stdout
