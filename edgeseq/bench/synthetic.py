"""Networks to measure, and their files: weights for torch, graphs for the others.

A network is drawn at random, its size is all that counts for speed, or taken from trained weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from edgeseq.bench.runtimes import Floats
from edgeseq.bench.shape import Shape
from edgeseq.export.auto import AUTO, time_forms
from edgeseq.export.builder import MICROSOFT
from edgeseq.export.forms import FLOAT, GraphForm, choose_form
from edgeseq.export.graph import build_layers_graph
from edgeseq.export.products import reorder_gates
from edgeseq.training.cells import CELLS
from edgeseq.training.head import Head
from edgeseq.training.trunk import NORM_EPSILON, NORM_LIMIT, PROJECTION_LIMIT, Trunk
from edgeseq.training.weights import load_trained

SEED = 0
LAYER_GAIN, OUTPUT_GAIN = 2.0, 4.0
"""By which drawn weights are larger than torch begins them: those make an LSTM that hardly depends on what it hears, and then
even exchanged gates could pass for small differences."""
LIMIT = 5.0
"""Features lie within plus or minus this."""
STEP_SECONDS = 0.04
"""Sound that a step of a drawn network stands for."""
DYNAMIC_LSTM = "onnxruntime-dynamic-lstm"


@dataclass(frozen=True)
class BenchNetwork:
    """Recurrent layers and output layer, with what the files of every runtime are made from."""

    shape: Shape
    trunk: Trunk
    head: Head
    n_inputs: int
    limit: float = LIMIT
    step_seconds: float = STEP_SECONDS

    def features(self, n_chunks: int, batch: int, chunk_steps: int) -> Floats:
        """Draw inputs `[n_chunks, batch, chunk_steps, n_in]`, always the same."""
        drawn = np.random.default_rng(SEED).standard_normal((n_chunks, batch, chunk_steps, self.n_inputs))
        return drawn.clip(-self.limit, self.limit).astype(np.float32)


def draw_network(shape: Shape, n_inputs: int, n_tokens: int) -> BenchNetwork:
    """Make a network of a shape with random weights, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        trunk = Trunk(
            n_features=n_inputs,
            cell=shape.cell,
            hidden_size=shape.hidden_size,
            num_layers=shape.num_layers,
            subsampling=1,
            dropout=0.0,
            projection_size=shape.projection_size,
        )
        head = Head(trunk.width, n_tokens)
    with torch.no_grad():
        for part, gain in ((trunk, LAYER_GAIN), (head, OUTPUT_GAIN)):
            for weights in part.parameters():
                weights.mul_(gain)
    return BenchNetwork(shape, trunk.eval(), head.eval(), n_inputs)


def trained_network(path: Path) -> tuple[BenchNetwork, int]:
    """Take the network of a checkpoint, a run or a released model's folder, and the steps of its chunk.

    Raises ModelError when `path` is none of these.
    """
    trained = load_trained(path)
    recipe, frontend = trained.recipe, trained.model.sound
    sizes = recipe.network
    shape = Shape(sizes.cell, sizes.num_layers, sizes.hidden_size, sizes.projection_size)
    step_seconds = recipe.frontend.hop_samples * sizes.subsampling / recipe.frontend.sample_rate
    n_inputs = recipe.frontend.n_mels * sizes.subsampling
    network = BenchNetwork(shape, trained.model.trunk, trained.model.head, n_inputs, frontend.limit, step_seconds)
    return network, max(1, round(recipe.export.chunk_ms / 1000 / step_seconds))


def find_form(network: BenchNetwork, chunk_steps: int, bits: int, target: str) -> GraphForm:
    """Choose the form of edgeseq's graph as `edgeseq export --target` does. Raises UsageError for an unknown target."""
    if target == AUTO:
        return min(time_forms(network.trunk, network.head, chunk_steps, bits).items(), key=lambda timed: timed[1])[0]
    return choose_form(target, bits, sum(weights.numel() for weights in network.trunk.parameters()), chunk_steps)


def write_edgeseq(network: BenchNetwork, chunk_steps: int, form: GraphForm, path: Path) -> Path:
    """Write the graph that `edgeseq export` would build."""
    return _save(build_layers_graph(network.trunk, network.head, chunk_steps, form, limit=network.limit), path)


