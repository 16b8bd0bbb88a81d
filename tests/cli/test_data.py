"""`edgeseq data`, from arguments to exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from edgeseq.cli import app
from edgeseq.data.engines import ENGINES
from edgeseq.data.manifest import read_manifest

needs_a_synthesizer = pytest.mark.skipif(
    not any(engine.voices() for engine in ENGINES), reason="no speech synthesizer is installed"
)


def run(*arguments):
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


@needs_a_synthesizer
def test_words_are_spoken(tmp_path):
    result = run("synth", "--words", "yes, no", "--per-text", 3, "--out", tmp_path / "out", "--rate", 8000)
    assert result.exit_code == 0, result.output
    assert result.stdout == "" and "6 files made" in result.stderr
    assert sorted(r.text for r in read_manifest(tmp_path / "out" / "manifest.jsonl")) == ["no"] * 3 + ["yes"] * 3


@needs_a_synthesizer
def test_voices_are_listed():
    result = run("synth", "--list-voices")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0 and lines
    assert all(len(line.split("\t")) == 2 and "/" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--words", "yes"], "--out FOLDER"),
        (["--out", "x"], "--text FILE or --words"),
        (["--words", "yes", "--text", "t.txt", "--out", "x"], "one of them"),
        (["--words", "yes", "--out", "x", "--engines", "hal"], "'hal' is not a speech synthesizer"),
        (["--words", "yes", "--out", "x", "--per-text", "0"], "--per-text"),
    ],
)
@needs_a_synthesizer
def test_wrong_usage_ends_with_2(arguments, message):
    result = run("synth", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr and "Traceback" not in result.stderr


def test_without_a_synthesizer_the_apt_line_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    result = run("synth", "--words", "yes", "--out", tmp_path)
    assert result.exit_code == 1 and "apt install" in result.stderr


@needs_a_synthesizer
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_a_valid_manifest(tmp_path, how):
    command = [sys.executable, "-c", "from edgeseq.cli import main; main()", "data", "synth", "--words", "yes,no"]
    command += ["--per-text", "5000", "--jobs", "1", "--out", str(tmp_path)]
    # As a script's `&` starts programs: with SIGINT ignored, unless they say otherwise.
    deaf = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=deaf) as process:
        until = time.monotonic() + 60
        while not list(tmp_path.glob("yes/0*.flac")) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(how)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "run the same command again" in said and "Traceback" not in said
    assert read_manifest(tmp_path / "manifest.jsonl")
    assert not list(tmp_path.rglob("*.part"))


def test_import_of_an_unknown_corpus_ends_with_2():
    result = run("import", "timit")
    assert result.exit_code == 2 and "fsdd" in result.stderr.partition("Choose from:")[2]


def test_a_folder_is_imported_and_what_was_left_out_is_told(tmp_path):
    samples = np.full(1600, 0.1)
    for name in ("a", "b", "c"):
        soundfile.write(tmp_path / f"{name}.wav", samples, 16000)
    (tmp_path / "a.txt").write_text("Hello, you!\n")
    (tmp_path / "b.txt").write_text("\n")
    result = run("import", "folder", "--from", tmp_path, "--words-only", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert "left out: 1 sound files have no .txt" in result.stderr and "left out: all: 1 recordings without" in result.stderr
    (line,) = read_manifest(tmp_path / "out" / "all.jsonl")
    assert (line.text, line.duration) == ("Hello you", 0.1)


def test_import_of_what_needs_a_folder_ends_with_2(tmp_path):
    result = run("import", "kaldi")
    assert result.exit_code == 2 and "--from" in result.stderr


def test_import_from_a_wrong_folder_ends_with_1(tmp_path):
    result = run("import", "fsdd", "--from", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 1 and "holds 0 recordings" in result.stderr


def test_import_of_the_real_corpus(tmp_path):
    """Runs where $EDGESEQ_DATA holds the corpus."""
    if not Path(os.environ.get("EDGESEQ_DATA", "nowhere"), "fsdd").is_dir():
        pytest.skip("$EDGESEQ_DATA holds no fsdd")
    result = run("import", "fsdd", "--out", tmp_path)
    assert result.exit_code == 0 and "CC-BY-SA-4.0" in result.stderr
    assert (len(read_manifest(tmp_path / "train.jsonl")), len(read_manifest(tmp_path / "test.jsonl"))) == (2700, 300)


def test_cut_of_a_bad_manifest_ends_with_1(tmp_path):
    (tmp_path / "m.jsonl").write_text(json.dumps({"audio_filepath": "a.wav", "text": "one"}))
    result = run("cut", tmp_path / "m.jsonl", "--words", "one", "--out", tmp_path / "out")
    assert result.exit_code == 1 and "'duration' is missing" in result.stderr
