"""A language of tones and a network that understands it: a tiny .onnx in the model format whose words are known.

Every letter is a tone of its own, words open with the tone of `▁`. The network measures the energy of each tone in
windows that overlap, smooths it over steps and answers one network chunk late, so a wrong state, a lost sample and
a missing flush all change the words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeseq.model.metadata import CtcMetadata

SAMPLE_RATE = 8000
CHUNK, STEP, TAIL = 640, 320, 160
LETTERS = "▁abcdefghijklmnopqrstuvwxyz"
TOKENS = ("<blk>", *LETTERS)
FREQUENCIES = 300 + 125 * np.arange(len(LETTERS))
"""Hz; a window of 480 samples tells 17 Hz apart"""

TONE_SECONDS, GAP_SECONDS = 0.08, 0.16


def say(text: str, sample_rate: int = SAMPLE_RATE, level: float = 0.5) -> np.ndarray:
    """Speak words as tones: float32 `[n_samples]`, cut closely after the last tone."""
    tones = []
    for letter in "".join("▁" + word for word in text.split()):
        n_tone, n_gap = round(TONE_SECONDS * sample_rate), round(GAP_SECONDS * sample_rate)
        time = np.arange(n_tone) / sample_rate
        tones += [np.zeros(n_gap), level * np.sin(2 * np.pi * FREQUENCIES[LETTERS.index(letter)] * time)]
    return np.concatenate([*tones, np.zeros(0)]).astype(np.float32)


def silence(seconds: float, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    return np.zeros(round(seconds * sample_rate), dtype=np.float32)


def metadata(**changes: Any) -> CtcMetadata:
    fields = {
        "name": "tones",
        "task": "ctc",
        "sample_rate": SAMPLE_RATE,
        "chunk_samples": CHUNK,
        "hop_samples": 80,
        "subsampling": 4,
        "tokens": TOKENS,
        "blank_id": 0,
        "language": "x-tones",
        "text_normalization": "lower",
        "flush_seconds": 0.2,
        "quantization": "float32",
        "license": "Apache-2.0",
        "data": "none",
        "scores": {},
        "config": {},
    }
    return CtcMetadata(**{**fields, **changes})


def build(**changes: Any) -> onnx.ModelProto:
    """Make the model; `changes` are fields of its metadata that lie."""
    n = len(LETTERS)
    window = np.arange(TAIL + STEP) / SAMPLE_RATE
    angles = 2 * np.pi * window[:, None] * FREQUENCIES[None, :]
    taper = np.hanning(len(window))[:, None] * 4 / len(window)
    constants = {
        "basis": np.concatenate([np.cos(angles), np.sin(angles)], axis=1) * taper,
        "spread": np.concatenate([np.zeros((n, 1)), 60 * np.eye(n)], axis=1),
        "bias": np.array([4.0] + [0.0] * n),
        "half": np.array(0.5),
    }
    nodes = [helper.make_node("Concat", ["state_tail", "audio"], ["heard"], axis=1)]
    previous = "state_energy"
    for step in range(CHUNK // STEP):
        nodes += _slice("heard", f"window{step}", step * STEP, step * STEP + TAIL + STEP)
        nodes += [
            helper.make_node("MatMul", [f"window{step}", "basis"], [f"parts{step}"]),
            helper.make_node("Mul", [f"parts{step}", f"parts{step}"], [f"squares{step}"]),
            *_slice(f"squares{step}", f"cos{step}", 0, n),
            *_slice(f"squares{step}", f"sin{step}", n, 2 * n),
            helper.make_node("Sum", [f"cos{step}", f"sin{step}", previous], [f"sum{step}"]),
            helper.make_node("Mul", [f"sum{step}", "half"], [f"energy{step}"]),
        ]
        previous = f"energy{step}"
    nodes += [
        *_slice("heard", "state_tail_next", CHUNK, CHUNK + TAIL),
        helper.make_node("Identity", [previous], ["state_energy_next"]),
        helper.make_node("Unsqueeze", ["energy0", "axis1"], ["row0"]),
        helper.make_node("Unsqueeze", ["energy1", "axis1"], ["row1"]),
        helper.make_node("Concat", ["row0", "row1"], ["state_late_next"], axis=1),
        helper.make_node("MatMul", ["state_late", "spread"], ["scores"]),
        helper.make_node("Add", ["scores", "bias"], ["logits"]),
        helper.make_node("LogSoftmax", ["logits"], ["log_probs"], axis=-1),
    ]
    tensors = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()]
    numbers = {int(i) for node in nodes for i in node.input if i.isdigit()} | {1}
    tensors += [numpy_helper.from_array(np.array([i], dtype=np.int64), str(i)) for i in sorted(numbers)]
    tensors += [numpy_helper.from_array(np.array([1], dtype=np.int64), "axis1")]
    states = {"tail": [TAIL], "energy": [n], "late": [2, n]}
    graph = helper.make_graph(
        nodes,
        "tones",
        [_info("audio", [CHUNK]), *(_info(f"state_{k}", v) for k, v in states.items())],
        [_info("log_probs", [2, n + 1]), *(_info(f"state_{k}_next", v) for k, v in states.items())],
        initializer=tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, metadata(**changes).to_strings())
    return model


def save(path: Path, **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(build(**changes).SerializeToString())
    return path


def _slice(source: str, target: str, start: int, end: int) -> list[onnx.NodeProto]:
    return [helper.make_node("Slice", [source, str(start), str(end), "axis1"], [target])]


def _info(name: str, shape: list[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
