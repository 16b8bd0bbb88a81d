"""What is done to a layer's outputs before the next layer reads them, as nodes."""

from __future__ import annotations

import numpy as np

from edgeseq.export.builder import GraphBuilder
from edgeseq.training.trunk import NORM_EPSILON, NORM_LIMIT


def add_norm(graph: GraphBuilder, rows: str, size: int) -> str:
    """Normalize each row `[..., size]`, without gain and bias, and clamp it."""
    gain = graph.constant(np.ones(size, dtype=np.float32))
    return add_clip(graph, graph.node("LayerNormalization", rows, gain, axis=-1, epsilon=NORM_EPSILON), NORM_LIMIT)


def add_clip(graph: GraphBuilder, rows: str, limit: float) -> str:
    """Clamp to plus or minus `limit`."""
    return graph.node("Clip", rows, graph.floats(-limit), graph.floats(limit))
