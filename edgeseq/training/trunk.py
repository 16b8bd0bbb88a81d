"""The trunk of every network: causal recurrent layers over stacked frames."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from edgeseq.training.cells import CELLS
from edgeseq.training.cells.cell import States
from edgeseq.training.chance import RowChance
from edgeseq.training.recipe import NetworkRecipe
from edgeseq.training.state import State

CELL_LIMIT = 1.0
"""Outputs of the recurrent cells never leave plus or minus this."""
NORM_LIMIT = 5.0
"""Standard deviations to which normalized outputs are clamped."""
NORM_EPSILON = 1e-5
PROJECTION_LIMIT = 2.0
"""Projected outputs are clamped to plus or minus this."""

FRAMES = "frames"
"""The state that holds frames not yet stacked to a step; between chunks of whole steps it is empty, and graphs have none."""


class RecurrentLayer(nn.Module):
    """One cell over a sequence, then, if asked for, normalization and projection of its outputs.

    Whatever leaves a layer lies within plus or minus its `limit`, so that 8 bit can have a fixed scale. The normalization
    (Ba et al. 2016) has no gain and bias of its own: a linear map always follows and holds them. The clipped projection narrows
    what the next layer reads (Sak et al. 2014), not what the cell carries on.
    """

    def __init__(self, cell: str, input_size: int, hidden_size: int, layer_norm: bool, projection_size: int | None) -> None:
        """Take plain numbers; `cell` is one of `CELLS`."""
        super().__init__()
        self.cell = CELLS[cell]
        self.rnn = self.cell.layer(input_size, hidden_size, batch_first=True)
        self.layer_norm = layer_norm
        self.projection = None if projection_size is None else nn.Linear(hidden_size, projection_size)

    def forward(self, inputs: Tensor, states: States) -> tuple[Tensor, States]:
        """Advance by `inputs` `[batch, n_steps, n_in]`; `states` are the cell's, each `[batch, hidden_size]`."""
        outputs, after = self.cell.run(self.rnn, inputs, states)
        return self.shape(outputs), after

    def shape(self, outputs: Tensor) -> Tensor:
        """Turn the cell's outputs `[..., hidden_size]` into the layer's `[..., output_size]`."""
        outputs = self.normalize(outputs)
        return outputs if self.projection is None else self.clip(self.projection(outputs))

    def normalize(self, outputs: Tensor) -> Tensor:
        """Normalize the cell's outputs `[..., hidden_size]` if this layer does so."""
        if not self.layer_norm:
            return outputs
        return nn.functional.layer_norm(outputs, outputs.shape[-1:], eps=NORM_EPSILON).clamp(-NORM_LIMIT, NORM_LIMIT)

    def clip(self, projected: Tensor) -> Tensor:
        """Clamp what the projection gives."""
        return projected.clamp(-PROJECTION_LIMIT, PROJECTION_LIMIT)

    def cell_weights(self) -> list[Tensor]:
        """Input weights, recurrent weights, input bias, recurrent bias, gates in torch's order along axis 0."""
        return [getattr(self.rnn, f"{kind}_l0").detach() for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]

    @property
    def norm_limit(self) -> float:
        """Range of what `normalize` gives."""
        return NORM_LIMIT if self.layer_norm else CELL_LIMIT

    @property
    def limit(self) -> float:
        """Range of what the layer gives."""
        return self.norm_limit if self.projection is None else PROJECTION_LIMIT


class Trunk(nn.Module):
    """Stacks frames to steps and puts them through the layers."""

    def __init__(
        self,
        n_features: int,
        cell: str,
        hidden_size: int,
        num_layers: int,
        subsampling: int,
        dropout: float,
        layer_norm: bool = False,
        projection_size: int | None = None,
    ) -> None:
        """Take plain numbers; `cell` is one of `CELLS`. A step takes `subsampling` frames of `n_features` values."""
        super().__init__()
        self.subsampling, self.dropout = subsampling, dropout
        self.cell, self.hidden_size, self.n_features = CELLS[cell], hidden_size, n_features
        self.input_size, self.width = n_features * subsampling, projection_size or hidden_size
        sizes = [self.input_size, *[self.width] * (num_layers - 1)]
        self.layers = nn.ModuleList(RecurrentLayer(cell, size, hidden_size, layer_norm, projection_size) for size in sizes)

    @property
    def recurrent_layers(self) -> list[RecurrentLayer]:
        """The layers, from input to output."""
        return [cast(RecurrentLayer, layer) for layer in self.layers]

    def state_names(self, layer: int) -> list[str]:
        """Names of a layer's states, such as `hidden_0`."""
        return [f"{kind}_{layer}" for kind in self.cell.states]

    def init_state(self, batch: int) -> State:
        """Zeros, for `batch` new streams."""
        zeros = self.recurrent_layers[0].cell_weights()[0].new_zeros
        names = [name for layer in range(len(self.layers)) for name in self.state_names(layer)]
        return {FRAMES: zeros(batch, 0, self.n_features), **{name: zeros(batch, self.hidden_size) for name in names}}

    def step(self, frames: Tensor, state: State, chance: RowChance | None = None) -> tuple[Tensor, State]:
        """Advance by `frames` `[batch, n_frames, n_features]`, any number of them.

        Returns the last layer's outputs `[batch, n_steps, width]` and the next state. In training, `chance` drops a share of
        what the layers read.
        """
        frames = torch.cat([state[FRAMES], frames], dim=1)
        n_steps = frames.shape[1] // self.subsampling
        after = {**state, FRAMES: frames[:, n_steps * self.subsampling :]}
        if n_steps == 0:  # torch's recurrent layers refuse an empty sequence
            return frames.new_zeros(len(frames), 0, self.width), after
        outputs = frames[:, : n_steps * self.subsampling].reshape(len(frames), n_steps, -1)
        for index, layer in enumerate(self.recurrent_layers):
            if chance is not None and index > 0:
                outputs = chance.dropout(outputs, self.dropout)
            names = self.state_names(index)
            outputs, last = layer(outputs, tuple(state[name] for name in names))
            after.update(zip(names, last, strict=True))
        return outputs, after


def build_trunk(recipe: NetworkRecipe, n_features: int) -> Trunk:
    """Make the trunk of a recipe, with fresh weights from torch's global generator."""
    return Trunk(n_features, **recipe.model_dump(exclude={"rows_per_step"}))
