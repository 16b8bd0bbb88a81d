"""Torch, the float graph and the 8-bit graph agree; nothing unverified is ever written."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from edgeseq.errors import ExportError, ModelError
from edgeseq.export import exporter, frontend, products
from edgeseq.export.exporter import describe, export
from edgeseq.export.forms import FLOAT, GraphForm
from edgeseq.export.graph import build_graph
from edgeseq.export.simulation import quantize_rows
from edgeseq.export.verify import as_arrays, random_state, verify_graph
from edgeseq.model.metadata import ModelMetadata
from edgeseq.model.network import Network
from edgeseq.model.session import open_session
from edgeseq.training.frontend import build_frontend, random_sound
from edgeseq.training.input_recipe import FrontendRecipe
from edgeseq.training.weight_grids import quantize_columns
from edgeseq.training.weights import load_trained

CELLS = ("gru", "lstm", "rnn")
INT8 = GraphForm(8, "unrolled", "integer")
FORMS = {"float32": FLOAT, "int8": INT8}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("quantization", ["float32", "int8"])
@pytest.mark.parametrize(("chunk_ms", "rows_per_step"), [(40, 1), (80, 2), (320, 4)])
def test_graphs_agree_with_torch(make_trained, cell, quantization, chunk_ms, rows_per_step):
    trained = make_trained(cell, rows_per_step=rows_per_step, export={"chunk_ms": chunk_ms})
    metadata = describe(trained, quantization, 0.2, {})
    form = FORMS[quantization]
    found = verify_graph(build_graph(trained.model, metadata, form), trained.model, metadata, form)
    assert found.rows > 0  # two arithmetics, not one compared with itself


@pytest.mark.parametrize("cell", CELLS)
def test_8_bit_stays_near_float(make_trained, cell, tmp_path):
    trained = make_trained(cell)
    export(trained, tmp_path, scores={}, flush_seconds=0.2)
    networks = [Network(tmp_path / name) for name in ("model.onnx", "model.int8.onnx")]
    audio = random_sound(1, 640, torch.Generator().manual_seed(3)).numpy()
    outputs = [network.step({"audio": audio}, network.init_state())[0]["log_probs"] for network in networks]
    np.testing.assert_allclose(outputs[1], outputs[0], atol=0.5)
    assert np.abs(outputs[1] - outputs[0]).max() > 0


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_a_wrong_weight_is_found(make_trained, quantization):
    trained = make_trained()
    metadata = describe(trained, quantization, 0.2, {})
    form = FORMS[quantization]
    built = build_graph(trained.model, metadata, form)
    with torch.no_grad():
        trained.model.trunk.layers[1].rnn.bias_hh_l0[-1] += 0.5
    with pytest.raises(ExportError, match="differs from the network"):
        verify_graph(built, trained.model, metadata, form)


def test_a_gru_with_the_reset_gate_in_the_wrong_place_is_found(make_trained):
    """An exporter once wrote linear_before_reset=0 and nobody noticed."""
    trained = make_trained()
    metadata = describe(trained, "float32", 0.2, {})
    built = build_graph(trained.model, metadata)
    for node in built.graph.node:
        if node.op_type == "GRU":
            node.attribute.remove(next(a for a in node.attribute if a.name == "linear_before_reset"))
    with pytest.raises(ExportError, match="differs from the network"):
        verify_graph(built, trained.model, metadata, FLOAT)


def test_weights_that_hold_nan_are_refused(make_trained, tmp_path):
    trained = make_trained()
    with torch.no_grad():
        trained.model.head.linear.bias[0] = float("nan")
    with pytest.raises(ExportError, match="NaN"):
        export(trained, tmp_path / "model", scores={}, flush_seconds=0.2)
    assert not (tmp_path / "model").exists()


def test_nothing_is_written_when_the_second_graph_fails(make_trained, tmp_path, monkeypatch):
    def spoil(weight):
        spoiled = quantize_columns(weight)
        return replace(spoiled, scales=spoiled.scales * 1.5)

    monkeypatch.setattr(products, "quantize_columns", spoil)
    with pytest.raises(ExportError, match="int8 graph of random differs"):
        export(make_trained(), tmp_path / "model", scores={}, flush_seconds=0.2)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("kind", ["log_mel", "kaldi"])
def test_the_frontend_in_the_graph_is_torchs(kind):
    """Log-mel within 1e-4 where a bin is within 40 dB of its frame's largest (design of the model format)."""
    n_mels = 32
    log_mel = build_frontend(FrontendRecipe(kind=kind, sample_rate=8000, n_mels=n_mels, limit=100.0))
    session = open_session(frontend.build_frontend_graph(log_mel, 6400).SerializeToString())
    time = torch.arange(6400) / 8000
    speechlike = sum(0.1 / k * torch.sin(2 * torch.pi * 130 * k * time * (1 + 0.1 * time)) for k in range(1, 25))
    for audio in (random_sound(1, 6400, torch.Generator().manual_seed(0)), speechlike[None], 1e-3 * speechlike[None]):
        state = log_mel.init_state(1)
        found = session.run(["frames"], {"audio": audio.numpy(), "state_samples": state.numpy()})[0]
        wanted = log_mel.step(audio, state)[0].numpy()
        assert found.shape == (1, 80, n_mels)
        near = wanted > wanted.max(axis=2, keepdims=True) - np.log(1e4)
        assert np.abs(found - wanted)[near].max() < 1e-4
        energies = np.abs(np.exp(found) - np.exp(wanted)) / np.exp(wanted).max(axis=2, keepdims=True)
        assert energies.max() < 1e-5


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_graphs_with_kaldis_frontend_agree_with_torch(make_trained, quantization):
    trained = make_trained(frontend={"kind": "kaldi"})
    metadata, form = describe(trained, quantization, 0.2, {}), FORMS[quantization]
    assert metadata.chunk_samples == 1280
    built = build_graph(trained.model, metadata, form)
    assert verify_graph(built, trained.model, metadata, form).rows > 0
    trained.model.frontend.filters.mul_(1.5)
    with pytest.raises(ExportError, match="differs from the network"):
        verify_graph(built, trained.model, metadata, form)


