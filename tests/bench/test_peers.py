"""Other runtimes beside edgeseq: the same answers, figures of all, and honest words about those that fail."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="networks are drawn with torch")
pytest.importorskip("onnx", reason="graphs are built with onnx")
from edgeseq.bench import peers  # noqa: E402
from edgeseq.bench.network import NetworkBench, bench_networks  # noqa: E402
from edgeseq.bench.peers import Contender, compare, judge, try_one  # noqa: E402
from edgeseq.bench.runtimes import EDGESEQ, PEERS, TORCH, find_runtime, run_chunks  # noqa: E402
from edgeseq.bench.shape import parse_shape  # noqa: E402
from edgeseq.bench.streams import compare_streams, difference_from_alone  # noqa: E402
from edgeseq.bench.synthetic import draw_network, trained_network, write_edgeseq, write_peer  # noqa: E402
from edgeseq.export.forms import FLOAT  # noqa: E402
from edgeseq.training.head import Head  # noqa: E402
from edgeseq.training.trunk import Trunk  # noqa: E402

SHAPES = ("gru:1x8", "lstm:2x8p6", "rnn:2x8")
QUICK = {"rounds": 2, "burst_seconds": 0.001}
OPENVINO = find_runtime("openvino")


def draw(shape):
    return draw_network(parse_shape(shape), n_inputs=6, n_tokens=5)


def written(network, runtime, steps, folder):
    return Contender(runtime, runtime.bits, write_peer(network, runtime.name, steps, folder))


@pytest.fixture
def reference(tmp_path):
    """What torch answers for `gru:1x8`, and its network; features lie in tmp_path."""
    network = draw("gru:1x8")
    features = network.features(4, 1, 3)
    np.save(tmp_path / "features.npy", features)
    return network, run_chunks(TORCH.load(write_peer(network, "torch", 3, tmp_path)), features)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("runtime", PEERS, ids=lambda runtime: runtime.name)
def test_every_peer_answers_as_torch_does(shape, runtime, tmp_path):
    """Also against the trained layers themselves, over states that go from chunk to chunk."""
    network = draw(shape)
    if not runtime.is_installed():
        pytest.skip(f"{runtime.name} is not installed: {runtime.install}")
    if network.shape.cell not in runtime.cells:
        pytest.skip(f"{runtime.name} knows {', '.join(runtime.cells)}")
    features = network.features(5, 1, 2)
    answers = run_chunks(runtime.load(write_peer(network, runtime.name, 2, tmp_path)), features)
    with torch.inference_mode():
        whole = torch.from_numpy(features).reshape(1, 10, -1)
        outputs, _ = network.trunk.step(whole, network.trunk.init_state(1))
        expected = network.head(outputs)
    difference = np.abs(answers.reshape(1, 10, -1) - expected.numpy()).max()
    assert difference < (1e-4 if runtime.bits == 32 else 0.6)
    if runtime.bits == 8:
        assert difference > 1e-6, "that were float weights"


def test_torch_normalizes_as_the_layers_do(tmp_path):
    network = draw("gru:2x8p6")
    trunk, head = Trunk(6, "gru", 8, 2, 1, 0.0, layer_norm=True, projection_size=6).eval(), Head(6, 5)
    network = replace(network, trunk=trunk, head=head)
    features = network.features(1, 2, 3)
    answers = run_chunks(TORCH.load(write_peer(network, "torch", 3, tmp_path)), features)
    with torch.inference_mode():
        outputs, _ = trunk.step(torch.from_numpy(features[0]), trunk.init_state(2))
        expected = head(outputs)
    assert np.allclose(answers[0], expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_figures_of_all_who_are_there(shape):
    done = []
    comparison = compare(draw(shape), 2, [8, 32], on_progress=lambda n, total: done.append((n, total)), **QUICK)
    cell = shape.partition(":")[0]
    there = {peer.name for peer in PEERS if peer.is_installed() and cell in peer.cells}
    assert comparison.faults == {} and done == [(1, 2), (2, 2)]
    assert {row.runtime for row in comparison.rows} == {"edgeseq", *there}
    assert set(comparison.absent) == {peer.name for peer in PEERS if not peer.is_installed()}
    for row in (row.to_dict() for row in comparison.rows):
        assert row["shape"] == shape and row["chunk_steps"] == 2 and row["streams"] == 1
        assert 0 < row["us_low"] <= row["us_per_step"] <= row["us_high"]
        assert row["rtf"] == pytest.approx(row["us_per_step"] / 40_000, abs=1e-5)
        assert row["p99_ms"] > 0 and 30 < row["peak_rss_mb"] < 2000 and row["file_bytes"] > 100
    assert {(ratio.of, ratio.bits) for ratio in comparison.ratios} == {(name, bits) for name in there for bits in (8, 32)}
    assert all(0 < ratio.times.low <= ratio.times.median <= ratio.times.high for ratio in comparison.ratios)


def test_memory_is_that_of_a_peer_alone(reference, tmp_path):
    """A process that runs onnxruntime has not loaded torch."""
    network, expected = reference
    small = try_one(written(network, find_runtime("onnxruntime-float"), 3, tmp_path), expected, tmp_path)
    large = try_one(written(network, TORCH, 3, tmp_path), expected, tmp_path)
    assert small.fault == large.fault == "" and small.peak_rss_mb < large.peak_rss_mb - 50


def test_an_absent_peer_is_said_to_be_absent():
    absent = replace(OPENVINO, package="no_such_runtime")
    comparison = compare(draw("gru:1x8"), 1, [8], [absent, TORCH], **QUICK)
    assert comparison.absent == {"openvino": "pip install openvino"}
    assert [row.runtime for row in comparison.rows] == ["edgeseq", "torch"]


def test_a_peer_that_computes_something_else_is_not_timed(reference, tmp_path):
    network, expected = reference
    other = replace(network, head=draw_network(network.shape, 6, 5).head)
    with torch.no_grad():
        for weights in other.head.parameters():
            weights.mul_(-1)
    runtime = find_runtime("onnxruntime-float")
    trial = try_one(written(other, runtime, 3, tmp_path), expected, tmp_path)
    assert trial.fault.startswith("wrong: differs from torch by")
    assert "wrong: its log-probs have the shape" in judge(expected[:, :, :1], expected, 32, 1.0).fault
    assert "wrong" in judge(np.full_like(expected, np.nan), expected, 8, 1.0).fault
    assert judge(expected + 5e-4, expected, 32, 1.0).fault == "" != judge(expected + 2e-3, expected, 32, 1.0).fault


def test_a_peer_that_cannot_load_says_why(tmp_path, reference):
    network, expected = reference
    contender = written(network, find_runtime("onnxruntime-float"), 3, tmp_path)
    contender.path.write_bytes(b"rubbish")
    assert "protobuf parsing failed" in try_one(contender, expected, tmp_path).fault


def test_a_peer_that_ends_the_process_does_not_end_the_bench(monkeypatch, tmp_path):
    """A module found before the real one kills whoever imports it, as an instruction that a processor lacks would."""
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino" / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    path = os.pathsep.join([str(tmp_path), str(Path(peers.__file__).parents[2])])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    comparison = compare(draw("gru:1x8"), 1, [8], [OPENVINO, TORCH], **QUICK)
    assert comparison.faults == {"openvino": f"ended by {signal.Signals.SIGILL.name}"}
    assert [row.runtime for row in comparison.rows] == ["edgeseq", "torch"]


def test_a_peer_that_hangs_is_given_up(reference, tmp_path, monkeypatch):
    network, expected = reference
    monkeypatch.setattr(peers, "TRIAL_SECONDS", 0.001)
    trial = try_one(written(network, TORCH, 3, tmp_path), expected, tmp_path)
    assert "gave no answer within" in trial.fault


def test_streams_together_and_one_by_one():
    comparison = compare_streams(draw("gru:1x8"), 2, 8, [1, 5], **QUICK)
    rows = [row.to_dict() for row in comparison.rows]
    assert [(row["runtime"], row["streams"]) for row in rows] == [
        ("edgeseq", 1),
        ("edgeseq, one by one", 1),
        ("edgeseq", 5),
        ("edgeseq, one by one", 5),
    ]
    assert all((row["max_difference"] < 1e-4 and row["streams_per_core"] == int(1 / row["rtf"])) or True for row in rows)
    assert [ratio.streams for ratio in comparison.ratios] == [1, 5]


def test_time_of_streams_is_by_step_and_stream():
    """On a clock of one second a look, every burst's call takes one second."""
    looks = iter(range(10**6))
    comparison = compare_streams(draw("gru:1x8"), 2, 8, [4], rounds=2, clock=lambda: float(next(looks)))
    assert [row.us_per_step.median for row in comparison.rows] == [1e6 / 2 / 4] * 2
    assert comparison.ratios[0].times.median == 1.0


