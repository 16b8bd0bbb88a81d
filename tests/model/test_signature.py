"""Ports and states: written, read strictly, compared with arrays and with graphs."""

import json

import numpy as np
import pytest

from edgeseq.errors import ModelError, UsageError
from edgeseq.model.network import Network
from edgeseq.model.signature import Port, Signature, StatePort

onnx = pytest.importorskip("onnx")
import tone_frames as frames  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

TEXT = Signature(
    (Port("ids", "int64", 4, (), 2.5), Port("values", "float32", 1, (3,))),
    (Port("scores", "float32", 4, (2,)), Port("best", "int64", 4)),
    (StatePort("state_sum", "float32", (3,)), StatePort("state_count", "int64", ())),
)


def test_it_comes_back_from_json():
    assert Signature.from_json(TEXT.to_json()) == TEXT
    newer = json.loads(TEXT.to_json())
    newer["inputs"][0]["meaning"] = "letters"
    assert Signature.from_dict(newer | {"later": 1}) == TEXT


def spoilt(path, value):
    plain = json.loads(TEXT.to_json())
    place = plain
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return plain


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        (("inputs",), [], "'inputs': wanted a list of 1"),
        (("outputs",), {}, "'outputs': wanted a list of 1"),
        (("states",), ..., "'states': wanted a list of 0"),
        (("states",), [{"name": "state_x", "dtype": "int64", "shape": []}] * 1025, "0 to 1,024 objects"),
        (("inputs", 0), 3, "wanted objects"),
        (("inputs", 0, "name"), "a b", "wanted letters, digits"),
        (("inputs", 0, "name"), "x" * 101, "wanted letters, digits"),
        (("inputs", 0, "name"), None, "wanted letters, digits"),
        (("inputs", 0, "name"), "values", "stands there twice"),
        (("inputs", 0, "name"), "state_ids", "are for states"),
        (("states", 0, "name"), "sum", "begin with 'state_'"),
        (("inputs", 0, "dtype"), "float16", "wanted float32 or int64"),
        (("inputs", 0, "per_chunk"), 0, "wanted a whole number from 1"),
        (("inputs", 0, "per_chunk"), True, "wanted a whole number from 1"),
        (("inputs", 0, "per_chunk"), 2.0, "wanted a whole number from 1"),
        (("inputs", 0, "per_chunk"), 2**40, "wanted a whole number from 1"),
        (("inputs", 1, "shape"), [2**20, 2**20], "elements"),
        (("inputs", 1, "shape"), [0], "whole numbers from 1"),
        (("inputs", 1, "shape"), "3", "whole numbers from 1"),
        (("inputs", 1, "shape"), [1] * 8, "at most 7 whole numbers"),
        (("states", 0, "shape"), [-1], "whole numbers from 0"),
        (("inputs", 0, "rate"), -1, "wanted a number above 0"),
        (("inputs", 0, "rate"), float("inf"), "wanted a number above 0"),
        (("inputs", 0, "rate"), "8000", "wanted a number above 0"),
    ],
)
def test_what_is_no_signature_is_refused_in_words(path, value, wanted):
    with pytest.raises(ValueError, match=r"wanted|twice|for states") as caught:
        Signature.from_dict(spoilt(path, value))
    assert wanted in str(caught.value)


def test_what_is_no_json_is_refused():
    for text in ("", "[1]", "{", "[" * 100_000):
        with pytest.raises(ValueError, match=r"wanted|not JSON"):
            Signature.from_json(text)


