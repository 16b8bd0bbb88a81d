"""The form that is fastest on this machine, by measuring."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from edgeseq.export.forms import GraphForm, candidates
from edgeseq.export.graph import build_layers_graph
from edgeseq.model.session import open_session
from edgeseq.training.head import Head
from edgeseq.training.trunk import Trunk

AUTO = "auto"
ROUNDS = 15
ROUND_SECONDS = 0.01


def time_forms(trunk: Trunk, head: Head, n_steps: int, bits: int) -> dict[GraphForm, float]:
    """Measure each form that weights of `bits` can take: microseconds a chunk of `n_steps`, one stream, by the median.

    The forms take turns, so that whatever else the machine does meets them all. Raises UsageError for unknown `bits`.
    """
    forms = candidates(bits)
    if len(forms) == 1:
        return dict.fromkeys(forms, 0.0)
    runs = [_runner(trunk, head, n_steps, form) for form in forms]
    rounds = [[_microseconds(run) for run in runs] for _ in range(ROUNDS)]
    return {form: median(times) for form, times in zip(forms, zip(*rounds, strict=True), strict=True)}


def _runner(trunk: Trunk, head: Head, n_steps: int, form: GraphForm) -> Callable[[], object]:
    session = open_session(build_layers_graph(trunk, head, n_steps, form).SerializeToString())
    random = np.random.default_rng(0)
    shapes = {node.name: [size if isinstance(size, int) else 1 for size in node.shape] for node in session.get_inputs()}
    feeds = {name: random.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    return lambda: session.run(None, feeds)


def _microseconds(run: Callable[[], object]) -> float:
    """Run until the time is up, at least once: a busy machine may let all of it pass between two lines."""
    began, passed, n_runs = time.perf_counter(), 0.0, 0
    while n_runs == 0 or passed < ROUND_SECONDS:
        run()
        n_runs += 1
        passed = time.perf_counter() - began
    return 1e6 * passed / n_runs
