"""Checkpoints and weights that were written before there were trunk and head."""

import json

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import save_file

from edgeseq.errors import ModelError
from edgeseq.training.checkpoint import FORMAT, latest_checkpoint, load_checkpoint
from edgeseq.training.trainer import train
from edgeseq.training.weights import METADATA_KEY, load_trained

OLD = {"trunk.layers.": "encoder.layers.", "head.linear.": "encoder.output."}


def old_names(weights):
    return {
        next((old + n.removeprefix(new) for new, old in OLD.items() if n.startswith(new)), n): w for n, w in weights.items()
    }


def as_format_3(checkpoint, cell):
    """Give the values of a checkpoint as format 3 kept them."""
    kinds = ("hidden", "cell") if cell == "lstm" else ("hidden",)
    carried = checkpoint.carried
    stacked = [torch.stack([carried[name] for name in carried if name.startswith(f"{kind}_")]) for kind in kinds]
    values = {**checkpoint.__dict__, "model": old_names(checkpoint.model)}
    values |= {"tokens": tuple(values.pop("details")["tokens"]), "token_details": {}}
    return {"format": 3, **values, "carried": (carried["samples"], carried["frames"], *stacked)}


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_training_resumes_from_a_checkpoint_of_format_3(tiny_recipe, tmp_path, cell):
    recipe = tiny_recipe(network={"hidden_size": 8, "num_layers": 2, "cell": cell})
    reports = []

    def stop():
        return len(reports) >= 2

    whole = train(recipe, tmp_path / "whole", resume=False, report=lambda _: None, workers=0)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", resume=False, report=reports.append, workers=0, stop=stop)
    path = latest_checkpoint(tmp_path / "cut" / "checkpoints")
    saved = load_checkpoint(path)
    torch.save(as_format_3(saved, cell), path)
    again = load_checkpoint(path)
    assert again.carried.keys() == saved.carried.keys() and again.model.keys() == saved.model.keys()
    resumed = train(recipe, tmp_path / "cut", resume=True, report=lambda _: None, workers=0)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_weights_of_format_2_are_read_and_others_are_refused(tone_run, tmp_path):
    trained = load_trained(tone_run)
    about = {"recipe": trained.recipe.model_dump(mode="json"), "tokens": trained.tokens.symbols, "flush_seconds": 0.1}

    def write(version):
        path = tmp_path / f"{version}.safetensors"
        weights = {name: w.contiguous() for name, w in old_names(trained.model.state_dict()).items()}
        save_file(weights, path, {METADATA_KEY: json.dumps({"format": version, **about})})
        return path

    found = load_trained(write(2)).model.state_dict()
    assert all(torch.equal(weight, found[name]) for name, weight in trained.model.state_dict().items())
    with pytest.raises(ModelError, match="weights of another version of edgeseq"):
        load_trained(write(FORMAT + 5))
