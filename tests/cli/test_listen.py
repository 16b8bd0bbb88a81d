import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from edgeseq.cli import app
from edgeseq.cli.display import fit, printable, width
from edgeseq.errors import UsageError

pytest.importorskip("onnx")
import tone_language as tones
from command_line import EDGESEQ, run, start
from sound_server import needs_sound_server, sound_server

TEXT = ["go", "on"]


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Two utterances in a file, 2.3 s."""
    path = tmp_path_factory.mktemp("sound") / "speech.wav"
    samples = np.concatenate([tones.say("go"), tones.silence(0.9), tones.say("on")])
    soundfile.write(path, samples, tones.SAMPLE_RATE)
    return path


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    """Two words, then a minute of silence."""
    path = tmp_path_factory.mktemp("sound") / "endless.wav"
    soundfile.write(path, np.concatenate([tones.say("go on"), tones.silence(60)]), tones.SAMPLE_RATE)
    return path


def events_of(output):
    return [json.loads(line) for line in output.splitlines()]


def test_text_in_a_pipe_is_one_final_a_line(tone_model, speech):
    done = run("listen", "--model", tone_model, "--input", speech)
    assert done.returncode == 0
    assert done.stdout.splitlines() == TEXT
    listening, model = done.stderr.splitlines()
    assert listening == f"listening on {speech}; Ctrl-C ends"
    assert model.startswith("tones was trained on: ") and len(model) < 80


def test_jsonl_comes_while_it_is_said(tone_model, speech):
    process = start("listen", "--model", tone_model, "--input", speech, "--format", "jsonl")
    first = json.loads(process.stdout.readline())
    at = time.monotonic()
    rest, errors = process.communicate(timeout=30)
    assert time.monotonic() - at > 1, "the file was heard at the pace of speech"
    assert first["type"] == "partial" and first["text"] == "g" and first["file"] == str(speech)
    finals = [event for event in events_of(rest) if event["type"] == "final"]
    assert [event["text"] for event in finals] == TEXT
    assert finals[1]["words"][0]["start"] > 1.6
    assert process.returncode == 0, errors


@pytest.mark.parametrize("form", ["wav", "raw", "raw 16000"])
def test_standard_input(tone_model, speech, form):
    samples = soundfile.read(speech, dtype="int16")[0]
    options = []
    content = speech.read_bytes() if form == "wav" else samples.astype("<i2").tobytes()
    if form == "raw 16000":
        options = ["--rate", 16000]
        content = np.repeat(samples, 2).astype("<i2").tobytes()
    done = run("listen", "--model", tone_model, "--input", "-", *options, input=content, text=False)
    assert done.stdout.decode().splitlines() == TEXT, done.stderr


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_prints_the_last_words(tone_model, endless, sent):
    process = start("listen", "--model", tone_model, "--input", endless, "--format", "jsonl")
    while json.loads(process.stdout.readline())["text"] != "go":
        pass
    process.send_signal(sent)
    at = time.monotonic()
    rest, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert [e["text"] for e in events_of(rest) if e["type"] == "final"] == ["go"]
    assert "Traceback" not in errors
    assert time.monotonic() - at < 5


def test_a_signal_while_standard_input_is_silent(tone_model):
    process = start("listen", "--model", tone_model, "--input", "-", stdin=subprocess.PIPE)
    process.stdin.buffer.write((tones.say("go on") * 32767).astype("<i2").tobytes())
    process.stdin.flush()
    process.stderr.readline()
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read() == "go on\n"
    assert process.wait(timeout=30) == 0


def test_a_signal_before_anything_was_said(tone_model):
    process = start("listen", "--model", tone_model, "--input", "-", stdin=subprocess.PIPE)
    process.stderr.readline()
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    assert (out, errors, process.returncode) == ("", "", 0)


def test_a_closed_pipe_ends_quietly(tone_model, endless):
    process = start("listen", "--model", tone_model, "--input", endless, "--format", "jsonl")
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(timeout=30) == 0
    assert errors.splitlines()[0] == f"listening on {endless}; Ctrl-C ends" and len(errors.splitlines()) == 2


def test_endpoint_seconds(tone_model, speech):
    done = run("listen", "--model", tone_model, "--input", "-", "--endpoint-seconds", 3, input=speech.read_bytes(), text=False)
    assert done.stdout == b"go on\n"
    done = run("listen", "--model", tone_model, "--input", "-", "--longest-seconds", 0.3, input=speech.read_bytes(), text=False)
    assert done.stdout.split() == [b"g", b"o", b"o", b"n"] or len(done.stdout.splitlines()) > 2


def test_stable_partials_never_change(tone_model, tmp_path):
    soundfile.write(tmp_path / "a.wav", tones.say("one two three"), tones.SAMPLE_RATE)
    content = (tmp_path / "a.wav").read_bytes()
    options = ("listen", "--model", tone_model, "--input", "-", "--format", "jsonl", "--stable")
    events = events_of(run(*options, input=content, text=False).stdout.decode())
    assert [(event["type"], event["text"]) for event in events] == [
        ("partial", "one"),
        ("partial", "one two"),
        ("final", "one two three"),
    ]
    assert [event["stable"] for event in events[:2]] == [1, 2]


def test_subtitles_as_they_are_said(tone_model, speech):
    done = run("listen", "--model", tone_model, "--input", "-", "--format", "vtt", input=speech.read_bytes(), text=False)
    blocks = done.stdout.decode().strip().split("\n\n")
    assert blocks[0] == "WEBVTT" and [block.split("\n")[1] for block in blocks[1:]] == TEXT


def test_figures(tone_recognizer, tmp_path):
    model = tones.save(tmp_path / "m.onnx", language="en")
    soundfile.write(tmp_path / "a.wav", tones.say("three one four"), tones.SAMPLE_RATE)
    content = (tmp_path / "a.wav").read_bytes()
    options = ("listen", "--model", model, "--input", "-", "--figures")
    assert run(*options, input=content, text=False).stdout == b"314\n"
    final = events_of(run(*options, "--format", "jsonl", input=content, text=False).stdout.decode())[-1]
    assert final["text"] == "314" and [word["word"] for word in final["words"]] == ["three", "one", "four"]


def test_a_command_for_each_final(tone_model, speech, tmp_path):
    command = f"sh -c 'cat >> {tmp_path}/told; echo printed'"
    done = run("listen", "--model", tone_model, "--input", speech, "--run", command)
    assert (done.returncode, done.stdout.splitlines()) == (0, TEXT)
    told = events_of((tmp_path / "told").read_text())
    assert [(event["type"], event["text"], event["file"]) for event in told] == [("final", text, str(speech)) for text in TEXT]
    assert done.stderr.count("printed") == 2


def test_a_command_that_fails_is_told_for_each_final(tone_model, speech):
    done = run("listen", "--model", tone_model, "--input", "-", "--run", "false", input=speech.read_bytes(), text=False)
    assert (done.returncode, done.stdout.decode().splitlines()) == (0, TEXT)
    assert done.stderr.count(b"--run: false ended with exit code 1.") == 2


def test_a_full_disk_is_told(tone_model, speech):
    with Path("/dev/full").open("w") as full:
        process = start("listen", "--model", tone_model, "--input", speech, stdout=full)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1 and "No space left" in errors and "Traceback" not in errors


def on_terminal(*words, columns=80, env=None):
    """Run a command on a terminal of its own; return what it wrote there, standard error aside."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    clean = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [*EDGESEQ, *map(str, words)],
        stdout=child,
        stderr=subprocess.DEVNULL,
        env={**clean, "TERM": "xterm", **(env or {})},
    )
    os.close(child)
    written = b""
    while select.select([parent], [], [], 30)[0]:
        try:
            written += os.read(parent, 65536)
        except OSError:  # the other end is closed
            break
    os.close(parent)
    assert process.wait(timeout=30) == 0
    return written.decode()


