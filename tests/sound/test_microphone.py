"""The microphone itself, through a real sound server: PortAudio, ALSA and PulseAudio in programs of their own."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgeseq.errors import UsageError
from edgeseq.sound.microphone import Device, find_microphone

from sound_server import needs_sound_server, sound_server  # isort: skip

DEVICES = [
    Device(0, "HDA Intel: ALC (hw:0,0)", 2, 48000, False),
    Device(3, "USB Audio Device: -", 1, 44100, True),
    Device(4, "USB Camera", 2, 16000, False),
]

RECORD = """
    import sys, numpy as np
    from edgeseq.sound.blocks import Lost
    from edgeseq.sound.microphone import Microphone
    rate, seconds, path = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    heard = []
    with Microphone(None, rate) as microphone:
        print("open", microphone.opened.sample_format, flush=True)
        for block in microphone.blocks():
            assert not isinstance(block, Lost), block
            heard.append(block)
            if sum(map(len, heard)) >= seconds * rate:
                microphone.stop()
    np.save(path, np.concatenate(heard))
    print(microphone.summary())
"""


def python(code, *words, env=None):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, words)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(code, *words, env=None):
    process = python(code, *words, env=env)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


@pytest.mark.parametrize(
    ("wanted", "index"),
    [(None, 3), (0, 0), ("4", 4), ("usb camera", 4), ("intel", 0), ("USB Audio Device: -", 3)],
)
def test_find(wanted, index):
    assert find_microphone(wanted, DEVICES).index == index


@pytest.mark.parametrize(("wanted", "said"), [("bluetooth", "no microphone"), ("9", "no"), ("USB", "more than one")])
def test_find_lists_those_there_are(wanted, said):
    with pytest.raises(UsageError, match=said) as caught:
        find_microphone(wanted, DEVICES)
    assert "4  USB Camera" in str(caught.value)


def test_the_default_may_be_missing():
    assert find_microphone(None, DEVICES[:1]).index == 0


def test_a_name_stays_right_where_indices_change():
    moved = [dataclasses.replace(device, index=9 - device.index) for device in reversed(DEVICES)]
    assert find_microphone("camera", moved).name == find_microphone("camera", DEVICES).name


CALL = """
    from edgeseq.errors import DeviceError, UsageError
    from edgeseq.sound.microphone import Microphone
    try:
        Microphone({wanted!r}, 8000)
    except (DeviceError, UsageError) as fault:
        print(type(fault).__name__, fault)
"""


def test_no_portaudio(tmp_path):
    # The recorder is a process of its own, and loads this module before all others.
    (tmp_path / "sitecustomize.py").write_text("import ctypes.util\nctypes.util.find_library = lambda name: None\n")
    said = output(CALL.format(wanted=None), env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert said.startswith("DeviceError") and "sudo apt install libportaudio2" in said


def test_no_microphone(tmp_path):
    nowhere = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PULSE_SERVER": f"unix:{tmp_path}/none"}
    said = output(CALL.format(wanted=None), env=nowhere)
    if not said:
        pytest.skip("this machine has a microphone")
    assert "no microphone" in said


@pytest.fixture
def server():
    with sound_server() as running:
        yield running


def speech_like(rate):
    t = np.arange(2 * rate) / rate
    return (0.4 * np.sin(2 * np.pi * (200 * t + 300 * t**2)) * np.sin(np.pi * t / 2)).astype(np.float32)


def correlation(heard, played):
    lag = int(np.correlate(heard, played, "valid").argmax())
    return np.corrcoef(heard[lag : lag + len(played)], played)[0, 1]


@needs_sound_server
@pytest.mark.parametrize(("rate", "sink_rate", "n_channels"), [(8000, 48000, 1), (16000, 44100, 2), (22050, 16000, 1)])
def test_what_is_played_is_recorded(rate, sink_rate, n_channels, tmp_path):
    soundfile.write(tmp_path / "x.wav", speech_like(48000), 48000)
    with sound_server(sink_rate, n_channels) as server:
        recorder = python(RECORD, rate, 3, tmp_path / "heard.npy", env=server.environment)
        assert recorder.stdout.readline() == "open float32\n"
        server.speak(tmp_path / "x.wav")
        out, err = recorder.communicate(timeout=30)
    assert recorder.returncode == 0, err
    assert out == "[]\n", "nothing was lost"
    heard = np.load(tmp_path / "heard.npy")
    assert heard.dtype == np.float32 and heard.ndim == 1
    assert correlation(heard, speech_like(rate)) > 0.98


@needs_sound_server
@pytest.mark.parametrize("wanted", ["pulse", 0, "PUL"])
def test_a_device_by_name_or_index(server, wanted):
    code = "from edgeseq.sound.microphone import Microphone\nwith Microphone({!r}, 8000) as m: print(m.name)"
    assert output(code.format(wanted), env=server.environment) == "pulse\n"
    assert "no microphone is called" in output(CALL.format(wanted="nosuch"), env=server.environment)


@needs_sound_server
def test_devices_are_listed(server):
    code = "import dataclasses, json; from edgeseq.sound.microphone import list_microphones as f\n"
    code += "print(json.dumps([dataclasses.asdict(d) for d in f()]))"
    devices = json.loads(output(code, env=server.environment))
    assert {"pulse", "default"} <= {device["name"] for device in devices}
    assert sum(device["is_default"] for device in devices) == 1


WATCH = """
    import sys, time
    from edgeseq.sound.blocks import Lost
    from edgeseq.sound.microphone import Microphone
    def say(*words): print(f"{time.monotonic():.3f}", *words, flush=True)
    with Microphone(None, 8000, report=lambda line: say("report", line)) as microphone:
        say("pid", microphone.pid)
        total = peak = 0
        for block in microphone.blocks():
            if isinstance(block, Lost):
                say("lost", f"{block.seconds:.3f}", block.reason)
                total = 0
            elif len(block):
                if not total:
                    say("sound")
                total += len(block)
                if (abs(block) > 0.1).any():
                    say("loud")
