"""Folders and tables as other tools write them."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from command_line import run

from edgeseq.data.manifest import read_manifest

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def sound(path, seconds=1.0, rate=16_000):
    soundfile.write(path, 0.2 * np.sin(np.arange(round(seconds * rate)) / 5), rate)
    return path


@pytest.mark.parametrize(
    "table",
    [
        "wav_filename,wav_filesize,transcript\na.wav,32044,zero one\n",
        "\ufeffwav_filename,wav_filesize,transcript\r\na.wav,32044,zero one\r\n",
        "audio_file|text|speaker_name\na.wav|zero one|ann\n",
        "path\tsentence\na.wav\tzero one\n",
    ],
)
def test_tables_of_other_tools(table, tmp_path):
    sound(tmp_path / "a.wav")
    (tmp_path / "train.csv").write_text(table, encoding="utf-8", newline="")
    done = run("data", "import", "folder", "--from", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (recording,) = read_manifest(tmp_path / "out" / "train.jsonl")
    assert (recording.text, recording.duration) == ("zero one", 1.0)


@needs_ffmpeg
@pytest.mark.parametrize("ending", ["m4a", "aac", "wma", "webm"])
def test_compressed_recordings_beside_their_texts(ending, tmp_path):
    sound(tmp_path / "x.wav", 1.5)
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine" / f"a.{ending}"
    if subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "x.wav", path], capture_output=True).returncode:
        pytest.skip("this ffmpeg does not write it")
    path.with_suffix(".txt").write_text("zero one")
    done = run("data", "import", "folder", "--from", tmp_path / "mine", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (recording,) = read_manifest(tmp_path / "out" / "all.jsonl")
    assert recording.text == "zero one" and abs(recording.duration - 1.5) < 0.15
    assert "Nothing was found" in run("data", "check", tmp_path / "out" / "all.jsonl").stdout


def test_without_ffmpeg_a_recording_that_needs_it_is_named(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + bytes(1000))
    (tmp_path / "mine" / "a.txt").write_text("zero one")
    env = {"PATH": str(tmp_path)}
    done = run("data", "import", "folder", "--from", tmp_path / "mine", "--out", tmp_path / "out", env=env)
    assert done.returncode == 1 and "a.m4a" in done.stderr and "ffmpeg" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("content", ["raw", "cut"])
def test_raw_and_cut_recordings_are_named(content, tmp_path):
    (tmp_path / "mine").mkdir()
    whole = sound(tmp_path / "x.wav").read_bytes()
    (tmp_path / "mine" / "good.wav").write_bytes(whole)
    (tmp_path / "mine" / "good.txt").write_text("zero")
    table = f"path,text\ngood.wav,zero\n{'a.raw' if content == 'raw' else 'a.wav'},one\n"
    (tmp_path / "mine" / ("a.raw" if content == "raw" else "a.wav")).write_bytes(
        whole[44:] if content == "raw" else whole[:20_000]
    )
    (tmp_path / "mine" / "train.csv").write_text(table)
    done = run("data", "import", "folder", "--from", tmp_path / "mine", "--out", tmp_path / "out")
    assert done.returncode == 1 and ("a.raw" if content == "raw" else "breaks off") in done.stderr
    assert "Traceback" not in done.stderr
