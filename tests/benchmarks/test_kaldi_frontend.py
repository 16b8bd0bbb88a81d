"""The comparison with Kaldi: it sees what differs, reads manifests, says what is missing."""

import json
import sys

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("kaldi_native_fbank")

import soundfile

from benchmarks import kaldi_frontend
from benchmarks.kaldi_frontend import Distance, compare, distance, main
from edgeseq.training.input_recipe import FrontendRecipe


def hum(seconds):
    time = np.arange(round(seconds * 16_000)) / 16_000
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (0.1 * np.sin(2 * np.pi * 200 * time) * np.sin(9 * time) ** 2 + 0.001 * noise).astype(np.float32)


@pytest.fixture
def manifest(tmp_path):
    soundfile.write(tmp_path / "hum.flac", hum(1.0), 16_000)
    path = tmp_path / "hums.jsonl"
    path.write_text(json.dumps({"audio_filepath": "hum.flac", "duration": 1.0, "text": "hum"}) + "\n")
    return path


def test_frames_that_are_mirrored_are_left_out():
    wanted = np.zeros((10, 4), np.float32)
    found = wanted.copy()
    found[[0, -1, -2]] = 5.0
    assert distance(found, wanted) == Distance(0.0, 0.0, 7)


def test_faint_bins_count_only_anywhere():
    wanted = np.zeros((10, 4), np.float32)
    wanted[:, 0] = -10.0  # 43 dB below the rest
    found = wanted.copy()
    found[4, 0] += 0.5
    found[4, 1] += 0.25
    assert distance(found, wanted) == Distance(0.25, 0.5, 7)


@pytest.mark.parametrize("settings", [{"f_max": 7500.0}, {"hop_samples": 159}, {"f_min": 30.0}])
def test_another_frontend_is_far_off(monkeypatch, settings):
    made = kaldi_frontend.unnormalized
    monkeypatch.setattr(kaldi_frontend, "unnormalized", lambda rate, **others: made(rate, **others, **settings))
    assert all(one.near > 0.01 for one in compare([hum(1.0)], FrontendRecipe(kind="kaldi")).values())


def test_torch_and_graph_agree_with_both_references():
    found = compare([hum(1.0), hum(0.7)], FrontendRecipe(kind="kaldi"))
    assert len(found) == 4
    for one in found.values():
        assert one.frames == 100 + 70 - 2 * 3 and 0 < one.near < 1e-3


def test_a_manifest_is_compared(manifest, capsys):
    assert main([str(manifest)]) == 0
    printed = capsys.readouterr().out
    assert "97 frames" in printed and printed.count("within 40 dB") == 4


def test_what_is_missing_is_named(manifest, capsys, monkeypatch):
    assert main(["nowhere.jsonl"]) == 1
    assert "nowhere.jsonl: no such manifest" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "kaldi_native_fbank", None)
    assert main([str(manifest)]) == 1
    assert "pip install kaldi-native-fbank" in capsys.readouterr().err
