import numpy as np
import pytest

from edgeseq.errors import ModelError, UsageError
from edgeseq.model.metadata import FORMAT
from edgeseq.model.network import Network
from edgeseq.model.onnx_file import NotOnnxError, summarize

onnx = pytest.importorskip("onnx")
import tone_language as tones  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


@pytest.fixture(scope="module")
def network(tone_model):
    return Network(tone_model)


def chunks(n, seed=0, batch=1):
    return np.random.default_rng(seed).normal(0, 0.3, (n, batch, tones.CHUNK)).astype(np.float32)


def save(model, path):
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def refusal(path):
    with pytest.raises(ModelError) as caught:
        Network(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_shapes_and_metadata(network):
    assert network.metadata.name == "tones"
    state = network.init_state(batch=3)
    assert {name: array.shape for name, array in state.items()} == {
        "state_tail": (3, 160),
        "state_energy": (3, 27),
        "state_late": (3, 2, 27),
    }
    outputs, after = network.step({"audio": chunks(1, batch=3)[0]}, state)
    assert {name: array.shape for name, array in outputs.items()} == {"log_probs": (3, 2, len(tones.TOKENS))}
    assert {name: array.shape for name, array in after.items()} == {n: a.shape for n, a in state.items()}
    assert not any(array.any() for array in state.values()), "the state that went in is unchanged"


def test_the_state_matters(network):
    first, second = chunks(2)
    _, state = network.step({"audio": first}, network.init_state())
    with_past, _ = network.step({"audio": second}, state)
    without, _ = network.step({"audio": second}, network.init_state())
    assert not np.allclose(with_past["log_probs"], without["log_probs"])


def test_streams_in_a_batch_do_not_hear_each_other(network):
    sound = chunks(4, batch=3) * np.array([1, 30, 0.01], dtype=np.float32)[:, None]
    together, state = [], network.init_state(3)
    for chunk in sound:
        outputs, state = network.step({"audio": chunk}, state)
        together.append(outputs["log_probs"])
    for row in range(3):
        state = network.init_state()
        for chunk, expected in zip(sound, together, strict=True):
            outputs, state = network.step({"audio": chunk[row : row + 1]}, state)
            np.testing.assert_allclose(outputs["log_probs"][0], expected[row], atol=1e-4)


@pytest.mark.parametrize(
    "chunk",
    [
        np.zeros((1, 639), np.float32),
        np.zeros(640, np.float32),
        np.zeros((1, 640), np.float64),
        np.zeros((2, 640), np.float32),
    ],
)
def test_a_chunk_that_does_not_fit_is_refused_in_words(network, chunk):
    with pytest.raises(UsageError, match=r"was given .*; it takes .*\n"):
        network.step({"audio": chunk}, network.init_state())


def test_missing_folder_empty_and_garbage(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.onnx")
    assert "a folder" in refusal(tmp_path)
    assert "empty" in refusal(save(b"", tmp_path / "empty.onnx"))
    assert "not an ONNX file" in refusal(save(b"RIFF1234WAVEfmt " * 50, tmp_path / "sound.onnx"))
    assert "not an ONNX file" in refusal(save(b"\x00" * 1000, tmp_path / "zeros.onnx"))


def test_truncated_anywhere(tone_model, tmp_path):
    whole = tone_model.read_bytes()
    for share in (0.01, 0.3, 0.6, 0.95, 0.999):
        refusal(save(whole[: int(len(whole) * share)], tmp_path / "cut.onnx"))


def test_a_foreign_onnx_and_a_newer_format(tmp_path):
    model = tones.build()
    del model.metadata_props[:]
    assert "not one of edgeseq's" in refusal(save(model, tmp_path / "foreign.onnx"))
    newer = tones.build(format=FORMAT + 1)
    assert f"format {FORMAT + 1}" in refusal(save(newer, tmp_path / "newer.onnx"))
    without = tones.build()
    kept = [p for p in without.metadata_props if p.key != "edgeseq.sample_rate"]
    del without.metadata_props[:]
    without.metadata_props.extend(kept)
    assert "edgeseq.sample_rate" in refusal(save(without, tmp_path / "without.onnx"))


@pytest.mark.parametrize(
    "lies",
    [
        {"blank_id": 3},
        {"blank_id": 99},
        {"chunk_samples": 320},
        {"chunk_samples": 700},
        {"hop_samples": 40},
        {"tokens": ("<blk>", "a")},
        {"flush_seconds": -1.0},
    ],
)
def test_metadata_that_does_not_fit_the_graph(lies, tmp_path):
    refusal(tones.save(tmp_path / "lies.onnx", **lies))


def test_inputs_and_outputs_that_do_not_fit(tmp_path):
    def renamed(old, new):
        model = tones.build()
        for node in model.graph.node:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]
        for info in (*model.graph.input, *model.graph.output):
            info.name = new if info.name == old else info.name
        return save(model, tmp_path / "renamed.onnx")

    assert "'audio' should be" in refusal(renamed("audio", "state_audio"))
    assert "'log_probs' should be" in refusal(renamed("log_probs", "logits_"))
    assert "'state_tail_next' is missing" in refusal(renamed("state_tail_next", "tail"))
    assert "neither 'audio' nor" in refusal(renamed("state_tail", "tail"))
    fixed = tones.build()
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    assert "'audio' should be" in refusal(save(fixed, tmp_path / "fixed.onnx"))


def test_operators_from_elsewhere(tmp_path):
    model = tones.build()
    model.graph.node.append(helper.make_node("Steal", ["audio"], ["x"], domain="evil.example"))
    model.opset_import.append(helper.make_opsetid("evil.example", 1))
    assert "'evil.example'" in refusal(save(model, tmp_path / "domain.onnx"))


def test_an_operator_nobody_knows(tmp_path):
    model = tones.build()
    model.graph.node.append(helper.make_node("NoSuchOperator", ["audio"], ["x"]))
    assert "onnxruntime" in refusal(save(model, tmp_path / "unknown.onnx"))


def _external(tensor, location="weights.bin"):
    tensor = TensorProto.FromString(tensor.SerializeToString())
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.ClearField("raw_data")
    return tensor


def _with_external(place):
    """A model that hides a tensor with external data in one of the places where ONNX allows tensors."""
    tensor = _external(numpy_helper.from_array(np.zeros((1, 640), np.float32), "w"))
    inner = helper.make_graph([], "inner", [], [], initializer=[tensor])
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    sparse = helper.make_sparse_tensor(_external(numpy_helper.from_array(np.ones(1, np.float32), "s")), tensor, [9])
    model = tones.build()
    if place == "initializer":
        model.graph.initializer[0].CopyFrom(_external(model.graph.initializer[0], "/etc/passwd"))
    elif place == "attribute":
        model.graph.node.append(constant)
    elif place == "subgraph":
        model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))
    elif place == "deep":
        for _ in range(6):
            inner = helper.make_graph([helper.make_node("If", ["x"], ["y"], then_branch=inner)], "g", [], [])
        model.graph.node.append(helper.make_node("Loop", ["x"], ["y"], body=inner))
    elif place == "function":
        function = helper.make_function("", "F", [], ["c"], [constant], [helper.make_opsetid("", 18)])
        model.functions.append(function)
    elif place == "sparse":
        model.graph.sparse_initializer.append(sparse)
    elif place == "sparse attribute":
        model.graph.node.append(helper.make_node("Constant", [], ["c"], sparse_value=sparse))
    elif place == "training":
        model.training_info.add().initialization.CopyFrom(inner)
    elif place == "tensors":
        model.graph.node.append(helper.make_node("X", [], ["c"], values=[tensor]))
    elif place == "graphs":
        model.graph.node.append(helper.make_node("X", [], ["c"], bodies=[inner]))
    elif place == "mark alone":
        model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    elif place == "name alone":
        model.graph.initializer[0].external_data.add(key="location", value="weights.bin")
    return model


