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
    in frontend or network, or in what their outputs mean, ModelError when the weights cannot be read.
    """
    given = load_given(recipe, task, finetune)
    weights = given.model.state_dict()
    for name, fresh in model.head.linear.state_dict().items():
        key = f"head.linear.{name}"
        weights[key] = join_outputs(fresh, weights[key], task.symbols, given.task.symbols)
    model.load_state_dict(weights)
    shrink(model, finetune.shrink)


def load_given(recipe: Recipe, task: Task, finetune: FinetuneRecipe) -> Trained:
    """Read the weights that `finetune` names. Raises UsageError where they do not fit, ModelError where they are none."""
    given = load_trained(find_weights(finetune.weights, "finetune.weights"))
    refuse_other_outputs(given.task, task, finetune.weights)
    refuse_other_network(given.recipe, recipe, finetune.weights)
    return given


def refuse_other_network(given: Recipe, wanted: Recipe, name: str) -> None:
    """Raise UsageError that shows in what frontend and network differ."""
    theirs, ours = (
        {"input": one.input.model_dump(), "network": one.network.model_dump(exclude=FREE_NETWORK_KEYS)}
        for one in (given, wanted)
    )
    changes = [f"    {key}: there {there!r}, here {here!r}" for key, there, here in differences(theirs, ours)]
    if changes:
        listed = "\n".join(changes)
        raise UsageError(
            f"finetune.weights: {name} is another network than this recipe's:\n{listed}\n"
            "  Give the recipe the same frontend and network, or train without finetune."
        )


def refuse_other_outputs(given: Task, wanted: Task, name: str) -> None:
    """Raise UsageError where the outputs of two tasks have nothing in common: no symbol, or not the same kind of probability.

    Logits of softmax mean the same whether their probabilities (`softmax`) or log-probs (`log_softmax`) come out.
    """
    kinds = [activation.removeprefix("log_") for activation in (given.activation, wanted.activation)]
    if kinds[0] != kinds[1]:
        raise UsageError(
            f"finetune.weights: the outputs of {name} are of the kind {kinds[0]}; this recipe's task wants {kinds[1]}.\n"
            "  Name weights of the same task, or train without finetune."
        )
    if not set(given.symbols) & set(wanted.symbols):
        raise UsageError(
            f"finetune.weights: the outputs of {name} ({', '.join(given.symbols[:5])} ...) share no name with this recipe's "
            f"({', '.join(wanted.symbols[:5])} ...).\n  Name weights that know some of them, or train without finetune."
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


@torch.no_grad()
def shrink(model: SequenceModel, factor: float) -> None:
    """Scale the recurrent layers' weights and biases by `factor`, so that saturated units can learn again."""
    for layer in model.trunk.recurrent_layers:
        for parameter in layer.rnn.parameters():
            parameter.mul_(factor)
