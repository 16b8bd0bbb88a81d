"""8-bit weights and activations: what the quantized graph computes, in torch.

Weights have one scale for each output column. Activations have fixed scales, because their range is known: outputs of GRU,
LSTM and tanh cells lie in [-1, 1], the frontend clamps its frames to plus or minus `limit`. So a row's result never depends
on its neighbours, nor on how the audio was cut. Both factors are unsigned with a zero point of 128: the product of unsigned
bytes is exact in every kernel of onnxruntime, while the signed form saturates on x86 processors without VNNI.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeseq.training.acoustic_model import Encoder, EncoderState

ZERO_POINT = 128
LARGEST = 127
HIDDEN_LIMIT = 1.0
"""Outputs of the recurrent cells never leave plus or minus this."""


@dataclass(frozen=True)
class QuantizedMatrix:
    """A weight matrix in 8 bit, laid out for `row @ matrix`."""

    values: Tensor
    """uint8 `[n_in, n_out]`, zero at 128"""
    scales: Tensor
    """float32 `[n_out]`"""

    def dequantize(self) -> Tensor:
        """The matrix that the 8-bit values stand for, float32 `[n_in, n_out]`."""
        return (self.values.float() - ZERO_POINT) * self.scales


def quantize_matrix(weight: Tensor) -> QuantizedMatrix:
    """Quantize torch's `weight` `[n_out, n_in]`, one symmetric scale a row of it."""
    scales = weight.abs().amax(dim=1).clamp_min(1e-8) / LARGEST
    values = (weight / scales[:, None]).round() + ZERO_POINT
    return QuantizedMatrix(values.to(torch.uint8).T.contiguous(), scales.float())


def quantize_rows(rows: Tensor, limit: float) -> Tensor:
    """Round `rows`, which lie within plus or minus `limit`, to 8 bit and back."""
    scale = limit / LARGEST
    return (rows / scale).round().clamp(-ZERO_POINT, LARGEST) * scale


def simulate(encoder: Encoder, frames: Tensor, state: EncoderState, limit: float) -> tuple[Tensor, EncoderState]:
    """Do in torch what the 8-bit graph does; shapes as `Encoder.step`, a whole number of steps."""
    outputs = frames.reshape(len(frames), -1, encoder.layers.input_size)
    finals = []
    for layer in range(encoder.layers.num_layers):
        outputs, final = _simulate_layer(encoder.layers, layer, outputs, tuple(h[layer] for h in state.hidden), limit)
        finals.append(final)
        limit = HIDDEN_LIMIT
    hidden = tuple(torch.stack(per_layer) for per_layer in zip(*finals, strict=True))
    return encoder.log_probs(outputs), EncoderState(state.frames, hidden)


def _simulate_layer(
    layers: nn.RNNBase, layer: int, inputs: Tensor, state: tuple[Tensor, ...], limit: float
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run one layer over `inputs` `[batch, n_steps, n_in]`; returns outputs `[batch, n_steps, hidden_size]` and its state."""
    w_ih, w_hh, b_ih, b_hh = (getattr(layers, f"{kind}_l{layer}") for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    from_input = quantize_rows(inputs, limit) @ quantize_matrix(w_ih).dequantize() + b_ih
    recurrent = quantize_matrix(w_hh).dequantize()
    outputs = []
    for step in range(inputs.shape[1]):
        from_hidden = quantize_rows(state[0], HIDDEN_LIMIT) @ recurrent + b_hh
        state = CELL_STEPS[layers.mode](from_input[:, step], from_hidden, state)
        outputs.append(state[0])
    return torch.stack(outputs, dim=1), state


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
    "GRU": _gru_step,
    "LSTM": _lstm_step,
    "RNN_TANH": _rnn_step,
}
