"""Random numbers on the network's side: each stream has its own, so that neighbours and processes change nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

NETWORK_KEY = 2
"""Tells these random numbers from those of a row's plan and sound."""


class RowChance:
    """A generator for each row of a batch; what a row draws is a function of (seed, step, number of the row)."""

    def __init__(self, seed: int, step: int, rows: Sequence[int], device: torch.device | None = None) -> None:
        """Begin the generators of `rows`, numbers among all streams."""
        self.device = device or torch.device("cpu")
        self._generators = [self._begin(seed, step, row) for row in rows]

    def _begin(self, seed: int, step: int, row: int) -> torch.Generator:
        state = np.random.SeedSequence([seed, step, row, NETWORK_KEY]).generate_state(1, np.uint64)[0]
        return torch.Generator(self.device).manual_seed(int(state) & (2**63 - 1))

    def uniform(self, *shape: int) -> Tensor:
        """Draw from [0, 1), float32 `[n_rows, *shape]`."""
        drawn = torch.empty(len(self._generators), *shape, device=self.device)
        for row, generator in zip(drawn, self._generators, strict=True):
            row.uniform_(generator=generator)
        return drawn

    def dropout(self, values: Tensor, probability: float) -> Tensor:
        """Set a share of `values` `[n_rows, ...]` to zero and scale the others up (Srivastava et al. 2014)."""
        if probability == 0:
            return values
        factors = self._keep(values[0].numel(), probability).to(values.dtype).div_(1 - probability)
        return values * factors.view(values.shape)

    def _keep(self, count: int, probability: float) -> Tensor:
        """Draw what is kept, bool `[n_rows, count]`: sixteen bits a value, four values from each number drawn."""
        drawn = torch.empty(len(self._generators), -(-count // 4), dtype=torch.int64, device=self.device)
        for row, generator in zip(drawn, self._generators, strict=True):
            row.random_(-(2**63), None, generator=generator)
        threshold = round(probability * 2**16) - 2**15
        return drawn.view(torch.int16)[:, :count] >= threshold
