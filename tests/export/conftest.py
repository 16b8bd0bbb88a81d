"""A small model with random weights, in every cell; speech-like numbers in its normalization."""

import pytest

pytest.importorskip("torch")

import torch

from edgeseq.tokens.table import TokenTable
from edgeseq.training.recipe_file import parse_recipe
from edgeseq.training.sequence_model import build_model
from edgeseq.training.tasks.ctc import Task
from edgeseq.training.weights import Trained

RECIPE = {
    "name": "random",
    "language": "en",
    "license": "CC0-1.0",
    "data_statement": "none: random weights",
    "data": {"train": [{"manifest": "none/train.jsonl", "easy": True}]},
}


@pytest.fixture
def make_trained():
    def make(cell="gru", hidden_size=24, num_layers=2, rows_per_step=1, **parts):
        torch.manual_seed(0)
        recipe = parse_recipe(
            RECIPE
            | {"network": {"cell": cell, "hidden_size": hidden_size, "num_layers": num_layers, "rows_per_step": rows_per_step}}
            | parts,
            "test",
        )
        tokens = TokenTable.of_characters(["one two three"])
        model = build_model(recipe.input, recipe.network, len(tokens)).eval()
        model.frontend.mean.fill_(-6.0)
        model.frontend.std.fill_(3.0)
        with torch.no_grad():  # far from uniform, so that differences show
            for parameter in (*model.trunk.parameters(), *model.head.parameters()):
                parameter.mul_(3)
        return Trained(recipe, Task(tokens), model)

    return make
