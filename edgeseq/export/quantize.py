"""Quantized weights and activations: what the quantized graphs compute, in torch.

Weights have one scale for each output column, in 4 bit a multiplier besides for each block of 32 inputs. Activations have
fixed scales, because their range is known: outputs of GRU, LSTM and tanh cells lie in [-1, 1], all else that layers read is
clamped. So a row's result never depends on its neighbours, nor on how the audio was cut.

Integer products take activations as unsigned bytes with a zero point of 128 and weights as signed bytes within plus or minus
64. Two such products always fit into 16 bits, in which x86 processors without VNNI add pairs and would saturate: the result
is exact in every kernel of onnxruntime, and the quickest kernel there is can be used.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeseq.export.forms import Product
from edgeseq.training.acoustic_model import CELL_LIMIT, Encoder, EncoderState, RecurrentLayer

ZERO_POINT = 128
LARGEST = 127
"""of an activation's level, either way from the zero point"""
LARGEST_WEIGHT = 64
BLOCK = 32
"""inputs that share one multiplier of 4-bit weights"""
BLOCK_ZERO_POINT = 8
LARGEST_MULTIPLIER = 8

Grid = tuple[Tensor, ...]
"""What a weight `[n_out, n_in]` may be: float32 scales `[n_out]` of its rows; in 4 bit also int8 multipliers
`[n_out, n_blocks]`. Scales of a grid have 16 significant bits, so that whole multiples of them are exact in float32."""


@dataclass(frozen=True)
class Columns:
    """A weight matrix in signed bytes, laid out for `row @ matrix`."""

    values: Tensor
    """int8 `[n_in, n_out]`, within plus or minus 64"""
    scales: Tensor
    """float32 `[n_out]`"""

    def dequantize(self) -> Tensor:
        """The matrix that the bytes stand for, float32 `[n_in, n_out]`."""
        return self.values.float() * self.scales


@dataclass(frozen=True)
class Blocks:
    """A weight matrix in 4 bit, laid out by columns, inputs filled up to whole blocks.

    A weight is its level times the multiplier of its block times the scale of its column. Level times multiplier is a whole
    number within plus or minus 64, so that integer products take these weights, too, without rounding them again.
    """

    values: Tensor
    """uint8 `[n_out, n_blocks, 32]`, levels -8 to 7, stored from 0"""
    multipliers: Tensor
    """int8 `[n_out, n_blocks]`, -8 to 8 without 0"""
    scales: Tensor
    """float32 `[n_out]`"""
    n_in: int

    def columns(self) -> Columns:
        """The same weights as bytes."""
        levels = self.values.to(torch.int8) - BLOCK_ZERO_POINT
        return Columns((levels * self.multipliers[..., None]).flatten(1)[:, : self.n_in].T.contiguous(), self.scales)

    def packed(self) -> Tensor:
        """Two values a byte, the first in the low half, uint8 `[n_out, n_blocks, 16]`."""
        return self.values[..., 0::2] | (self.values[..., 1::2] << 4)


def quantize_columns(weight: Tensor) -> Columns:
    """Quantize torch's `weight` `[n_out, n_in]`, one symmetric scale a row of it."""
    largest = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-8)
    scales = [largest * share / LARGEST_WEIGHT for share in torch.linspace(0.6, 1.0, 41)]
    best_scales, values = _least_squares(weight, [known_scales(weight), *scales], -LARGEST_WEIGHT, LARGEST_WEIGHT)
    return Columns(values.to(torch.int8).T.contiguous(), best_scales[:, 0].float())


def quantize_blocks(weight: Tensor) -> Blocks:
    """Quantize torch's `weight` `[n_out, n_in]`, one multiplier a block of a row.

    There is a level -8 but no +8; a multiplier below 0 turns a block round.
    """
    largest = weight.abs().amax(dim=1).clamp_min(1e-8) / LARGEST_WEIGHT
    shares = torch.linspace(0.6, 1.0, 17)
    tried = [_quantize_blocks(weight, one) for one in (known_scales(weight)[:, 0], *(largest * share for share in shares))]
    errors = torch.stack([(blocks.columns().dequantize().T - weight).square().sum(dim=1) for blocks in tried])
    best = errors.nan_to_num(torch.inf).argmin(dim=0)
    rows = torch.arange(len(weight), device=weight.device)
    values, multipliers, scales = (
        torch.stack([getattr(blocks, part) for blocks in tried])[best, rows] for part in ("values", "multipliers", "scales")
    )
    return Blocks(values, multipliers, scales, weight.shape[1])


