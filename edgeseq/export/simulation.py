"""Quantized layers: what the quantized graphs compute, in torch.

Activations have fixed scales, because their range is known: outputs of GRU, LSTM and tanh cells lie in [-1, 1], all else that
layers read is clamped. So a row's result never depends on its neighbours, nor on how the audio was cut. Integer products take
activations as unsigned bytes with a zero point of 128.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from edgeseq.export.forms import Product
from edgeseq.training.acoustic_model import CELL_LIMIT, Encoder, EncoderState, RecurrentLayer
from edgeseq.training.weight_grids import quantize_blocks, quantize_columns, quantized_weights

ZERO_POINT = 128
LARGEST = 127
"""of an activation's level, either way from the zero point"""


@torch.no_grad()
def with_stored_weights(encoder: Encoder, bits: int) -> Encoder:
    """Copy `encoder`, its layers holding what a graph with weights of `bits` multiplies with."""
    copied = copy.deepcopy(encoder)
    for weight in quantized_weights(copied).values() if bits < 32 else []:
        columns = quantize_columns(weight) if bits == 8 else quantize_blocks(weight).columns()
        weight.copy_(columns.dequantize().T)
    return copied


def quantize_rows(rows: Tensor, limit: float) -> Tensor:
    """Round `rows`, which lie within plus or minus `limit`, to 8 bit and back."""
    scale = limit / LARGEST
    return (rows / scale).round().clamp(-ZERO_POINT, LARGEST) * scale


def simulate(
    encoder: Encoder, frames: Tensor, state: EncoderState, limit: float, product: Product
) -> tuple[Tensor, EncoderState]:
    """Do in torch what a graph with such products does; shapes as `Encoder.step`, a whole number of steps.

    `encoder` comes from `with_stored_weights`. Block products round their activations, too, each processor in its own way;
    here they do not.
    """
    outputs = frames.reshape(len(frames), -1, encoder.input_size)
    finals = []
    for layer, hidden in zip(encoder.recurrent_layers, zip(*state.hidden, strict=True), strict=True):
        outputs, final = _simulate_layer(layer, encoder.cell, outputs, hidden, limit, product)
        finals.append(final)
        limit = layer.limit
    hidden = tuple(torch.stack(per_layer) for per_layer in zip(*finals, strict=True))
    return encoder.log_probs(outputs), EncoderState(state.frames, hidden)


def _simulate_layer(
    layer: RecurrentLayer, cell: str, inputs: Tensor, state: tuple[Tensor, ...], limit: float, product: Product
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run one layer over `inputs` `[batch, n_steps, n_in]`; returns outputs `[batch, n_steps, output_size]` and its state."""
    rounded = quantize_rows if product == "integer" else lambda rows, _: rows
    w_ih, w_hh, b_ih, b_hh = layer.cell_weights()
    from_input = rounded(inputs, limit) @ w_ih.T + b_ih
    steps = []
    for step in range(inputs.shape[1]):
        from_hidden = rounded(state[0], CELL_LIMIT) @ w_hh.T + b_hh
        state = CELL_STEPS[cell](from_input[:, step], from_hidden, state)
        steps.append(state[0])
    outputs = layer.normalize(torch.stack(steps, dim=1))
    if layer.projection is None:
        return outputs, state
    return layer.clip(layer.projection(rounded(outputs, layer.norm_limit))), state


def _gru_step(from_input: Tensor, from_hidden: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """torch.nn.GRU's cell, reset gate after the product (Cho et al. 2014, version 1)."""
    input_r, input_z, input_n = from_input.chunk(3, dim=-1)
    hidden_r, hidden_z, hidden_n = from_hidden.chunk(3, dim=-1)
    reset, update = (input_r + hidden_r).sigmoid(), (input_z + hidden_z).sigmoid()
    new = (input_n + reset * hidden_n).tanh()
    return (new + update * (state[0] - new),)


def _lstm_step(from_input: Tensor, from_hidden: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """torch.nn.LSTM's cell (Hochreiter and Schmidhuber 1997, with forget gates)."""
    into, forget, new, out = (from_input + from_hidden).chunk(4, dim=-1)
    cell = forget.sigmoid() * state[1] + into.sigmoid() * new.tanh()
    return out.sigmoid() * cell.tanh(), cell


def _rnn_step(from_input: Tensor, from_hidden: Tensor, _: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """torch.nn.RNN's cell with tanh (Elman 1990)."""
    return ((from_input + from_hidden).tanh(),)


CELL_STEPS: dict[str, Callable[[Tensor, Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]] = {
    "gru": _gru_step,
    "lstm": _lstm_step,
    "rnn": _rnn_step,
}
