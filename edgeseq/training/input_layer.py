"""From units to frames: what every kind of input gives the trunk, and the two kinds that are no sound.

A unit is a sample, a symbol, or the values of one time; a frame is what the trunk reads. Sound is in `frontend.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from edgeseq.training.batch import Batch
from edgeseq.training.input_recipe import IdsRecipe, ValuesRecipe
from edgeseq.training.state import State
from edgeseq.training.weight_grids import quantize_columns

LEAST_DEVIATION = 1e-3


class InputLayer(nn.Module):
    """Units in, frames out; every frame lies within plus or minus `limit`."""

    limit: float
    n_features: int
    """values of a frame"""
    units_per_frame: int

    def init_states(self, batch: int) -> State:
        """What `batch` new streams remember of units: nothing, unless frames reach over several."""
        return {}

    def advance(self, units: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance a batch of streams by `units` `[batch, n_units, ...]`, any number of them.

        Returns the frames completed, `[batch, n_frames, n_features]`, and the next state, which has the names of
        `init_states`; `state` may hold others.
        """
        raise NotImplementedError

    def fit(self, batches: Iterable[Batch]) -> None:
        """Take statistics from training data."""

    def draw(self, batch: int, n_units: int, generator: torch.Generator) -> Tensor:
        """Draw units of all kinds that there are, to try a network with; `[batch, n_units, ...]`."""
        raise NotImplementedError

    def stored(self, bits: int) -> InputLayer:
        """Give the layer with the weights that a graph of `bits` a weight holds."""
        return self


class Embedding(InputLayer):
    """Looks symbols up: int64 `[batch, n_units]` to rows of a table."""

    units_per_frame = 1

    def __init__(self, n_symbols: int, size: int, limit: float) -> None:
        """Take plain numbers; the table is drawn from a normal distribution."""
        super().__init__()
        self.n_features, self.limit = size, limit
        self.embedding = nn.Parameter(torch.randn(n_symbols, size))

    def advance(self, units: Tensor, state: State) -> tuple[Tensor, State]:
        """Look up; nothing is remembered."""
        return nn.functional.embedding(units, self.table), {}

    @property
    def table(self) -> Tensor:
        """Embeddings `[n_symbols, size]`, clamped."""
        return self.embedding.clamp(-self.limit, self.limit)

    def draw(self, batch: int, n_units: int, generator: torch.Generator) -> Tensor:
        """Draw symbols, all alike."""
        return torch.randint(len(self.embedding), (batch, n_units), generator=generator)

    @torch.no_grad()
    def stored(self, bits: int) -> Embedding:
        """Give the layer as 8 bit store it, a scale for each symbol; 4 bit do so, too."""
        if bits == 32:
            return self
        n_symbols, size = self.embedding.shape
        rounded = Embedding(n_symbols, size, self.limit)
        rounded.embedding.copy_(quantize_columns(self.table).dequantize().T)
        return rounded


class Scaling(InputLayer):
    """Normalizes numbers by the mean and deviation of the training data: float32 `[batch, n_units, n_channels]`."""

    units_per_frame = 1
    mean: Tensor
    std: Tensor

    def __init__(self, n_channels: int, limit: float) -> None:
        """Take plain numbers; `limit` is in standard deviations."""
        super().__init__()
        self.n_features, self.limit = n_channels, limit
        self.register_buffer("mean", torch.zeros(n_channels))
        self.register_buffer("std", torch.ones(n_channels))

    def advance(self, units: Tensor, state: State) -> tuple[Tensor, State]:
        """Normalize and clamp; nothing is remembered."""
        return ((units - self.mean) / self.std).clamp(-self.limit, self.limit), {}

    @torch.no_grad()
    def fit(self, batches: Iterable[Batch]) -> None:
        """Take mean and deviation, channel by channel; filling does not count."""
        units = torch.cat([row for batch in batches for row in batch.whole_rows()])
        self.mean.copy_(units.mean(dim=0))
        self.std.copy_(units.std(dim=0).clamp_min(LEAST_DEVIATION))

    def draw(self, batch: int, n_units: int, generator: torch.Generator) -> Tensor:
        """Draw from a normal distribution twice as wide as the data's."""
        return self.mean + 2 * self.std * torch.randn(batch, n_units, self.n_features, generator=generator)


def build_sequence_layer(recipe: IdsRecipe | ValuesRecipe) -> InputLayer:
    """Make the layer of a recipe, its weights fresh and its statistics not yet taken."""
    if isinstance(recipe, IdsRecipe):
        return Embedding(len(recipe.symbols), recipe.embedding_size, recipe.limit)
    return Scaling(len(recipe.columns), recipe.limit)
