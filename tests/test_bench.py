"""Measuring: that all is measured, not how quick it is."""

import doctest
import json

import numpy as np
import pytest
import soundfile

import edgeseq.bench as benchmark
from edgeseq.errors import AudioError, EdgeseqError


def test_doctests():
    assert doctest.testmod(benchmark).failed == 0


def test_a_row_holds_every_figure(tone_model, tmp_path):
    row = benchmark.bench_model(tone_model, 2.0, repeats=1)
    figures = json.loads(benchmark.to_json([row], 0.1))
    (printed,) = figures["rows"]
    assert printed["runtime"] == "edgeseq" and printed["bits"] == 32 and printed["model"] == "tones"
    assert printed["file_bytes"] == tone_model.stat().st_size
    for key in ("rtf", "rtf_without_resampling", "p50_ms", "p99_ms", "worst_ms", "start_seconds", "peak_rss_mb"):
        assert printed[key] > 0, key
    assert printed["p50_ms"] <= printed["p99_ms"] <= printed["worst_ms"]
    assert 10 < printed["peak_rss_mb"] < 500
    assert {"processor", "cores", "onnxruntime"} <= set(figures["machine"])
    assert "peak_rss_mb" in benchmark.to_table([row, row])


def test_every_chunk_of_the_sound_is_timed(tone_recognizer):
    samples = benchmark.make_sound(1.6)
    assert samples.dtype == np.float32 and len(samples) == 1.6 * benchmark.MICROPHONE_RATE
    timing = benchmark.time_path(tone_recognizer, samples, benchmark.MICROPHONE_RATE)
    assert len(timing.chunk_ms) in (20, 21)  # the resampler may give a rest at the end
    assert timing.rtf * 1.6 >= sum(timing.chunk_ms) / 1000


def test_a_file_is_repeated(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(24_000, 0.25), 48_000)
    assert np.allclose(benchmark.make_sound(2.0, tmp_path / "a.wav"), 0.25, atol=1e-3)
    with pytest.raises(AudioError, match=r"gone\.wav"):
        benchmark.make_sound(2.0, tmp_path / "gone.wav")


def test_memory_is_the_childs_own():
    ballast = np.ones(40_000_000)  # 320 MB, which a forked child would be charged with
    figures = benchmark.run_process(["--version"])
    assert figures.peak_rss_mb < 100 and figures.seconds > 0
    assert len(ballast)


def test_a_process_that_fails_says_why():
    with pytest.raises(EdgeseqError, match=r"transcribe(.|\n)*ended with code [12]"):
        benchmark.run_process(["transcribe", "--model", "no-such-model", "x.wav"])
