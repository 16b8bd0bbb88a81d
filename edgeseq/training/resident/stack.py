"""The recurrent layers in training, in as few calls as a GPU allows.

Launching a step of a small cell takes longer than computing it.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from edgeseq.training.head import Head
from edgeseq.training.state import State
from edgeseq.training.trunk import Trunk

GRU_WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


class BatchDropout:
    """Draws dropout for a whole batch; see `RowChance` for rows that each have their own generator."""

    def dropout(self, values: Tensor, probability: float) -> Tensor:
        """Set a share of `values` to zero and scale the others up (Srivastava et al. 2014)."""
        return nn.functional.dropout(values, probability)


class Stack:
    """Does what trunk and head do, in training.

    Plain GRU layers go to the device in one call, side by side, each a step behind the one below it. Where `recorded`, that
    call and its gradient are recorded once for each shape and replayed (CUDA graphs).
    """

    def __init__(self, trunk: Trunk, head: Head, *, recorded: bool = False) -> None:
        """Train the layers of `trunk`, and `head`."""
        self.trunk, self.head, self.recorded = trunk, head, recorded
        layers = trunk.recurrent_layers
        self.in_one_call = isinstance(layers[0].rnn, nn.GRU) and not layers[0].layer_norm and layers[0].projection is None
        self._records: dict[tuple[int, int], nn.Module] = {}

    def step(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance by `frames` `[batch, n_frames, n_mels]`; returns log-probs `[batch, n_steps, n_tokens]` and the state."""
        if not self.in_one_call:
            outputs, after = self.trunk.step(frames, state, BatchDropout())  # type: ignore[arg-type]
            return self.head(outputs), after
        n_steps = frames.shape[1] // self.trunk.subsampling
        stacked = frames[:, : n_steps * self.trunk.subsampling].reshape(len(frames), n_steps, -1)
        names = [name for layer in range(len(self.trunk.layers)) for name in self.trunk.state_names(layer)]
        hidden = torch.stack([state[name] for name in names])
        layers = self._recorded(stacked, hidden) if self.recorded else _Layers(self.trunk, self.head)
        log_probs, last = layers(stacked, hidden)
        return log_probs, {**state, **dict(zip(names, last, strict=True))}

    def _recorded(self, stacked: Tensor, hidden: Tensor) -> nn.Module:
        """Record the layers for a shape, or find what was recorded."""
        shape = (len(stacked), stacked.shape[1])
        if shape not in self._records:
            examples = (torch.zeros_like(stacked), torch.zeros_like(hidden))
            self._records[shape] = cast(nn.Module, torch.cuda.make_graphed_callables(_Layers(self.trunk, self.head), examples))
        return self._records[shape]


class _Layers(nn.Module):
    """All recurrent layers and the output layer as one call."""

    def __init__(self, trunk: Trunk, head: Head) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head

    def forward(self, stacked: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Take `[batch, n_steps, n_in]` and `[n_layers, batch, hidden_size]`; gives log-probs and the next hidden values."""
        layers = self.trunk.recurrent_layers
        weights = [getattr(layer.rnn, name) for layer in layers for name in GRU_WEIGHTS]
        outputs, after = torch._VF.gru(stacked, hidden, weights, True, len(layers), self.trunk.dropout, True, False, True)
        return self.head(outputs), after.detach()
