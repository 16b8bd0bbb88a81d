"""A whole model file with random weights, of any size: sound in, log-probs out."""

from __future__ import annotations

from pathlib import Path

import torch

from edgeseq.bench.shape import Shape
from edgeseq.export.exporter import export
from edgeseq.tokens.table import TokenTable
from edgeseq.training.recipe_file import parse_recipe
from edgeseq.training.sequence_model import build_model
from edgeseq.training.tasks.ctc import Task
from edgeseq.training.weights import Trained

SEED = 0
RECIPE = {
    "name": "drawn",
    "language": "en",
    "license": "CC0-1.0",
    "data_statement": "none: the weights are drawn at random",
    "data": {"train": [{"manifest": "none.jsonl", "easy": True}]},
}
GAIN = 3.0
"""By which weights are larger than torch begins them: all symbols would be alike otherwise."""
MEAN_LOG_MEL, STD_LOG_MEL = -6.0, 3.0
"""as speech has them"""
FLUSH_SECONDS = 0.5
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def write_model(shape: Shape, bits: int, folder: Path) -> Path:
    """Write a model with its frontend to `folder`, always the same; returns its file."""
    network = {"cell": shape.cell, "hidden_size": shape.hidden_size, "num_layers": shape.num_layers}
    if shape.projection_size is not None:
        network["projection_size"] = shape.projection_size
    recipe = parse_recipe(RECIPE | {"network": network}, "a drawn model")
    tokens = TokenTable.of_characters([LETTERS])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = build_model(recipe.input, recipe.network, len(tokens)).eval()
    model.sound.mean.fill_(MEAN_LOG_MEL)
    model.sound.std.fill_(STD_LOG_MEL)
    with torch.no_grad():
        for weights in (*model.trunk.parameters(), *model.head.parameters()):
            weights.mul_(GAIN)
    exported = export(Trained(recipe, Task(tokens), model), folder, scores={}, bits=[bits], flush_seconds=FLUSH_SECONDS)
    return exported.files[0].path
