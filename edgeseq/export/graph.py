"""The streaming graph of a trained model, built node by node from its weights.

Waveform and states in, log-probs and next states out; the frontend is inside. docs/model-format.md says what the file promises,
docs/engine.md why the graph looks as it does.
"""

from __future__ import annotations

import onnx

from edgeseq.errors import ExportError
from edgeseq.export.builder import GraphBuilder, to_numpy
from edgeseq.export.forms import FLOAT, Form
from edgeseq.export.frontend import add_frontend
from edgeseq.export.operators import add_operators
from edgeseq.export.products import products
from edgeseq.export.unrolled import CELLS, add_unrolled
from edgeseq.model.metadata import ModelMetadata
from edgeseq.training.acoustic_model import AcousticModel, Encoder


def build_graph(model: AcousticModel, metadata: ModelMetadata, form: Form = FLOAT) -> onnx.ModelProto:
    """Build the streaming graph of `model`, for chunks as long as `metadata` says, its layers computed as `form` says."""
    graph = GraphBuilder()
    chunk = metadata.chunk_samples
    n_steps = chunk // metadata.step_samples // model.encoder.rows_per_step
    audio = graph.input("audio", ["batch", chunk])
    frames = add_frontend(graph, model.frontend, audio)
    add_encoder(graph, model.encoder, frames, n_steps, form, model.frontend.limit)
    return graph.finish(metadata.name, metadata.to_strings())


def build_encoder_graph(encoder: Encoder, n_steps: int, form: Form = FLOAT, limit: float = 5.0) -> onnx.ModelProto:
    """Build the streaming graph of the recurrent layers and the output layer alone, for measuring.

    Input `features` float32 `[batch, n_steps, n_in]`, clamped to plus or minus `limit`; states and `log_probs` as in a model.
    """
    graph = GraphBuilder()
    features = graph.input("features", ["batch", n_steps, encoder.input_size])
    add_encoder(graph, encoder, features, n_steps, form, limit)
    return graph.finish("encoder", {})


def add_encoder(graph: GraphBuilder, encoder: Encoder, frames: str, n_steps: int, form: Form, limit: float) -> None:
    """Add recurrent layers and output layer: `[batch, n_frames, n_mels]`, or stacked, to the output `log_probs`.

    Raises ExportError for a cell that this builder does not know.
    """
    if encoder.cell not in CELLS:
        raise ExportError(f"the builder knows no cell '{encoder.cell}'; it knows {', '.join(CELLS)}.")
    if form.steps == "operator":
        stacked = graph.node("Reshape", frames, graph.integers(0, n_steps, -1))
        outputs = add_operators(graph, encoder, stacked, form)
    else:
        stacked = graph.node("Reshape", frames, graph.integers(0, *((n_steps,) if n_steps > 1 else ()), -1))
        outputs = add_unrolled(graph, encoder, stacked, n_steps, limit, products(form))
    n_rows = n_steps * encoder.rows_per_step
    logits = graph.node("MatMul", outputs, graph.constant(to_numpy(encoder.output.weight.T)))
    logits = graph.node("Add", logits, graph.constant(to_numpy(encoder.output.bias)))
    rows = graph.node("Reshape", logits, graph.integers(0, n_rows, encoder.n_tokens))
    graph.output("log_probs", graph.node("LogSoftmax", rows, axis=-1), ["batch", n_rows, encoder.n_tokens])