@pytest.mark.parametrize("bits", [32, 8, 4])
def test_a_model_with_kaldis_frontend_is_exported_and_loaded(make_trained, bits, tmp_path):
    trained = make_trained(frontend={"kind": "kaldi"})
    (written,) = export(trained, tmp_path, scores={}, bits=[bits], flush_seconds=0.2).files
    network = Network(written.path)
    assert network.metadata.config["input"]["kind"] == "kaldi"
    assert network.init_state()["state_samples"].shape == (1, 280)
    assert load_trained(tmp_path).recipe == trained.recipe


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_rows_of_a_batch_do_not_hear_each_other(make_trained, quantization, tmp_path):
    trained = make_trained()
    export(trained, tmp_path, scores={}, flush_seconds=0.2)
    network = Network(tmp_path / exporter.FILES[FORMS[quantization].bits])
    audio = random_sound(5, 640, torch.Generator().manual_seed(1)).numpy()
    audio[0] *= 0.001  # a whisper beside full scale
    state = as_arrays(random_state(trained.model, 5, 1))
    together, after = network.step({"audio": audio}, state)
    for row in range(5):
        one = {k: v[row : row + 1] for k, v in state.items()}
        alone, alone_after = network.step({"audio": audio[row : row + 1]}, one)
        np.testing.assert_allclose(together["log_probs"][row : row + 1], alone["log_probs"], atol=1e-5)
        for name in after:
            np.testing.assert_allclose(after[name][row : row + 1], alone_after[name], atol=1e-5)