def screen(written):
    """What a terminal shows in the end, if nothing has wrapped."""
    lines, line = [], ""
    for part in re.sub(r"\x1b\[\d+m", "", written).replace("\r\n", "\n").replace("\x1b[K", "\0"):
        if part == "\n":
            lines, line = [*lines, line], ""
        elif part == "\r":
            line = ""
        elif part != "\0":
            line += part
    return [*lines, line]


def test_a_terminal_line_is_rewritten(tone_model, speech):
    written = on_terminal("listen", "--model", tone_model, "--input", speech)
    assert "\r\x1b[2mg\x1b[22m\x1b[K" in written and "\r\x1b[2mgo\x1b[22m\x1b[K" in written
    assert screen(written) == [*TEXT, ""]


def test_a_line_longer_than_the_terminal_does_not_wrap(tone_model, tmp_path):
    soundfile.write(tmp_path / "long.wav", tones.say("a few"), tones.SAMPLE_RATE)
    written = on_terminal("listen", "--model", tone_model, "--input", tmp_path / "long.wav", columns=5, env={"NO_COLOR": "1"})
    partials = written.split("\x1b[K")[:-2]
    assert max(len(partial.strip("\r")) for partial in partials) == 4
    assert "\r…few\x1b[K" in written
    assert screen(written) == ["a few", ""], "the final is whole"


