"""Recognizers compared: real processes, small ones that read the words off the length of a recording."""

import doctest
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from benchmarks import recognizer_words, recognizers
from benchmarks.recognizer_answers import Answers, Clip, Heard, Measured, measure
from benchmarks.recognizer_figures import cells, row_of, score_of, to_markdown, to_text
from benchmarks.recognizer_peers import EDGESEQ, Places, edgeseq_peer, find_peer, known_peers, read_peer
from benchmarks.recognizer_words import count_errors, spelled
from edgeseq.data.manifest import Recording
from edgeseq.errors import TeacherError, UsageError

ROOT = Path(__file__).parents[2]
HAS_MODEL = (ROOT / "models/digits-en/model.int8.onnx").is_file()
PLACES = Places(Path(sys.executable), Path("models"))

SAID = {1.1: "turn on the light", 1.2: "call three one four", 1.3: "mister smith left", 1.4: "well done"}
HEARD = {1.1: "Turn on the light.", 1.2: "Call 314!", 1.3: "Mr. Smyth", 1.4: "well done", 2.0: "Thank you.", 2.1: ""}
"""By the seconds of a recording: one word of 13 is another, one is missing; two words are written for noise."""

PROGRAM = f"""
import json, soundfile, sys, time
memory = bytearray(b"x" * 90_000_000)
for line in sys.stdin:
    path = line.rstrip()
    seconds = round(soundfile.info(path).duration, 1)
    print("asked", seconds, file=open(sys.argv[1], "a"))
    until = time.process_time() + 0.1 * seconds
    while time.process_time() < until:
        pass
    if seconds == 1.4 and "fails" in sys.argv:
        sys.exit("it hurts")
    print(json.dumps({{"audio_filepath": path, "text": {HEARD!r}.get(seconds, "")}}), flush=True)
"""


@pytest.fixture
def folder(tmp_path):
    """A manifest of four recordings by two people, two recordings of noise, and a fake peer."""
    lines = []
    for number, (seconds, text) in enumerate(SAID.items()):
        write_noise(tmp_path / f"{seconds}.wav", seconds)
        line = {"audio_filepath": f"{seconds}.wav", "duration": seconds, "text": text, "speaker": f"s{number // 2}"}
        lines.append(json.dumps(line))
    (tmp_path / "dev.jsonl").write_text("\n".join(lines))
    (tmp_path / "noise").mkdir()
    for seconds in (2.0, 2.1):
        write_noise(tmp_path / "noise" / f"{seconds}.wav", seconds)
    (tmp_path / "fake.py").write_text(PROGRAM)
    (tmp_path / "weights.bin").write_bytes(bytes(2_500_000))
    describe(tmp_path, "fake")
    return tmp_path


def write_noise(path, seconds):
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.01, round(16_000 * seconds)), 16_000)


def describe(folder, name, *arguments, **changes):
    entry = {
        "name": name,
        "licence": "MIT",
        "install": "pip install fake",
        "command": ["python3", "{here}/fake.py", "{here}/asked.txt", *arguments],
        "streaming": False,
        "files": [f"{folder}/weights.*"],
        **changes,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(entry))
    return path


