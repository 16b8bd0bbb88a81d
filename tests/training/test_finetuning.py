"""Fine-tuning: what is kept, what is new, what stays as it is."""

import json
from pathlib import Path

import pytest
import torch

import edgeseq
from edgeseq.errors import ModelError, RecipeError, UsageError
from edgeseq.export.exporter import export
from edgeseq.training.metric import WER
from edgeseq.training.metrics import ValidReport
from edgeseq.training.recipe_file import load_recipe
from edgeseq.training.trainer import train
from edgeseq.training.weights import find_weights, load_trained

RECIPES = Path(__file__).parents[2] / "recipes"
OUTPUT = ("head.linear.weight", "head.linear.bias")


def quietly(_):
    pass


def run(recipe, folder, **options):
    return train(recipe, folder, resume=options.pop("resume", False), report=quietly, workers=0, **options)


@pytest.fixture
def base(tiny_recipe, tmp_path):
    """A run on the words "a" and "b"."""
    run(tiny_recipe(), tmp_path / "base")
    return tmp_path / "base"


def corpus(tone_corpus, folder, words):
    """The tones under other words."""
    lines = [json.loads(line) for line in tone_corpus.read_text().splitlines()]
    renamed = [
        {**line, "audio_filepath": str(tone_corpus.parent / line["audio_filepath"]), "text": words[line["text"]]}
        for line in lines
    ]
    manifest = folder / "other.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in renamed))
    return manifest


def recipe_from(tiny_recipe, weights, manifest=None, freeze=0, **parts):
    data = {"data": {"train": [{"manifest": str(manifest), "easy": True}]}} if manifest else {}
    return tiny_recipe(finetune={"weights": str(weights), "freeze": freeze}, **data, **parts)


@pytest.mark.parametrize("rows_per_step", [1, 2])
def test_rows_of_known_symbols_are_kept_and_new_ones_begin_small(tiny_recipe, tone_corpus, tmp_path, rows_per_step):
    network = {"hidden_size": 16, "num_layers": 2, "rows_per_step": rows_per_step}
    run(tiny_recipe(network=network), tmp_path / "base")
    manifest = corpus(tone_corpus, tmp_path, {"a": "b", "b": "cc"})  # "a" goes, "c" comes, "b" stays
    recipe = recipe_from(tiny_recipe, tmp_path / "base", manifest, network=network)
    settings = recipe.train.model_dump() | {"steps": 1, "lr": 1e-12}
    recipe = recipe_from(tiny_recipe, tmp_path / "base", manifest, network=network, train=settings)
    tuned = run(recipe, tmp_path / "tuned")
    given = load_trained(tmp_path / "base")
    assert given.tokens.symbols == ("<blk>", "▁", "a", "b") and tuned.task.symbols == ("<blk>", "▁", "b", "c")
    for name in OUTPUT:
        ours = tuned.model.state_dict()[name].unflatten(0, (rows_per_step, 4))
        theirs = given.model.state_dict()[name].unflatten(0, (rows_per_step, 4))
        torch.testing.assert_close(ours[:, :3], theirs[:, [0, 1, 3]])
        assert 0 < ours[:, 3].abs().max() < 0.2 * theirs.abs().max()
    assert torch.equal(tuned.model.frontend.mean, given.model.frontend.mean)


def test_shrinking_scales_recurrent_weights_alone(tiny_recipe, base, tmp_path):
    settings = tiny_recipe().train.model_dump() | {"steps": 1, "lr": 1e-12}
    recipe = tiny_recipe(finetune={"weights": str(base), "shrink": 0.5}, train=settings)
    tuned, given = run(recipe, tmp_path / "tuned").model.state_dict(), load_trained(base).model.state_dict()
    for name, weights in given.items():
        torch.testing.assert_close(tuned[name], (0.5 if ".rnn." in name else 1.0) * weights)


def test_frozen_layers_are_not_shrunk(tiny_recipe):
    with pytest.raises(RecipeError, match="leave one out"):
        tiny_recipe(finetune={"weights": "a", "shrink": 0.5, "freeze": 1})


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_frozen_layers_stay_to_the_bit_and_the_others_do_not(tiny_recipe, tmp_path, cell):
    network = {"cell": cell, "hidden_size": 16, "num_layers": 2}
    run(tiny_recipe(network=network), tmp_path / "base")
    settings = tiny_recipe().train.model_dump() | {"averaging": {"kind": "exponential"}}
    recipe = recipe_from(tiny_recipe, tmp_path / "base", freeze=1, network=network, train=settings)
    run(recipe, tmp_path / "tuned")
    given, tuned = (load_trained(tmp_path / name).model.state_dict() for name in ("base", "tuned"))
    changed = {name for name in given if not torch.equal(given[name], tuned[name])}
    assert changed == {name for name in given if "layers.1." in name or name in OUTPUT}