def test_the_metadata_is_complete_and_comes_back(make_trained, tmp_path):
    trained = make_trained()
    export(trained, tmp_path, scores={"wer": 1.5}, flush_seconds=0.25)
    for quantization, form in FORMS.items():
        name = exporter.FILES[form.bits]
        model = onnx.load(tmp_path / name)
        strings = {p.key: p.value for p in model.metadata_props}
        metadata = ModelMetadata.from_strings(strings, name)
        assert metadata == describe(trained, quantization, 0.25, {"wer": 1.5})
        assert metadata.config["network"]["cell"] == "gru"
        assert json.loads(strings["edgeseq.tokens"])[0] == "<blk>"


def test_a_released_folder_exports_to_the_same_files(make_trained, tmp_path):
    export(make_trained(), tmp_path / "first", scores={}, flush_seconds=0.25)
    export(load_trained(tmp_path / "first"), tmp_path / "second", scores={})
    for name in ("model.onnx", "model.int8.onnx", "weights.safetensors"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_a_folder_that_cannot_be_written_to_is_named(make_trained, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match="cannot be written"):
        export(make_trained(), tmp_path / "file", scores={}, flush_seconds=0.2)


def test_without_clips_the_flush_must_be_given(make_trained, tmp_path):
    with pytest.raises(ExportError, match="--flush-seconds"):
        export(make_trained(), tmp_path / "model", scores={})


def test_a_folder_without_weights_says_what_to_name(tmp_path):
    with pytest.raises(ModelError, match=r"runs/NAME"):
        load_trained(tmp_path)


def test_damaged_weights_are_named(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="not weights of edgeseq"):
        load_trained(tmp_path)


def test_quantized_matrices_are_within_half_a_level_unless_cut():
    weight = torch.randn(30, 20, generator=torch.Generator().manual_seed(0))
    matrix = quantize_columns(weight)
    assert matrix.values.dtype == torch.int8 and matrix.values.abs().max() == 64
    error = (matrix.dequantize().T - weight).abs()
    cut = matrix.values.T.abs() == 64
    assert (error <= matrix.scales[:, None] / 2 + 1e-6)[~cut].all()
    uncut = weight.abs().amax(dim=1, keepdim=True) / 64
    assert (error**2).sum() < (((weight / uncut).round() * uncut - weight) ** 2).sum(), "cutting a little costs less"


def test_quantized_rows_do_not_depend_on_their_neighbours():
    rows = torch.rand(4, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(quantize_rows(rows, 1.0)[:1], quantize_rows(rows[:1], 1.0))
    assert (quantize_rows(rows, 1.0) - rows).abs().max() <= 0.5 / 127 + 1e-6


def test_what_was_measured_is_kept_also_by_the_next_export(make_trained, tmp_path):
    measured = {"emission_delay_seconds": 0.09, "confidence_maps": {"greedy": {"said": [0.5], "right": [0.4]}}}
    (tmp_path / "eval.json").write_text(json.dumps({"wer": 0.1, "measured": measured}))
    assert exporter.read_measured(tmp_path / "eval.json") == measured
    export(make_trained(), tmp_path / "a", scores={}, flush_seconds=0.2, measured=measured)
    export(load_trained(tmp_path / "a"), tmp_path / "b", scores={})
    for folder in ("a", "b"):
        about = Network(tmp_path / folder / "model.int8.onnx").metadata
        assert (about.emission_delay_seconds, about.ending_delay_seconds) == (0.09, 0.0)
        assert about.confidence_maps == measured["confidence_maps"]


@pytest.mark.parametrize("held", [{}, {"measured": {}}, {"measured": {"wer": 1}}, {"measured": 3}])
def test_nothing_measured(tmp_path, held):
    (tmp_path / "eval.json").write_text(json.dumps(held))
    with pytest.raises(ExportError, match="wanted some of emission_delay_seconds"):
        exporter.read_measured(tmp_path / "eval.json")
