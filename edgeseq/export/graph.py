"""The streaming graph, built node by node from a trained model's weights.

Waveform and states in, log-probs and next states out; the frontend is inside. Two forms of the recurrent part: onnxruntime's
own operators in float32, and steps written out over 8-bit products (onnxruntime has no quantized GRU). docs/model-format.md
says what the file promises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgeseq.export.quantize import HIDDEN_LIMIT, LARGEST, ZERO_POINT, quantize_matrix
from edgeseq.metadata import ModelMetadata
from edgeseq.training.acoustic_model import AcousticModel, Encoder
from edgeseq.training.frontend import LogMel

OPSET = 17
IR_VERSION = 9
MICROSOFT = "com.microsoft"
"""onnxruntime's own operators; of these `MatMulIntegerToFloat` is used: product of bytes, scales and bias in one node."""


class GraphBuilder:
    """Collects nodes, constants, inputs and outputs; every method returns the name of what it made."""

    def __init__(self) -> None:
        """Begin an empty graph."""
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Sequence[int | str]) -> str:
        """Declare a float32 input."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def output(self, name: str, value: str, shape: Sequence[int | str]) -> None:
        """Declare the float32 output `name`, holding `value`."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def constant(self, value: NDArray[Any]) -> str:
        """Store a constant, each distinct one once."""
        content = (value.dtype.str, value.shape, value.tobytes())
        if content not in self._constants:
            self._constants[content] = numpy_helper.from_array(value, f"constant{len(self._constants)}")
        return self._constants[content].name

    def floats(self, *values: float) -> str:
        """Store a scalar (one value) or a vector of float32."""
        return self.constant(np.array(values[0] if len(values) == 1 else values, dtype=np.float32))

    def integers(self, *values: int) -> str:
        """Store a vector of int64."""
        return self.constant(np.array(values, dtype=np.int64))

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output."""
        return self.nodes(operator, *inputs, n_outputs=1, domain=domain, **attributes)[0]

    def nodes(self, operator: str, *inputs: str, n_outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """Add a node with several outputs."""
        outputs = [f"{operator.lower()}{len(self._nodes)}_{i}" for i in range(n_outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), outputs, domain=domain, **attributes))
        return outputs

    def finish(self, name: str, properties: Mapping[str, str]) -> onnx.ModelProto:
        """Close the graph, check it, and attach the metadata `properties`."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, list(self._constants.values()))
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="edgeseq")
        helper.set_model_props(model, dict(properties))
        onnx.checker.check_model(model)
        return model


def build_graph(model: AcousticModel, metadata: ModelMetadata) -> onnx.ModelProto:
    """Build the streaming graph of `model` as `metadata` says: chunk length and quantization (`float32` or `int8`)."""
    graph = GraphBuilder()
    chunk = metadata.chunk_samples
    n_rows = chunk // metadata.step_samples
    n_steps = n_rows // model.encoder.rows_per_step
    audio = graph.input("audio", ["batch", chunk])
    frames = add_frontend(graph, model.frontend, audio)
    stacked = graph.node("Reshape", frames, graph.integers(0, n_steps, -1))
    add_encoder(graph, model.encoder, stacked, n_steps, metadata.quantization, model.frontend.limit)
    return graph.finish(metadata.name, metadata.to_strings())


def build_encoder_graph(encoder: Encoder, n_steps: int, quantization: str, limit: float = 5.0) -> onnx.ModelProto:
    """Build the streaming graph of the recurrent layers and the output layer alone, for measuring.

    Input `features` float32 `[batch, n_steps, n_in]`, clamped to plus or minus `limit`; states and `log_probs` as in a model.
    """
    graph = GraphBuilder()
    features = graph.input("features", ["batch", n_steps, encoder.layers.input_size])
    add_encoder(graph, encoder, features, n_steps, quantization, limit)
    return graph.finish("encoder", {})


def add_encoder(graph: GraphBuilder, encoder: Encoder, stacked: str, n_steps: int, quantization: str, limit: float) -> None:
    """Add recurrent layers and output layer: `[batch, n_steps, n_in]` to the output `log_probs`."""
    n_rows = n_steps * encoder.rows_per_step
    add_layers = add_float_layers if quantization == "float32" else add_int8_layers
    outputs = add_layers(graph, encoder, stacked, n_steps, limit)
    logits = graph.node("MatMul", outputs, graph.constant(to_numpy(encoder.output.weight.T)))
    logits = graph.node("Add", logits, graph.constant(to_numpy(encoder.output.bias)))
    rows = graph.node("Reshape", logits, graph.integers(0, n_rows, encoder.n_tokens))
    graph.output("log_probs", graph.node("LogSoftmax", rows, axis=-1), ["batch", n_rows, encoder.n_tokens])


def to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    """Detach and convert."""
    return tensor.detach().cpu().numpy()


