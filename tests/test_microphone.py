"""The microphone itself runs in programs of their own: PortAudio looks for devices once a process."""

import json
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import soundfile

from edgeseq.errors import UsageError
from edgeseq.microphone import Device, find_microphone

from sound_server import needs_sound_server, sound_server  # isort: skip

DEVICES = [
    Device(0, "HDA Intel: ALC (hw:0,0)", 2, 48000, False),
    Device(3, "USB Audio Device: -", 1, 44100, True),
    Device(4, "USB Camera", 2, 16000, False),
]

RECORD = """
    import sys, numpy as np
    from edgeseq.microphone import Microphone
    rate, seconds, path = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    heard = []
    with Microphone(None, rate) as microphone:
        print("open", microphone.rate, flush=True)
        for block in microphone.blocks():
            heard.append(block)
            if sum(map(len, heard)) >= seconds * rate:
                microphone.stop()
    np.save(path, np.concatenate(heard))
    print(microphone.n_lost)
"""


def python(code, *words, env=None):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, words)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(code, env=None):
    process = python(code, env=env)
    out, err = process.communicate(timeout=30)
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


CALL = """
    import ctypes.util, sys
    {before}
    from edgeseq.errors import DeviceError
    from edgeseq.microphone import Microphone
    try:
        Microphone({wanted!r}, 8000)
    except DeviceError as fault:
        print(fault)
"""


def test_no_portaudio():
    hidden = "ctypes.util.find_library = lambda name: None"
    assert "sudo apt install libportaudio2" in output(CALL.format(before=hidden, wanted=None))


def test_no_microphone(tmp_path):
    nowhere = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PULSE_SERVER": f"unix:{tmp_path}/none"}
    said = output(CALL.format(before="", wanted=None), env=nowhere)
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


@needs_sound_server
@pytest.mark.parametrize("rate", [8000, 16000])
def test_what_is_played_is_recorded(server, rate, tmp_path):
    soundfile.write(tmp_path / "x.wav", speech_like(48000), 48000)
    recorder = python(RECORD, rate, 3, tmp_path / "heard.npy", env=server.environment)
    assert recorder.stdout.readline() == f"open {rate}\n"
    server.speak(tmp_path / "x.wav")
    out, err = recorder.communicate(timeout=30)
    assert recorder.returncode == 0, err
    assert out == "0\n", "nothing was lost"
    heard = np.load(tmp_path / "heard.npy")
    assert heard.dtype == np.float32 and heard.ndim == 1
    played = speech_like(rate)
    lag = int(np.correlate(heard, played, "valid").argmax())
    assert np.corrcoef(heard[lag : lag + len(played)], played)[0, 1] > 0.95


@needs_sound_server
def test_a_refused_rate_is_resampled(server, tmp_path):
    # PulseAudio takes nearly every rate, but not this one.
    recorder = python(RECORD, 500_000, 0.5, tmp_path / "heard.npy", env=server.environment)
    out, err = recorder.communicate(timeout=30)
    assert out.startswith("open 44100\n"), err
    assert len(np.load(tmp_path / "heard.npy")) >= 250_000


@needs_sound_server
def test_devices_are_listed(server):
    code = "import dataclasses, json; from edgeseq.microphone import list_microphones as f\n"
    code += "print(json.dumps([dataclasses.asdict(d) for d in f()]))"
    devices = json.loads(output(code, env=server.environment))
    assert {"pulse", "default"} <= {device["name"] for device in devices}
    assert sum(device["is_default"] for device in devices) == 1


LISTEN = """
    import time
    from edgeseq.errors import DeviceError
    from edgeseq.microphone import Microphone
    with Microphone(None, 8000) as microphone:
        try:
            for block in microphone.blocks():
                print("block", flush=True)
        except DeviceError as fault:
            print(time.monotonic(), fault, flush=True)
    import os
    os._exit(0)  # with a frozen server PortAudio's own clean-up at exit would hang
"""


@needs_sound_server
@pytest.mark.parametrize(
    ("ending", "said", "within"),
    [(signal.SIGKILL, "has gone", 2.5), (signal.SIGTERM, "has gone", 2.5), (signal.SIGSTOP, "has given nothing", 5)],
)
def test_a_dead_sound_server_ends_in_a_message(server, ending, said, within):
    listener = python(LISTEN, env=server.environment)
    for _ in range(3):
        assert listener.stdout.readline() == "block\n"
    server.process.send_signal(ending)
    at = time.monotonic()
    out, _ = listener.communicate(timeout=30)
    line = next(line for line in out.splitlines() if not line.startswith("block"))
    assert said in line
    assert float(line.split()[0]) - at < within


@needs_sound_server
def test_a_reader_that_is_too_slow_loses_sound_and_counts_it(server):
    code = """
        import edgeseq.microphone as m, time
        m.QUEUE_SECONDS = 0.3
        with m.Microphone(None, 8000) as microphone:
            blocks = microphone.blocks()
            next(blocks)
            time.sleep(1)
            microphone.stop()
        print(microphone.n_lost)
    """
    assert int(output(code, env=server.environment)) > 0


def test_an_overflow_that_portaudio_reports_is_counted():
    code = """
        import numpy as np, sounddevice as sd, queue
        from edgeseq.microphone import Microphone
        microphone = Microphone.__new__(Microphone)
        microphone.n_lost, microphone._queue = 0, queue.Queue()
        microphone._take(np.zeros((5, 1), np.float32), 5, None, sd.CallbackFlags(2))
        print(microphone.n_lost, microphone._queue.qsize())
    """
    if "PortAudio" in output("try:\n    import sounddevice\nexcept OSError as e:\n    print(e)"):
        pytest.skip("PortAudio is not installed (apt: libportaudio2)")
    assert output(code) == "1 1\n"
