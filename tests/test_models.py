import sys

import pytest

import edgeseq
from edgeseq import models
from edgeseq.errors import ModelError, UsageError

pytest.importorskip("onnx")
import numpy as np
import tone_language as tones
from onnx import helper


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of models: `both` with two files, `float` with one; nothing else is found."""
    monkeypatch.setenv("EDGESEQ_MODELS", str(tmp_path / "shelf"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(models, "PACKAGE", tmp_path / "elsewhere" / "edgeseq")
    monkeypatch.setattr(models, "RELEASED", tmp_path / "elsewhere" / "edgeseq" / "released")
    tones.save(tmp_path / "shelf" / "both" / "model.onnx")
    tones.save(tmp_path / "shelf" / "both" / "model.int8.onnx", quantization="int8")
    tones.save(tmp_path / "shelf" / "float" / "model.onnx")
    (tmp_path / "shelf" / "no-model").mkdir()
    return tmp_path / "shelf"


def test_a_folder_means_its_8_bit_file_unless_bits_says_otherwise(shelf):
    for model in ("both", shelf / "both"):
        assert models.find_model(model) == shelf / "both" / "model.int8.onnx"
        assert models.find_model(model, bits=8) == shelf / "both" / "model.int8.onnx"
        assert models.find_model(model, bits=32) == shelf / "both" / "model.onnx"
    assert models.find_model("float") == shelf / "float" / "model.onnx", "the only one there is"


def test_a_file_is_itself(shelf):
    path = shelf / "float" / "model.onnx"
    assert models.find_model(path) == path == models.find_model(str(path), bits=32)
    with pytest.raises(UsageError, match="not the 8-bit file"):
        models.find_model(path, bits=8)


def test_a_name_comes_before_a_folder_of_that_name(shelf, tmp_path, monkeypatch):
    tones.save(tmp_path / "here" / "both" / "model.onnx")
    tones.save(tmp_path / "here" / "mine" / "model.onnx")
    monkeypatch.chdir(tmp_path / "here")
    assert models.find_model("both").parent == shelf / "both"
    assert models.find_model("./both") == models.Path("both/model.onnx")
    assert models.find_model("mine") == models.Path("mine/model.onnx")


def test_places_in_their_order(shelf, tmp_path, monkeypatch):
    released = tones.save(models.RELEASED / "x" / "model.int8.onnx")
    assert models.find_model("x") == released
    repository = tones.save(tmp_path / "elsewhere" / "models" / "x" / "model.int8.onnx")
    assert models.find_model("x") == released, "a `models` folder counts beside a pyproject.toml only"
    (tmp_path / "elsewhere" / "pyproject.toml").touch()
    assert models.find_model("x") == repository
    user = tones.save(tmp_path / "data" / "edgeseq" / "models" / "x" / "model.int8.onnx")
    assert models.find_model("x") == user
    named = tones.save(shelf / "x" / "model.int8.onnx")
    assert models.find_model("x") == named
    monkeypatch.setenv("EDGESEQ_MODELS", f"{tmp_path / 'nowhere'}:{shelf}")
    assert models.find_model("x") == named
    assert [model.name for model in models.list_models()] == ["both", "float", "x"]


@pytest.mark.parametrize("model", ["bot", "no/such.onnx", "..", "", "no-model"])
def test_no_such_model(shelf, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        models.find_model(model)
    said = str(caught.value)
    assert "no model" in said
    if model == "bot":
        assert "Did you mean 'both'?" in said and "both, float" in said and str(shelf) in said


def test_bits_that_are_not_there(shelf):
    with pytest.raises(UsageError, match="no 8-bit file"):
        models.find_model("float", bits=8)
    with pytest.raises(UsageError, match="wanted 8, 4, 32"):
        models.find_model("both", bits=7)


def test_load(shelf):
    recognizer = edgeseq.load("both")
    assert isinstance(recognizer, edgeseq.Recognizer)
    assert recognizer.metadata.quantization == "int8"
    assert edgeseq.load("both", bits=32).metadata.quantization == "float32"


def test_verify(tone_model):
    seen = dict(models.verify(tone_model))
    assert len(seen["sha256"]) == 64
    assert "state_tail [1, 160]" in seen["inputs and outputs"]
    assert "chunks equal the whole" in seen


def _broken(change):
    model = tones.build()
    change(model.graph)
    return model


def _unnormalized(graph):
    node = next(node for node in graph.node if node.op_type == "LogSoftmax")
    node.op_type = "Identity"
    del node.attribute[:]


def _hears_neighbours(graph):
    """Let every stream's scores depend on the loudest one's."""
    add = next(node for node in graph.node if node.op_type == "Add")
    add.input[0] = "mixed"
    at = list(graph.node).index(add)
    graph.node.insert(at, helper.make_node("ReduceMax", ["scores", "axis0"], ["mixed_"], keepdims=1))
    graph.node.insert(at + 1, helper.make_node("Sum", ["mixed_", "scores"], ["mixed"]))
    graph.initializer.append(helper.make_tensor("axis0", 7, [1], [0]))


@pytest.mark.parametrize(("change", "said"), [(_unnormalized, "sum of 1"), (_hears_neighbours, "beside a louder stream")])
def test_verify_finds_what_is_wrong(change, said, tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(_broken(change).SerializeToString())
    with pytest.raises(ModelError, match=said):
        list(models.verify(path))


def test_the_released_model_is_found_and_works():
    try:
        path = models.find_model(models.DEFAULT_MODEL)
    except UsageError:
        pytest.skip("models/digits-en is not in this tree")
    assert list(models.verify(path))
    assert edgeseq.load().transcribe(np.zeros(8000, np.float32)).text == ""


def test_importing_edgeseq_loads_nothing_heavy(tmp_path):
    import subprocess

    code = "import sys, edgeseq, edgeseq.cli; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in found.stdout.split()}
    assert not loaded & {"numpy", "onnxruntime", "torch", "pydantic", "sounddevice", "soundfile", "soxr"}


def test_the_device_world_needs_no_torch(tone_model):
    """Everything a device does, with torch, onnx and the like made impossible to import."""
    import subprocess

    code = f"""
import sys
for name in ("torch", "torchaudio", "onnx", "scipy", "yaml", "safetensors", "matplotlib", "tensorboard"):
    sys.modules[name] = None
import numpy, edgeseq, edgeseq.cli, edgeseq.sound.microphone, edgeseq.sound.ffmpeg
recognizer = edgeseq.load({str(tone_model)!r})
list(recognizer.follow([numpy.zeros(8000, "f4")]))
print("done")
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "done\n"


def test_a_folder_of_models_here_is_suggested(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/mine").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"Its folder is here: --model models/mine\."):
        models.find_model("mine")