def test_a_resumed_fine_tuning_equals_an_uninterrupted_one(tiny_recipe, base, tmp_path):
    recipe = recipe_from(tiny_recipe, base, freeze=1)
    whole = run(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        steps = iter([False, False, True])
        run(recipe, tmp_path / "cut", stop=lambda: next(steps))
    (base / "checkpoints").rename(tmp_path / "moved")  # what it began with is not needed any more
    resumed = run(recipe, tmp_path / "cut", resume=True)
    for name, weights in whole.model.state_dict().items():
        assert torch.equal(weights, resumed.model.state_dict()[name])


def test_released_weights_are_found_by_file_folder_and_name(tiny_recipe, base, tmp_path, monkeypatch):
    export(load_trained(base), tmp_path / "models" / "tones", scores={}, bits=[32], flush_seconds=0.1)
    monkeypatch.setenv("EDGESEQ_MODELS", str(tmp_path / "models"))
    folder = tmp_path / "models" / "tones"
    tuned = [
        run(recipe_from(tiny_recipe, weights), tmp_path / f"run{number}")
        for number, weights in enumerate([base, folder, folder / "weights.safetensors", "tones"])
    ]
    for other in tuned[1:]:
        for name, weights in tuned[0].model.state_dict().items():
            assert torch.equal(weights, other.model.state_dict()[name])


def test_another_network_is_refused_with_the_difference(tiny_recipe, base, tmp_path):
    recipe = recipe_from(tiny_recipe, base, network={"hidden_size": 32, "num_layers": 3}, frontend={"n_mels": 24})
    wanted = r"n_mels: there 32, here 24\n.*num_layers: there 2, here 3\n.*same frontend and network"
    with pytest.raises(UsageError, match=wanted):
        run(recipe, tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()


def test_weights_that_are_not_there_or_are_none(tiny_recipe, tmp_path):
    with pytest.raises(UsageError, match=r"no nothing-here(?s:.)*runs/NAME"):
        run(recipe_from(tiny_recipe, "nothing-here"), tmp_path / "tuned")
    (tmp_path / "weights.safetensors").write_bytes(b"none")
    with pytest.raises(ModelError, match="not weights of edgeseq"):
        run(recipe_from(tiny_recipe, tmp_path / "weights.safetensors"), tmp_path / "tuned")


def test_more_frozen_layers_than_there_are(tiny_recipe):
    with pytest.raises(RecipeError, match=r"finetune\.freeze \(3\): the network has 2 layers"):
        recipe_from(tiny_recipe, "any", freeze=3)


def test_the_recipe_runs_to_its_end_on_a_tiny_corpus(tone_corpus, tmp_path, monkeypatch):
    """The released weights, the recipe as it is, few steps; tones in place of voices."""
    for name in ("mine", "fsdd"):
        (tmp_path / name).mkdir()
        manifest = corpus(tone_corpus, tmp_path / name, {"a": "one", "b": "two"})
        for split in ("train", "test"):
            (tmp_path / name / f"{split}.jsonl").write_bytes(manifest.read_bytes())
    monkeypatch.setenv("EDGESEQ_DATA", str(tmp_path))
    recipe = load_recipe(RECIPES / "finetune.yaml", ["train.steps=4", "train.batch_size=4", "train.valid_every=2"])
    reports = []
    train(recipe, tmp_path / "run", resume=False, report=reports.append, workers=0)
    assert [set(r.values[WER]) for r in reports if isinstance(r, ValidReport)] == [{"mine/test.jsonl", "fsdd/test.jsonl"}] * 2
    released, tuned = load_trained(find_weights("digits-en", "FROM")), load_trained(tmp_path / "run")
    assert tuned.task.symbols == ("<blk>", "▁", "e", "n", "o", "t", "w")
    name = "trunk.layers.{}.rnn.weight_hh_l0"
    for layer, same in enumerate([True, False, False]):
        before, after = (one.model.state_dict()[name.format(layer)] for one in (released, tuned))
        assert torch.equal(before, after) == same
    (file,) = export(tuned, tmp_path / "model", scores={}, bits=[32], flush_seconds=0.2).files
    assert edgeseq.load(file.path).metadata.name == "digits-mine"
