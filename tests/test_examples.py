"""The examples as people run them: programs in pipes, a broker, a server, a notebook; each hears real sound."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from command_line import EDGESEQ, STARTED, run

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs/examples"
CLIP = ROOT / "demo/number.flac"
GROUPS = ["zero four one", "three nine five", "two eight seven six"]
NODE_WITH_WEBSOCKETS = (20, 10)
SECONDS = 60.0

if not (ROOT / "models/english-small/model.int8.onnx").is_file():
    pytest.skip("models/english-small is not there", allow_module_level=True)


def needs(program):
    return pytest.mark.skipif(
        shutil.which(program) is None and not Path("/usr/sbin", program).is_file(), reason=f"{program} is not installed"
    )


def environment(**more):
    """What programs start with: `edgeseq` and `python3` are those of this test."""
    path = os.pathsep.join([str(Path(sys.executable).parent), *more.pop("path", []), os.environ["PATH"], "/usr/sbin"])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **more}


def example(name, *words, env=None, **options):
    """Run an example to its end."""
    interpreter = {".py": [sys.executable], ".sh": ["sh"], ".mjs": node()}[Path(name).suffix]
    command = [*interpreter, EXAMPLES / name, *words]
    options = {"text": True, "capture_output": True, "timeout": SECONDS, **options}
    return subprocess.run(list(map(str, command)), env=env or environment(), **options)


def node():
    """Node, asked for its WebSocket where it still hides it."""
    return ["node", *(["--experimental-websocket"] if node_version() < (22,) else [])]


@cache
def node_version():
    """Major and minor; (0,) without Node."""
    if shutil.which("node") is None:
        return (0,)
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def begin(command, **options):
    """Start a program that ends with the test at the latest; text in pipes."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment(), **options}
    STARTED.append(subprocess.Popen(list(map(str, command)), **options))
    return STARTED[-1]


