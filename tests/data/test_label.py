"""Labels by teachers: real programs, small ones that read the "words" off the length of a recording."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from command_line import start
from typer.testing import CliRunner

from edgeseq.cli import app
from edgeseq.data.label import count_errors, why_not
from edgeseq.data.manifest import read_manifest
from edgeseq.data.teacher_file import find_teacher, read_teacher
from edgeseq.data.teachers import Answer, TeacherProgram
from edgeseq.errors import MissingExtraError, TeacherError, UsageError

ROOT = Path(__file__).parent.parent.parent

SAYS = {
    1.0: {"text": "Turn on the light.", "confidence": 0.95},
    1.1: {"text": "Wait, twenty five minutes!", "confidence": 0.9},
    1.2: {"text": "", "confidence": 0.9},
    1.3: {"text": "Mumble mumble.", "confidence": 0.3},
    1.4: {"text": "Call 314.", "confidence": 0.9},
    1.5: {"text": "you you you", "confidence": 0.9},
    1.6: {"text": "a b c d e f g h i j", "confidence": 0.9},
}
"""What the fake teachers hear, by a recording's seconds."""

RUNNING = f"""
import json, soundfile, sys
says = {SAYS!r}
print("loading ...", flush=True)
for line in sys.stdin:
    path = line.rstrip()
    seconds = round(soundfile.info(path).duration, 1)
    print("another", seconds, file=open(sys.argv[1], "a"))
    if seconds == 1.7:
        sys.exit("it hurts")
    if seconds == 1.8:
        path = "elsewhere.wav"
    print(json.dumps({{"audio_filepath": path, **says.get(seconds, {{"text": "well"}})}}), flush=True)
"""


def described(folder, command, **more):
    path = folder / "teacher.yaml"
    entry = {"name": "fake", "licence": "MIT", "install": "pip install fake", "command": command, **more}
    path.write_text(yaml.safe_dump(entry), encoding="utf-8")
    return path


def running(folder, program=RUNNING, **more):
    (folder / "fake.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "{here}/fake.py", str(folder / "asked.txt")]
    return described(folder, command, min_confidence=0.8, **more)


def recorded(folder, *seconds, rate=8000):
    folder.mkdir(exist_ok=True)
    for one in seconds:
        tone = 0.1 * np.sin(2 * np.pi * 300 * np.arange(round(one * rate)) / rate)
        soundfile.write(folder / f"{one}.flac", tone, rate)
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["data", "label", *map(str, arguments)])


def asked(tmp_path):
    return (tmp_path / "asked.txt").read_text().split("\n")[:-1]


def test_what_the_teacher_is_sure_of_becomes_a_manifest(tmp_path):
    folder = recorded(tmp_path / "clips", *SAYS)
    result = run(folder, "--teacher", running(tmp_path), "--out", tmp_path / "train.jsonl")
    assert result.exit_code == 0, result.output
    first, second = read_manifest(tmp_path / "train.jsonl")
    assert (first.text, first.duration) == ("turn on the light", 1.0)
    assert first.extra == {"teacher": "fake", "teacher_licence": "MIT", "confidence": 0.95}
    assert second.text == "wait twenty five minutes"
    reasons = ("no speech", "unsure", "numbers in figures", "repeats itself", "more words than can be said")
    assert all(f"left out: {reason}: 1" in result.stderr for reason in reasons)


def test_teachers_get_wav_files_of_16_khz(tmp_path):
    told = tmp_path / "told.txt"
    command = [sys.executable, "-c", "import soundfile, sys; print(soundfile.info(sys.argv[1]), file=open(sys.argv[2], 'w'))"]
    teacher = described(tmp_path, [*command, "{file}", str(told)])
    run(recorded(tmp_path / "clips", 1.0, rate=44_100), "--teacher", teacher, "--out", tmp_path / "train.jsonl")
    assert all(about in told.read_text() for about in ("samplerate: 16000 Hz", "channels: 1", "WAV", "16 bit PCM"))


