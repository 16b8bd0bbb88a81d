"""Quantization-aware training: the network computes with the weights that it will have once it is exported.

Each step rounds the weights to their grid, computes loss and gradient with the rounded ones, and moves the unrounded ones by
that gradient (the straight-through estimator; Bengio et al. 2013, Courbariaux et al. 2015). The grid, which is the scale of
each row and in 4 bit the multiplier of each block (`weight_grids.py`), is found when rounding begins and held from
there on: what the last step computed with is what is exported, to the bit.

Activations are left alone: in bytes they cost the digits nothing (docs/engine.md), and the recurrent kernels stay in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from edgeseq.training.averaging import Weights
from edgeseq.training.sequence_model import SequenceModel
from edgeseq.training.weight_grids import (
    Grid,
    find_block_grid,
    find_column_grid,
    quantized_weights,
    round_to_grid,
)

Grids = dict[str, Grid]
"""Name of a weight -> its grid; those that are not named stay as they are."""


@torch.no_grad()
def find_grids(model: SequenceModel, bits: int) -> Grids:
    """Find the grids on which an export in `bits` bits, 8 or 4, would put the weights of `model`."""
    find = find_column_grid if bits == 8 else find_block_grid
    return {f"trunk.{name}": find(weight) for name, weight in quantized_weights(model.trunk).items()}


@torch.no_grad()
def put_on_grids(weights: Mapping[str, Tensor], grids: Grids | None) -> Weights:
    """Round each of `weights` that has a grid to it."""
    grids = grids or {}
    return {name: round_to_grid(weight, grids[name]) if name in grids else weight for name, weight in weights.items()}


@contextmanager
def rounded(model: SequenceModel, grids: Grids | None) -> Iterator[None]:
    """Let `model` hold rounded weights within the block; after it those from before are back, with the block's gradients."""
    weights = {name: weight for name, weight in model.named_parameters() if name in (grids or {})}
    exact = {name: weight.detach().clone() for name, weight in weights.items()}
    try:
        _fill(weights, put_on_grids(exact, grids))
        yield
    finally:
        _fill(weights, exact)


@torch.no_grad()
def _fill(weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, weight in weights.items():
        weight.copy_(values[name])