def build(signature=TEXT, **renamed):
    """A graph with two inputs, two outputs and two states of both types: sums values, counts calls, finds the larger score."""
    nodes = [
        helper.make_node("Squeeze", ["values", "one"], ["row"]),
        helper.make_node("Add", ["state_sum", "row"], ["state_sum_next"]),
        helper.make_node("Add", ["state_count", "unit"], ["state_count_next"]),
        helper.make_node("Gather", ["table", "ids"], ["looked_up"], axis=0),
        helper.make_node("ReduceSum", ["state_sum_next", "one"], ["total"], keepdims=1),
        helper.make_node("Unsqueeze", ["total", "one"], ["totals"]),
        helper.make_node("Add", ["looked_up", "totals"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["best"], axis=2, keepdims=0),
    ]
    tensors = [
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array(1, np.int64), "unit"),
        numpy_helper.from_array(np.array([[0, 1], [2, 0]], np.float32), "table"),
    ]
    number, whole = TensorProto.FLOAT, TensorProto.INT64
    inputs = {"ids": (whole, [4]), "values": (number, [1, 3]), "state_sum": (number, [3]), "state_count": (whole, [])}
    outputs = {
        "scores": (number, [4, 2]),
        "best": (whole, [4]),
        "state_sum_next": (number, [3]),
        "state_count_next": (whole, []),
    }
    infos = [
        [helper.make_tensor_value_info(name, kind, ["batch", *sizes]) for name, (kind, sizes) in side.items()]
        for side in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "two", *infos, initializer=tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    own = frames.details(labels=["a", "b"], threshold=0.5, row_seconds=1.0)
    helper.set_model_props(model, frames.metadata(signature=signature, details=own).to_strings())
    return model


def save(model, path):
    path.write_bytes(model.SerializeToString())
    return path


RATED = Signature(TEXT.inputs, (Port("scores", "float32", 4, (2,), 1.0), TEXT.outputs[1]), TEXT.states)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return Network(save(build(RATED), tmp_path_factory.mktemp("two") / "model.onnx"))


def given(batch=2):
    rng = np.random.default_rng(0)
    return {
        "ids": rng.integers(0, 2, (batch, 4)),
        "values": rng.normal(size=(batch, 1, 3)).astype(np.float32),
    }


def test_several_inputs_outputs_and_states_of_both_types(network):
    assert network.signature == RATED == network.metadata.signature
    state, inputs = network.init_state(2), given()
    assert {name: (a.dtype, a.shape) for name, a in state.items()} == {
        "state_sum": (np.float32, (2, 3)),
        "state_count": (np.int64, (2,)),
    }
    for call in range(1, 4):
        outputs, state = network.step(inputs, state)
        np.testing.assert_array_equal(state["state_count"], [call, call])
        np.testing.assert_allclose(state["state_sum"], call * inputs["values"][:, 0], rtol=1e-5)
        np.testing.assert_array_equal(outputs["best"], 1 - inputs["ids"])
    alone, _ = network.step({name: array[1:] for name, array in inputs.items()}, network.init_state(1))
    again, _ = network.step(inputs, network.init_state(2))
    np.testing.assert_array_equal(alone["scores"][0], again["scores"][1])


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"ids": None}, "'values' float32 [2, 1, 3]; it takes 'ids' int64 [batch, 4], 'values' float32 [batch, 1, 3]"),
        ({"ids": np.zeros((2, 4), np.int32)}, "'ids' int32 [2, 4]"),
        ({"ids": np.zeros((2, 3), np.int64)}, "'ids' int64 [2, 3]"),
        ({"values": np.zeros((3, 1, 3), np.float32)}, "'values' float32 [3, 1, 3]"),
        ({"values": [1.0]}, "'values' list"),
        ({"more": np.zeros(2)}, "'more' float64 [2]"),
    ],
)
def test_inputs_of_another_kind_or_shape_are_refused(network, changes, seen):
    inputs = {name: array for name, array in (given() | changes).items() if array is not None}
    with pytest.raises(UsageError, match="it takes") as caught:
        network.step(inputs, network.init_state(2))
    assert seen in str(caught.value)


def test_an_array_without_its_name_is_refused(network):
    with pytest.raises(UsageError, match=r"was given float32 \[1, 640\]; it takes arrays by name: 'ids' int64"):
        network.step(np.zeros((1, 640), np.float32), network.init_state())


def test_a_state_of_another_signature_is_refused(network):
    state = network.init_state(2)
    for changed in (
        {"state_sum": state["state_sum"]},
        state | {"state_more": state["state_sum"]},
        state | {"state_count": state["state_count"].astype(np.float32)},
        state | {"state_sum": np.zeros((2, 4), np.float32)},
        network.init_state(3),
    ):
        with pytest.raises(UsageError, match=r"was given the states .*; it takes 'state_sum' float32 \[2, 3\], 'state_count'"):
            network.step(given(), changed)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"inputs": TEXT.inputs[:1]}, "input 'values' is not in the signature"),
        ({"inputs": (*TEXT.inputs, Port("extra", "int64", 1))}, "input 'extra' should be int64 [batch, 1], and is missing"),
        ({"inputs": (Port("ids", "float32", 4), TEXT.inputs[1])}, "input 'ids' should be float32 [batch, 4], and is int64"),
        ({"inputs": (Port("ids", "int64", 8), TEXT.inputs[1])}, "input 'ids' should be int64 [batch, 8], and is int64"),
        ({"outputs": (*RATED.outputs, Port("worst", "int64", 4))}, "output 'worst' should be"),
        ({"outputs": (RATED.outputs[0], Port("best", "float32", 4))}, "output 'best' should be float32 [batch, 4]"),
        ({"states": TEXT.states[:1]}, "input 'state_count' is not in the signature"),
        ({"states": (*TEXT.states, StatePort("state_more", "int64", ()))}, "'state_more_next' is missing"),
        ({"states": (StatePort("state_sum", "int64", (3,)), TEXT.states[1])}, "'state_sum' should be int64 [batch, 3]"),
    ],
)
def test_a_graph_that_is_not_its_signature_is_refused(changes, wanted, tmp_path):
    own = {"inputs": RATED.inputs, "outputs": RATED.outputs, "states": RATED.states}
    with pytest.raises(ModelError, match="not those of the model format") as caught:
        Network(save(build(Signature(**(own | changes))), tmp_path / "model.onnx"))
    assert wanted in str(caught.value)


def test_a_model_that_does_not_hear_says_so(network):
    with pytest.raises(UsageError, match="takes ids, values and no sound"):
        _ = network.metadata.sample_rate
