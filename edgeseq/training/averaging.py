"""Weights averaged over training steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from edgeseq.training.recipe import AveragingRecipe

Weights = dict[str, Tensor]

WARM_UP = 10
"""An exponential average looks back over a tenth of the steps so far, until its decay is reached."""


def share_of_new(recipe: AveragingRecipe, step: int, steps: int) -> float:
    """Weight of the newest weights in the average after `step` of `steps`: 1 takes them alone.

    >>> [round(share_of_new(AveragingRecipe(kind="uniform", last_steps=3), step, 10), 2) for step in (7, 8, 9, 10)]
    [1.0, 1.0, 0.5, 0.33]
    """
    if recipe.kind == "uniform":
        return 1.0 / max(1, step - max(0, steps - recipe.last_steps))
    return max(1 - recipe.decay, WARM_UP / (WARM_UP + step))


@torch.no_grad()
def average_in(average: Weights | None, weights: Mapping[str, Tensor], share: float) -> Weights:
    """Move `average` by `share` towards `weights`; a first average is a copy of them."""
    if average is None:
        return {name: tensor.clone() for name, tensor in weights.items()}
    for name, tensor in weights.items():
        average[name].lerp_(tensor, share)
    return average
