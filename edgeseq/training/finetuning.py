"""Fine-tuning: a training that begins with the weights of another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgeseq.errors import UsageError
from edgeseq.training.recipe import FinetuneRecipe, Recipe
from edgeseq.training.resuming import differences
from edgeseq.training.sequence_model import SequenceModel
from edgeseq.training.tasks.task import Task
from edgeseq.training.weights import Trained, find_weights, load_trained

NEW_SHARE = 0.1
"""The output weights of symbols that the given network does not know begin at so much of fresh ones."""

FREE_NETWORK_KEYS = {"dropout"}
"""What may differ from the network that the weights come from: it leaves their shapes and meaning as they are."""


def begin_from(model: SequenceModel, task: Task, recipe: Recipe, finetune: FinetuneRecipe) -> None:
    """Fill `model`, made fresh for `recipe` and `task`, with the weights that `finetune` names.

    The frontend keeps the statistics of the given network, since its weights expect them. Raises UsageError when the two differ
    in task, frontend or network, ModelError when the weights cannot be read.
    """
    given = load_given(recipe, finetune)
    weights = given.model.state_dict()
    for name, fresh in model.head.linear.state_dict().items():
        key = f"head.linear.{name}"
        weights[key] = join_outputs(fresh, weights[key], task.symbols, given.task.symbols)
    model.load_state_dict(weights)


def load_given(recipe: Recipe, finetune: FinetuneRecipe) -> Trained:
    """Read the weights that `finetune` names. Raises UsageError for those of another network, ModelError for what are none."""
    given = load_trained(find_weights(finetune.weights, "finetune.weights"))
    refuse_other_network(given.recipe, recipe, finetune.weights)
    return given


def refuse_other_network(given: Recipe, wanted: Recipe, name: str) -> None:
    """Raise UsageError that shows in what task, frontend and network differ."""
    if given.task.kind != wanted.task.kind:
        raise UsageError(
            f"finetune.weights: {name} was trained for the task '{given.task.kind}'; this recipe's is '{wanted.task.kind}'.\n"
            "  Name weights of the same task, or train without finetune."
        )
    theirs, ours = (
        {"frontend": one.frontend.model_dump(), "network": one.network.model_dump(exclude=FREE_NETWORK_KEYS)}
        for one in (given, wanted)
    )
    changes = [f"    {key}: there {there!r}, here {here!r}" for key, there, here in differences(theirs, ours)]
    if changes:
        listed = "\n".join(changes)
        raise UsageError(
            f"finetune.weights: {name} is another network than this recipe's:\n{listed}\n"
            "  Give the recipe the same frontend and network, or train without finetune."
        )


def join_outputs(fresh: Tensor, given: Tensor, symbols: Sequence[str], given_symbols: Sequence[str]) -> Tensor:
    """Build the output layer's weights `[rows_per_step * n_tokens, ...]`: those of known symbols are `given`, others small."""
    joined = NEW_SHARE * fresh.unflatten(0, (-1, len(symbols)))
    known = [symbol for symbol in symbols if symbol in given_symbols]
    ours = torch.tensor([symbols.index(symbol) for symbol in known])
    theirs = torch.tensor([given_symbols.index(symbol) for symbol in known])
    joined[:, ours] = given.unflatten(0, (-1, len(given_symbols)))[:, theirs]
    return joined.flatten(0, 1)


def freeze(model: SequenceModel, n_layers: int) -> None:
    """Keep the lowest `n_layers` recurrent layers as they are from here on."""
    for layer in model.trunk.recurrent_layers[:n_layers]:
        layer.requires_grad_(False)
