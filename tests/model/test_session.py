"""Sessions: settings for a device, and a cache that is never a reason to fail."""

import numpy as np
import pytest

from edgeseq.model import session
from edgeseq.model.network import Network

pytest.importorskip("onnx")


def answer(path):
    network = Network(path)
    chunk = np.random.default_rng(0).uniform(-1, 1, (1, network.metadata.chunk_samples)).astype(np.float32)
    return network.step({"audio": chunk}, network.init_state())[0]["log_probs"]


def test_one_thread_that_does_not_spin():
    options = session.session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_what_is_kept_is_used_again_and_says_the_same(tone_model, tmp_path, monkeypatch):
    wanted = answer(tone_model)
    monkeypatch.setenv(session.CACHE, str(tmp_path / "cache"))
    np.testing.assert_array_equal(answer(tone_model), wanted)
    (kept,) = (tmp_path / "cache").iterdir()
    written = kept.stat().st_mtime_ns
    np.testing.assert_array_equal(answer(tone_model), wanted)
    assert [path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()] == [written]


def test_a_damaged_one_is_made_anew(tone_model, tmp_path, monkeypatch):
    wanted = answer(tone_model)
    monkeypatch.setenv(session.CACHE, str(tmp_path))
    answer(tone_model)
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    np.testing.assert_array_equal(answer(tone_model), wanted)
    assert kept.read_bytes() == whole


def test_a_folder_that_cannot_be_written_to_does_no_harm(tone_model, tmp_path, monkeypatch):
    wanted = answer(tone_model)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(session.CACHE, str(tmp_path / "file"))
    np.testing.assert_array_equal(answer(tone_model), wanted)


def test_every_model_has_its_own(tone_model, tmp_path, monkeypatch):
    monkeypatch.setenv(session.CACHE, str(tmp_path / "cache"))
    answer(tone_model)
    content = tone_model.read_bytes()
    assert session._key(content) != session._key(content + b" ")