"""


class Watcher:
    """A program that listens and tells what happens, with times."""

    def __init__(self, server):
        self.process = python(WATCH, env=server.environment)
        self.recorder = int(self.next("pid").split()[0])
        self.next("sound")

    def next(self, kind, within=15.0):
        """Wait for the next line of a kind; remembers its time."""
        deadline = time.monotonic() + within
        for line in self.process.stdout:
            at, found, *rest = line.rstrip("\n").split(" ", 2)
            self.at = float(at)
            if found == kind:
                assert self.at < deadline, f"{kind} came late"
                return rest[0] if rest else ""
        raise AssertionError(self.process.stderr.read())

    def end(self):
        at = time.monotonic()
        self.process.kill()
        self.process.communicate(timeout=30)
        while Path(f"/proc/{self.recorder}").exists() and not is_zombie(self.recorder):
            assert time.monotonic() - at < 5, "the recorder outlived its parent"
            time.sleep(0.02)


def is_zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def watcher(server):
    watcher = Watcher(server)
    yield watcher
    watcher.end()


@needs_sound_server
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_sound_server_that_ends_and_comes_back(server, watcher, tmp_path, ending):
    began = time.monotonic()
    server.process.send_signal(ending)
    server.process.wait()
    assert "has gone" in watcher.next("report") and watcher.at - began < 2
    assert watcher.next("lost").startswith("0.000"), "what was being said ends at once"
    time.sleep(1)
    server.restart()
    back = time.monotonic()
    assert "is back after" in watcher.next("report") and watcher.at - back < 3
    seconds, reason = watcher.next("lost").split(" ", 1)
    assert reason == "the microphone had gone" and float(seconds) == pytest.approx(watcher.at - began, abs=0.5)
    soundfile.write(tmp_path / "x.wav", speech_like(48000), 48000)
    server.speak(tmp_path / "x.wav")
    watcher.next("loud")


@needs_sound_server
def test_a_frozen_sound_server(server, watcher):
    began = time.monotonic()
    server.process.send_signal(signal.SIGSTOP)
    assert "it gives nothing, not even silence" in watcher.next("report") and watcher.at - began < 2
    assert watcher.next("lost").startswith("0.000")
    time.sleep(3)
    server.process.send_signal(signal.SIGCONT)
    back = time.monotonic()
    assert "is back after" in watcher.next("report") and watcher.at - back < 3
    assert float(watcher.next("lost").split()[0]) == pytest.approx(watcher.at - began, abs=0.5)


@needs_sound_server
def test_a_source_that_is_removed_and_added_again(server, watcher):
    server.remove_sink()
    began = time.monotonic()
    assert "has gone" in watcher.next("report") and watcher.at - began < 2
    server.add_sink()
    back = time.monotonic()
    assert "is back after" in watcher.next("report") and watcher.at - back < 3


@needs_sound_server
def test_another_default_is_followed(server, watcher, tmp_path):
    soundfile.write(tmp_path / "x.wav", speech_like(48000), 48000)
    server.add_sink("other")
    time.sleep(0.5)
    server.speak(tmp_path / "x.wav", "other")
    watcher.next("loud")


@needs_sound_server
def test_a_recorder_that_is_killed_is_started_anew(watcher):
    os.kill(watcher.recorder, signal.SIGKILL)
    began = time.monotonic()
    assert "has gone" in watcher.next("report") and watcher.at - began < 2
    assert "is back after" in watcher.next("report") and watcher.at - began < 3


@needs_sound_server
def test_a_recorder_that_hangs_is_killed(server):
    watcher = Watcher(server)
    os.kill(watcher.recorder, signal.SIGSTOP)
    began = time.monotonic()
    assert "it gives nothing" in watcher.next("report") and watcher.at - began < 2
    assert "is back after" in watcher.next("report") and watcher.at - began < 4
    assert is_zombie(watcher.recorder) or not Path(f"/proc/{watcher.recorder}").exists()
    watcher.end()


@needs_sound_server
def test_a_device_that_delivers_nothing(server):
    """A pipe that nobody writes into: it opens well, and no block ever comes."""
    server.control("load-module", "module-pipe-source", f"file={server.folder}/dumb", "source_name=dumb")
    server.control("set-default-source", "dumb")
    began = time.monotonic()
    process = python(WATCH, env=server.environment)
    lines = [process.stdout.readline() for _ in range(2)]
    assert "it gives nothing" in lines[1], lines
    assert float(lines[1].split()[0]) - float(lines[0].split()[0]) < 2
    server.control("set-default-source", "speaker.monitor")
    while "is back after" not in (line := process.stdout.readline()):
        assert line and time.monotonic() - began < 15
    process.kill()
    process.communicate()


@needs_sound_server
@pytest.mark.parametrize("state", ["recording", "frozen"])
def test_a_recorder_ends_with_its_parent(server, state):
    watcher = Watcher(server)
    if state == "frozen":
        server.process.send_signal(signal.SIGSTOP)
        watcher.next("report")
    watcher.end()


SLOW = """
    import sys, time
    from edgeseq.sound.blocks import Lost
    from edgeseq.sound.microphone import Microphone
    factor, seconds = float(sys.argv[1]), float(sys.argv[2])
    began, longest, lost, heard = time.monotonic(), 0, 0, 0
    with Microphone(None, 8000, report=print) as microphone:
        for block in microphone.blocks():
            if isinstance(block, Lost):
                print("lost", block)
                lost += block.seconds
            else:
                heard += len(block) / 8000
                longest = max(longest, len(block) / 8000)
                time.sleep(factor * len(block) / 8000)
            if time.monotonic() - began > seconds:
                break
        print("sum", longest, lost, heard, time.monotonic() - began)
        print(microphone.summary())