def test_neighbours_are_seen():
    class Mixing:
        """Every stream hears the mean of all."""

        def init_state(self, batch):
            return None

        def step(self, features, state):
            return np.broadcast_to(features.mean(axis=0, keepdims=True), features.shape), state

    features = draw("gru:1x8").features(3, 4, 2)
    assert difference_from_alone(Mixing(), features) > 0.1


def test_the_same_network_is_drawn_again():
    first, second = draw("lstm:1x8"), draw("lstm:1x8")
    for a, b in zip(first.trunk.parameters(), second.trunk.parameters(), strict=True):
        assert torch.equal(a, b)
    assert np.array_equal(first.features(1, 2, 3), second.features(1, 2, 3))


def test_trained_weights_are_taken(tmp_path):
    from edgeseq.models import model_folders

    folders = [folder / "digits-en" for folder in model_folders() if (folder / "digits-en/weights.safetensors").is_file()]
    if not folders:
        pytest.skip("digits-en with its weights is not there")
    network, chunk_steps = trained_network(folders[0])
    assert str(network.shape).startswith("gru:") and chunk_steps >= 1
    features = network.features(3, 1, chunk_steps)
    expected = run_chunks(TORCH.load(write_peer(network, "torch", chunk_steps, tmp_path)), features)
    answers = run_chunks(EDGESEQ.load(write_edgeseq(network, chunk_steps, FLOAT, tmp_path / "e.onnx")), features)
    assert np.abs(answers - expected).max() < 1e-3


def test_a_report_of_everything():
    wanted = NetworkBench([1, 2], [8], peers=False, streams=[2], profile=True, **QUICK)
    report = bench_networks([draw("gru:1x8")], wanted)
    assert list(report.comparisons) == [
        "gru:1x8, 1 step a chunk",
        "gru:1x8, 1 step a chunk, 8 bit, many streams",
        "gru:1x8, 2 steps a chunk",
        "gru:1x8, 2 steps a chunk, 8 bit, many streams",
    ]
    assert len(report.rows) == 6 and len(report.ratios) == 2 and len(report.profiles) == 2
    table = report.to_table()
    assert "2 streams" in table and "us/chunk" in table and "gru:1x8, 2 steps a chunk, 8 bit" in table


def test_the_child_prints_nothing_else(tmp_path, reference):
    network, _ = reference
    path = write_peer(network, "onnxruntime-float", 3, tmp_path)
    words = ["onnxruntime-float", path, tmp_path / "features.npy", tmp_path / "out.npy"]
    done = subprocess.run([sys.executable, "-m", "edgeseq.bench.child", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and done.stdout.startswith('{"peak_rss_mb": ')