PLACES = """initializer|attribute|subgraph|deep|function|sparse|sparse attribute|training|tensors|graphs|mark alone|
name alone""".replace("\n", "").split("|")


@pytest.mark.parametrize("place", PLACES)
def test_external_data_is_refused_wherever_it_hides(place, tmp_path):
    assert "external data" in refusal(save(_with_external(place), tmp_path / "external.onnx"))


def test_a_foreign_domain_hidden_in_a_function_or_subgraph():
    node = helper.make_node("Odd", ["x"], ["y"], domain="odd.example")
    inner = helper.make_graph([node], "inner", [], [])
    model = tones.build()
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner))
    assert "odd.example" in summarize(model.SerializeToString()).domains
    model = tones.build()
    model.functions.append(helper.make_function("f.example", "F", ["x"], ["y"], [node], []))
    assert summarize(model.SerializeToString()).domains >= {"odd.example", "f.example"}


def test_the_walk_finds_what_the_onnx_package_finds():
    model = tones.build()
    found = summarize(model.SerializeToString())
    assert found.metadata == {p.key: p.value for p in model.metadata_props}
    assert not found.external_data
    assert found.domains <= {""}


def test_garbage_neither_crashes_nor_hangs_the_walk(tone_model):
    rng = np.random.default_rng(0)
    whole = np.frombuffer(tone_model.read_bytes(), dtype=np.uint8)
    for length in (1, 2, 5, 50, 5000):
        for _ in range(50):
            _walk(rng.integers(0, 256, length, dtype=np.uint8).tobytes())
    for _ in range(100):
        broken = whole.copy()
        broken[rng.integers(0, len(broken), 20)] = rng.integers(0, 256, 20)
        _walk(broken.tobytes())
    deep = b""
    for _ in range(3000):  # a graph in a node's attribute in a graph ...
        deep = _field(1, _field(5, _field(6, deep)))
    with pytest.raises(NotOnnxError, match="nested"):
        summarize(_field(7, deep))


def _walk(content):
    try:
        summarize(content)
    except NotOnnxError as fault:
        assert str(fault)


def _field(number, content):
    size, digits = len(content), b""
    while size > 0x7F:
        digits, size = digits + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + digits + bytes([size]) + content


def test_the_session_takes_one_thread_and_does_not_spin(network):
    options = network._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
