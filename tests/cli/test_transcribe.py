import json
import os
import signal
import time

import numpy as np
import pytest
import soundfile

pytest.importorskip("onnx")
import tone_language as tones
from command_line import run, start


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Good files a and c, a letter b, a truncated d, a silent e."""
    folder = tmp_path_factory.mktemp("sound")
    for name, text in (("a", "one two"), ("c", "three"), ("d", "gone now")):
        soundfile.write(folder / f"{name}.wav", tones.say(text), tones.SAMPLE_RATE)
    (folder / "b.wav").write_text("a letter, and no sound\n" * 20)
    whole = (folder / "d.wav").read_bytes()
    (folder / "d.wav").write_bytes(whole[: len(whole) * 6 // 10])
    soundfile.write(folder / "e.wav", tones.silence(1), tones.SAMPLE_RATE)
    return folder


def test_one_file_is_one_line(tone_model, folder):
    done = run("transcribe", "--model", tone_model, folder / "a.wav")
    assert (done.stdout, done.stderr, done.returncode) == ("one two\n", "", 0)


def test_a_bad_file_does_not_lose_its_neighbours(tone_model, folder):
    done = run("transcribe", "--model", tone_model, "a.wav", "b.wav", "none.wav", "c.wav", cwd=folder)
    assert done.stdout == "a.wav: one two\nc.wav: three\n"
    assert "b.wav: neither soundfile" in done.stderr and "none.wav: cannot be opened" in done.stderr
    assert done.returncode == 1


def test_a_truncated_file_gives_its_words_and_exit_code_1(tone_model, folder):
    done = run("transcribe", "--model", tone_model, "d.wav", "c.wav", cwd=folder)
    assert done.stdout == "d.wav: gone\nc.wav: three\n"
    assert "breaks off at 1.29 s" in done.stderr
    assert done.returncode == 1


def test_jsonl_is_one_final_a_file(tone_model, folder):
    done = run("transcribe", "--model", tone_model, "--format", "jsonl", "a.wav", "e.wav", cwd=folder)
    a, e = map(json.loads, done.stdout.splitlines())
    assert (a["type"], a["file"], a["text"]) == ("final", "a.wav", "one two")
    assert [word["word"] for word in a["words"]] == ["one", "two"]
    assert (e["text"], e["words"], e["start"], e["end"]) == ("", [], 0.0, 1.0)
    assert done.returncode == 0


def test_out_dir_takes_a_file_for_each(tone_model, folder, tmp_path):
    files = ("a.wav", "b.wav", "d.wav", "c.wav", "e.wav")
    done = run("transcribe", "--model", tone_model, "--out-dir", tmp_path / "out" / "here", *files, cwd=folder)
    assert done.stdout == "" and done.returncode == 1 and "b.wav" in done.stderr
    written = {path.name: path.read_text() for path in (tmp_path / "out" / "here").iterdir()}
    assert written == {"a.txt": "one two\n", "c.txt": "three\n", "d.txt": "gone\n", "e.txt": "\n"}


@pytest.mark.parametrize("form", ["srt", "vtt", "jsonl"])
def test_every_format_can_be_written(tone_model, folder, tmp_path, form):
    done = run("transcribe", "--model", tone_model, "--format", form, "--out-dir", tmp_path, "a.wav", "c.wav", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    alone = run("transcribe", "--model", tone_model, "--format", form, "a.wav", cwd=folder)
    assert (tmp_path / f"a.{form}").read_text() == alone.stdout and "one two" in alone.stdout
    assert "three" in (tmp_path / f"c.{form}").read_text()


def test_subtitles_of_several_files_need_a_folder(tone_model, folder):
    done = run("transcribe", "--model", tone_model, "--format", "srt", "a.wav", "c.wav", cwd=folder)
    assert done.returncode == 2 and "2 files cannot share standard output" in done.stderr and "--out-dir" in done.stderr


def test_files_that_would_meet(tone_model, folder, tmp_path):
    done = run("transcribe", "--model", tone_model, "--out-dir", tmp_path, "a.wav", "x/a.flac", cwd=folder)
    assert done.returncode == 2 and "a.wav and x/a.flac would both be written" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tone_model, folder, tmp_path):
    (tmp_path / "file").write_text("")
    done = run("transcribe", "--model", tone_model, "--out-dir", tmp_path / "file", "a.wav", cwd=folder)
    assert done.returncode == 1 and "file" in done.stderr and "Traceback" not in done.stderr


def test_standard_input(tone_model, folder):
    content = (folder / "a.wav").read_bytes()
    done = run("transcribe", "--model", tone_model, "-", input=content, text=False)
    assert done.stdout == b"one two\n"
    done = run("transcribe", "--model", tone_model, "-", input=b"", text=False)
    assert done.returncode == 1 and b"before any sound came" in done.stderr


def test_a_closed_pipe_ends_quietly(tone_model, folder):
    reader, writer = os.pipe()
    os.close(reader)
    process = start("transcribe", "--model", tone_model, folder / "a.wav", folder / "c.wav", stdout=writer)
    os.close(writer)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_a_signal_prints_what_was_heard(tone_model, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    process = start("transcribe", "--model", tone_model, tmp_path / "pipe")
    with (tmp_path / "pipe").open("wb", buffering=0) as pipe:
        pipe.write((np.concatenate([tones.say("so far"), tones.silence(1)]) * 32767).astype("<i2").tobytes())
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=30)
    assert (out, errors, process.returncode) == ("so far\n", "", 0)


def test_a_model_that_is_none(folder):
    done = run("transcribe", "--model", folder / "a.wav", folder / "a.wav")
    assert done.returncode == 1 and "not an ONNX file" in done.stderr and done.stdout == ""


def test_no_file_is_wrong_usage(tone_model):
    assert run("transcribe", "--model", tone_model).returncode == 2