def add_frontend(graph: GraphBuilder, frontend: LogMel, audio: str) -> str:
    """Add windowed DFT, mel matrix, logarithm, normalization; returns frames `[batch, n_frames, n_mels]`.

    Real and imaginary parts are one strided convolution. Bins that no mel filter uses are left out.
    """
    n_before = frontend.win_samples - frontend.hop_samples
    before = graph.input("state_samples", ["batch", n_before])
    heard = graph.node("Concat", before, audio, axis=1)
    tail = graph.node("Slice", heard, graph.integers(-n_before), graph.integers(2**62), graph.integers(1))
    graph.output("state_samples_next", tail, ["batch", n_before])
    kernels, mel_matrix = dft_kernels(frontend)
    parts = graph.node(
        "Conv",
        graph.node("Unsqueeze", heard, graph.integers(1)),
        graph.constant(kernels),
        strides=[frontend.hop_samples],
    )  # [batch, 2 * n_bins, n_frames]
    power = graph.node("Transpose", graph.node("Mul", parts, parts), perm=[0, 2, 1])
    mels = graph.node("MatMul", power, graph.constant(mel_matrix))
    log_mel = graph.node("Log", graph.node("Max", mels, graph.floats(frontend.floor)))
    centred = graph.node("Sub", log_mel, graph.constant(to_numpy(frontend.mean)))
    scaled = graph.node("Div", centred, graph.constant(to_numpy(frontend.std)))
    return graph.node("Clip", scaled, graph.floats(-frontend.limit), graph.floats(frontend.limit))


def dft_kernels(frontend: LogMel) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Make convolution kernels `[2 * n_bins, 1, win_samples]` and the mel matrix for their squares `[2 * n_bins, n_mels]`."""
    mel_matrix = to_numpy(frontend.mel_matrix)
    bins = np.flatnonzero(mel_matrix.any(axis=1))
    n = frontend.win_samples
    angles = 2 * np.pi * np.outer(bins, np.arange(n)) / n
    window = to_numpy(frontend.window).astype(np.float64)
    kernels = np.concatenate([np.cos(angles) * window, np.sin(angles) * window])[:, None, :]
    return kernels.astype(np.float32), np.concatenate([mel_matrix[bins]] * 2).astype(np.float32)


def state_names(encoder: Encoder, layer: int) -> list[str]:
    """Names of a layer's state inputs: hidden, and for LSTM cell."""
    kinds = ["hidden", "cell"] if isinstance(encoder.layers, nn.LSTM) else ["hidden"]
    return [f"state_{kind}_{layer}" for kind in kinds]


def _layer_weights(encoder: Encoder, layer: int) -> list[torch.Tensor]:
    """Input weights, recurrent weights, input bias, recurrent bias, gates in torch's order along axis 0."""
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [getattr(encoder.layers, f"{kind}_l{layer}").detach() for kind in kinds]


