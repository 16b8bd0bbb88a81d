"""Quantized layers: what the quantized graphs compute, in torch.

Activations have fixed scales, because their range is known: outputs of GRU, LSTM and tanh cells lie in [-1, 1], all else that
layers read is clamped. So a row's result never depends on its neighbours, nor on how the audio was cut. Integer products take
activations as unsigned bytes with a zero point of 128.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from edgeseq.export.forms import Product
from edgeseq.training.cells.cell import States
from edgeseq.training.state import State
from edgeseq.training.trunk import CELL_LIMIT, RecurrentLayer, Trunk
from edgeseq.training.weight_grids import quantize_blocks, quantize_columns, quantized_weights

ZERO_POINT = 128
LARGEST = 127
"""of an activation's level, either way from the zero point"""


@torch.no_grad()
def with_stored_weights(trunk: Trunk, bits: int) -> Trunk:
    """Copy `trunk`, its layers holding what a graph with weights of `bits` multiplies with."""
    copied = copy.deepcopy(trunk)
    for weight in quantized_weights(copied).values() if bits < 32 else []:
        columns = quantize_columns(weight) if bits == 8 else quantize_blocks(weight).columns()
        weight.copy_(columns.dequantize().T)
    return copied


def quantize_rows(rows: Tensor, limit: float) -> Tensor:
    """Round `rows`, which lie within plus or minus `limit`, to 8 bit and back."""
    scale = limit / LARGEST
    return (rows / scale).round().clamp(-ZERO_POINT, LARGEST) * scale


def simulate(trunk: Trunk, frames: Tensor, state: State, limit: float, product: Product) -> tuple[Tensor, State]:
    """Do in torch what a graph with such products does; shapes as `Trunk.step`, a whole number of steps.

    `trunk` comes from `with_stored_weights`. Block products round their activations, too, each processor in its own way;
    here they do not.
    """
    outputs, after = frames.reshape(len(frames), -1, trunk.input_size), dict(state)
    for index, layer in enumerate(trunk.recurrent_layers):
        names = trunk.state_names(index)
        outputs, last = _simulate_layer(layer, outputs, tuple(state[name] for name in names), limit, product)
        after.update(zip(names, last, strict=True))
        limit = layer.limit
    return outputs, after


def _simulate_layer(
    layer: RecurrentLayer, inputs: Tensor, state: States, limit: float, product: Product
) -> tuple[Tensor, States]:
    """Run one layer over `inputs` `[batch, n_steps, n_in]`; returns outputs `[batch, n_steps, output_size]` and its state."""
    rounded = quantize_rows if product == "integer" else lambda rows, _: rows
    w_ih, w_hh, b_ih, b_hh = layer.cell_weights()
    from_input = rounded(inputs, limit) @ w_ih.T + b_ih
    steps = []
    for step in range(inputs.shape[1]):
        from_hidden = rounded(state[0], CELL_LIMIT) @ w_hh.T + b_hh
        state, _ = layer.cell.step(from_input[:, step], from_hidden, state)
        steps.append(state[0])
    outputs = layer.normalize(torch.stack(steps, dim=1))
    if layer.projection is None:
        return outputs, state
    return layer.clip(layer.projection(rounded(outputs, layer.norm_limit))), state