def test_a_dumb_terminal_gets_finals_only(tone_model, speech):
    written = on_terminal("listen", "--model", tone_model, "--input", speech, env={"TERM": "dumb"})
    assert written == "go\r\non\r\n"


def test_fit_and_width():
    assert fit("abc", 3) == "abc" and fit("abcd", 3) == "…cd" and fit("abc", 0) == "…"
    assert width("日") == 2 and width("\u0301") == 0
    assert fit("日本語", 5) == "…本語" and fit("日本語", 4) == "…語"
    assert printable("a\x1b[2Jb\x07") == "a�[2Jb�"


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (["--model", "nosuch"], 2, "no model 'nosuch'"),
        (["--input", "none.wav"], 1, "none.wav: cannot be opened (No such file or directory)"),
        (["--chunk-ms", "0"], 2, "--chunk-ms"),
        (["--endpoint-seconds", "0"], 2, "more than 0 seconds"),
        (["--run", "no-such-program"], 2, "no program 'no-such-program'"),
        (["--figures"], 2, "the model's language 'x-tones'"),
        (["--format", "xml"], 2, "--format"),
        (["--bits", "8"], 2, "not the 8-bit file"),
        (["--no-such-option"], 2, "No such option"),
        (["extra"], 2, "unexpected extra argument"),
    ],
)
def test_wrong_usage(tone_model, words, exit_code, said):
    model = [] if "--model" in words else ["--model", tone_model]
    done = run("listen", *model, *words)
    assert (done.returncode, done.stdout) == (exit_code, "")
    assert said in done.stderr and "Traceback" not in done.stderr


def test_no_microphone_or_a_wrong_name(tone_model, tmp_path):
    nowhere = {"PULSE_SERVER": f"unix:{tmp_path}/none"}
    done = run("listen", "--model", tone_model, "--device", "no such thing", env=nowhere)
    assert done.returncode in (1, 2) and "microphone" in done.stderr and "Traceback" not in done.stderr


@needs_sound_server
def test_words_from_a_microphone(tone_model, tmp_path):
    samples = np.concatenate([tones.say(TEXT[0]), tones.silence(1.0), tones.say(TEXT[1])])
    soundfile.write(tmp_path / "x.wav", np.concatenate([samples, tones.silence(0.5)]), tones.SAMPLE_RATE)
    with sound_server() as server:
        process = start("listen", "--model", tone_model, "--format", "jsonl", env=server.environment)
        assert "Ctrl-C ends" in next(line for line in process.stderr if line.startswith("listening"))
        server.speak(tmp_path / "x.wav")
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
    events = events_of(out)
    assert [event["text"] for event in events if event["type"] == "final"] == TEXT
    assert all("file" not in event for event in events)
    assert process.returncode == 0, errors


@needs_sound_server
def test_a_microphone_that_goes_and_comes_back(tone_model, tmp_path):
    """The last words are told at once, the gap when it is over, and what is said then is heard."""
    soundfile.write(tmp_path / "go.wav", np.concatenate([tones.say("go"), tones.silence(0.5)]), tones.SAMPLE_RATE)
    soundfile.write(tmp_path / "on.wav", np.concatenate([tones.say("on"), tones.silence(1.5)]), tones.SAMPLE_RATE)
    with sound_server() as server:
        process = start("listen", "--model", tone_model, "--format", "jsonl", env=server.environment)
        next(line for line in process.stderr if line.startswith("listening"))
        server.speak(tmp_path / "go.wav")
        server.process.kill()
        server.process.wait()
        while json.loads(process.stdout.readline())["type"] != "final":
            pass
        assert next(line for line in process.stderr if "trained on" not in line).count("has gone")
        server.restart()
        gap = json.loads(process.stdout.readline())
        assert "is back after" in process.stderr.readline()
        server.speak(tmp_path / "on.wav")
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
    assert gap["type"] == "gap" and gap["reason"] == "the microphone had gone" and gap["end"] > gap["start"] > 0.5
    final = events_of(out)[-1]
    assert (final["type"], final["text"]) == ("final", "on") and final["start"] > gap["end"]
    assert process.returncode == 0 and "of sound were lost in 1 place" in errors


