"""Many streams on one core: the same network stepped as a batch of rows, and a stream at a time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgeseq.bench.peers import CHECKED_CHUNKS, ROUNDS, Comparison, endless_steps
from edgeseq.bench.results import NetworkRow, Ratio
from edgeseq.bench.runtimes import EDGESEQ, Floats, Stepper, run_chunks
from edgeseq.bench.synthetic import BenchNetwork, find_form, write_edgeseq
from edgeseq.bench.timing import BURST_SECONDS, Bursts, Clock, Progress, interleave, paired_ratio

ALONE = "edgeseq, one by one"


def compare_streams(
    network: BenchNetwork,
    chunk_steps: int,
    bits: int,
    streams: Sequence[int],
    *,
    target: str = "generic",
    rounds: int = ROUNDS,
    burst_seconds: float = BURST_SECONDS,
    clock: Clock = time.perf_counter,
    on_progress: Progress = lambda done, total: None,
) -> Comparison:
    """Measure batches of each number of `streams` against as many steps of single streams, each with a state of its own."""
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder:
        form = find_form(network, chunk_steps, bits, target)
        path = write_edgeseq(network, chunk_steps, form, Path(folder) / "edgeseq.onnx")
        stepper, file_bytes = EDGESEQ.load(path), path.stat().st_size
    competitors: dict[str, Callable[[], None]] = {}
    for n in streams:
        features = network.features(1, n, chunk_steps)[0]
        competitors[f"batch {n}"] = endless_steps(stepper, features)
        competitors[f"alone {n}"] = _one_by_one(stepper, features)
    bursts = interleave(competitors, rounds, burst_seconds=burst_seconds, clock=clock, on_progress=on_progress)
    comparison = Comparison()
    for n in streams:
        difference = difference_from_alone(stepper, network.features(CHECKED_CHUNKS, n, chunk_steps))
        for runtime, kind, differs in (("edgeseq", "batch", difference), (ALONE, "alone", 0.0)):
            figures = bursts[f"{kind} {n}"]
            comparison.rows.append(_row(network, chunk_steps, bits, n, runtime, figures, differs, file_bytes))
        times = paired_ratio(bursts[f"alone {n}"], bursts[f"batch {n}"])
        comparison.ratios.append(Ratio(ALONE, "edgeseq", bits, str(network.shape), chunk_steps, n, times))
    return comparison


def _one_by_one(stepper: Stepper, features: Floats) -> Callable[[], None]:
    steps = [endless_steps(stepper, features[row : row + 1]) for row in range(len(features))]

    def step_all() -> None:
        for step in steps:
            step()

    return step_all


def difference_from_alone(stepper: Stepper, features: Floats) -> float:
    """Give the largest difference in log-probs that neighbours make; features `[n_chunks, batch, n_steps, n_in]`."""
    together = run_chunks(stepper, features)
    alone = [run_chunks(stepper, features[:, row : row + 1]) for row in range(features.shape[1])]
    return float(np.abs(together - np.concatenate(alone, axis=1)).max())


def _row(
    network: BenchNetwork,
    chunk_steps: int,
    bits: int,
    streams: int,
    runtime: str,
    bursts: Bursts,
    max_difference: float,
    file_bytes: int,
) -> NetworkRow:
    us_per_step = bursts.spread().scaled(1e6 / chunk_steps / streams)
    return NetworkRow(
        runtime=runtime,
        bits=bits,
        shape=str(network.shape),
        chunk_steps=chunk_steps,
        streams=streams,
        us_per_step=us_per_step,
        rtf=us_per_step.median / (1e6 * network.step_seconds),
        p99_ms=1000 * bursts.percentile(99),
        peak_rss_mb=None,
        max_difference=max_difference,
        file_bytes=file_bytes,
    )
