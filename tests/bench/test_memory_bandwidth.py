"""The probe of the memory, and bytes of weights by hand."""

import doctest

import pytest

from edgeseq.bench import memory_bandwidth, weights_read
from edgeseq.bench.memory_bandwidth import beyond_caches, read_bandwidth
from edgeseq.bench.weights_read import WeightReads, count_reads, optimized_graph
from edgeseq.model.onnx_file import NotOnnxError, OnnxGraph, OnnxNode, read_graph


def test_doctests():
    assert doctest.testmod(memory_bandwidth).failed == 0 and doctest.testmod(weights_read).failed == 0


def test_the_bandwidth_is_bytes_by_time():
    """On a clock that says every pass takes 20 ms: one reading a pass."""
    looks = iter(range(1000))
    assert read_bandwidth(40_000_000, clock=lambda: next(looks) * 0.02) == pytest.approx(2.0)


def test_short_passes_are_repeated():
    """On a clock that says one reading takes 1 ms, and so on: sixteen make a pass that is long enough."""
    passes = [0.001, 0.002, 0.004, 0.008, *[0.016] * 10]
    looks = iter([look for index, seconds in enumerate(passes) for look in (10.0 * index, 10.0 * index + seconds)])
    assert read_bandwidth(1_000_000, clock=lambda: next(looks)) == pytest.approx(1.0)


def test_this_machine_has_a_bandwidth():
    assert 0.1 < read_bandwidth(1 << 20) < 2000
    assert (1 << 20) <= beyond_caches() <= (1 << 30)


def test_each_node_reads_its_constants_and_recurrent_weights_every_step():
    graph = OnnxGraph(
        (
            OnnxNode("GRU", ("x", "w", "r", "b")),
            OnnxNode("MatMul", ("h0", "u")),
            OnnxNode("MatMul", ("h1", "u")),
            OnnxNode("Add", ("h2", "h3")),
        ),
        {"w": 1000, "r": 400, "b": 10, "u": 50, "unused": 7777},
    )
    reads = count_reads(graph, n_steps=4)
    assert reads == WeightReads(bytes_a_chunk=1000 + 4 * 400 + 10 + 2 * 50, distinct_bytes=1460, largest_bytes=1000)


def test_the_least_time_is_first_readings_from_far_and_the_others_from_near():
    reads = WeightReads(bytes_a_chunk=5_000_000_000, distinct_bytes=1_000_000_000, largest_bytes=1000)
    assert reads.least_seconds(lambda n_bytes: 10.0 if n_bytes > 1000 else 40.0) == pytest.approx(0.1 + 0.1)


def test_nodes_and_constants_of_a_file():
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    constants = [
        helper.make_tensor("w", TensorProto.FLOAT, [3, 5], [0.0] * 15),
        helper.make_tensor("q", TensorProto.UINT8, [7], [1] * 7),
        helper.make_tensor("i", TensorProto.UINT4, [5], [1] * 5),
        helper.make_tensor("s", TensorProto.INT64, [], [1]),
    ]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("GRU", ["y", "w", "w", ""], ["z"])]
    model = helper.make_model(helper.make_graph(nodes, "g", [], [], constants))
    graph = read_graph(model.SerializeToString())
    assert graph.constants == {"w": 60, "q": 7, "i": 3, "s": 8}
    assert graph.nodes == (OnnxNode("MatMul", ("x", "w")), OnnxNode("GRU", ("y", "w", "w", "")))
    assert len(onnx.__version__)
    with pytest.raises(NotOnnxError):
        read_graph(model.SerializeToString()[:-20])
    with pytest.raises(NotOnnxError, match="no graph"):
        read_graph(b"")


def test_the_graph_that_onnxruntime_runs(tone_model):
    graph = optimized_graph(tone_model)
    operators = {node.operator for node in graph.nodes}
    assert "MatMul" in operators and sum(graph.constants.values()) > 1000
    reads = count_reads(graph, 2)
    assert reads.bytes_a_chunk >= reads.distinct_bytes > reads.largest_bytes > 0