def test_a_stretch_of_a_file_is_what_the_teacher_hears_and_other_keys_stay(tmp_path):
    recorded(tmp_path, 3.0)
    line = {"audio_filepath": "3.0.flac", "duration": 1.0, "offset": 1.5, "text": "", "speaker": "me", "room": "hall"}
    (tmp_path / "in.jsonl").write_text(json.dumps(line))
    assert run(tmp_path / "in.jsonl", "--teacher", running(tmp_path), "--out", tmp_path / "out.jsonl").exit_code == 0
    (labelled,) = read_manifest(tmp_path / "out.jsonl")
    assert (labelled.text, labelled.offset, labelled.speaker) == ("turn on the light", 1.5, "me")
    assert labelled.extra["room"] == "hall"


def test_another_bound_asks_nothing_twice(tmp_path):
    folder, teacher, out = recorded(tmp_path / "clips", 1.0, 1.3), running(tmp_path), tmp_path / "train.jsonl"
    assert run(folder, "--teacher", teacher, "--out", out).exit_code == 0
    assert len(read_manifest(out)) == 1
    assert run(folder, "--teacher", teacher, "--out", out, "--min-confidence", 0.2).exit_code == 0
    assert len(read_manifest(out)) == 2 and len(asked(tmp_path)) == 2


def test_a_teacher_that_fails_now_and_then_is_started_again(tmp_path):
    folder = recorded(tmp_path / "clips", 1.0, 1.1, 1.7, 1.8, 1.9)
    result = run(folder, "--teacher", running(tmp_path), "--out", tmp_path / "train.jsonl")
    assert result.exit_code == 0
    assert [one.text for one in read_manifest(tmp_path / "train.jsonl")] == [
        "turn on the light",
        "wait twenty five minutes",
        "well",
    ]
    assert "1.7.flac: fake ended without an answer: it hurts" in result.stderr
    assert "1.8.flac: fake answered about 'elsewhere.wav'" in result.stderr
    run(folder, "--teacher", running(tmp_path), "--out", tmp_path / "train.jsonl")
    assert asked(tmp_path)[5:] == ["another 1.7", "another 1.8"], "only what failed is tried again"


def test_a_recording_that_cannot_be_read_is_counted(tmp_path):
    folder = recorded(tmp_path / "clips", 1.0)
    lines = [{"audio_filepath": f"clips/{name}", "duration": 1.0, "text": ""} for name in ("1.0.flac", "bad.flac")]
    (folder / "bad.flac").write_bytes(b"fLaC and no more")
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, lines)))
    result = run(tmp_path / "in.jsonl", "--teacher", running(tmp_path), "--out", tmp_path / "out.jsonl")
    assert result.exit_code == 0 and "no answer:" in result.stderr and "bad.flac" in result.stderr
    assert len(read_manifest(tmp_path / "out.jsonl")) == 1
    result = run(folder, "--teacher", running(tmp_path), "--out", tmp_path / "folder.jsonl")
    assert result.exit_code == 0 and "no answer:" in result.stderr and "bad.flac" in result.stderr
    assert len(read_manifest(tmp_path / "folder.jsonl")) == 1


def test_a_teacher_that_never_works_ends_the_command(tmp_path):
    teacher = running(tmp_path, "import no_such_package")
    result = run(recorded(tmp_path / "clips", 1.0, 1.1, 1.2, 1.3), "--teacher", teacher, "--out", tmp_path / "train.jsonl")
    assert result.exit_code == 1 and not (tmp_path / "train.jsonl").exists()
    assert "No module named 'no_such_package'" in result.stderr and "This brings it: pip install fake" in result.stderr


def test_where_nothing_is_kept_no_manifest_is_written(tmp_path):
    result = run(recorded(tmp_path / "clips", 1.2), "--teacher", running(tmp_path), "--out", tmp_path / "train.jsonl")
    assert result.exit_code == 1 and "no recording got a label" in result.stderr and "no speech: 1" in result.stderr
    assert not (tmp_path / "train.jsonl").exists()


