"""`edgeseq data record` on a real terminal, with a real sound server as microphone."""

import os
import pty
import select
import subprocess
import time

import numpy as np
import pytest
import soundfile
from command_line import EDGESEQ, STARTED, run
from sound_server import needs_sound_server, sound_server

from edgeseq.data.manifest import read_manifest

RATE = 48_000


class Terminal:
    """A command on a pseudo-terminal: its keyboard and its screen."""

    def __init__(self, *words, env):
        self._mine, theirs = pty.openpty()
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        session = {"start_new_session": True, "preexec_fn": lambda: os.close(os.open(os.ttyname(0), os.O_RDWR))}
        self.process = subprocess.Popen([*EDGESEQ, *map(str, words)], env={**os.environ, **env}, **streams, **session)
        STARTED.append(self.process)
        os.close(theirs)
        self.seen = ""

    def wait_for(self, text, seconds=40):
        """Read until `text` is shown, after what was waited for before."""
        until = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < until, f"{text!r} was not shown, but: {self.seen}"
            if select.select([self._mine], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self._mine, 4096).decode()
                except OSError:  # the other side is closed
                    break
        assert text in self.seen
        before, _, self.seen = self.seen.partition(text)
        return before

    def press(self, keys):
        os.write(self._mine, keys.encode())

    def end(self):
        """Read what is left; gives the exit code."""
        while True:
            try:
                if not (read := os.read(self._mine, 4096)):
                    break
            except OSError:
                break
            self.seen += read.decode()
        os.close(self._mine)
        return self.process.wait(timeout=30)


@pytest.fixture
def here(tmp_path):
    """Prompts, and what somebody says to them, well and too softly."""
    (tmp_path / "prompts.txt").write_text("lights on\nlights off\n")
    time_seconds = np.arange(RATE) / RATE
    wave = sum(np.sin(2 * np.pi * 140 * k * time_seconds + k * k) / k for k in range(1, 12))
    said = wave * np.abs(np.sin(2 * np.pi * 2 * time_seconds))
    said = 0.3 * said / np.abs(said).max()
    soundfile.write(tmp_path / "good.wav", said, RATE)
    soundfile.write(tmp_path / "soft.wav", 0.01 * said, RATE)
    return tmp_path


def words(here):
    return ["data", "record", "--prompts", here / "prompts.txt", "--out", here / "mine", "--speaker", "anna"]


@needs_sound_server
def test_prompts_are_recorded_and_asked_for_once(here):
    with sound_server() as server:
        terminal = Terminal(*words(here), env=server.environment)
        terminal.wait_for("[1/2]  lights on")
        terminal.press("\n")
        terminal.wait_for("speak now")
        server.speak(here / "soft.wav")
        terminal.wait_for("too quiet")
        terminal.press("r")
        terminal.wait_for("speak now")
        time.sleep(0.3)
        server.speak(here / "good.wav")
        terminal.wait_for("good: ")
        terminal.press("p")
        terminal.press("\n")
        terminal.wait_for("[2/2]  lights off")
        terminal.press("\x03")
        terminal.wait_for("run the same command again")
        assert terminal.end() == 130

        (recording,) = read_manifest(here / "mine/manifest.jsonl")
        assert (recording.text, recording.speaker) == ("lights on", "anna")
        heard, rate = soundfile.read(recording.path)
        assert rate == 16_000 and similarity(heard, soundfile.read(here / "good.wav")[0][::3]) > 0.95

        terminal = Terminal(*words(here), env=server.environment)
        terminal.wait_for("1 of 2 prompts are done already")
        terminal.wait_for("[2/2]  lights off")
        terminal.press("s")
        terminal.wait_for("0 kept, 1 skipped")
        assert terminal.end() == 0


def similarity(one, other):
    """Peak of the normalized cross-correlation."""
    n_fft = len(one) + len(other)
    correlation = np.fft.irfft(np.fft.rfft(one, n_fft) * np.conj(np.fft.rfft(other, n_fft)), n_fft)
    return float(np.abs(correlation).max() / np.sqrt(np.sum(one**2) * np.sum(other**2)))


@needs_sound_server
def test_the_terminal_is_left_as_it_was(here):
    import termios

    with sound_server() as server:
        terminal = Terminal(*words(here), env=server.environment)
        terminal.wait_for("[1/2]")
        held = termios.tcgetattr(terminal._mine)[3]
        terminal.press("q")
        terminal.wait_for("0 kept")
        terminal.process.wait(timeout=30)
        left = termios.tcgetattr(terminal._mine)[3]
    assert not held & termios.ECHO and not held & termios.ICANON
    assert left & termios.ECHO and left & termios.ICANON


def test_without_a_terminal_it_says_so(here):
    done = run(*words(here), stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and "must be a terminal" in done.stderr


def test_bad_arguments(here):
    done = run("data", "record", "--prompts", here / "none.txt", "--out", here / "mine", "--speaker", "anna")
    assert done.returncode == 1 and "none.txt: cannot be read" in done.stderr
    done = run(*words(here)[:-1], "a/b")
    assert done.returncode == 2 and "not a speaker's name" in done.stderr


def test_nothing_of_training_is_loaded(here):
    """A board has no torch."""
    code = (
        "import sys\nimport edgeseq.data.record, edgeseq.cli.record, edgeseq.sound.microphone, edgeseq.sound.playback\n"
        "print([m for m in ('torch', 'scipy', 'pydantic', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([EDGESEQ[0], "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