def _quantize_blocks(weight: Tensor, scales: Tensor) -> Blocks:
    """Quantize with given column scales `[n_out]`."""
    n_in = weight.shape[1]
    blocks = nn.functional.pad(weight / scales[:, None], (0, -n_in % BLOCK)).unflatten(1, (-1, BLOCK))
    multipliers = [torch.full_like(blocks[..., :1], m) for m in range(-LARGEST_MULTIPLIER, LARGEST_MULTIPLIER + 1) if m]
    best, levels = _least_squares(blocks, multipliers, -BLOCK_ZERO_POINT, BLOCK_ZERO_POINT - 1)
    return Blocks((levels + BLOCK_ZERO_POINT).to(torch.uint8), best.squeeze(2).to(torch.int8), scales.float(), n_in)


def _least_squares(rows: Tensor, scales: list[Tensor], lowest: int, highest: int) -> tuple[Tensor, Tensor]:
    """Of several `scales` `[..., 1]` choose, for each row of `[..., n]`, the one whose levels come nearest; and the levels."""
    best_error = torch.full_like(scales[0], torch.inf)
    best_scales, best_levels = scales[0], torch.zeros_like(rows)
    for scale in scales:
        levels = (rows / scale).round().clamp(lowest, highest)
        error = (levels * scale - rows).square().sum(dim=-1, keepdim=True)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best_scales = torch.where(better, scale, best_scales)
        best_levels = torch.where(better, levels, best_levels)
    return best_scales, best_levels


def known_scales(weight: Tensor) -> Tensor:
    """Scales `[n_out, 1]` of the rows of `weight` `[n_out, n_in]` that were quantized before; NaN for others.

    All values of such a row are whole multiples, up to 64, of its scale; the largest that fits is given. So to quantize once
    more changes nothing.
    """
    largest = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-8)
    scales = torch.full_like(largest, torch.nan)
    for multiple in range(LARGEST_WEIGHT, 0, -1):
        rows = weight / (largest / multiple)
        scales = torch.where((rows == rows.round()).all(dim=1, keepdim=True), largest / multiple, scales)
    return scales


def find_column_grid(weight: Tensor) -> Grid:
    """Find the 8-bit grid that comes nearest to `weight` `[n_out, n_in]`."""
    return (_trim(quantize_columns(weight).scales),)


def find_block_grid(weight: Tensor) -> Grid:
    """Find the 4-bit grid that comes nearest to `weight` `[n_out, n_in]`."""
    blocks = quantize_blocks(weight)
    return _trim(blocks.scales), blocks.multipliers


def _trim(scales: Tensor) -> Tensor:
    """Cut float32 to 16 significant bits."""
    return scales.view(torch.int32).bitwise_and(-(1 << 8)).view(torch.float32)


def round_to_grid(weight: Tensor, grid: Grid) -> Tensor:
    """Bring `weight` `[n_out, n_in]` to the nearest that `grid` allows; quantizing gives just that again."""
    scales, *multipliers = grid
    rows = weight / scales[:, None]
    if not multipliers:
        return rows.round().clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT) * scales[:, None]
    per_input = multipliers[0].repeat_interleave(BLOCK, dim=1)[:, : weight.shape[1]]
    levels = (rows / per_input).round().clamp(-BLOCK_ZERO_POINT, BLOCK_ZERO_POINT - 1)
    return levels * per_input * scales[:, None]


def quantized_weights(encoder: Encoder) -> dict[str, Tensor]:
    """Name the weights `[n_out, n_in]` that quantized graphs store in few bits."""
    names = ("rnn.weight_ih_l0", "rnn.weight_hh_l0", "projection.weight")
    return {name: weight for name, weight in encoder.named_parameters() if name.endswith(names)}


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
    w_ih, w_hh, b_ih, b_hh = cell_weights(layer)
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


def cell_weights(layer: RecurrentLayer) -> list[Tensor]:
    """Input weights, recurrent weights, input bias, recurrent bias, gates in torch's order along axis 0."""
    return [getattr(layer.rnn, f"{kind}_l0").detach() for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


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
