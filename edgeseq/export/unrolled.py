"""Recurrent layers with every step of a chunk written out, over quantized products (onnxruntime has no quantized GRU).

Each layer reads the whole chunk in one product; only the recurrent product is made step by step. A step has as few nodes as can
be, for each costs about a third of a microsecond beside its arithmetic: gates that take a sigmoid stand together, a chunk is
split once, and rows keep two axes, so that putting steps together is a Concat and a Reshape; chunks of one step need neither.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeseq.export.builder import GraphBuilder
from edgeseq.export.products import Products, reorder_gates
from edgeseq.export.shaping import add_clip, add_norm
from edgeseq.export.states import state_names
from edgeseq.training.acoustic_model import CELL_LIMIT, PROJECTION_LIMIT, Encoder, RecurrentLayer

Values = list[str]


@dataclass(frozen=True)
class Cell:
    """How one kind of cell is written out."""

    gates: tuple[int, ...]
    """order of the gates along the products' columns, by torch's"""
    parts: tuple[int, ...]
    """gates that each part of an input row holds"""
    add_step: Callable[[GraphBuilder, int, Values, str, Values], Values]
    """takes hidden size, the parts of an input row, the recurrent product and the state; gives the next state"""


def add_unrolled(graph: GraphBuilder, encoder: Encoder, inputs: str, n_steps: int, limit: float, products: Products) -> str:
    """Add all layers; `[batch, n_steps, n_in]`, within plus or minus `limit`, to `[batch, n_steps, output_size]`.

    The axis of steps is left out of both where there is one step only.
    """
    prepared = products.prepare(graph, inputs, limit)
    for index, layer in enumerate(encoder.recurrent_layers):
        outputs, prepared = _add_steps(graph, encoder, index, prepared, n_steps, limit, products)
        is_last = layer is encoder.layers[-1]
        if is_last or layer.layer_norm:
            sequence = _join(graph, outputs, n_steps)
        if layer.layer_norm:
            sequence = add_norm(graph, sequence, encoder.hidden_size)
            prepared = products.prepare(graph, sequence, layer.norm_limit)
        if layer.projection is not None:
            sequence = _project(graph, layer, prepared, products)
            prepared = products.prepare(graph, sequence, layer.limit)
        limit = layer.limit
    return sequence


def _add_steps(
    graph: GraphBuilder, encoder: Encoder, index: int, rows: str, n_steps: int, limit: float, products: Products
) -> tuple[Values, str]:
    """Add one layer's cell; returns its outputs, one `[batch, hidden_size]` a step, and all of them ready to be multiplied."""
    cell, size = CELLS[encoder.cell], encoder.hidden_size
    w_ih, w_hh, b_ih, b_hh = (reorder_gates(w, cell.gates) for w in encoder.recurrent_layers[index].cell_weights())
    from_input = products.multiply(graph, rows, limit, w_ih, b_ih)
    flat = graph.node("Reshape", from_input, graph.integers(0, -1)) if n_steps > 1 else from_input
    parts = _split(graph, flat, *(n * size for n in cell.parts * n_steps))
    names = state_names(encoder, index)
    state = [graph.input(name, ["batch", size]) for name in names]
    prepared = products.prepare(graph, state[0], CELL_LIMIT)
    outputs, all_prepared = [], []
    for step in range(n_steps):
        from_hidden = products.multiply(graph, prepared, CELL_LIMIT, w_hh, b_hh)
        here = parts[step * len(cell.parts) : (step + 1) * len(cell.parts)]
        state = cell.add_step(graph, size, here, from_hidden, state)
        prepared = products.prepare(graph, state[0], CELL_LIMIT)  # for this layer's next step and for what reads the layer
        outputs.append(state[0])
        all_prepared.append(prepared)
    for name, final in zip(names, state, strict=True):
        graph.output(f"{name}_next", final, ["batch", size])
    return outputs, _join(graph, all_prepared, n_steps)


def _project(graph: GraphBuilder, layer: RecurrentLayer, rows: str, products: Products) -> str:
    assert layer.projection is not None, "asked for"
    weight, bias = layer.projection.weight.detach(), layer.projection.bias.detach()
    return add_clip(graph, products.multiply(graph, rows, layer.norm_limit, weight, bias), PROJECTION_LIMIT)


def _join(graph: GraphBuilder, steps: Values, n_steps: int) -> str:
    """Put steps `[batch, size]` together to `[batch, n_steps, size]`; one step stays as it is."""
    if n_steps == 1:
        return steps[0]
    return graph.node("Reshape", graph.node("Concat", *steps, axis=1), graph.integers(0, n_steps, -1))


def _split(graph: GraphBuilder, value: str, *sizes: int) -> Values:
    if len(sizes) == 1:
        return [value]
    return graph.nodes("Split", value, graph.integers(*sizes), n_outputs=len(sizes), axis=-1)


def _add_gru_step(graph: GraphBuilder, size: int, from_input: Values, from_hidden: str, state: Values) -> Values:
    input_rz, input_n = from_input
    hidden_rz, hidden_n = _split(graph, from_hidden, 2 * size, size)
    gates = graph.node("Sigmoid", graph.node("Add", input_rz, hidden_rz))
    reset, update = _split(graph, gates, size, size)
    new = graph.node("Tanh", graph.node("Add", input_n, graph.node("Mul", reset, hidden_n)))
    return [graph.node("Add", new, graph.node("Mul", update, graph.node("Sub", state[0], new)))]


def _add_lstm_step(graph: GraphBuilder, size: int, from_input: Values, from_hidden: str, state: Values) -> Values:
    sigmoids, new = _split(graph, graph.node("Add", from_input[0], from_hidden), 3 * size, size)
    into, forget, out = _split(graph, graph.node("Sigmoid", sigmoids), size, size, size)
    kept = graph.node("Mul", forget, state[1])
    cell = graph.node("Add", kept, graph.node("Mul", into, graph.node("Tanh", new)))
    return [graph.node("Mul", out, graph.node("Tanh", cell)), cell]


def _add_rnn_step(graph: GraphBuilder, _size: int, from_input: Values, from_hidden: str, _state: Values) -> Values:
    return [graph.node("Tanh", graph.node("Add", from_input[0], from_hidden))]


CELLS = {
    "gru": Cell(gates=(0, 1, 2), parts=(2, 1), add_step=_add_gru_step),
    "lstm": Cell(gates=(0, 1, 3, 2), parts=(4,), add_step=_add_lstm_step),
    "rnn": Cell(gates=(0,), parts=(1,), add_step=_add_rnn_step),
}
