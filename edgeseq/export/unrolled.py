"""Recurrent layers with every step of a chunk written out, over quantized products (onnxruntime has no quantized GRU).

Each layer reads the whole chunk in one product; only the recurrent product is made step by step. A step has as few nodes as can
be, for each costs about a third of a microsecond beside its arithmetic: gates that take a sigmoid stand together, a chunk is
split once, and rows keep two axes, so that putting steps together is a Concat and a Reshape; chunks of one step need neither.
"""

from __future__ import annotations

from edgeseq.export.builder import GraphBuilder
from edgeseq.export.products import Products, reorder_gates
from edgeseq.export.shaping import add_clip, add_norm
from edgeseq.training.cells.cell import Values, split
from edgeseq.training.state import GRAPH_PREFIX
from edgeseq.training.trunk import CELL_LIMIT, PROJECTION_LIMIT, RecurrentLayer, Trunk


def add_unrolled(graph: GraphBuilder, trunk: Trunk, inputs: str, n_steps: int, limit: float, products: Products) -> str:
    """Add all layers; `[batch, n_steps, n_in]`, within plus or minus `limit`, to `[batch, n_steps, output_size]`.

    The axis of steps is left out of both where there is one step only.
    """
    prepared = products.prepare(graph, inputs, limit)
    for index, layer in enumerate(trunk.recurrent_layers):
        outputs, prepared = _add_steps(graph, trunk, index, prepared, n_steps, limit, products)
        is_last = layer is trunk.layers[-1]
        if is_last or layer.layer_norm:
            sequence = _join(graph, outputs, n_steps)
        if layer.layer_norm:
            sequence = add_norm(graph, sequence, trunk.hidden_size)
            prepared = products.prepare(graph, sequence, layer.norm_limit)
        if layer.projection is not None:
            sequence = _project(graph, layer, prepared, products)
            prepared = products.prepare(graph, sequence, layer.limit)
        limit = layer.limit
    return sequence


def _add_steps(
    graph: GraphBuilder, trunk: Trunk, index: int, rows: str, n_steps: int, limit: float, products: Products
) -> tuple[Values, str]:
    """Add one layer's cell; returns its outputs, one `[batch, hidden_size]` a step, and all of them ready to be multiplied."""
    cell, size = trunk.cell, trunk.hidden_size
    w_ih, w_hh, b_ih, b_hh = (reorder_gates(w, cell.graph_gates) for w in trunk.recurrent_layers[index].cell_weights())
    from_input = products.multiply(graph, rows, limit, w_ih, b_ih)
    flat = graph.node("Reshape", from_input, graph.integers(0, -1)) if n_steps > 1 else from_input
    parts = split(graph, flat, *(n * size for n in cell.parts * n_steps))
    names = [GRAPH_PREFIX + name for name in trunk.state_names(index)]
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
