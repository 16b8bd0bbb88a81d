"""Long short-term memory with forget gates (Hochreiter and Schmidhuber 1997, Gers et al. 2000), as torch computes it."""

from __future__ import annotations

from torch import Tensor, nn

from edgeseq.training.cells.cell import Cell, Graph, States, Values, split


def step(from_input: Tensor, from_hidden: Tensor, states: States) -> tuple[States, tuple[Tensor, ...]]:
    """Advance by one step; gates in torch's order: input, forget, new, output."""
    into, forget, new, out = (from_input + from_hidden).chunk(4, dim=-1)
    gates = (into.sigmoid(), forget.sigmoid(), out.sigmoid())
    cell = gates[1] * states[1] + gates[0] * new.tanh()
    return (gates[2] * cell.tanh(), cell), gates


def add_step(graph: Graph, size: int, from_input: Values, from_hidden: str, states: Values) -> Values:
    """Add one step as nodes; the three sigmoids stand together."""
    sigmoids, new = split(graph, graph.node("Add", from_input[0], from_hidden), 3 * size, size)
    into, forget, out = split(graph, graph.node("Sigmoid", sigmoids), size, size, size)
    kept = graph.node("Mul", forget, states[1])
    cell = graph.node("Add", kept, graph.node("Mul", into, graph.node("Tanh", new)))
    return [graph.node("Mul", out, graph.node("Tanh", cell)), cell]


LSTM = Cell(
    layer=nn.LSTM,
    states=("hidden", "cell"),
    gates=("input", "forget", "output"),
    step=step,
    operator="LSTM",
    operator_gates=(0, 3, 1, 2),  # iofc
    graph_gates=(0, 1, 3, 2),
    parts=(4,),
    add_step=add_step,
)
