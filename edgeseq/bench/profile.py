"""Where a graph's time goes: onnxruntime's own profile, added up by operator.

Being observed costs a node microseconds, often more than its work. So the same run is timed without a profile as well, and what
the profile shows too much is taken off every node alike.
"""

from __future__ import annotations

import json
import tempfile
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edgeseq.bench.memory_bandwidth import read_bandwidth
from edgeseq.bench.results import align
from edgeseq.bench.weights_read import count_reads, optimized_graph

CHUNKS = 300
WARM_UP_CHUNKS = 20
KERNEL = "_kernel_time"


@dataclass(frozen=True)
class OperatorTime:
    """All nodes of one operator."""

    operator: str
    count: float
    """nodes run for a chunk"""
    observed_us: float
    """a chunk, as the profile shows it"""
    us_per_chunk: float
    """less what observing costs"""
    share: float
    """of the run that nobody observes"""

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `edgeseq bench --json` prints them."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


@dataclass(frozen=True)
class Profile:
    """Where the time of a graph goes."""

    chunk_us: float
    """of a run that nobody observes"""
    reading_us: float
    """what reading the weights alone would take, from the caches that hold them"""
    operators: list[OperatorTime]

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `edgeseq bench --json` prints them."""
        return {
            "chunk_us": round(self.chunk_us, 2),
            "reading_us": round(self.reading_us, 2),
            "operators": [row.to_dict() for row in self.operators],
        }

    def to_table(self) -> str:
        """Lay it out for people."""
        head = ("operator", "nodes", "us/chunk", "%", "observed us")
        cells = [
            (row.operator, f"{row.count:.0f}", f"{row.us_per_chunk:.1f}", f"{100 * row.share:.1f}", f"{row.observed_us:.1f}")
            for row in self.operators
        ]
        end = (
            f"a run that nobody observes takes {self.chunk_us:.1f} us a chunk; "
            f"reading the weights alone would take {self.reading_us:.1f}"
        )
        return "\n".join([*align([head, *cells]), end])


def profile_graph(path: Path, n_steps: int, chunks: int = CHUNKS) -> Profile:
    """Run the file `path`, of `n_steps` steps a chunk, over `chunks` chunks of noise; add up its nodes, the costliest first."""
    import onnxruntime

    from edgeseq.model.session import open_session, session_options

    content = path.read_bytes()
    chunk_us = 1e6 * median(_run(open_session(content), WARM_UP_CHUNKS + chunks)[WARM_UP_CHUNKS:])
    options = session_options()
    options.enable_profiling = True
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(content, sess_options=options, providers=["CPUExecutionProvider"])
        _run(session, WARM_UP_CHUNKS + chunks)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    reading_us = 1e6 * count_reads(optimized_graph(path), n_steps).least_seconds(read_bandwidth)
    return Profile(chunk_us, reading_us, add_up(events, chunk_us, WARM_UP_CHUNKS))


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


def add_up(events: Sequence[Mapping[str, Any]], chunk_us: float, skipped_runs: int = 0) -> list[OperatorTime]:
    """Add up the events of a profile by operator; the first `skipped_runs` runs do not count.

    A run that nobody observes takes `chunk_us`: by what all nodes together exceed it, every node is shortened alike, to
    nothing where it has less.
    """
    starts = sorted(event["ts"] for event in events if event.get("name") == "model_run")[skipped_runs:]
    if not starts:
        return []
    count: dict[str, float] = defaultdict(float)
    by_run: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(starts))
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL) and event["ts"] >= starts[0]:
            count[event["args"]["op_name"]] += 1 / len(starts)
            by_run[event["args"]["op_name"]][bisect_right(starts, event["ts"]) - 1] += event["dur"]
    observed = {name: median(times) for name, times in by_run.items()}  # other programs interrupt some runs
    times = _shorten(observed, count, chunk_us)
    ordered = sorted(times, key=lambda name: -times[name])
    return [OperatorTime(name, count[name], observed[name], times[name], times[name] / chunk_us) for name in ordered]


def _shorten(observed: Mapping[str, float], count: Mapping[str, float], total: float) -> dict[str, float]:
    """Take the same off every node, but no more than it has, so that `total` is left."""
    left = set(observed)
    while True:
        a_node = (sum(observed[name] for name in left) - total) / sum(count[name] for name in left)
        too_short = {name for name in left if observed[name] < count[name] * a_node}
        if not too_short:
            return {name: observed[name] - count[name] * a_node if name in left else 0.0 for name in observed}
        left -= too_short
