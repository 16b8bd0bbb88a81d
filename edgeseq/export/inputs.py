"""What makes frames of a network's input, as constants and nodes of its graph."""

from __future__ import annotations

from functools import singledispatch

from edgeseq.export.builder import GraphBuilder, to_numpy
from edgeseq.export.frontend import add_frontend
from edgeseq.export.products import float_weight
from edgeseq.model.signature import Port
from edgeseq.training.frontend import Frontend
from edgeseq.training.input_layer import Embedding, InputLayer, Scaling


def add_input(graph: GraphBuilder, layer: InputLayer, port: Port, bits: int) -> str:
    """Add the input at `port` and what turns it into frames `[batch, n_frames, n_features]`; weights are stored in `bits`."""
    return _add(layer, graph, graph.input(port.name, ["batch", *port.sizes], port.dtype), bits)


@singledispatch
def _add(layer: InputLayer, graph: GraphBuilder, units: str, bits: int) -> str:
    raise NotImplementedError(type(layer).__name__)


@_add.register
def _(layer: Frontend, graph: GraphBuilder, units: str, bits: int) -> str:
    return add_frontend(graph, layer, units)


@_add.register
def _(layer: Embedding, graph: GraphBuilder, units: str, bits: int) -> str:
    table = float_weight(graph, layer.table.detach(), 32 if bits == 32 else 8)
    return graph.node("Gather", table, units, axis=0)


@_add.register
def _(layer: Scaling, graph: GraphBuilder, units: str, bits: int) -> str:
    centred = graph.node("Sub", units, graph.constant(to_numpy(layer.mean)))
    scaled = graph.node("Div", centred, graph.constant(to_numpy(layer.std)))
    return graph.node("Clip", scaled, graph.floats(-layer.limit), graph.floats(layer.limit))