def _reorder_gates(tensor: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    gates = tensor.chunk(len(order), dim=0)
    return torch.cat([gates[i] for i in order])


# onnxruntime's own operators, float32

ONNX_GATES = {"GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2), "RNN_TANH": (0,)}
"""Where ONNX's gates (zrh, iofc) stand in torch's order (rzn, ifgo)."""


def add_float_layers(graph: GraphBuilder, encoder: Encoder, inputs: str, n_steps: int, _limit: float) -> str:
    """Add one GRU, LSTM or RNN operator a layer; `[batch, n_steps, n_in]` to `[batch, n_steps, hidden_size]`."""
    sequence = graph.node("Transpose", inputs, perm=[1, 0, 2])
    for layer in range(encoder.layers.num_layers):
        sequence = _add_float_layer(graph, encoder, layer, sequence)
    return graph.node("Transpose", sequence, perm=[1, 0, 2])


def _add_float_layer(graph: GraphBuilder, encoder: Encoder, layer: int, sequence: str) -> str:
    size, mode = encoder.layers.hidden_size, encoder.layers.mode
    order = ONNX_GATES[mode]
    w_ih, w_hh, b_ih, b_hh = (_reorder_gates(w, order) for w in _layer_weights(encoder, layer))
    weights = [graph.constant(to_numpy(w)[None]) for w in (w_ih, w_hh, torch.cat([b_ih, b_hh]))]
    names = state_names(encoder, layer)
    axis = graph.integers(0)
    states = [graph.node("Unsqueeze", graph.input(name, ["batch", size]), axis) for name in names]
    # torch applies the reset gate after the product
    attributes: dict[str, Any] = {"linear_before_reset": 1} if mode == "GRU" else {}
    outputs, *finals = graph.nodes(
        mode.split("_")[0],
        sequence,
        *weights,
        "",
        *states,
        n_outputs=1 + len(names),
        hidden_size=size,
        **attributes,
    )
    for name, final in zip(names, finals, strict=True):
        graph.output(f"{name}_next", graph.node("Squeeze", final, axis), ["batch", size])
    return graph.node("Squeeze", outputs, graph.integers(1))  # [n_steps, 1, batch, size], one direction


# Steps written out over 8-bit products


def add_int8_layers(graph: GraphBuilder, encoder: Encoder, inputs: str, n_steps: int, limit: float) -> str:
    """Add unrolled layers; what they compute stands in `edgeseq.export.quantize`."""
    rows = _quantize_rows(graph, inputs, limit)
    for layer in range(encoder.layers.num_layers):
        outputs, rows = _add_int8_layer(graph, encoder, layer, rows, n_steps, limit)
        limit = HIDDEN_LIMIT
    axis = graph.integers(1)
    return graph.node("Concat", *(graph.node("Unsqueeze", output, axis) for output in outputs), axis=1)


def _quantize_rows(graph: GraphBuilder, rows: str, limit: float) -> str:
    zero = graph.constant(np.array(ZERO_POINT, dtype=np.uint8))
    return graph.node("QuantizeLinear", rows, graph.floats(limit / LARGEST), zero)


def _multiply(graph: GraphBuilder, rows: str, limit: float, weight: torch.Tensor, bias: torch.Tensor) -> str:
    """Product of quantized rows and a quantized matrix, scaled, and a bias."""
    matrix = quantize_matrix(weight)
    zero = graph.constant(np.array(ZERO_POINT, dtype=np.uint8))
    values, scales = graph.constant(to_numpy(matrix.values)), graph.constant(to_numpy(matrix.scales))
    scale = graph.floats(limit / LARGEST)
    biases = graph.constant(to_numpy(bias))
    return graph.node("MatMulIntegerToFloat", rows, values, scale, scales, zero, zero, biases, domain=MICROSOFT)


def _add_int8_layer(
    graph: GraphBuilder, encoder: Encoder, layer: int, rows: str, n_steps: int, limit: float
) -> tuple[list[str], str]:
    """Add one layer; returns its outputs, one `[batch, hidden_size]` a step, and the same quantized `[batch, n_steps, ...]`."""
    size = encoder.layers.hidden_size
    order, add_cell = INT8_CELLS[encoder.layers.mode]
    w_ih, w_hh, b_ih, b_hh = (_reorder_gates(w, order) for w in _layer_weights(encoder, layer))
    from_input = _multiply(graph, rows, limit, w_ih, b_ih)  # all steps of the chunk in one product
    names = state_names(encoder, layer)
    state = [graph.input(name, ["batch", size]) for name in names]
    quantized = _quantize_rows(graph, state[0], HIDDEN_LIMIT)
    outputs, quantized_outputs = [], []
    for step in range(n_steps):
        at_step = graph.node("Gather", from_input, graph.constant(np.array(step, dtype=np.int64)), axis=1)
        state = add_cell(graph, size, at_step, _multiply(graph, quantized, HIDDEN_LIMIT, w_hh, b_hh), state)
        quantized = _quantize_rows(graph, state[0], HIDDEN_LIMIT)  # serves this layer's next step and the next layer
        outputs.append(state[0])
        quantized_outputs.append(graph.node("Unsqueeze", quantized, graph.integers(1)))
    for name, final in zip(names, state, strict=True):
        graph.output(f"{name}_next", final, ["batch", size])
    return outputs, graph.node("Concat", *quantized_outputs, axis=1)


def _split(graph: GraphBuilder, value: str, *sizes: int) -> list[str]:
    return graph.nodes("Split", value, graph.integers(*sizes), n_outputs=len(sizes), axis=-1)


def _add_gru_cell(graph: GraphBuilder, size: int, from_input: str, from_hidden: str, state: list[str]) -> list[str]:
    input_rz, input_n = _split(graph, from_input, 2 * size, size)
    hidden_rz, hidden_n = _split(graph, from_hidden, 2 * size, size)
    gates = graph.node("Sigmoid", graph.node("Add", input_rz, hidden_rz))
    reset, update = _split(graph, gates, size, size)
    new = graph.node("Tanh", graph.node("Add", input_n, graph.node("Mul", reset, hidden_n)))
    return [graph.node("Add", new, graph.node("Mul", update, graph.node("Sub", state[0], new)))]


def _add_lstm_cell(graph: GraphBuilder, size: int, from_input: str, from_hidden: str, state: list[str]) -> list[str]:
    sigmoids, new = _split(graph, graph.node("Add", from_input, from_hidden), 3 * size, size)
    into, forget, out = _split(graph, graph.node("Sigmoid", sigmoids), size, size, size)
    kept = graph.node("Mul", forget, state[1])
    cell = graph.node("Add", kept, graph.node("Mul", into, graph.node("Tanh", new)))
    return [graph.node("Mul", out, graph.node("Tanh", cell)), cell]


def _add_rnn_cell(graph: GraphBuilder, _size: int, from_input: str, from_hidden: str, _state: list[str]) -> list[str]:
    return [graph.node("Tanh", graph.node("Add", from_input, from_hidden))]


INT8_CELLS: dict[str, tuple[Sequence[int], Callable[[GraphBuilder, int, str, str, list[str]], list[str]]]] = {
    "GRU": ((0, 1, 2), _add_gru_cell),
    "LSTM": ((0, 1, 3, 2), _add_lstm_cell),  # the gates that take a sigmoid stand together
    "RNN_TANH": ((0,), _add_rnn_cell),
}
"""Order of the gates in the graph, by torch's, and what adds one step of the cell."""
