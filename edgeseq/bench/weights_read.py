"""How many bytes of weights a graph reads for a chunk of sound, and how long that must take at least.

Counted in the graph that onnxruntime makes of the file: a constant is read once by each node that takes it. The operators of
recurrent layers read their recurrent weights once a step.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeseq.errors import ModelError
from edgeseq.model.onnx_file import OnnxGraph, read_graph

RECURRENT_OPERATORS = {"GRU", "LSTM", "RNN", "DynamicQuantizeLSTM"}
RECURRENT_WEIGHTS = 2
"""Which of their inputs is read every step."""


@dataclass(frozen=True)
class WeightReads:
    """What a chunk reads."""

    bytes_a_chunk: int
    """every reading counted"""
    distinct_bytes: int
    """every constant counted once"""
    largest_bytes: int
    """the largest constant"""

    def least_seconds(self, bandwidth: Callable[[int], float]) -> float:
        """Give the time that reading alone takes; `bandwidth` gives 10^9 bytes a second for a buffer of that many bytes.

        The first reading of a constant comes from where all of them lie, another one, a step later, from where it alone fits.
        """
        first = self.distinct_bytes / bandwidth(self.distinct_bytes)
        again = (self.bytes_a_chunk - self.distinct_bytes) / bandwidth(self.largest_bytes)
        return (first + again) / 1e9


def count_reads(graph: OnnxGraph, n_steps: int) -> WeightReads:
    """Count what `graph` reads for a chunk of `n_steps` steps."""
    read: dict[str, int] = {}
    for node in graph.nodes:
        for position, name in enumerate(node.inputs):
            if name in graph.constants:
                is_recurrent = node.operator in RECURRENT_OPERATORS and position == RECURRENT_WEIGHTS
                read[name] = read.get(name, 0) + (n_steps if is_recurrent else 1)
    sizes = {name: graph.constants[name] for name in read}
    return WeightReads(
        bytes_a_chunk=sum(times * sizes[name] for name, times in read.items()),
        distinct_bytes=sum(sizes.values()),
        largest_bytes=max(sizes.values(), default=0),
    )


def optimized_graph(path: Path) -> OnnxGraph:
    """Read the graph that onnxruntime runs for the file `path`. Raises ModelError when it cannot."""
    import onnxruntime

    from edgeseq.model.session import session_options

    options = session_options()
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder:
        written = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(written)
        try:
            onnxruntime.InferenceSession(path.read_bytes(), sess_options=options, providers=["CPUExecutionProvider"])
        except Exception as fault:  # onnxruntime's own exceptions share no better base
            raise ModelError(f"{path}: onnxruntime cannot write out the graph that it runs: {fault}") from fault
        return read_graph(written.read_bytes())