def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    program = RUNNING.replace("for line in sys.stdin:", "import time\nfor line in sys.stdin:\n    time.sleep(0.3)")
    folder, teacher, out = recorded(tmp_path / "clips", *SAYS), running(tmp_path, program), tmp_path / "train.jsonl"
    process = start("data", "label", folder, "--teacher", teacher, "--out", out)
    until = time.monotonic() + 60
    while len(asked(tmp_path) if (tmp_path / "asked.txt").exists() else []) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert "run the same command again" in process.communicate(timeout=30)[1] and process.returncode == 130
    n_asked = len(asked(tmp_path))
    assert n_asked < len(SAYS)
    assert run(folder, "--teacher", teacher, "--out", out).exit_code == 0
    assert len(asked(tmp_path)) <= len(SAYS) + 1, "at most the one that was cut off is asked twice"
    assert len(read_manifest(out)) == 2


def test_check_lists_transcripts_that_do_not_match(tmp_path):
    texts = {1.0: "turn off a lamp", 1.1: "wait 25 minutes", 1.2: "hello", 1.3: "bye", 1.4: "call three one four", 1.9: "well"}
    recorded(tmp_path, *texts)
    lines = [{"audio_filepath": f"{seconds}.flac", "duration": seconds, "text": text} for seconds, text in texts.items()]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, lines)))
    before = (tmp_path / "in.jsonl").read_bytes()
    result = run(tmp_path / "in.jsonl", "--teacher", running(tmp_path), "--check")
    assert result.exit_code == 0 and "2 of 5 transcripts do not match" in result.stderr
    assert "of all words 36.4 % differ; 1 answers were unsure" in result.stderr
    assert result.stdout.index("1.2.flac: 100 %") < result.stdout.index("1.0.flac: 75 %")
    assert "heard: turn on the light" in result.stdout and "heard: (nothing)" in result.stdout
    assert (tmp_path / "in.jsonl").read_bytes() == before and not list(tmp_path.glob("*answers*"))
    listed = run(tmp_path / "in.jsonl", "--teacher", running(tmp_path), "--check", "--max-wer", 0.9, "--json").stdout
    (one,) = map(json.loads, listed.splitlines())
    assert one == {"audio_filepath": str(tmp_path / "1.2.flac"), "text": "hello", "heard": "", "wer": 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--out FILE, or --check"),
        (["--check", "--out", "x.jsonl"], "one of them"),
        (["--out", "in.jsonl"], "would overwrite"),
        (["--check", "--min-confidence", "2"], "--min-confidence"),
    ],
)
def test_wrong_usage_ends_with_2(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = run("in.jsonl", "--teacher", running(tmp_path), *arguments)
    assert result.exit_code == 2 and message in result.stderr


def test_an_absent_teacher_is_told_with_what_brings_it(tmp_path):
    with pytest.raises(MissingExtraError, match=r"no-such-program, which is not installed[^$]*pip install fake"):
        find_teacher(str(described(tmp_path, ["no-such-program", "{file}"])))
    with pytest.raises(UsageError, match=r"No teacher 'nobody'[^$]*whisper-base"):
        find_teacher("nobody")


def test_an_empty_folder_is_told(tmp_path):
    (tmp_path / "clips").mkdir()
    result = run(tmp_path / "clips", "--teacher", running(tmp_path), "--out", tmp_path / "train.jsonl")
    assert result.exit_code == 1 and "holds no sound files" in result.stderr


@pytest.mark.parametrize(
    ("printed", "answer"),
    [
        ("Turn it on.\n  Now.\n", Answer("Turn it on. Now.")),
        ('{"text": "yes", "confidence": 0.5}\n', Answer("yes", 0.5)),
        ('{\n "text": "no"\n}', Answer("no")),
        ("", Answer("")),
    ],
)
def test_a_program_run_once_a_file_prints_text_or_json(tmp_path, printed, answer):
    (tmp_path / "says.txt").write_text(printed)
    teacher = read_teacher(described(tmp_path, ["sh", "-c", "cat $0", "{here}/says.txt", "{file}"]))
    assert TeacherProgram(teacher).ask(tmp_path / "a.wav") == answer


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo half; echo the reason >&2; exit 3", "failed with 3: the reason"),
        ("yes", "babbles"),
        ("sleep 60", "no answer within 1 s"),
        ("""echo '{{"text": 3}}'""", "'text' of its answer is 3"),
        ("""echo '{{"text": "a", "confidence": -0.2}}'""", "'confidence' of its answer is -0.2"),
    ],
)
def test_a_program_that_fails_is_told(tmp_path, script, message):
    teacher = read_teacher(described(tmp_path, ["sh", "-c", script, "{file}"], seconds=1))
    with pytest.raises(TeacherError, match=message):
        TeacherProgram(teacher).ask(tmp_path / "a.wav")


