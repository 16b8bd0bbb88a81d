"""Recurrent layers as onnxruntime's own operators, one GRU, LSTM or RNN a layer, in float."""

from __future__ import annotations

import torch

from edgeseq.export.builder import GraphBuilder, to_numpy
from edgeseq.export.forms import GraphForm
from edgeseq.export.products import float_weight, reorder_gates
from edgeseq.export.shaping import add_clip, add_norm
from edgeseq.training.state import GRAPH_PREFIX
from edgeseq.training.trunk import PROJECTION_LIMIT, RecurrentLayer, Trunk


def add_operators(graph: GraphBuilder, trunk: Trunk, inputs: str, form: GraphForm) -> str:
    """Add all layers; `[batch, n_steps, n_in]` to `[batch, n_steps, output_size]`. Weights are stored in `form.bits` bits."""
    sequence = graph.node("Transpose", inputs, perm=[1, 0, 2])
    for index, layer in enumerate(trunk.recurrent_layers):
        sequence = _add_operator(graph, trunk, index, sequence, form)
        sequence = _shape(graph, layer, sequence, form)
    return graph.node("Transpose", sequence, perm=[1, 0, 2])


def _add_operator(graph: GraphBuilder, trunk: Trunk, index: int, sequence: str, form: GraphForm) -> str:
    size, cell = trunk.hidden_size, trunk.cell
    w_ih, w_hh, b_ih, b_hh = (reorder_gates(w, cell.operator_gates) for w in trunk.recurrent_layers[index].cell_weights())
    axis = graph.integers(0)  # the direction, of which there is one
    weights = [graph.node("Unsqueeze", float_weight(graph, w, form.bits), axis) for w in (w_ih, w_hh)]
    names = [GRAPH_PREFIX + name for name in trunk.state_names(index)]
    states = [graph.node("Unsqueeze", graph.input(name, ["batch", size]), axis) for name in names]
    outputs, *finals = graph.nodes(
        cell.operator,
        sequence,
        *weights,
        graph.constant(to_numpy(torch.cat([b_ih, b_hh]))[None]),
        "",
        *states,
        n_outputs=1 + len(names),
        hidden_size=size,
        **cell.attributes,
    )
    for name, final in zip(names, finals, strict=True):
        graph.output(f"{name}_next", graph.node("Squeeze", final, axis), ["batch", size])
    return graph.node("Squeeze", outputs, graph.integers(1))  # [n_steps, 1, batch, size]


def _shape(graph: GraphBuilder, layer: RecurrentLayer, sequence: str, form: GraphForm) -> str:
    if layer.layer_norm:
        sequence = add_norm(graph, sequence, layer.rnn.hidden_size)
    if layer.projection is None:
        return sequence
    weight = graph.node("Transpose", float_weight(graph, layer.projection.weight.detach(), form.bits), perm=[1, 0])
    projected = graph.node("MatMul", sequence, weight)
    return add_clip(graph, graph.node("Add", projected, graph.constant(to_numpy(layer.projection.bias))), PROJECTION_LIMIT)
