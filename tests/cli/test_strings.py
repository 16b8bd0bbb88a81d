"""Names, texts and streams from outside: no traceback, nothing that steers a terminal, and the rest of a batch is done."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("onnx")
import tone_language as tones
from command_line import EDGESEQ, run, start

from edgeseq.data.manifest import Recording, read_manifest, write_manifest
from edgeseq.errors import AudioError, printable

NAMES = [b"caf\xe9.wav", b"\xff\xfe\x80.wav", b"a\x1b[2Jb.wav", b"a\nb.wav", b"a\tb\x7f.wav", "naïve 日本.wav".encode()]
GIVEN = [os.fsdecode(name) for name in NAMES]
"""as Python hands them to a program"""
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    """A good file of each name, each with a word of its own, and `good.wav`."""
    for name in [*NAMES, b"good.wav"]:
        path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))  # noqa: PTH118
        with path.open("wb") as file:
            soundfile.write(file, tones.say("yes"), tones.SAMPLE_RATE, format="WAV")
    return tmp_path


def harmless(output):
    """Whether bytes may go to a terminal: text in UTF-8 without control characters."""
    return printable(output.decode(), keep="\n\t") == output.decode()


@pytest.mark.parametrize("options", [[], ["--format", "jsonl"], ["--out-dir", "out"], ["--journal", "journal.jsonl"]])
def test_transcribe_takes_files_of_any_name(tone_model, folder, options):
    done = run("transcribe", "--model", tone_model, *options, *GIVEN, "good.wav", cwd=folder, text=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert harmless(done.stdout)
    if options[:1] == ["--out-dir"]:
        assert sum(path.read_text() == "yes\n" for path in (folder / "out").iterdir()) == len(NAMES) + 1
    elif "jsonl" in options:
        finals = [json.loads(line) for line in done.stdout.splitlines()]
        assert [final["text"] for final in finals] == ["yes"] * (len(NAMES) + 1)
        assert finals[0]["file"] == "caf\N{REPLACEMENT CHARACTER}.wav" and finals[-2]["file"] == "naïve 日本.wav"
    else:
        assert done.stdout.count(b": yes\n") == len(NAMES) + 1
    if options[:1] == ["--journal"]:
        again = run("transcribe", "--model", tone_model, *options, *GIVEN, "good.wav", cwd=folder, text=False)
        assert again.stdout == done.stdout and again.returncode == 0


@pytest.mark.parametrize("name", [name for name in NAMES if b"\n" not in name])
def test_what_is_said_of_a_bad_file_is_harmless(tone_model, folder, name):
    (folder / os.fsdecode(name)).write_bytes(b"no sound at all")
    done = run("transcribe", "--model", tone_model, os.fsdecode(name), "good.wav", cwd=folder, text=False)
    assert done.returncode == 1 and done.stdout == b"good.wav: yes\n"
    assert harmless(done.stderr) and b"Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["speech.raw", "speech.RAW", "speech.pcm", "noise.bin"])
def test_a_raw_file_loses_nothing_else(tone_model, folder, name):
    samples = tones.say("no", 16_000) * 32767
    (folder / name).write_bytes(samples.astype("<i2").tobytes())
    done = run("transcribe", "--model", tone_model, name, "good.wav", cwd=folder)
    assert done.stdout == "good.wav: yes\n" and "--rate" in done.stderr and done.returncode == 1
    done = run("transcribe", "--model", tone_model, "--rate", 16_000, name, "good.wav", cwd=folder)
    assert (done.stdout, done.stderr, done.returncode) == (f"{name}: no\ngood.wav: yes\n", "", 0)


def test_listen_shows_a_name_harmlessly(tone_model, folder):
    for name in GIVEN[:3]:
        done = run("listen", "--model", tone_model, "--format", "jsonl", "--input", name, cwd=folder, text=False)
        assert done.returncode == 0 and harmless(done.stdout) and harmless(done.stderr)
        assert json.loads(done.stdout.splitlines()[-1])["text"] == "yes"


def test_manifests_keep_names_that_are_no_text(folder):
    for name in NAMES:
        (folder / os.fsdecode(name)).with_suffix(".txt").write_text("yes")
    done = run("data", "import", "folder", "--from", folder, "--out", folder / "mine", text=False)
    assert done.returncode == 0 and harmless(done.stderr), done.stderr
    manifest = folder / "mine" / "all.jsonl"
    assert len(read_manifest(manifest)) == len(NAMES), "paths are read back as they are"
    done = run("data", "check", manifest, text=False)
    assert harmless(done.stdout) and b"Traceback" not in done.stderr and b"unreadable" not in done.stdout
    (folder / os.fsdecode(NAMES[0])).write_bytes(b"")
    for words in ([], ["--json"]):
        done = run("data", "check", manifest, *words, text=False)
        assert done.returncode == 1 and harmless(done.stdout) and b"caf\xef\xbf\xbd.wav" in done.stdout
    write_manifest(folder / "again.jsonl", read_manifest(manifest, check_files=False))
    assert len(read_manifest(folder / "again.jsonl")) == len(NAMES)


def test_lone_surrogates_and_control_characters_in_texts(folder):
    lines = [
        {"audio_filepath": "good.wav", "duration": 0.72, "text": text} for text in ("one \ud800", "t\x1b[31mwo", "\u202ethree")
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = run("data", "check", folder / "train.jsonl", text=False)
    assert harmless(done.stdout) and b"Traceback" not in done.stderr and done.stdout.count(b"invisible character U+") == 3


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize("words", ["transcribe good.wav", "listen --input good.wav", "models info MODEL", "--version"])
def test_closed_streams_are_no_traceback(tone_model, folder, closed, words):
    words = words.replace("MODEL", str(tone_model))
    model = [] if "models" in words or "--version" in words else ["--model", str(tone_model)]
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *EDGESEQ, *words.split(), *model]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    if closed in ("2>&-", "<&-"):
        assert done.stdout
    assert (folder / "good.wav").read_bytes()[:4] == b"RIFF", "nothing was printed into a file that took the number"


def test_a_closed_standard_input_that_is_read_is_one_message(tone_model):
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *EDGESEQ, "transcribe", "--model", str(tone_model), "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "before any sound came" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("form", ["text", "jsonl"])
def test_an_old_locale_loses_no_words(tone_model, folder, form):
    env = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = run("transcribe", "--model", tone_model, "--format", form, GIVEN[-1], "good.wav", cwd=folder, env=env, text=False)
    assert done.returncode == 0 and done.stdout.isascii() and done.stdout.count(b"yes") >= 2
    if form == "jsonl":
        assert json.loads(done.stdout.splitlines()[0])["file"] == "naïve 日本.wav"


def test_messages_can_be_printed_whatever_they_name():
    fault = AudioError("caf\udce9\x1b[2J.wav: broken\n  Copy it again.")
    assert str(fault) == "caf\ufffd\ufffd[2J.wav: broken\n  Copy it again."
    assert Recording(Path("x"), 1.0, "y").where == "x"


def test_the_command_line_prints_in_one_way():
    own = {"printing.py", "display.py", "devices.py", "record.py"}
    for path in (ROOT / "edgeseq" / "cli").glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        names = {ast.unparse(call.func) for call in calls}
        assert path.name in own or not names & {"print", "typer.echo", "click.echo"}, path


def test_zeros_from_a_pipe_are_told_within_three_seconds(tone_model):
    process = start("listen", "--model", tone_model, "--input", "-", stdin=subprocess.PIPE, text=False)
    assert b"listening" in process.stderr.readline()
    for _ in range(30):
        process.stdin.write(np.zeros(tones.SAMPLE_RATE // 10, "<i2").tobytes())
    process.stdin.flush()
    process.stderr.readline()  # what the model understands
    assert b"nothing but zeros" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


def test_lost_input_is_one_line_on_standard_error(tone_model, tmp_path):
    samples = tones.say("yes")
    soundfile.write(tmp_path / "x.wav", np.stack([samples, -samples], axis=1), tones.SAMPLE_RATE)
    soundfile.write(tmp_path / "y.wav", samples, tones.SAMPLE_RATE)
    (tmp_path / "y.wav").write_bytes((tmp_path / "y.wav").read_bytes() * 2)
    done = run("transcribe", "--model", tone_model, "x.wav", "y.wav", cwd=tmp_path)
    lines = done.stderr.splitlines()
    assert len(lines) == 2 and lines[0].startswith("edgeseq: x.wav: its channels cancel each other")
    assert lines[1].startswith("edgeseq: y.wav: another WAV follows the first") and "y.wav: yes" in done.stdout
