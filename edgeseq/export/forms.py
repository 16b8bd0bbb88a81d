"""How a graph computes its layers: the choice between onnxruntime's own operators and steps written out, by target.

A form says how weights are stored and multiplied. Which form is quickest depends on the processor, so an export names a target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeseq.errors import UsageError

Steps = Literal["operator", "unrolled"]
Product = Literal["float", "integer", "blocks"]

TARGETS = ("generic", "x86", "pi4", "pi5")
"""What an export can be made for; `auto` measures the machine it runs on and chooses among their forms."""
BITS = (32, 8, 4)
QUANTIZATIONS = {32: "float32", 8: "int8", 4: "int4"}
"""Bits a weight -> what the metadata calls it."""

SMALL_WEIGHTS = 300_000
"""Weights of all layers below which writing steps out costs more than 8-bit products save (docs/engine.md has the figures)."""


@dataclass(frozen=True)
class GraphForm:
    """One way to compute the layers of a graph."""

    bits: int
    """of a stored weight: 32, 8 or 4"""
    steps: Steps
    """`operator`: onnxruntime's GRU, LSTM or RNN, in float; `unrolled`: every step of the chunk written out"""
    product: Product
    """`integer`: bytes times bytes, the same on every processor; `blocks`: onnxruntime's MatMulNBits, for 4 bit where the
    processor has dot products, each rounding rows in its own way; `float`"""

    def __str__(self) -> str:
        """Say it in a few words."""
        how = {"float": "float products", "integer": "integer products", "blocks": "block products"}[self.product]
        return f"{self.bits}-bit weights, {'steps written out' if self.steps == 'unrolled' else 'one operator a layer'}, {how}"


FLOAT = GraphForm(32, "operator", "float")


def candidates(bits: int) -> tuple[GraphForm, ...]:
    """List the forms that weights of `bits` can take; the first is the one that every processor computes alike.

    Raises UsageError for other bits than 32, 8 and 4.
    """
    if bits not in BITS:
        raise UsageError(f"{bits} bits a weight: there are {', '.join(map(str, BITS))}.")
    if bits == 32:
        return (FLOAT,)
    forms = (GraphForm(bits, "unrolled", "integer"), GraphForm(bits, "operator", "float"))
    return (*forms, GraphForm(4, "unrolled", "blocks")) if bits == 4 else forms


def choose_form(target: str, bits: int, n_weights: int, n_steps: int) -> GraphForm:
    """Choose the form for a named target; `n_weights` counts the weights of all layers, `n_steps` the steps of a chunk.

    Raises UsageError for an unknown target.
    """
    if target not in TARGETS:
        raise UsageError(f"'{target}' is not a target. There are {', '.join(TARGETS)} and auto.")
    everywhere, *others = candidates(bits)
    if bits == 32:
        return everywhere
    if n_weights < SMALL_WEIGHTS:
        return others[0]
    return others[-1] if bits == 4 and target == "x86" and n_steps == 1 else everywhere
