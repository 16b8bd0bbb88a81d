"""What a person sees in a terminal: that work has begun, how loud it is, what is being said."""

import io
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import edgeseq.cli.live_line as live_line
from edgeseq.cli.live_line import BAR_COLUMNS, LevelMeter, LiveLine
from edgeseq.cli.printing import say

pytest.importorskip("onnx")
import tone_language as tones
from command_line import start
from sound_server import needs_sound_server, sound_server
from terminal import terminal

ROOT = Path(__file__).parents[2]
METER = re.compile(rf"\[([#.]{{{BAR_COLUMNS}}})\]")
MUTED = f"[{'muted?':^{BAR_COLUMNS}}]"


class Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def line(monkeypatch):
    """A line of a terminal of 80 columns."""
    monkeypatch.setattr(live_line.shutil, "get_terminal_size", lambda: os.terminal_size((80, 24)))
    monkeypatch.delenv("NO_COLOR", raising=False)
    yield (made := LiveLine(Screen()))
    made.take_away()


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "speech.wav"
    soundfile.write(path, np.concatenate([tones.say("go"), tones.silence(0.9), tones.say("on")]), tones.SAMPLE_RATE)
    return path


# Without a program.


def test_level_and_words_share_a_line_and_nothing_is_written_twice(line):
    line.show_level("[####]")
    line.show_text("three one")
    assert line._out.getvalue() == "\r[####]\x1b[K\r[####] \x1b[2mthree one\x1b[22m\x1b[K"
    line.show_level("[####]")
    line.show_text("three one")
    assert line._out.getvalue().count("\r") == 2


def test_a_line_never_wraps(line, monkeypatch):
    line.show_level("[####]")
    line.show_text("many words " * 20)
    assert len(re.sub(r"\x1b\[\d*\w|\r", "", line._out.getvalue().split("\r")[-1])) == 79
    monkeypatch.setattr(live_line.shutil, "get_terminal_size", lambda: os.terminal_size((20, 24)))
    line.show_text("three one")
    assert line._out.getvalue().endswith("\r\x1b[2mthree one\x1b[22m\x1b[K"), "no room for a level"


def test_lines_that_stay_come_above_it(line, capsys):
    line.show_text("three")
    say("edgeseq: news", err=True)
    assert line._out.getvalue().endswith("\r\x1b[K") and capsys.readouterr().err == "edgeseq: news\n"
    line.show_level("[####]")
    assert "three" in line._out.getvalue().rpartition("\r")[2], "and it comes back"


def test_no_color(line, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    line.show_text("three")
    assert line._out.getvalue() == "\rthree\x1b[K"


def test_meter(monkeypatch):
    clock = iter(np.arange(0, 100, 0.2))
    monkeypatch.setattr(live_line.time, "monotonic", lambda: next(clock))
    meter, loud, silent = LevelMeter(8000), np.full(1600, 0.1, np.float32), np.zeros(1600, np.float32)
    assert meter.take(loud) == "[########....]", "-20 of -60 dB"
    assert meter.take(np.full(1600, 1.0, np.float32)).strip("[]").strip() == "too loud!"
    shown = [meter.take(silent) for _ in range(11)]
    assert set(shown[:9]) == {"[............]"} and shown[9:] == [MUTED] * 2
    assert METER.fullmatch(meter.take(loud)), "it is heard again"


def test_meter_is_slower_than_blocks():
    meter = LevelMeter(8000)
    shown = [meter.take(np.zeros(80, np.float32)) for _ in range(20)]
    assert [text for text in shown if text is not None] == ["[............]"]


# The program in a terminal.


@pytest.mark.parametrize("words", [("listen", "--input"), ("transcribe",)])
def test_what_is_loading_is_seen_and_goes(tone_model, speech, words):
    with terminal(*words, speech, "--model", tone_model) as shown:
        shown.wait_for("loading")
        assert shown.end() == 0
        assert shown.lines[-1].endswith("on") and not any("loading" in text for text in shown.lines)


@pytest.mark.parametrize(
    "words",
    [("train", ROOT / "recipes/ctc.yaml"), ("export", "runs/none", "--out", "models/none"), ("report", "runs/none")],
)
def test_torch_is_waited_for_with_a_word_within_two_seconds(words, tmp_path):
    pytest.importorskip("torch")
    seconds = []
    for _ in range(3):  # other tests compute beside
        with terminal(*words, env={"EDGESEQ_DATA": str(tmp_path)}) as shown:
            seconds.append(shown.wait_for("loading torch ..."))
        if seconds[-1] < 2:
            break
    assert min(seconds) < 2


def test_words_are_dim_until_they_are_final(tone_model, speech):
    with terminal("listen", "--model", tone_model, "--input", speech) as shown:
        assert shown.end() == 0
        assert b"\r\x1b[2mgo\x1b[22m\x1b[K" in shown.written and b"\r\x1b[Kgo\r\n" in shown.written
        assert shown.lines[-2:] == ["go", "on"]
        assert METER.search(shown.written.decode()) is None, "a file has no microphone"


@needs_sound_server
def test_a_microphone_shows_its_level_and_that_it_is_muted(tone_model, tmp_path):
    soundfile.write(tmp_path / "go.wav", np.concatenate([tones.say("go"), tones.silence(1.5)]), tones.SAMPLE_RATE)
    with sound_server() as server, terminal("listen", "--model", tone_model, env=server.environment) as shown:
        shown.wait_for("listening on")
        assert shown.wait_for("gives nothing but zeros") < 3
        shown.wait_for(MUTED)
        server.speak(tmp_path / "go.wav")
        shown.wait_for("go")
        time.sleep(1)  # what was said becomes final
        levels = [bar.count("#") for bar in METER.findall(shown.written.decode())]
        assert max(levels) > BAR_COLUMNS / 2 and min(levels) == 0
        shown.process.send_signal(signal.SIGINT)
        assert shown.end() == 0
        assert shown.last == "go", "the line is taken away at the end"


@needs_sound_server
@pytest.mark.parametrize("options", [("--no-meter",), ("--format", "jsonl", "--no-meter")])
def test_the_level_can_be_left_out(tone_model, options):
    with sound_server() as server, terminal("listen", "--model", tone_model, *options, env=server.environment) as shown:
        shown.wait_for("gives nothing but zeros")
        shown.process.send_signal(signal.SIGINT)
        assert shown.end() == 0 and METER.search(shown.written.decode()) is None


@needs_sound_server
def test_a_pipe_gets_no_level_but_the_warning(tone_model):
    with sound_server() as server:
        process = start("listen", "--model", tone_model, env=server.environment)
        next(text for text in process.stderr if "nothing but zeros" in text)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
    assert out == "" and "[" not in errors and "\r" not in errors
