"""Where a graph's time goes: onnxruntime's own profile, added up by operator."""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edgeseq.bench.results import align

CHUNKS = 300
WARM_UP_CHUNKS = 20
OUTSIDE = "(between nodes)"
"""Finding the next node, and writing the profile."""
KERNEL = "_kernel_time"


@dataclass(frozen=True)
class OperatorTime:
    """All nodes of one operator."""

    operator: str
    count: float
    """nodes run for a chunk"""
    us_per_chunk: float
    share: float
    """of all nodes' time"""

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `edgeseq bench --json` prints them."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


@dataclass(frozen=True)
class Profile:
    """Where the time of a graph goes."""

    chunk_us: float
    """of a run that nobody observes"""
    operators: list[OperatorTime]

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `edgeseq bench --json` prints them."""
        return {"chunk_us": round(self.chunk_us, 2), "operators": [row.to_dict() for row in self.operators]}

    def to_table(self) -> str:
        """Lay it out for people."""
        head = ("operator", "nodes", "us/chunk", "%")
        cells = [
            (row.operator, f"{row.count:.0f}", f"{row.us_per_chunk:.1f}", f"{100 * row.share:.1f}" if row.count else "")
            for row in self.operators
        ]
        return "\n".join([*align([head, *cells]), f"a run that nobody observes takes {self.chunk_us:.1f} us a chunk"])


def profile_graph(path: Path, chunks: int = CHUNKS) -> Profile:
    """Run the file `path` for `chunks` chunks of noise and add up its nodes, the costliest first.

    Profiling costs about a microsecond a node, most of it between the nodes; so the same run is timed without it as well.
    """
    import onnxruntime

    from edgeseq.network import open_session, session_options

    content = path.read_bytes()
    chunk_us = 1e6 * median(_run(open_session(content), WARM_UP_CHUNKS + chunks)[WARM_UP_CHUNKS:])
    options = session_options()
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(content, sess_options=options, providers=["CPUExecutionProvider"])
        _run(session, WARM_UP_CHUNKS + chunks)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return Profile(chunk_us, add_up(events, WARM_UP_CHUNKS))


def _run(session: Any, chunks: int) -> list[float]:
    """Step through noise; returns seconds a chunk."""
    drawn = np.random.default_rng(0)
    feeds = {node.name: np.zeros([1, *node.shape[1:]], dtype=np.float32) for node in session.get_inputs()}
    first, names = session.get_inputs()[0].name, [node.name for node in session.get_outputs()]
    seconds = []
    for _ in range(chunks):
        feeds[first] = drawn.standard_normal(feeds[first].shape).astype(np.float32).clip(-1, 1)
        began = time.perf_counter()
        outputs = dict(zip(names, session.run(names, feeds), strict=True))
        seconds.append(time.perf_counter() - began)
        feeds.update({name: outputs[f"{name}_next"] for name in feeds if f"{name}_next" in outputs})
    return seconds


def add_up(events: Sequence[Mapping[str, Any]], skipped_runs: int = 0) -> list[OperatorTime]:
    """Add up the events of a profile by operator; the first `skipped_runs` runs do not count. The rest of a run comes last."""
    runs = [event for event in events if event.get("name") == "model_run"][skipped_runs:]
    if not runs:
        return []
    begin = min(run["ts"] for run in runs)
    count: dict[str, int] = defaultdict(int)
    microseconds: dict[str, float] = defaultdict(float)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL) and event["ts"] >= begin:
            count[event["args"]["op_name"]] += 1
            microseconds[event["args"]["op_name"]] += event["dur"]
    nodes = sum(microseconds.values())
    operators = [
        OperatorTime(name, count[name] / len(runs), microseconds[name] / len(runs), microseconds[name] / nodes)
        for name in sorted(microseconds, key=lambda name: -microseconds[name])
    ]
    return [*operators, OperatorTime(OUTSIDE, 0, (sum(run["dur"] for run in runs) - nodes) / len(runs), 0.0)]