def run(*arguments, folder):
    """As a program, since it keeps itself to one core."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks.recognizers", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=120)


def asked(folder):
    return (folder / "asked.txt").read_text().splitlines()


def test_figures_are_exact(folder):
    done = run("--manifest", "dev.jsonl", "--noise", "noise", "--peers", "fake.yaml", "--json", folder=folder)
    (row,) = json.loads(done.stdout)["rows"]
    (score,) = row["scores"]
    assert (score["errors"], score["words"], score["clips"], score["people"], score["failed"]) == (2, 13, 4, 2, 0)
    assert score["wer"] == round(2 / 13, 5)
    assert score["ci95"] == [0.0, 0.4], "drawn twice, one person has no error of eight words, the other two of five"
    assert row["noise"] == {"clips": 2, "seconds": 4.1, "written": 2, "clips_with_words": 1}
    assert 0.05 < row["rtf"] < 1 and 0.05 < row["loading_seconds"] < 10  # it computes for a tenth of the sound
    assert 90 < row["peak_mb"] < 250 and row["files_mb"] == 2.5 and row["streaming"] is False


def test_tables_for_people_and_markdown(folder):
    done = run("--manifest", "dev.jsonl", "--peers", "fake.yaml,no-program.yaml", "--markdown", folder=folder)
    assert "No peer 'no-program.yaml'" in done.stderr and done.returncode == 1
    describe(folder, "absent", command=["no-such-program", "{here}"])
    describe(folder, "broken", command=["python3", "-c", "import no_such_package"])
    done = run("--manifest", "dev.jsonl", "--peers", "absent.yaml,fake.yaml,broken.yaml", "--markdown", folder=folder)
    lines = done.stdout.splitlines()
    columns = f"| recognizer | streaming | WER {folder.name}/dev, % | real-time factor | loading, s | memory, MB | model, MB |"
    assert lines[:2] == [columns, "|---|---|---|---|---|---|---|"]
    assert lines[2].startswith("| fake | no | 15.4 (0.0 to 40.0) | 0.1")
    assert f"{folder.name}/dev: 4 clips of 2 people, 13 words, 0.1 minutes" in lines
    assert "absent is left out: no-such-program is not installed\n  This brings it: pip install fake" in done.stderr
    assert "broken is left out: broken ended without an answer: ModuleNotFoundError" in done.stderr


def test_answers_of_others_are_kept_until_something_changes(folder):
    command = ["--manifest", "dev.jsonl", "--peers", "fake.yaml", "--answers", "a.json", "--json"]
    first = run(*command, "--limit", "2", folder=folder)
    assert [line.split()[1] for line in asked(folder)] == ["1.0", "1.1", "1.3"], "silence, then a clip of each person"
    whole = run(*command, folder=folder)
    assert [line.split()[1] for line in asked(folder)[3:]] == ["1.0", "1.2", "1.4"], "only what was not known"
    again = run(*command, folder=folder)
    assert len(asked(folder)) == 6 and again.stdout == whole.stdout != first.stdout
    assert str(folder) not in (folder / "a.json").read_text()
    (folder / "weights.bin").write_bytes(b"others")
    run(*command, folder=folder)
    assert len(asked(folder)) == 6 + 5


def test_a_recording_without_an_answer_counts_as_wrong(folder):
    peer = read_peer(describe(folder, "failing", "fails"), PLACES)
    clips = recognizers.clips_of(folder / "dev.jsonl", None)
    measured = recognizers.heard_by(peer, clips, Answers(None))
    row = row_of(peer, measured, clips, [])
    assert (row.scores[0].errors, row.scores[0].failed) == (4, 1)
    assert ", 1 failed" in to_text(cells([row]))
    assert [line.split()[1] for line in asked(folder)].count("1.0") == 1, "it was the last clip, so nothing starts again"


def test_a_peer_whose_memory_grows_is_started_again(folder):
    peer = read_peer(describe(folder, "growing", recordings=3), PLACES)
    clips = recognizers.clips_of(folder / "dev.jsonl", None)
    progress = []
    *_, measured = measure(peer, clips, Measured(peer.asked()), lambda done, total: progress.append((done, total)))
    assert [line.split()[1] for line in asked(folder)] == ["1.0", "1.1", "1.3", "1.2", "1.0", "1.4"]
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert row_of(peer, measured, clips, []).scores[0].errors == 2


def test_a_peer_that_does_not_work_at_all_raises(folder):
    peer = read_peer(describe(folder, "broken", command=["python3", "-c", "raise SystemExit('no weights')"]), PLACES)
    with pytest.raises(TeacherError, match="no weights"):
        list(measure(peer, recognizers.clips_of(folder / "dev.jsonl", 1), Measured(peer.asked())))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"streaming": "maybe"}, "'streaming': true or false is wanted"),
        ({"recordings": 0}, "'recordings': a number from 1 is wanted, not 0"),
        ({"files": "weights"}, "'files': a list of patterns is wanted"),
        ({"command": ["python3", "{file}"]}, "started once"),
        ({"command": "python3"}, "a list of texts is wanted"),
        ({"colour": "red"}, "'colour' is not a key"),
    ],
)
def test_faults_of_a_file_are_reported(folder, changes, message):
    with pytest.raises(UsageError, match=message):
        read_peer(describe(folder, "faulty", **changes), PLACES)


def test_files_that_are_none_are_refused(folder):
    (folder / "list.yaml").write_text("[1]")
    with pytest.raises(UsageError, match="describes no peer"):
        read_peer(folder / "list.yaml", PLACES)
    (folder / "a.json").write_text("[1]")
    with pytest.raises(UsageError, match="holds no answers of recognizers"):
        Answers(folder / "a.json")
    (folder / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no sound files"):
        recognizers.noise_clips(folder / "empty", None)


def test_the_shipped_peers_are_described():
    assert known_peers() == [EDGESEQ, "moonshine-base", "pocketsphinx", "vosk-small", "whisper-base"]
    for name in known_peers()[1:]:
        peer = find_peer(name, PLACES)
        assert peer.name == name and Path(peer.teacher.arguments(Path())[1]).is_file()
        assert str(ROOT) not in json.dumps(peer.asked())


def test_clips_are_spread_over_people():
    spoken = [Recording(Path(f"{n}.wav"), 1.0, "x", speaker=who) for n, who in enumerate("aaabbc")]
    assert [one.path.stem for one in recognizers.spread(spoken, 5)] == ["0", "3", "5", "1", "4"]
    alone = [Recording(Path(f"{n}.wav"), 1.0, "x") for n in range(3)]
    assert recognizers.spread(alone, None) == alone


def test_the_interval_is_of_people():
    clips = [Clip("set", Recording(Path(f"{n}.wav"), 1.0, "yes", speaker="s")) for n in range(4)]
    answers = {clip.key: Heard("no" if n else "yes", 1.0, 0.1) for n, clip in enumerate(clips)}
    assert score_of(clips, answers).ci95 == (0.75, 0.75), "one person is all there is to draw"


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("chapter ninety nine the law", "Chapter 99: The Law", (0, 5)),
        ("in nineteen oh five", "In 1905.", (0, 4)),
        ("two thousand and six people", "2,006 people", (1, 5)),
        ("the twenty first of may", "The 21st of May", (0, 5)),
        ("the fortieth and twelfth", "the 40th and 12th", (0, 4)),
        ("missus lynde paid five dollars", "Mrs. Lynde paid $5", (0, 5)),
        ("one point five percent", "1.5%", (0, 4)),
        ("well known", "well-known", (0, 2)),
        ("it's", "it’s", (0, 1)),
        ("yes", "", (1, 1)),
    ],
)
def test_texts_are_compared_in_one_form(said, heard, errors):
    assert count_errors(said, heard) == errors


def test_doctests_of_words():
    assert doctest.testmod(recognizer_words).failed == 0
    assert spelled("०१") == "०१", "figures of other scripts stay"


def test_markdown_of_a_table():
    assert to_markdown([["a", "b"], ["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"


@pytest.mark.skipif(not HAS_MODEL, reason="models/digits-en is not there")
def test_edgeseq_is_a_peer_like_others(tmp_path):
    entry = {"audio_filepath": str(ROOT / "demo/number.flac"), "duration": 6.0, "text": "zero four one three nine five"}
    entry["duration"] = soundfile.info(entry["audio_filepath"]).duration
    entry["text"] += " two eight seven six"
    (tmp_path / "demo.jsonl").write_text(json.dumps(entry))
    peer = edgeseq_peer("digits-en")
    assert peer.streaming and 0.8 < peer.files_mb < 0.9
    done = run("--manifest", "demo.jsonl", "--model", "digits-en", "--json", folder=tmp_path)
    (row,) = json.loads(done.stdout)["rows"]
    assert row["name"] == "edgeseq digits-en" and row["scores"][0]["errors"] == 0 and row["peak_mb"] < 150


def test_the_commands_of_the_pages_are_understood(capsys):
    shown = []
    for page in ("docs/benchmarks.md", "README.md", "benchmarks/recognizers.py"):
        text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
        shown += [
            line.partition("benchmarks.recognizers")[2]
            for line in text.splitlines()
            if line.startswith("    python -m benchmarks.recogn")
        ]
    assert len(shown) >= 4
    for line in shown:
        asked = recognizers._parser().parse_args(shlex.split(line))
        assert all(find_peer(name, PLACES) for name in asked.peers.split(",") if name != EDGESEQ)


STAND_INS = {
    "moonshine_cpp": """
