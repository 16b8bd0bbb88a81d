"""Measuring a model's whole path: that all is measured, not how quick it is."""

import doctest

import numpy as np
import pytest
import soundfile

from edgeseq.bench import model as benchmark
from edgeseq.bench import processes
from edgeseq.bench.machine import machine
from edgeseq.bench.memory_growth import memory_after
from edgeseq.bench.processes import processor_seconds, run_process
from edgeseq.bench.sound import MICROPHONE_RATE, make_sound
from edgeseq.errors import AudioError, EdgeseqError


def test_doctests():
    assert doctest.testmod(processes).failed == 0


def test_a_row_holds_every_figure(tone_model):
    row = benchmark.bench_model(tone_model, 2.0, repeats=1)
    printed = row.to_dict()
    assert printed["runtime"] == "edgeseq" and printed["bits"] == 32 and printed["model"] == "tones"
    assert printed["file_bytes"] == tone_model.stat().st_size
    for key in ("rtf", "rtf_without_resampling", "p50_ms", "p99_ms", "worst_ms", "start_seconds", "peak_rss_mb"):
        assert printed[key] > 0, key
    for key in ("processor_ms", "network_chunk_us", "weight_gb_per_s", "cache_gb_per_s", "memory_gb_per_s", "limit_percent"):
        assert printed[key] > 0, key
    assert printed["p50_ms"] <= printed["p99_ms"] <= printed["worst_ms"]
    assert 10 < printed["peak_rss_mb"] < 500 and "growth_mb" not in printed
    assert {"processor", "cores", "onnxruntime"} <= set(machine())
    for name, (low, high) in printed["spread"].items():
        assert low <= printed[name] <= high, name
    lines = benchmark.model_table([row, row]).splitlines()
    assert [line.split()[0] for line in lines] == [key for key in printed if key != "spread"]


def test_times_are_those_of_the_clock(tone_recognizer):
    """A chunk is between two looks at the clock, and the flush counts as well."""
    looks = iter(range(10_000))
    timing = benchmark.time_path(tone_recognizer, make_sound(1.6), MICROPHONE_RATE, clock=lambda: float(next(looks)))
    assert set(timing.chunk_ms) == {1000.0}
    assert timing.rtf == pytest.approx((len(timing.chunk_ms) + 1) / 1.6)


def test_every_chunk_of_the_sound_is_timed(tone_recognizer):
    samples = make_sound(1.6)
    assert samples.dtype == np.float32 and len(samples) == 1.6 * MICROPHONE_RATE
    timing = benchmark.time_path(tone_recognizer, samples, MICROPHONE_RATE)
    assert len(timing.chunk_ms) in (20, 21)  # the resampler may give a rest at the end
    assert timing.rtf * 1.6 >= sum(timing.chunk_ms) / 1000


def test_a_file_is_repeated(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(24_000, 0.25), 48_000)
    assert np.allclose(make_sound(2.0, tmp_path / "a.wav"), 0.25, atol=1e-3)
    with pytest.raises(AudioError, match=r"gone\.wav"):
        make_sound(2.0, tmp_path / "gone.wav")


def test_memory_is_the_childs_own():
    ballast = np.ones(40_000_000)  # 320 MB, which a forked child would be charged with
    figures = run_process(["--version"])
    assert figures.peak_rss_mb < 100 and figures.seconds > 0
    assert len(ballast)


def test_a_process_that_fails_says_why():
    with pytest.raises(EdgeseqError, match=r"transcribe(.|\n)*ended with code [12]"):
        run_process(["transcribe", "--model", "no-such-model", "x.wav"])
    with pytest.raises(EdgeseqError, match=r"transcribe(.|\n)*ended with code [12]"):
        processor_seconds(["transcribe", "--model", "no-such-model", "x.wav"])


def test_memory_after_more_and_more_sound(tone_model):
    first, second = memory_after(tone_model, (1.0, 20.0))
    assert 20 < first < 500 and abs(second - first) < 5


def test_a_long_stream_that_fails_says_why(tmp_path):
    with pytest.raises(EdgeseqError, match=r"the long stream ended with code 1: no model '.*none\.onnx'"):
        memory_after(tmp_path / "none.onnx", (1.0,))


def test_a_step_may_give_several_rows(tone_recognizer):
    from dataclasses import replace

    metadata = tone_recognizer.metadata
    assert benchmark.steps_a_chunk(metadata) == 2
    assert benchmark.steps_a_chunk(replace(metadata, config={"network": {"rows_per_step": 2}})) == 1
