"""onnxruntime, set up as a small device should run it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseq.whole_file import written_whole

if TYPE_CHECKING:
    import onnxruntime

CACHE = "EDGESEQ_CACHE"
"""Environment variable: a folder in which graphs are kept as onnxruntime has optimized them, to be opened quicker."""


def open_session(content: bytes) -> onnxruntime.InferenceSession:
    """Open the graph in the bytes of an .onnx file, which the caller has checked.

    Raises onnxruntime's own exceptions for what it cannot run.
    """
    folder = os.environ.get(CACHE, "")
    return _open_cached(content, Path(folder)) if folder else _open(content, session_options())


def session_options() -> onnxruntime.SessionOptions:
    """Run as a device should: one thread that never spins, nodes in the order in which they were written.

    Waiting in a loop would burn a whole core for a network this small. The order of the file keeps a layer's steps together,
    and its weights in the cache; onnxruntime's own takes about 6 % longer (4 layers of 512). A plan of memory for every batch
    size would save no time, and take 7 MB for batches of 1 to 64.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    options.enable_mem_pattern = False
    options.log_severity_level = 4  # fatal only: what goes wrong is raised as well
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")  # not .ort: it was not checked
    return options


def _open(content: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    import onnxruntime

    return onnxruntime.InferenceSession(content, sess_options=options, providers=["CPUExecutionProvider"])


def _open_cached(content: bytes, folder: Path) -> onnxruntime.InferenceSession:
    """Open what was optimized before; otherwise optimize, and keep it if the folder can be written to."""
    import onnxruntime

    kept = folder / f"{_key(content)}.onnx"
    options = session_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    with contextlib.suppress(Exception):  # not there, or cut short by a power failure: made again
        return _open(kept.read_bytes(), options)
    options = session_options()
    try:
        with written_whole(kept) as half:
            options.optimized_model_filepath = str(half)
            return _open(content, options)
    except Exception:  # a cache must not cause a failure: if the graph is at fault, this says so
        return _open(content, session_options())


def _key(content: bytes) -> str:
    """Name a graph, the onnxruntime that optimized it, and the processor that it did so for."""
    import onnxruntime

    digest = hashlib.sha256(content)
    digest.update("\n".join((onnxruntime.__version__, platform.machine(), _processor())).encode())
    return digest.hexdigest()


def _processor() -> str:
    """Give what Linux says of the first processor, less what changes."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(line for line in lines if line.startswith(("model", "flags", "Features", "CPU")))
