"""The whole way of sound: a player, a sound server, PortAudio, `edgeseq listen`, words."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import live as bench_live

from sound_server import needs_sound_server  # isort: skip

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "demo/number.flac"
FSDD = Path(os.environ.get("EDGESEQ_DATA", "")) / "fsdd/test.jsonl"

pytestmark = [
    needs_sound_server,
    pytest.mark.skipif(not (ROOT / "models/digits-en/model.int8.onnx").is_file(), reason="models/digits-en is not there"),
]


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_demo_clip_gives_the_words_of_the_file(capsys):
    """At 16, 44.1 and 48 kHz, mono and stereo, all at once."""
    bench_live._print_words(None, CLIP)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(bench_live.SINKS) and all(": 0 of 10 words differ" in line for line in lines), lines


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_recovery(sent):
    noticed, heard, ended = bench_live.recovery(sent, 2.2)
    assert 0 <= noticed < 2 and 0 <= heard < 3 and ended < 2


def test_words_that_differ_are_counted(monkeypatch):
    monkeypatch.setattr(bench_live, "hear_file", lambda samples, rate: ["zero four one", "eight eight"])
    samples, rate = soundfile.read(CLIP, dtype="float32")
    n_differ, n_words, _, heard = bench_live.words(samples[: 3 * rate], rate, (48_000, 1))
    assert (n_differ, n_words, heard) == (2, 5, ["zero four one"])


def test_silence_costs_little_and_is_measured():
    found = bench_live.idle(3.0)
    assert 0 <= found["recorder"] < 1 and 0 < found["listen"] < 1
    assert 5 < found["recorder MB"] < found["listen MB"], "the recorder loads neither numpy nor a network"


@pytest.mark.skipif(not FSDD.is_file(), reason="$EDGESEQ_DATA/fsdd is not there")
def test_latency_is_measured_from_what_was_said():
    from edgeseq.data.manifest import read_manifest

    spoken = bench_live.spoken_strings(list(read_manifest(FSDD)), 12, 8000)
    assert [len(ends) for ends in spoken.word_ends] == [len(text.split()) for text in spoken.texts]
    last_sounds = [round(ends[-1] * 8000) for ends in spoken.word_ends]
    assert all(spoken.samples[end - 200 : end].any() and not spoken.samples[end : end + 8000].any() for end in last_sounds)
    found = bench_live.latencies(spoken)
    # The rule's 0.8 s count from the last token, which comes near the word's end: before it at times.
    assert len(found.to_final) >= 1 and 0.5 < np.median(found.to_final) < 3
    assert len(found.to_partial) >= 3 and -0.3 < np.median(found.to_partial) < 2
