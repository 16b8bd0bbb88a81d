"""Weights in few bits: the values that they may take, and the nearest of them.

Weights have one scale for each output column, in 4 bit a multiplier besides for each block of 32 inputs. They lie within plus
or minus 64 of their scale: a product of such a weight and an unsigned byte, twice, always fits into 16 bits, in which x86
processors without VNNI add pairs and would saturate. So the result is exact in every kernel of onnxruntime, and the quickest
kernel there is can be used.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeseq.training.trunk import Trunk

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
    """Choose among several `scales` `[..., 1]`, for each row of `[..., n]`, the one with the nearest levels; and the levels."""
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

    All values of such a row are whole multiples, up to 64, of its scale; the largest that fits is given. So to quantize another
    time more changes nothing.
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


def quantized_weights(trunk: Trunk) -> dict[str, Tensor]:
    """Name the weights `[n_out, n_in]` that quantized graphs store in few bits."""
    names = ("rnn.weight_ih_l0", "rnn.weight_hh_l0", "projection.weight")
    return {name: weight for name, weight in trunk.named_parameters() if name.endswith(names)}