"""


@needs_sound_server
def test_a_machine_that_is_too_slow_says_so_and_drops_the_oldest(server):
    out = output(SLOW, 3.0, 12, env=server.environment)
    assert 2.4 < float(re.search(r"([\d.]+) times slower than real time with this model", out)[1]) < 3.3
    assert "lost Lost(seconds=" in out and "the machine cannot keep up" in out
    longest, lost, heard, took = map(float, out.split("sum ")[1].split("\n")[0].split())
    assert 0.5 < longest <= 1.1, "blocks grow first"
    assert lost + heard == pytest.approx(took, abs=6.5), "heard and lost are all there was, but for what waits"
    assert f"{lost:.1f} s of sound were lost in" in out.splitlines()[-1]


@needs_sound_server
def test_a_machine_that_is_held_up_once_loses_nothing(server):
    code = SLOW.replace("time.sleep(factor * len(block) / 8000)", "time.sleep(3 if 0.5 < heard < 0.65 else 0)")
    out = output(code, 0, 6, env=server.environment)
    _, lost, heard, took = map(float, out.split("sum ")[1].split("\n")[0].split())
    assert lost == 0 and heard == pytest.approx(took, abs=0.6)
    assert out.splitlines()[-1] == "[]"


def test_the_recorder_is_small():
    """It loads neither numpy nor anything larger."""
    code = "import sys, edgeseq.sound.capture.recorder, edgeseq.sound.capture.devices as d\n"
    code += "try:\n    d.import_sounddevice()\nexcept Exception: pass\nprint(*sys.modules)"
    assert not {"numpy", "onnxruntime", "torch", "typer", "soxr"} & set(output(code).split())


RECORDER = """
    import numpy as np, os, types
    from edgeseq.sound.capture.recorder import CaptureRequest, CaptureStream, Recorder, _Taken
    from edgeseq.sound.capture.ring import Ring, shared_memory
    import sounddevice as sd
    ring, (messages, ours) = shared_memory(), os.pipe()
    opened = CaptureStream("x", 8000, 1, "int16", 5, 16, 0)
    recorder = Recorder(CaptureRequest(None, 8000, 0.08, 10), ring, ours)
    taken = _Taken(opened, Ring(ring, opened.layout), 1)
    times = types.SimpleNamespace(currentTime=5.0, inputBufferAdcTime={adc})
    for flags in (2, 0):
        recorder._take(taken, np.arange(5, dtype=np.int16).tobytes(), times, sd.CallbackFlags(flags))
    slot = Ring(ring, opened.layout).read(1)
    print(slot.n_overruns, slot.sample, os.read(messages, 100))
"""


@pytest.mark.parametrize("adc", [4.9, 0.0, 7.0])
def test_an_overflow_that_portaudio_reports_is_counted(adc):
    """No sound system here gives this flag, and none gives absurd times."""
    if "PortAudio" in output("try:\n    import sounddevice\nexcept OSError as e:\n    print(e)"):
        pytest.skip("PortAudio is not installed (apt: libportaudio2)")
    assert output(RECORDER.format(adc=adc)) == "1 5 b'b 0\\nb 1\\n'\n"
