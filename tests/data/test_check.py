"""`edgeseq data check`: what hurts is found, by kind, on recordings made to have it; what is well is left alone."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import yaml
from typer.testing import CliRunner

from benchmarks import data_check as bench
from edgeseq.cli import app
from edgeseq.data import measure as measuring
from edgeseq.data.check import HURTS, STOPS, Spelling, check
from edgeseq.data.manifest import Recording, write_manifest
from edgeseq.errors import ManifestError
from edgeseq.tokens.table import TokenTable

RATE = 16000


def voice(seconds=1.0, seed=0, level=0.1):
    return level * np.random.default_rng(seed).standard_normal(int(seconds * RATE)).clip(-4, 4)


class Corpus:
    """Recordings written one by one, and their manifest."""

    def __init__(self, folder, name="manifest"):
        self.folder, self.name, self.lines = folder, name, []

    def add(self, name, samples=None, text="hello", speaker=None, duration=None, offset=0.0, **words):
        path = self.folder / name
        if samples is not None:
            soundfile.write(path, samples, RATE, **words)
            duration = duration or len(samples) / RATE
        self.lines.append(Recording(path, duration or 1.0, text, offset, speaker))
        return path

    def manifest(self):
        write_manifest(self.folder / f"{self.name}.jsonl", self.lines)
        return self.folder / f"{self.name}.jsonl"


@pytest.fixture
def corpus(tmp_path):
    made = Corpus(tmp_path)
    made.add("good.wav", voice(seed=1), speaker="anna")
    made.add("good.flac", voice(seed=2), speaker="ben")
    return made


def found(report):
    return {(finding.kind, finding.where.rpartition("/")[2]) for finding in report.findings}


def test_good_recordings_are_left_alone(corpus):
    report = check(corpus.manifest())
    assert report.findings == () and not report.stops
    assert report.to_dict()["speakers"] == 2 and report.to_dict()["sample_rates"] == {"16000": 2}
    assert report.to_dict()["level_db"]["median"] == pytest.approx(-20, abs=0.2)


def test_unreadable_files_stop_a_training(corpus):
    corpus.add("gone.wav")
    corpus.add("page.wav").write_text("<html>")
    corpus.add("empty.wav").write_bytes(b"")
    corpus.add("nothing.wav", np.zeros(0), duration=1.0)
    corpus.add("nan.wav", np.full(RATE, np.nan), subtype="FLOAT")
    corpus.add("beyond.wav", voice(seed=3), offset=2.0)
    cut = corpus.add("cut.flac", voice(3.0, seed=4))
    cut.write_bytes(cut.read_bytes()[:20000])
    report = check(corpus.manifest())
    names = {"gone.wav", "page.wav", "empty.wav", "nothing.wav", "nan.wav", "beyond.wav (2.00 to 3.00 s)", "cut.flac"}
    assert found(report) == {("unreadable", name) for name in names}
    assert report.stops
    headers = check(corpus.manifest(), decode=False)
    assert found(headers) == {("unreadable", name) for name in names - {"nan.wav", "cut.flac"}}


def test_silent_and_clipped_recordings_hurt(corpus):
    corpus.add("zeros.wav", np.zeros(RATE))
    corpus.add("hum.wav", voice(level=1e-4))
    corpus.add("clipped.wav", np.clip(voice(seed=5, level=1.0), -1, 1))
    corpus.add("clipped-then-lowered.wav", 0.3 * np.clip(voice(seed=6, level=1.0), -0.9, 0.9))
    corpus.add("loud.wav", voice(seed=7, level=0.24))
    report = check(corpus.manifest())
    assert found(report) == {
        ("silent", "zeros.wav"),
        ("silent", "hum.wav"),
        ("clipped", "clipped.wav"),
        ("clipped", "clipped-then-lowered.wav"),
    }
    assert not report.stops


def test_wrong_durations_hurt(corpus):
    corpus.add("longer.wav", voice(seed=3), duration=0.5)
    corpus.add("shorter.wav", voice(seed=4), duration=1.4)
    corpus.add("rounded.wav", voice(seed=5), duration=1.03)
    long = corpus.add("long.wav", voice(5.0, seed=6), duration=1.0)
    corpus.lines.append(Recording(long, 2.0, "hello", 2.0))
    corpus.lines.append(Recording(long, 2.0, "hello", 4.0))
    assert found(check(corpus.manifest(), decode=False)) == {
        ("duration", "longer.wav"),
        ("duration", "shorter.wav"),
        ("duration", "long.wav (4.00 to 6.00 s)"),
    }


def test_texts_that_cannot_be_trained_on(corpus):
    corpus.add("digits.wav", voice(seed=3), text="hello 3")
    corpus.add("quick.wav", voice(0.2, seed=4), text="ohh")  # four tokens and a blank: five rows of 40 ms, but four of 50 ms
    corpus.add("wordless.wav", voice(seed=5), text=" ")
    spelling = Spelling(TokenTable.of_characters(["hello"]), 0.05)
    report = check(corpus.manifest(), spelling=spelling)
    assert found(report) == {
        ("unspellable", "digits.wav"),
        ("empty text", "wordless.wav"),
        ("too long", "quick.wav"),
    }
    assert report.stops
    assert [f.what for f in report.findings if f.kind == "too long"] == [
        "'ohh' needs 5 rows of CTC; 0.20 s are 4 rows of 50 ms"
    ]
    assert found(check(corpus.manifest())) == {("empty text", "wordless.wav")}


def test_the_condition_is_ctc_s_own(corpus):
    """Rows as many as tokens and equal neighbours together are enough; torch's CTC loss is finite there, and only there."""
    torch = pytest.importorskip("torch")
    tokens = TokenTable.of_characters(["oh"])
    ids = tokens.encode("ohh oo")
    for rows in range(5, 12):
        loss = torch.nn.functional.ctc_loss(
            torch.zeros(rows, 1, len(tokens)).log_softmax(-1),
            torch.tensor([ids]),
            torch.tensor([rows]),
            torch.tensor([len(ids)]),
        )
        corpus.lines = corpus.lines[:0]
        corpus.add(f"{rows}.wav", voice(rows * 0.04, seed=rows), text="ohh oo")
        assert bool(torch.isfinite(loss)) == (not check(corpus.manifest()).findings)