def test_what_a_program_started_ends_with_it(tmp_path):
    mark = tmp_path / "pid"
    teacher = read_teacher(described(tmp_path, ["sh", "-c", f"sleep 600 & echo $! > {mark}; wait", "{file}"], seconds=1))
    with pytest.raises(TeacherError):
        TeacherProgram(teacher).ask(tmp_path / "a.wav")
    until = time.monotonic() + 10
    while is_running(int(mark.read_text())) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_running(int(mark.read_text()))


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None}, "'name': a text is wanted"),
        ({"install": 3}, "'install': a text is wanted, not 3"),
        ({"command": "whisper {file}"}, "a list of texts is wanted"),
        ({"command": ["x", "{path}"]}, r"'\{path\}' cannot be filled in"),
        ({"command": ["x", "{file"]}, "cannot be filled in"),
        ({"min_confidence": -3}, "a number from 0 to 1 is wanted, not -3"),
        ({"seconds": 0}, "a number above 0 is wanted, not 0"),
        ({"voices": ["one"]}, "'voices' is not a key"),
    ],
)
def test_faults_of_a_file_are_told(tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        read_teacher(described(tmp_path, **{"command": ["x", "{file}"], **changes}))


@pytest.mark.parametrize("content", ["[1, 2]", "name: [", ""])
def test_files_that_are_none_are_told(tmp_path, content):
    (tmp_path / "teacher.yaml").write_text(content)
    with pytest.raises(UsageError, match=r"teacher\.yaml"):
        read_teacher(tmp_path / "teacher.yaml")


@pytest.mark.parametrize(
    ("text", "heard", "counts"),
    [
        ("one thousand two hundred men", "1,200 men.", (0, 2)),
        ("a twenty-year plan", "A 20 year plan", (0, 4)),
        ("the cat sat", "The cat sat on", (1, 3)),
        ("", "hello", (1, 0)),
        ("", "", (0, 0)),
    ],
)
def test_differences_are_of_words(text, heard, counts):
    assert count_errors(text, heard) == counts


def test_a_teacher_without_confidences_is_believed():
    assert why_not(Answer("turn it on"), 2.0, 0.99) == ""


STAND_IN = """
from types import SimpleNamespace as S

class WhisperModel:
    def __init__(self, name, **options):
        assert name == "base"

    def transcribe(self, path, **options):
        segments = [S(text=" Hello", avg_logprob=-0.1, tokens=[1]), S(text=" there.", avg_logprob=-0.4, tokens=[1, 2])]
        return iter(segments), None
"""


def test_the_shipped_program_speaks_the_protocol(tmp_path):
    """With a stand-in for faster_whisper, which is not installed here."""
    (tmp_path / "faster_whisper.py").write_text(STAND_IN)
    teacher = read_teacher(ROOT / "recipes/teachers/whisper-base.yaml")
    done = subprocess.run(
        [sys.executable, *teacher.arguments(Path())[1:]],
        input="/a/b c.wav\n",
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        timeout=60,
        check=True,
    )
    entry = json.loads(done.stdout)
    assert (entry["audio_filepath"], entry["text"]) == ("/a/b c.wav", "Hello there.")
    assert entry["confidence"] == pytest.approx(np.exp(-0.3), abs=1e-4)