@needs_sound_server
@pytest.mark.parametrize("form", ["text", "srt"])
def test_a_gap_is_no_line_of_text(tone_model, tmp_path, form):
    with sound_server() as server:
        process = start("listen", "--model", tone_model, "--format", form, env=server.environment)
        next(line for line in process.stderr if line.startswith("listening"))
        server.remove_sink()
        server.add_sink()
        next(line for line in process.stderr if "no sound from" in line)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[0] == ""


@needs_sound_server
@pytest.mark.parametrize("after_seconds", [0.2, 3.0])  # before it is noticed, and while it is tried again
def test_a_frozen_sound_server_does_not_hold_up_the_end(tone_model, after_seconds):
    with sound_server() as server:
        process = start("listen", "--model", tone_model, env=server.environment)
        next(line for line in process.stderr if line.startswith("listening"))
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(after_seconds)
        at = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0 and time.monotonic() - at < 2
    assert ("it gives nothing" in errors) == (after_seconds > 2)


class Watchdog:
    """What systemd is on the other side of a service's socket."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.settimeout(30)

    def line(self):
        return self._socket.recv(4096).decode()


def test_a_service_tells_how_it_is(tone_model, endless, tmp_path):
    systemd = Watchdog(tmp_path)
    told = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "400000"}
    process = start("listen", "--model", tone_model, "--input", endless, env=told)
    assert systemd.line() == f"READY=1\nSTATUS=listening on {endless}"
    assert systemd.line() == "WATCHDOG=1"
    at = time.monotonic()
    assert systemd.line() == "WATCHDOG=1"
    assert 0.1 < time.monotonic() - at < 0.4, "twice as often as the watchdog asks for"
    process.send_signal(signal.SIGTERM)
    while (line := systemd.line()) == "WATCHDOG=1":
        pass
    assert line == "STOPPING=1"
    process.communicate(timeout=30)


@needs_sound_server
def test_levels(tmp_path):
    loud = np.sin(2 * np.pi * 440 * np.arange(3 * 48000) / 48000)
    soundfile.write(tmp_path / "loud.wav", np.clip(2 * loud, -1, 1), 48000)
    soundfile.write(tmp_path / "half.wav", 0.1 * loud, 48000)
    with sound_server() as server:
        silent = run("devices", "--test", "--seconds", 1, env=server.environment)
        assert silent.returncode == 0 and "only zeros" in silent.stdout and "48000 Hz, 1 channel, float32" in silent.stdout
        for name, peak, rms, clips in (("half", -20.0, -23.0, False), ("loud", 0.0, -1.2, True)):
            process = start("devices", "--test", "--seconds", 2, "--format", "jsonl", env=server.environment)
            server.speak(tmp_path / f"{name}.wav")
            out, errors = process.communicate(timeout=30)
            heard = [line for line in events_of(out) if line["peak_db"] > -90]
            assert heard[-1]["peak_db"] == pytest.approx(peak, abs=0.2), errors
            assert max(line["rms_db"] for line in heard) == pytest.approx(rms, abs=0.3)
            assert any(line["clipped"] for line in heard) == clips


@needs_sound_server
def test_devices(tmp_path):
    with sound_server() as server:
        done = run("devices", env=server.environment)
        lines = run("devices", "--format", "jsonl", env=server.environment).stdout.splitlines()
    assert done.returncode == 0 and "* " in done.stdout and "pulse" in done.stdout
    assert {"pulse", "default"} <= {json.loads(line)["name"] for line in lines}


def test_the_microphone_may_be_named_by_the_environment(tone_model, monkeypatch):
    import edgeseq.cli.listen as module

    def refuse(device, *_):
        raise UsageError(f"asked for {device}")

    monkeypatch.setattr(module, "_microphone", refuse)
    asked = CliRunner().invoke(app, ["listen", "--model", str(tone_model)], env={"EDGESEQ_DEVICE": "USB"})
    assert asked.exit_code == 2 and "asked for USB" in asked.stderr
    asked = CliRunner().invoke(app, ["listen", "--model", str(tone_model), "-d", "2"], env={"EDGESEQ_DEVICE": "USB"})
    assert "asked for 2" in asked.stderr