def until(condition, seconds=SECONDS):
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.02)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def say(tmp_path_factory):
    """Synthesize sentences, with a second and a half of silence behind each; gives one file."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    import numpy as np
    import soundfile

    folder = tmp_path_factory.mktemp("said")

    def spoken(*sentences):
        pieces = []
        for sentence in sentences:
            path = folder / "one.wav"
            subprocess.run(["espeak-ng", "-v", "en-us", "-s", "140", "-w", path, sentence], check=True)
            samples, rate = soundfile.read(path, dtype="int16")
            pieces += [samples, np.zeros(round(1.5 * rate), np.int16)]
        together = folder / f"{'-'.join(sentences).replace(' ', '_')}.wav"
        soundfile.write(together, np.concatenate(pieces), rate)
        return together

    return spoken


def understood(phrases, *sounds):
    """What `edgeseq transcribe` understands by a phrase file: one JSON line per recording."""
    options = ["--model", "english-small", "--phrases", EXAMPLES / phrases, "--format", "jsonl"]
    done = run("transcribe", *options, *sounds)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_lamp_is_switched(say, tmp_path):
    """A Raspberry Pi's `pinctrl`, played by a script that keeps what it was asked for."""
    levels = tmp_path / "levels"
    pinctrl = tmp_path / "bin/pinctrl"
    pinctrl.parent.mkdir()
    pinctrl.write_text(f'#!/bin/sh\necho "$@" >> {levels}\n')
    pinctrl.chmod(0o755)
    sound = say("turn on the lamp", "please turn the light off")
    listen = ["listen", "--model", "english-small", "--phrases", EXAMPLES / "lamp.yaml", "--input", sound]
    act = ["--run", f"{sys.executable} {EXAMPLES / 'lamp.py'}"]
    done = run(*listen, *act, env=environment(path=[str(pinctrl.parent)], LAMP_PIN="27"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["turn on the lamp", "please turn the light off"]
    assert levels.read_text().splitlines() == ["set 27 op dh", "set 27 op dl"]


@pytest.mark.skipif(shutil.which("pinctrl") is not None, reason="there is a lamp here")
def test_a_lamp_without_pins_is_spoken_of():
    done = example("lamp.py", input='{"type": "final", "text": "turn on the lamp", "slots": {"state": "on"}}\n')
    assert done.returncode == 0 and "The lamp would be on now" in done.stdout


@pytest.mark.parametrize("sent", ["", "lamp on\n", '{"text": "one two", "words": []}\n'])
def test_the_lamp_refuses_what_is_no_command(sent):
    done = example("lamp.py", input=sent)
    assert done.returncode == 1 and done.stderr.startswith("lamp.py: ") and done.stderr.count("\n") == 1


@contextmanager
def broker(folder, settings="allow_anonymous true", port=None):
    """Mosquitto on a free port of this machine."""
    port = port or free_port()
    configuration = folder / "mosquitto.conf"
    configuration.write_text(f"listener {port} 127.0.0.1\npersistence false\n{settings}\n")
    process = begin(["mosquitto", "-c", configuration], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: answers(port))
    try:
        yield port
    finally:
        process.terminate()
        process.wait(SECONDS)


@needs("mosquitto")
def test_intents_are_published(say, tmp_path):
    mqtt = pytest.importorskip("paho.mqtt.client")
    said = understood("lamp.yaml", say("turn on the lamp"), say("turn the light off"))
    received = []
    with broker(tmp_path) as port:
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        subscribed = []
        client.on_connect = lambda client, *_: client.subscribe("edgeseq/#", qos=1)
        client.on_subscribe = lambda *_: subscribed.append(True)
        client.on_message = lambda client, data, message: received.append((message.topic, json.loads(message.payload)))
        client.connect("127.0.0.1", port)
        client.loop_start()
        until(lambda: subscribed)
        done = example("mqtt_intents.py", "--broker", "127.0.0.1", "--port", port, input=said)
        assert done.returncode == 0, done.stderr
        until(lambda: len(received) == len(done.stdout.splitlines()))
        client.disconnect()
        client.loop_stop()
    assert received == [
        ("edgeseq/lamp", {"text": "turn on the lamp", "state": "on"}),
        ("edgeseq/lamp", {"text": "turn the light off", "state": "off"}),
    ]


@needs("mosquitto")
def test_messages_wait_for_a_broker_that_returns(tmp_path):
    """The program fails if the broker does not confirm both."""
    pytest.importorskip("paho.mqtt.client")
    lines = [json.dumps({"type": "final", "text": text, "intent": "lamp", "slots": {}}) + "\n" for text in ("one", "two")]
    with broker(tmp_path) as port:
        command = [sys.executable, EXAMPLES / "mqtt_intents.py", "--broker", "127.0.0.1", "--port", port]
        publishing = begin(command, stdin=subprocess.PIPE, bufsize=1)
        publishing.stdin.write(lines[0])
        assert '"one"' in publishing.stdout.readline()
    publishing.stdin.write(lines[1])
    assert '"two"' in publishing.stdout.readline()
    with broker(tmp_path, port=port):
        printed, faults = publishing.communicate(timeout=SECONDS)
    assert publishing.returncode == 0 and not printed and not faults


@needs("mosquitto")
def test_a_broker_that_refuses_is_named(tmp_path):
    pytest.importorskip("paho.mqtt.client")
    with broker(tmp_path, "allow_anonymous false") as port:
        done = example("mqtt_intents.py", "--broker", "127.0.0.1", "--port", port, input="")
    assert done.returncode == 1 and "Not authorized" in done.stderr and done.stderr.count("\n") == 1


def test_a_broker_that_is_not_there_is_named():
    pytest.importorskip("paho.mqtt.client")
    port = free_port()
    done = example("mqtt_intents.py", "--broker", "127.0.0.1", "--port", port, input="")
    assert done.returncode == 1 and f"127.0.0.1:{port}" in done.stderr and done.stderr.count("\n") == 1


def test_a_timer_counts_down(say):
    began = time.monotonic()
    done = example("timer.py", say("set a timer for two seconds"))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"Timer of 2 seconds started\.\n0:02\n0:01\nTime is up!\a\n", done.stdout), done.stdout
    assert time.monotonic() - began > 2


def test_a_timer_of_minutes_is_cancelled(say):
    done = example("timer.py", say("set a timer for five minutes", "cancel the timer"))
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first == "Timer of 300 seconds started." and last == "Timer cancelled."


def heed_ctrl_c():
    """A shell lets what it starts in the background ignore SIGINT, and the tests may run there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_a_timer(say):
    timing = begin([sys.executable, EXAMPLES / "timer.py", say("start a five minute timer")], preexec_fn=heed_ctrl_c)
    assert timing.stdout.readline() == "Timer of 300 seconds started.\n"
    timing.stdout.readline()  # universal newlines end the line at the carriage return: it is counting
    timing.send_signal(signal.SIGINT)
    printed, faults = timing.communicate(timeout=SECONDS)
    assert timing.returncode == 0 and "Timer cancelled." in printed and not faults


def test_a_recording_that_is_not_there_is_named():
    for name in ("timer.py", "python_api.py", "websocket_client.py"):
        done = example(name, "nothing.wav")
        assert done.returncode == 1 and "nothing.wav" in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.fixture
def video(tmp_path):
    """The demo clip under a moving picture; its name has what ffmpeg's filters read as their own."""
    path = tmp_path / "it's: a, talk.mp4"
    picture = ["-f", "lavfi", "-i", "color=black:size=320x180:rate=5"]
    subprocess.run(["ffmpeg", "-v", "error", *picture, "-i", CLIP, "-shortest", "-ac", "1", path], check=True, timeout=SECONDS)
    return path


def brightest(video, seconds):
    """The largest value of a picture of a video."""
    raw = ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    command = ["ffmpeg", "-v", "error", "-ss", str(seconds), "-i", video, *raw]
    return max(subprocess.run(command, check=True, capture_output=True, timeout=SECONDS).stdout)


@needs("ffmpeg")
@pytest.mark.parametrize("option", ["", "--track", "--burn"])
def test_a_video_gets_subtitles(video, option):
    srt = pytest.importorskip("srt")
    done = example("subtitles.sh", video, *filter(None, [option]))
    assert done.returncode == 0, done.stderr
    cues = list(srt.parse(video.with_suffix(".srt").read_text()))
    assert [cue.content for cue in cues] == GROUPS
    made = video.with_suffix(".subtitled.mp4")
    assert made.is_file() == bool(option)
    if option == "--track":
        probe = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", made]
        assert "mov_text" in subprocess.run(probe, check=True, capture_output=True, text=True).stdout
    if option == "--burn":
        assert brightest(made, (cues[1].start + cues[1].end).total_seconds() / 2) > 200
        assert brightest(made, (cues[1].end + cues[2].start).total_seconds() / 2) < 50


def test_subtitles_refuse_other_options(tmp_path):
    """The recording is there; the option is not."""
    copy = tmp_path / CLIP.name
    shutil.copy(CLIP, copy)
    done = example("subtitles.sh", copy, "--burnt")
    assert done.returncode == 2 and "'--burnt'" in done.stderr


def test_live_subtitles_follow_the_words(tmp_path):
    """The file shows partials, then the final, and is empty some seconds after that."""
    import soundfile

    samples, rate = soundfile.read(CLIP, dtype="int16")
    soundfile.write(tmp_path / "short.wav", samples[: 3 * rate], rate)
    shown, final = tmp_path / "subtitles.txt", f"{GROUPS[0]}\n"
    listening = begin([*EDGESEQ, "listen", "--model", "digits-en", "--input", tmp_path / "short.wav", "--format", "jsonl"])
    showing = begin([sys.executable, EXAMPLES / "live_subtitles.py", shown], stdin=listening.stdout)
    seen = []

    def ended():
        text = shown.read_text() if shown.is_file() else ""
        seen.extend([text] if text and text not in seen[-1:] else [])
        return showing.poll() is not None

    until(ended)
    assert showing.returncode == 0 and listening.wait(SECONDS) == 0
    *partials, last, cleared = seen
    assert last == final and cleared == "\n"
    assert len(partials) > 3 and all(final.startswith(text.strip()) for text in partials)


def test_lines_that_are_not_json_are_refused(tmp_path):
    done = example("live_subtitles.py", tmp_path / "subtitles.txt", input="zero four one\n")
    assert done.returncode == 1 and "--format jsonl" in done.stderr and done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def vosk_url():
    """A server of Vosk's protocol; skips without its packages."""
    pytest.importorskip("aiohttp")
    port = free_port()
    log = subprocess.DEVNULL
    process = subprocess.Popen(
        [*EDGESEQ, "serve", "--model", "digits-en", "--vosk", f"127.0.0.1:{port}"], stdout=log, stderr=log, env=environment()
    )
    try:
        until(lambda: answers(port))
        yield f"ws://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()


def test_words_of_the_websocket_client_are_those_of_transcribe(vosk_url):
    pytest.importorskip("websockets")
    done = example("websocket_client.py", CLIP, "--fast", "--url", vosk_url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == GROUPS and "zero four o" in done.stderr
    assert run("transcribe", CLIP).stdout.split() == done.stdout.split()


@pytest.mark.skipif(node_version() < NODE_WITH_WEBSOCKETS, reason="no Node with WebSockets (20.10 or newer) is installed")
def test_words_of_the_javascript_client_are_the_same(vosk_url, tmp_path):
    import soundfile

    wav = tmp_path / "number.wav"
    samples, rate = soundfile.read(CLIP, dtype="int16")
    soundfile.write(wav, samples, rate)
    done = example("websocket_client.mjs", wav, vosk_url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == GROUPS and "... zero" in done.stderr


def test_a_server_that_is_not_there_is_named():
    pytest.importorskip("websockets")
    url = f"ws://127.0.0.1:{free_port()}"
    done = example("websocket_client.py", CLIP, "--url", url)
    assert done.returncode == 1 and url in done.stderr and done.stderr.count("\n") == 1
    assert "edgeseq serve --vosk" in done.stderr


def test_a_stream_is_saved_and_continued_twice():
    done = example("python_api.py", CLIP)
    assert done.returncode == 0, done.stderr
    before, after, again = done.stdout.split("         continued\n")
    assert after == again and "saved as" in before
    finals = re.findall(r"^final +(\w+(?: \w+)*)", before + after, re.MULTILINE)
    assert finals == GROUPS


def test_every_example_is_listed():
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"]({path.name})" in page for path in EXAMPLES.iterdir() if path.is_file() and path.name != "README.md")


NOTEBOOK = EXAMPLES / "train_and_listen.ipynb"


def test_the_notebook_is_stored_without_outputs():
    """Its outputs would be out of date sooner or later; the test below makes them."""
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells and not any(cell["outputs"] or cell["execution_count"] for cell in cells)


@needs("espeak-ng")
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_notebook_trains_and_listens(monkeypatch, tmp_path):
    """Of three words at least two are right: another espeak-ng, or another processor, trains other weights."""
    pytest.importorskip("torch")
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for name, value in environment(TMPDIR=str(tmp_path), MPLCONFIGDIR=str(tmp_path), IPYTHONDIR=str(tmp_path)).items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=400, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    printed = "".join(output.get("text", "") for output in outputs)
    assert "partial g" in printed
    heard = re.findall(r"^final (.*)$", printed, re.MULTILINE)
    words = " ".join(heard).split()
    assert sum(word in words for word in ("green", "red", "blue")) >= 2 and len(words) <= 4, heard
