"""Quantization-aware training: what training computes with is what is exported."""

import copy

import pytest
import torch

from edgeseq.export.exporter import export
from edgeseq.export.simulation import with_stored_weights
from edgeseq.training.quantization import find_grids, rounded
from edgeseq.training.sequence_model import build_model
from edgeseq.training.trainer import train
from edgeseq.training.weight_grids import (
    find_block_grid,
    find_column_grid,
    quantize_blocks,
    quantize_columns,
    round_to_grid,
)
from edgeseq.training.weights import load_trained


def quietly(_):
    pass


def run(recipe, folder, resume=False, **options):
    return train(recipe, folder, resume=resume, report=quietly, workers=0, **options)


def quantized(tiny_recipe, bits, from_step=2, **parts):
    settings = tiny_recipe().train.model_dump() | {"quantize": {"bits": bits, "from_step": from_step}}
    return tiny_recipe(train=settings | parts.pop("train", {}), **parts)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("moved", [0.0, 0.02])
def test_quantizing_weights_that_lie_on_a_grid_changes_nothing(seed, moved):
    """Also when they have moved from those that the grid was found for."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(96, 70, generator=generator) * torch.rand(96, 1, generator=generator)
    weight[0] = 0
    later = weight * (1 + moved * torch.randn(96, 70, generator=generator))
    columns = round_to_grid(later, find_column_grid(weight))
    assert torch.equal(quantize_columns(columns).dequantize().T, columns)
    blocks = round_to_grid(later, find_block_grid(weight))
    assert torch.equal(quantize_blocks(blocks).columns().dequantize().T, blocks)
    for found in (columns, blocks):
        assert (found - later).abs().max() < 0.2 * later.abs().max()


def test_gradients_are_those_of_rounded_weights_and_pass_straight_through(tiny_recipe):
    torch.manual_seed(0)
    recipe = tiny_recipe()
    model = build_model(recipe.input, recipe.network, 4)
    exact, grids, audio = copy.deepcopy(model), find_grids(model, 4), 0.1 * torch.randn(2, 3200)
    with rounded(model, grids):
        assert not torch.equal(model.trunk.layers[0].rnn.weight_hh_l0, exact.trunk.layers[0].rnn.weight_hh_l0)
        fixed = copy.deepcopy(model)
        model.step(audio, model.init_state(2))[0].square().sum().backward()
    fixed.step(audio, fixed.init_state(2))[0].square().sum().backward()
    for one, other, before in zip(model.parameters(), fixed.parameters(), exact.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
        assert torch.equal(one, before)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("parts", [{"cell": "gru"}, {"cell": "lstm", "projection_size": 20}])
def test_what_is_exported_is_what_training_computed_with(tiny_recipe, tmp_path, bits, parts):
    network = {"hidden_size": 40, "num_layers": 2, **parts}
    trained = run(quantized(tiny_recipe, bits, network=network, train={"steps": 12}), tmp_path / "run")
    released = load_trained(tmp_path / "run")
    with rounded(trained.model, trained.grids):
        for name, weight in trained.model.state_dict().items():
            assert torch.equal(released.model.state_dict()[name], weight), name
    stored = with_stored_weights(released.model.trunk, bits)
    for name, weight in released.model.trunk.state_dict().items():
        assert torch.equal(stored.state_dict()[name], weight), name
    (file,) = export(released, tmp_path / "model", scores={}, bits=[bits], flush_seconds=0.1).files  # verified against `stored`
    assert file.path.is_file() and file.difference.rows < 1e-3
    again = load_trained(tmp_path / "model")
    for name, weight in released.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], weight), name


@pytest.mark.parametrize("stopped_in", [2, 5])
def test_a_resumed_training_equals_an_uninterrupted_one(tiny_recipe, tmp_path, stopped_in):
    recipe = quantized(tiny_recipe, 4, from_step=3)
    whole = run(recipe, tmp_path / "whole")
    plain = run(tiny_recipe(), tmp_path / "plain")
    steps = iter(range(1, 9))
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "cut", stop=lambda: next(steps) == stopped_in)
    resumed = run(recipe, tmp_path / "cut", resume=True)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name])
    assert any(not torch.equal(weight, plain.model.state_dict()[name]) for name, weight in whole.model.state_dict().items())


def test_averaged_weights_are_rounded_too(tiny_recipe, tmp_path):
    trained = run(quantized(tiny_recipe, 4, train={"averaging": {"kind": "exponential"}}), tmp_path / "run")
    name = "trunk.layers.1.rnn.weight_hh_l0"
    released = load_trained(tmp_path / "run").model.state_dict()[name]
    assert torch.equal(released, round_to_grid(trained.average[name], trained.grids[name]))
