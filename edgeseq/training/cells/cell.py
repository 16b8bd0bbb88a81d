"""What a recurrent cell is: its layer in torch, one step of it by hand, and the same step as nodes of a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

States = tuple[Tensor, ...]
"""One tensor `[batch, hidden_size]` for each of a cell's states; the first is its output."""
Values = list[str]
"""Names of values in a graph."""


class Graph(Protocol):
    """What a cell needs of a graph under construction; `edgeseq.export.builder.GraphBuilder` is one."""

    def integers(self, *values: int) -> str:
        """Store a vector of int64."""

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output."""

    def nodes(self, operator: str, *inputs: str, n_outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """Add a node with several outputs."""


def split(graph: Graph, value: str, *sizes: int) -> Values:
    """Split a value along its last axis."""
    if len(sizes) == 1:
        return [value]
    return graph.nodes("Split", value, graph.integers(*sizes), n_outputs=len(sizes), axis=-1)


def run_layer(rnn: nn.RNNBase, inputs: Tensor, states: States) -> tuple[Tensor, States]:
    """Advance torch's layer by `inputs` `[batch, n_steps, n_in]`; returns its outputs and its last states."""
    before = tuple(state[None].contiguous() for state in states)
    outputs, after = rnn(inputs, before if len(before) > 1 else before[0])
    return outputs, tuple(state[0] for state in (after if isinstance(after, tuple) else (after,)))


@dataclass(frozen=True)
class Cell:
    """One kind of cell, everywhere it is needed. Gates are numbered in torch's order along axis 0 of its weights."""

    layer: Callable[..., nn.RNNBase]
    """torch's layer"""
    states: tuple[str, ...]
    """names of what it remembers, its output first"""
    gates: tuple[str, ...]
    """names of what opens and closes, as `step` returns it"""
    step: Callable[[Tensor, Tensor, States], tuple[States, tuple[Tensor, ...]]]
    """takes what comes from the inputs and from the state, both `[batch, n_gates * hidden_size]`, and the states; gives the
    next states and the values of the gates"""
    operator: str
    """ONNX's operator"""
    operator_gates: tuple[int, ...]
    """where the operator's gates are in torch's order"""
    graph_gates: tuple[int, ...]
    """order of the gates along the products' columns, where steps are written out"""
    parts: tuple[int, ...]
    """gates that each part of an input row holds"""
    add_step: Callable[[Graph, int, Values, str, Values], Values]
    """takes hidden size, the parts of an input row, the recurrent product and the states; gives the next states"""
    run: Callable[[nn.RNNBase, Tensor, States], tuple[Tensor, States]] = run_layer
    """advances torch's layer in training"""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """of the operator"""