@pytest.mark.parametrize("decode", [True, False])
def test_what_is_there_twice(corpus, decode):
    corpus.add("again.wav", voice(seed=1))
    corpus.add("good.wav", text="goodbye", duration=1.0)
    report = check(corpus.manifest(), decode=decode)
    assert found(report) == {("duplicate", "again.wav"), ("other text", "good.wav")}


def test_the_same_sound_in_another_format_is_found_when_decoding(corpus):
    corpus.add("again.flac", soundfile.read(corpus.folder / "good.wav", dtype="int16")[0])
    assert found(check(corpus.manifest())) == {("duplicate", "again.flac")}
    assert not check(corpus.manifest(), decode=False).findings


@pytest.mark.parametrize("decode", [True, False])
def test_what_train_and_test_share(corpus, tmp_path, decode):
    test = Corpus(tmp_path, "test")
    test.add("test.wav", voice(seed=1), speaker="cleo")
    test.add("other.wav", voice(seed=9), speaker="ben")
    report = check(corpus.manifest(), [test.manifest()], decode=decode)
    assert found(report) == {("in the test set", "good.wav"), ("speaker in the test set", "ben")}
    assert not check(test.manifest(), decode=decode).findings


def test_processes_give_what_one_gives(corpus, monkeypatch):
    monkeypatch.setattr(measuring, "FEW", 2)
    monkeypatch.setattr(measuring, "AT_A_TIME", 2)
    for seed in range(10, 15):
        corpus.add(f"{seed}.wav", voice(0.3, seed=seed))
    manifest, told = corpus.manifest(), []
    shared = check(manifest, jobs=2, on_progress=lambda *p: told.append(p))
    assert shared.measured == check(manifest).measured
    assert told == [(n, 7) for n in range(1, 8)]


def test_lines_that_are_no_recordings_are_an_error(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"audio_filepath": "a.wav"}\n')
    with pytest.raises(ManifestError, match="'duration' is missing"):
        check(tmp_path / "m.jsonl")


def run(*arguments):
    return CliRunner().invoke(app, ["data", "check", *map(str, arguments)])


def test_the_command_tells_and_draws(corpus, tmp_path):
    corpus.add("zeros.wav", np.zeros(RATE))
    result = run(corpus.manifest(), "--picture", tmp_path / "check.png")
    assert result.exit_code == 0, result.output
    assert "3 recordings" in result.stdout and "hurts: silent: 1" in result.stdout and "zeros.wav: -200 dB" in result.stdout
    assert (tmp_path / "check.png").read_bytes().startswith(b"\x89PNG")
    assert run(corpus.manifest(), "--strict").exit_code == 1
    result = run(corpus.manifest(), "--picture", tmp_path / "check.nothing")
    assert result.exit_code == 2 and "check.png" in result.stderr


def test_the_command_ends_with_1_where_a_training_would(corpus):
    corpus.add("gone.wav")
    result = run(corpus.manifest(), "--json", "--headers-only")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["stops"] and not told["decoded"] and told["counts"] == {"unreadable": 1} and told["level_db"] is None
    assert told["findings"][0]["what"] == "No such file or directory"


def test_tokens_come_from_a_recipe(corpus, tmp_path):
    pytest.importorskip("torch")
    recipe = {
        "name": "hello",
        "language": "en",
        "license": "CC0-1.0",
        "data_statement": "noise",
        "data": {"train": [{"manifest": str(corpus.manifest()), "easy": True}]},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    other = Corpus(tmp_path, "other")
    other.add("good.wav", text="hi", duration=1.0)
    result = run(other.manifest(), "--tokens", tmp_path / "recipe.yaml")
    assert result.exit_code == 1 and "stops a training: unspellable: 1" in result.stdout and "'i'" in result.stdout
    assert run(other.manifest(), "--tokens", tmp_path / "none.yaml").exit_code == 2
    assert run(other.manifest(), "--tokens", "no-such-model").exit_code == 2


def test_every_kind_is_known():
    assert not set(STOPS) & set(HURTS)


def test_the_bench_prints_a_line_a_format():
    command = [sys.executable, "-m", bench.__name__, "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    lines = done.stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(bench.FORMATS)
    assert all("files/s" in line and "x real time" in line for line in lines)
