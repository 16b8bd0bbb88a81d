"""The simple recurrent network with tanh (Elman 1990), as torch.nn.RNN computes it."""

from __future__ import annotations

from torch import Tensor, nn

from edgeseq.training.cells.cell import Cell, Graph, States, Values


def step(from_input: Tensor, from_hidden: Tensor, _: States) -> tuple[States, tuple[Tensor, ...]]:
    """Advance by one step; there are no gates."""
    return ((from_input + from_hidden).tanh(),), ()


def add_step(graph: Graph, _size: int, from_input: Values, from_hidden: str, _states: Values) -> Values:
    """Add one step as nodes."""
    return [graph.node("Tanh", graph.node("Add", from_input[0], from_hidden))]


RNN = Cell(
    layer=nn.RNN,
    states=("hidden",),
    gates=(),
    step=step,
    operator="RNN",
    operator_gates=(0,),
    graph_gates=(0,),
    parts=(1,),
    add_step=add_step,
)
