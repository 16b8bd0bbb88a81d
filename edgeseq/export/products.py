"""Matrix products of quantized graphs, and weights that are stored small and unpacked when a session opens.

What `edgeseq.export.simulation` computes in torch, as nodes. Nodes between constants only run once: onnxruntime folds them.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from torch import Tensor

from edgeseq.export.builder import MICROSOFT, GraphBuilder, to_numpy
from edgeseq.export.forms import GraphForm
from edgeseq.export.simulation import LARGEST, ZERO_POINT
from edgeseq.training.weight_grids import (
    BLOCK,
    BLOCK_ZERO_POINT,
    LARGEST_MULTIPLIER,
    Blocks,
    quantize_blocks,
    quantize_columns,
)

QUANTIZE_INPUTS = 4
"""accuracy_level of MatMulNBits: multiply bytes where the processor can, one scale for each block of a row"""


class Products(Protocol):
    """How rows are made ready and multiplied; a row's result never depends on another row."""

    def prepare(self, graph: GraphBuilder, rows: str, limit: float) -> str:
        """Make `rows` `[..., n_in]`, within plus or minus `limit`, ready to be multiplied."""
        ...

    def multiply(self, graph: GraphBuilder, prepared: str, limit: float, weight: Tensor, bias: Tensor) -> str:
        """Multiply with torch's `weight` `[n_out, n_in]` and add `bias` `[n_out]`; gives float32 `[..., n_out]`."""
        ...


class IntegerProducts:
    """Unsigned bytes times signed bytes, exact on every processor."""

    def __init__(self, bits: int) -> None:
        """Store weights in 8 bit, or in 4 bit and unpack them to 8 when a session opens."""
        self.bits = bits

    def prepare(self, graph: GraphBuilder, rows: str, limit: float) -> str:
        """Round to bytes by a fixed scale."""
        zero = graph.constant(np.array(ZERO_POINT, dtype=np.uint8))
        return graph.node("QuantizeLinear", rows, graph.floats(limit / LARGEST), zero)

    def multiply(self, graph: GraphBuilder, prepared: str, limit: float, weight: Tensor, bias: Tensor) -> str:
        """Multiply bytes; the columns' scales come after, since within the product they cost more than a node of their own."""
        values, scales = self._store(graph, weight)
        zero = graph.constant(np.array(ZERO_POINT, dtype=np.uint8))
        biases = graph.constant(to_numpy(bias / scales))
        inputs = (prepared, values, graph.floats(limit / LARGEST), graph.floats(1.0), zero, "", biases)
        product = graph.node("MatMulIntegerToFloat", *inputs, domain=MICROSOFT)
        return graph.node("Mul", product, graph.constant(to_numpy(scales)))

    def _store(self, graph: GraphBuilder, weight: Tensor) -> tuple[str, Tensor]:
        """Store bytes `[n_in, n_out]`, and give the scales of their columns."""
        if self.bits == 8:
            columns = quantize_columns(weight)
            return graph.constant(to_numpy(columns.values)), columns.scales
        blocks = quantize_blocks(weight)
        return graph.node("Transpose", _unpack(graph, blocks), perm=[1, 0]), blocks.scales


class BlockProducts:
    """4-bit weights multiplied as they are stored; quick on processors with dot products, slow on others."""

    def prepare(self, _graph: GraphBuilder, rows: str, _limit: float) -> str:
        """Leave rows in float; the operator rounds each by itself."""
        return rows

    def multiply(self, graph: GraphBuilder, prepared: str, _limit: float, weight: Tensor, bias: Tensor) -> str:
        """Multiply by onnxruntime's MatMulNBits. Zero points are stored, though equal: without, an A76 rounds otherwise."""
        blocks = quantize_blocks(weight)
        n_out, n_blocks = blocks.multipliers.shape
        zeros = np.full((n_out, -(-n_blocks // 2)), BLOCK_ZERO_POINT | BLOCK_ZERO_POINT << 4, dtype=np.uint8)
        multipliers = graph.node("Cast", graph.constant(to_numpy(blocks.multipliers)), to=TensorProto.FLOAT)
        scales = graph.node("Mul", multipliers, graph.constant(to_numpy(blocks.scales[:, None])))
        return graph.node(
            "MatMulNBits",
            prepared,
            graph.constant(to_numpy(blocks.packed())),
            scales,
            graph.constant(zeros),
            "",
            graph.constant(to_numpy(bias)),
            domain=MICROSOFT,
            K=blocks.n_in,
            N=n_out,
            bits=4,
            block_size=BLOCK,
            accuracy_level=QUANTIZE_INPUTS,
        )


def products(form: GraphForm) -> Products:
    """Give what `form` multiplies with, for steps that are written out."""
    return BlockProducts() if form.product == "blocks" else IntegerProducts(form.bits)


def float_weight(graph: GraphBuilder, weight: Tensor, bits: int) -> str:
    """Store torch's `weight` `[n_out, n_in]` in `bits` bits for a float operator; gives float32 `[n_out, n_in]`."""
    if bits == 32:
        return graph.constant(to_numpy(weight))
    if bits == 8:
        columns = quantize_columns(weight)
        values, scales = graph.constant(to_numpy(columns.values.T)), columns.scales
    else:
        blocks = quantize_blocks(weight)
        values, scales = _unpack(graph, blocks), blocks.scales
    return graph.node("Mul", graph.node("Cast", values, to=TensorProto.FLOAT), graph.constant(to_numpy(scales[:, None])))


def _unpack(graph: GraphBuilder, blocks: Blocks) -> str:
    """Unpack 4-bit blocks to int8 `[n_out, n_in]`: a byte and its block's multiplier are looked up in a table of pairs."""
    n_out, n_blocks = blocks.multipliers.shape
    rows = (blocks.multipliers[..., None] + LARGEST_MULTIPLIER).to(torch.uint8)
    table_rows = graph.node("Cast", graph.constant(to_numpy(rows)), to=TensorProto.INT32)
    table_rows = graph.node("Mul", table_rows, graph.constant(np.array(256, dtype=np.int32)))
    packed = graph.node("Cast", graph.constant(to_numpy(blocks.packed())), to=TensorProto.INT32)
    pairs = graph.node("Gather", graph.constant(_pairs()), graph.node("Add", packed, table_rows))
    values = graph.node("Reshape", pairs, graph.integers(n_out, n_blocks * BLOCK))
    if n_blocks * BLOCK == blocks.n_in:
        return values
    return graph.node("Slice", values, graph.integers(0), graph.integers(blocks.n_in), graph.integers(1))


def _pairs() -> NDArray[np.int8]:
    """Both weights that a byte holds, for each multiplier and byte, int8 `[17 * 256, 2]`."""
    byte = np.arange(256)
    levels = np.stack([byte & 15, byte >> 4], axis=1) - BLOCK_ZERO_POINT
    multipliers = np.arange(-LARGEST_MULTIPLIER, LARGEST_MULTIPLIER + 1)
    return (multipliers[:, None, None] * levels).reshape(-1, 2).astype(np.int8)


def reorder_gates(tensor: Tensor, order: tuple[int, ...]) -> Tensor:
    """Put the gates that stand along axis 0 in another order."""
    gates = tensor.chunk(len(order), dim=0)
    return torch.cat([gates[i] for i in order])