def write_peer(network: BenchNetwork, runtime: str, chunk_steps: int, folder: Path) -> Path:
    """Write what a runtime of `edgeseq.bench.runtimes.PEERS` loads."""
    if runtime.startswith("torch"):
        return _write_torch(network, folder / "torch.npz")
    path = folder / f"{runtime}-{chunk_steps}.onnx"
    graph = build_layers_graph(network.trunk, network.head, chunk_steps, FLOAT, limit=network.limit)
    return _save(_with_dynamic_lstm(graph, network) if runtime == DYNAMIC_LSTM else graph, path)


def _write_torch(network: BenchNetwork, path: Path) -> Path:
    """Write the weights by layer, and the sizes as JSON."""
    trunk, head = network.trunk, network.head
    arrays: dict[str, Any] = {f"output.{name}": weights.numpy() for name, weights in head.linear.state_dict().items()}
    for index, layer in enumerate(trunk.recurrent_layers):
        arrays |= {f"{index}.{name.removesuffix('_l0')}": weights.numpy() for name, weights in layer.rnn.state_dict().items()}
        if layer.projection is not None:
            named = layer.projection.state_dict().items()
            arrays |= {f"{index}.projection.{name}": weights.numpy() for name, weights in named}
    sizes = {
        "cell": network.shape.cell,
        "layers": len(trunk.recurrent_layers),
        "hidden_size": trunk.hidden_size,
        "n_tokens": head.n_outputs,
        "layer_norm": any(layer.layer_norm for layer in trunk.recurrent_layers),
        "projection_size": network.shape.projection_size,
        "norm_epsilon": NORM_EPSILON,
        "norm_limit": NORM_LIMIT,
        "projection_limit": PROJECTION_LIMIT,
    }
    np.savez(path, sizes=np.array(json.dumps(sizes)), **arrays)
    return path


def _save(graph: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(graph.SerializeToString())
    return path


def _with_dynamic_lstm(graph: onnx.ModelProto, network: BenchNetwork) -> onnx.ModelProto:
    """Replace each LSTM by onnxruntime's `DynamicQuantizeLSTM`: weights in signed 8 bit, a scale a column.

    Activations get one scale for the whole tensor, by the operator's own measure.
    """
    operators = [node for node in graph.graph.node if node.op_type == "LSTM"]
    for index, (node, layer) in enumerate(zip(operators, network.trunk.recurrent_layers, strict=True)):
        named: list[str] = []
        for kind in ("ih", "hh"):
            weight = reorder_gates(getattr(layer.rnn, f"weight_{kind}_l0").detach(), CELLS["lstm"].operator_gates).numpy()
            for part, value in zip(("values", "scale", "zero"), _quantize_columns(weight.T), strict=True):
                named.append(f"lstm{index}_{kind}_{part}")
                graph.graph.initializer.append(numpy_helper.from_array(value[None], named[-1]))
        w, w_scale, w_zero, r, r_scale, r_zero = named
        inputs = [node.input[0], w, r, *node.input[3:7], "", w_scale, w_zero, r_scale, r_zero]
        del node.input[:]
        node.input.extend(inputs)
        node.op_type, node.domain = "DynamicQuantizeLSTM", MICROSOFT
    return _without_unused(graph)


def _quantize_columns(matrix: Floats) -> tuple[Any, Any, Any]:
    """Round a matrix `[n_in, n_out]` to signed bytes; returns values, scales and zero points by column."""
    scales = (np.maximum(np.abs(matrix).max(axis=0), 1e-8) / 127).astype(np.float32)
    return np.rint(matrix / scales).astype(np.int8), scales, np.zeros(scales.shape, dtype=np.int8)


def _without_unused(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Drop nodes and constants that nothing takes any more, such as the float weights."""
    while True:
        used = {name for node in graph.graph.node for name in node.input} | {value.name for value in graph.graph.output}
        kept = [node for node in graph.graph.node if used & set(node.output)]
        constants = [constant for constant in graph.graph.initializer if constant.name in used]
        if len(kept) == len(graph.graph.node) and len(constants) == len(graph.graph.initializer):
            return graph
        del graph.graph.node[:]
        graph.graph.node.extend(kept)
        del graph.graph.initializer[:]
        graph.graph.initializer.extend(constants)
