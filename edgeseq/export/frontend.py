"""The frontend of a model as constants and nodes of its graph."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgeseq.export.builder import GraphBuilder, to_numpy
from edgeseq.training.frontend import Frontend


def add_frontend(graph: GraphBuilder, frontend: Frontend, audio: str) -> str:
    """Add frame shaping, DFT, mel matrix, logarithm, normalization; returns frames `[batch, n_frames, n_mels]`.

    Shaping and the DFT, both linear, are one strided convolution that gives real and imaginary parts. Bins that no mel filter
    uses are left out.
    """
    n_before = frontend.n_remembered
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


def build_frontend_graph(frontend: Frontend, chunk_samples: int) -> onnx.ModelProto:
    """Build the graph of the frontend alone, for comparing: its output is `frames` `[batch, n_frames, n_mels]`.

    `chunk_samples` is a whole number of hops.
    """
    graph = GraphBuilder()
    frames = add_frontend(graph, frontend, graph.input("audio", ["batch", chunk_samples]))
    graph.output("frames", frames, ["batch", chunk_samples // frontend.hop_samples, len(frontend.mean)])
    return graph.finish("frontend", {})


def dft_kernels(frontend: Frontend) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Make convolution kernels `[2 * n_bins, 1, win_samples]` and the mel matrix for their squares `[2 * n_bins, n_mels]`."""
    mel_matrix = to_numpy(frontend.mel_matrix)
    bins = np.flatnonzero(mel_matrix.any(axis=1))
    angles = 2 * np.pi * np.outer(bins, np.arange(frontend.win_samples)) / frontend.n_fft
    units = torch.eye(frontend.win_samples, dtype=torch.float64, device=frontend.mean.device)
    shaping = to_numpy(frontend.shape_frames(units)).T  # [win_samples, win_samples], a column a sample
    kernels = np.concatenate([np.cos(angles) @ shaping, np.sin(angles) @ shaping])[:, None, :]
    return kernels.astype(np.float32), np.concatenate([mel_matrix[bins]] * 2).astype(np.float32)