class MoonshineModel:
    def __init__(self, language, model_type):
        assert (language, model_type) == ("en", "base")

    def transcribe_wav(self, path):
        return "Hello there."
""",
    "vosk": """
def SetLogLevel(level):
    assert level == -1

class Model:
    def __init__(self, folder):
        assert folder.endswith("vosk-model-small-en-us-0.15")

class KaldiRecognizer:
    def __init__(self, model, rate):
        self.n_bytes = 0

    def AcceptWaveform(self, block):
        self.n_bytes += len(block)
        return self.n_bytes == 8000

    def Result(self):
        return '{"text": "Hello"}'

    def FinalResult(self):
        return '{"text": "there."}'
""",
}


@pytest.mark.parametrize(("peer", "package"), [("moonshine-base", "moonshine_cpp"), ("vosk-small", "vosk")])
def test_the_shipped_programs_speak_the_protocol(tmp_path, peer, package):
    """With stand-ins for packages that are not installed here, or have no model here."""
    (tmp_path / f"{package}.py").write_text(STAND_INS[package])
    write_noise(tmp_path / "a b.wav", 1.0)
    entry = answer_of(peer, tmp_path / "a b.wav", PYTHONPATH=str(tmp_path))
    assert entry == {"audio_filepath": str(tmp_path / "a b.wav"), "text": "Hello there."}


def test_pocketsphinx_hears_the_demo_clip(tmp_path):
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    samples, rate = soundfile.read(ROOT / "demo/number.flac")
    soundfile.write(tmp_path / "a.wav", np.repeat(samples, 16_000 // rate), 16_000)
    assert answer_of("pocketsphinx", tmp_path / "a.wav")["text"].split()


def answer_of(peer, path, **environment):
    done = subprocess.run(
        find_peer(peer, PLACES).teacher.arguments(Path()),
        input=f"{path}\n",
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)
