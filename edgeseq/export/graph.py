"""The streaming graph of a trained model, built node by node from its weights.

Sound (or symbols, or values) and states in, rows and next states out; the frontend is inside.
docs/model-format.md says what the file promises, docs/engine.md why the graph looks as it does.
"""

from __future__ import annotations

import onnx

from edgeseq.export.builder import GraphBuilder, to_numpy
from edgeseq.export.forms import FLOAT, GraphForm
from edgeseq.export.inputs import add_input
from edgeseq.export.operators import add_operators
from edgeseq.export.products import products
from edgeseq.export.unrolled import add_unrolled
from edgeseq.model.metadata import ModelMetadata
from edgeseq.training.head import Head
from edgeseq.training.sequence_model import SequenceModel
from edgeseq.training.trunk import Trunk


def build_graph(model: SequenceModel, metadata: ModelMetadata, form: GraphForm = FLOAT) -> onnx.ModelProto:
    """Build the streaming graph of `model`, for chunks as long as `metadata` says, its layers computed as `form` says."""
    graph = GraphBuilder()
    port = metadata.signature.input
    n_steps = port.per_chunk // (model.frontend.units_per_frame * model.trunk.subsampling)
    frames = add_input(graph, model.frontend, port, form.bits)
    outputs = add_trunk(graph, model.trunk, frames, n_steps, form, model.frontend.limit)
    add_head(graph, model.head, outputs, n_steps)
    return graph.finish(metadata.name, metadata.to_strings())


def build_layers_graph(trunk: Trunk, head: Head, n_steps: int, form: GraphForm = FLOAT, limit: float = 5.0) -> onnx.ModelProto:
    """Build the streaming graph of trunk and head alone, for measuring.

    Input `features` float32 `[batch, n_steps, n_in]`, clamped to plus or minus `limit`; states and output as in a model.
    """
    graph = GraphBuilder()
    features = graph.input("features", ["batch", n_steps, trunk.input_size])
    add_head(graph, head, add_trunk(graph, trunk, features, n_steps, form, limit), n_steps)
    return graph.finish("layers", {})


def add_trunk(graph: GraphBuilder, trunk: Trunk, frames: str, n_steps: int, form: GraphForm, limit: float) -> str:
    """Add the recurrent layers: `[batch, n_frames, n_features]`, or stacked, to the last layer's outputs."""
    if form.steps == "operator":
        return add_operators(graph, trunk, graph.node("Reshape", frames, graph.integers(0, n_steps, -1)), form)
    stacked = graph.node("Reshape", frames, graph.integers(0, *((n_steps,) if n_steps > 1 else ()), -1))
    return add_unrolled(graph, trunk, stacked, n_steps, limit, products(form))


def add_head(graph: GraphBuilder, head: Head, outputs: str, n_steps: int) -> None:
    """Add the head, whose rows are the graph's output."""
    n_rows = n_steps * head.rows_per_step
    logits = graph.node("MatMul", outputs, graph.constant(to_numpy(head.linear.weight.T)))
    logits = graph.node("Add", logits, graph.constant(to_numpy(head.linear.bias)))
    rows = graph.node("Reshape", logits, graph.integers(0, n_rows, head.n_outputs))
    values = graph.node(head.activation.operator, rows, **head.activation.attributes)
    graph.output(head.port, values, ["batch", n_rows, head.n_outputs])
