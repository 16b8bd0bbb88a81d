"""Nothing is written but what was asked for, and nobody is asked: every command, watched from outside."""

from __future__ import annotations

import getpass
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("onnx")
import tone_language as tones
from command_line import EDGESEQ
from tracing import needs_strace, traced

import edgeseq

pytestmark = needs_strace

DOCS = Path(__file__).parents[1] / "docs" / "privacy.md"


@pytest.fixture
def speech(tmp_path):
    import soundfile

    path = tmp_path / "yes.wav"
    soundfile.write(path, tones.say("yes no"), tones.SAMPLE_RATE)
    return path


def assert_only(trace, *allowed):
    """Nobody was asked, and every file that was written lies in one of `allowed`, the temporary folder aside."""
    assert trace.asked == frozenset(), trace.stderr
    assert trace.left == frozenset()
    scratch = [path for path in trace.written if "scratch" in path.parts]
    strange = [path for path in trace.written if path not in scratch and not any(path.is_relative_to(one) for one in allowed)]
    assert strange == [], trace.stderr


def test_listen_and_transcribe_write_nothing_and_ask_nobody(tone_model, speech, tmp_path):
    for words in (["listen", "--input", speech], ["transcribe", speech, speech], ["transcribe", "-o", "words", speech]):
        trace = traced(tmp_path, *words, "--model", tone_model)
        assert trace.exit_code == 0, trace.stderr
        assert_only(trace, tmp_path / "words")


def test_a_session_that_lasts_writes_nothing_later_either(tone_model, tmp_path):
    pieces = (
        "import sys, time; [(sys.stdout.buffer.write(bytes(1600)), sys.stdout.flush(), time.sleep(0.1)) for _ in range(60)]"
    )
    with subprocess.Popen([sys.executable, "-c", pieces], stdout=subprocess.PIPE) as source:
        trace = traced(tmp_path, "listen", "--model", tone_model, "--input", "-", stdin=source.stdout)
    assert trace.exit_code == 0, trace.stderr
    assert_only(trace)


@pytest.mark.parametrize(
    "words",
    [
        ["models", "list"],
        ["models", "info", "MODEL"],
        ["models", "verify", "MODEL"],
        ["phrases", "check", "PHRASES", "--model", "MODEL"],
        ["eval", "--model", "MODEL", "--manifest", "MANIFEST", "--calibration", "--picture", "out/honesty.png"],
        ["data", "check", "MANIFEST", "--picture", "out/check.png"],
        ["data", "import", "folder", "--from", "FOLDER", "--out", "out/mine"],
        ["lm", "build", "TEXT", "--out", "out/words.lm"],
        ["bench", "--model", "MODEL"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_other_commands_write_only_what_was_asked_for(words, tone_model, speech, tmp_path):
    manifest = tmp_path / "test.jsonl"
    manifest.write_text(json.dumps({"audio_filepath": "yes.wav", "duration": 1.0, "text": "yes no"}) + "\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.wav").write_bytes(speech.read_bytes())
    (tmp_path / "folder" / "a.txt").write_text("yes no")
    (tmp_path / "phrases.yaml").write_text("language: x-tones\nintents:\n  yes: [yes]\n  no: [no]\n")
    (tmp_path / "text.txt").write_text("yes no\n" * 20)
    (tmp_path / "out").mkdir()
    names = {"MODEL": tone_model, "MANIFEST": manifest, "FOLDER": "folder", "PHRASES": "phrases.yaml", "TEXT": "text.txt"}
    trace = traced(tmp_path, *[names.get(word, word) for word in words])
    assert trace.exit_code in (0, 1), trace.stderr
    assert "Traceback" not in trace.stderr
    assert_only(trace, tmp_path / "out")


def test_serve_asks_nobody(tone_model, tmp_path):
    pytest.importorskip("aiohttp")
    pytest.importorskip("wyoming")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

    def end_it():
        for _ in range(600):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        time.sleep(4)  # onnxruntime's report came after some seconds
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = entry.read_bytes()
            except OSError:
                continue
            if b"main()" in line and str(port).encode() in line and b"strace" not in line:
                os.kill(int(entry.parent.name), signal.SIGTERM)

    thread = threading.Thread(target=end_it)
    thread.start()
    trace = traced(
        tmp_path, "serve", "--model", tone_model, "--http", f"127.0.0.1:{port}", "--vosk", "127.0.0.1:0", "--sherpa",
        "127.0.0.1:0", "--wyoming", "tcp://127.0.0.1:0",
    )  # fmt: skip
    thread.join()
    assert trace.exit_code == 0, trace.stderr
    assert_only(trace)


@pytest.mark.slow
@pytest.mark.parametrize("loggers", [[], ["mlflow", "wandb"]], ids=["alone", "with loggers"])
def test_a_training_writes_its_run_and_asks_nobody(loggers, tmp_path):
    pytest.importorskip("torch")
    if any(importlib.util.find_spec(one) is None for one in loggers):
        pytest.skip("a logger is not installed")
    import tiny_tones
    import yaml

    manifest = tiny_tones.write_tones(tmp_path / "data")
    recipe = tiny_tones.tone_recipe(manifest, steps=6, valid_every=3, checkpoint_every=3, loggers=loggers)
    (tmp_path / "tones.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    trace = traced(tmp_path, "train", "tones.yaml", "--out", "run", env={"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"})
    assert "Traceback" not in trace.stderr and "Report:" in trace.stderr, trace.stderr
    inet = {call for call in trace.asked if "AF_INET" in call and "127.0.0.1" not in call}
    assert inet == set()
    assert {path.name for path in trace.left} <= {f"torchinductor_{getpass.getuser()}"}  # an empty folder of torch's
    own = (tmp_path / "run", tmp_path / "scratch")
    others = [path for path in trace.written if not any(path.is_relative_to(one) for one in own)]
    assert [path for path in others if not path.name.startswith("wandb-")] == []  # W&B's own files for its process, removed


def test_a_data_set_is_read_without_asking_its_makers(tmp_path):
    pytest.importorskip("datasets")
    write = (
        "import datasets, numpy as np\n"
        "rows = {'audio': [{'bytes': open('a.wav', 'rb').read(), 'path': 'a.wav'}], 'text': ['yes']}\n"
        "datasets.Dataset.from_dict(rows).cast_column('audio', datasets.Audio(decode=False)).save_to_disk('set')\n"
    )
    import soundfile

    soundfile.write(tmp_path / "a.wav", tones.say("yes"), tones.SAMPLE_RATE)
    subprocess.run([sys.executable, "-c", write], cwd=tmp_path, check=True, capture_output=True, timeout=240)
    trace = traced(tmp_path, "data", "import", "huggingface", "--from", "set", "--out", "out")
    assert trace.exit_code == 0, trace.stderr
    assert_only(trace, tmp_path / "out")


def test_a_value_from_outside_stays():
    program = "import edgeseq, os; print([os.environ[name] for name in edgeseq.NO_REPORTS])"
    env = {**os.environ, **dict.fromkeys(edgeseq.NO_REPORTS, "mine")}
    said = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(["mine"] * len(edgeseq.NO_REPORTS))


def test_docs_name_every_variable():
    text = DOCS.read_text(encoding="utf-8")
    assert [name for name in edgeseq.NO_REPORTS if name not in text] == []


def test_the_command_that_is_traced_is_the_one_people_run():
    assert EDGESEQ[-1] == "from edgeseq.cli import main; main()"
