"""A tiny .onnx of the task `frames` by hand: it says in which rows which of two tones sounds.

Its rows come one network chunk late, so that a missing flush shows, and it counts its chunks in an int64 state: before the
first row of sound it says that nothing is there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeseq.model.metadata import ModelMetadata
from edgeseq.model.signature import Port, Signature, StatePort

SAMPLE_RATE = 8000
CHUNK, ROW = 640, 160
N_ROWS = CHUNK // ROW
ROW_SECONDS = ROW / SAMPLE_RATE
LABELS = ("low", "high")
FREQUENCIES = np.array([500.0, 1500.0])
"""Hz; whole periods in a row"""


def tone(label: str, seconds: float, level: float = 0.5) -> np.ndarray:
    """A tone that the model knows, float32 `[n_samples]`."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (level * np.sin(2 * np.pi * FREQUENCIES[LABELS.index(label)] * time)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def join(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.float32), *parts])


def labels_of(activation: str) -> tuple[str, ...]:
    return LABELS if activation == "sigmoid" else ("none", *LABELS)


def details(activation: str = "sigmoid", **changes: Any) -> dict[str, Any]:
    own = {
        "labels": list(labels_of(activation)),
        "activation": activation,
        "row_seconds": ROW_SECONDS,
        "threshold": dict.fromkeys(LABELS, 0.6),
        "release": 0.3,
        "delay_seconds": CHUNK / SAMPLE_RATE,
    }
    return own | changes


def signature(n_labels: int = len(LABELS), **changes: Any) -> Signature:
    own = {
        "inputs": (Port("audio", "float32", CHUNK, (), float(SAMPLE_RATE)),),
        "outputs": (Port("scores", "float32", N_ROWS, (n_labels,), SAMPLE_RATE / ROW),),
        "states": (StatePort("state_late", "float32", (N_ROWS, n_labels)), StatePort("state_count", "int64", (1,))),
    }
    return Signature(**(own | changes))


def metadata(activation: str = "sigmoid", **changes: Any) -> ModelMetadata:
    own = {
        "name": "tone-frames",
        "task": "frames",
        "signature": signature(len(labels_of(activation))),
        "details": details(activation),
        "flush_seconds": CHUNK / SAMPLE_RATE,
        "quantization": "float32",
        "license": "Apache-2.0",
        "data": "none",
        "scores": {},
        "config": {},
    }
    return ModelMetadata(**(own | changes))


def build(activation: str = "sigmoid", **changes: Any) -> onnx.ModelProto:
    """Make the model; `changes` are fields of its metadata."""
    n = len(labels_of(activation))
    time = np.arange(ROW) / SAMPLE_RATE
    angles = 2 * np.pi * time[:, None] * FREQUENCIES[None, :]
    fold = np.zeros((4, n))
    fold[:2, n - 2 :] = fold[2:, n - 2 :] = np.eye(2)  # a column of silence, if there is one, comes first
    constants = {
        "basis": np.concatenate([np.cos(angles), np.sin(angles)], axis=1) * 2 / ROW,  # a tone of level 0.5 gives 0.25
        "fold": fold * 40,
        "bias": np.array([5.0] * (n - 2) + [-5.0 if n == 2 else 0.0] * 2),
        "before": np.array([30.0] * (n - 2) + [-30.0] * 2),
    }
    nodes = [
        helper.make_node("Reshape", ["audio", "rows_shape"], ["rows"]),
        helper.make_node("MatMul", ["rows", "basis"], ["parts"]),
        helper.make_node("Mul", ["parts", "parts"], ["squares"]),
        helper.make_node("MatMul", ["squares", "fold"], ["energies"]),
        helper.make_node("Add", ["energies", "bias"], ["state_late_next"]),
        helper.make_node("Less", ["state_count", "one"], ["is_first"]),
        helper.make_node("Cast", ["is_first"], ["share"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["share", "one"], ["shares"]),
        helper.make_node("Mul", ["shares", "before"], ["silence"]),
        helper.make_node("Add", ["state_late", "silence"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["scores"])
        if activation == "sigmoid"
        else helper.make_node("Softmax", ["logits"], ["scores"], axis=-1),
        helper.make_node("Add", ["state_count", "one"], ["state_count_next"]),
    ]
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    whole = {"rows_shape": [-1, N_ROWS, ROW], "one": [1]}
    tensors += [numpy_helper.from_array(np.array(value, dtype=np.int64), name) for name, value in whole.items()]
    late, count = [N_ROWS, n], [1]
    graph = helper.make_graph(
        nodes,
        "tone-frames",
        [_info("audio", [CHUNK]), _info("state_late", late), _info("state_count", count, TensorProto.INT64)],
        [_info("scores", late), _info("state_late_next", late), _info("state_count_next", count, TensorProto.INT64)],
        initializer=tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, metadata(activation, **changes).to_strings())
    return model


def save(path: Path, activation: str = "sigmoid", **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(build(activation, **changes).SerializeToString())
    return path


def _info(name: str, shape: list[int], dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, ["batch", *shape])
