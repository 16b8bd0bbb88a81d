"""The same network, the same weights, the same chunks, one thread each, on edgeseq and beside it on other runtimes.

Each is first tried in a process of its own: one that is missing, ends the process or computes something else is said to be so,
and the others continue. Those that are right are then timed in turns in this process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgeseq.bench.processes import reason
from edgeseq.bench.results import NetworkRow, Ratio
from edgeseq.bench.runtimes import (
    EDGESEQ,
    FLOAT_TOLERANCE,
    PEERS,
    QUANTIZED_TOLERANCE,
    TORCH,
    Floats,
    Runtime,
    Stepper,
    run_chunks,
)
from edgeseq.bench.synthetic import BenchNetwork, find_form, write_edgeseq, write_peer
from edgeseq.bench.timing import BURST_SECONDS, Bursts, Clock, Progress, interleave, paired_ratio
from edgeseq.export.forms import GraphForm

ROUNDS = 20
CHECKED_CHUNKS = 8
TRIAL_SECONDS = 300.0
"""Longest that a runtime may take to load and to answer a few chunks."""


@dataclass(frozen=True)
class Contender:
    """A runtime with the file that it loads."""

    runtime: Runtime
    bits: int
    path: Path
    form: str = ""
    """how edgeseq computes it"""

    @property
    def label(self) -> str:
        """The name in tables: edgeseq comes in several widths, a peer in one."""
        return f"{self.runtime.name} {self.bits} bit" if self.runtime is EDGESEQ else self.runtime.name


@dataclass(frozen=True)
class Trial:
    """What came of running a contender in a process of its own."""

    peak_rss_mb: float = 0.0
    max_difference: float = 0.0
    """of log-probs, from torch"""
    fault: str = ""
    """why it is not timed"""


@dataclass(frozen=True)
class Comparison:
    """All that was measured of one network at one chunk length."""

    rows: list[NetworkRow] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    """runtime -> how to get it"""
    faults: dict[str, str] = field(default_factory=dict)
    """runtime -> why it was not timed"""


def compare(
    network: BenchNetwork,
    chunk_steps: int,
    bits: Sequence[int],
    peers: Sequence[Runtime] = PEERS,
    *,
    target: str = "generic",
    rounds: int = ROUNDS,
    burst_seconds: float = BURST_SECONDS,
    clock: Clock = time.perf_counter,
    on_progress: Progress = lambda done, total: None,
) -> Comparison:
    """Measure edgeseq with weights of each of `bits`, and `peers` (none: edgeseq alone), at `chunk_steps` steps a chunk.

    Raises UsageError for an unknown target.
    """
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as name:
        folder = Path(name)
        absent = {peer.name: peer.install for peer in peers if not peer.is_installed()}
        contenders = [_edgeseq(network, chunk_steps, find_form(network, chunk_steps, width, target), folder) for width in bits]
        for peer in peers:
            if peer.name not in absent and network.shape.cell in peer.cells:
                contenders.append(Contender(peer, peer.bits, write_peer(network, peer.name, chunk_steps, folder)))
        trials = try_all(network, chunk_steps, contenders, folder)
        runners = [contender for contender in contenders if not trials[contender.label].fault]
        features = network.features(1, 1, chunk_steps)[0]
        competitors = {
            contender.label: endless_steps(contender.runtime.load(contender.path), features) for contender in runners
        }
        bursts = interleave(competitors, rounds, burst_seconds=burst_seconds, clock=clock, on_progress=on_progress)
        rows = [_row(network, chunk_steps, runner, trials[runner.label], bursts[runner.label]) for runner in runners]
    return Comparison(
        rows=rows,
        ratios=_ratios(network, chunk_steps, runners, bursts),
        absent=absent,
        faults={label: trial.fault for label, trial in trials.items() if trial.fault},
    )


def _edgeseq(network: BenchNetwork, chunk_steps: int, form: GraphForm, folder: Path) -> Contender:
    path = write_edgeseq(network, chunk_steps, form, folder / f"edgeseq-{form.bits}-{chunk_steps}.onnx")
    return Contender(EDGESEQ, form.bits, path, str(form))


def endless_steps(stepper: Stepper, features: Floats) -> Callable[[], None]:
    """Make a call that steps streams on through the same chunk `[batch, n_steps, n_in]`."""
    states = [stepper.init_state(len(features))]

    def step() -> None:
        _, states[0] = stepper.step(features, states[0])

    return step


def try_all(network: BenchNetwork, chunk_steps: int, contenders: Sequence[Contender], folder: Path) -> dict[str, Trial]:
    """Run each contender in a process of its own and compare its answers with torch's."""
    features = network.features(CHECKED_CHUNKS, 1, chunk_steps)
    np.save(folder / "features.npy", features)
    reference = run_chunks(TORCH.load(write_peer(network, "torch", chunk_steps, folder)), features)
    return {contender.label: try_one(contender, reference, folder) for contender in contenders}


def try_one(contender: Contender, reference: Floats, folder: Path) -> Trial:
    """Run one contender on `features.npy` of `folder`; `reference` is what torch answers."""
    answers = folder / "log_probs.npy"
    answers.unlink(missing_ok=True)
    words = [contender.runtime.name, str(contender.path), str(folder / "features.npy"), str(answers)]
    command = [sys.executable, "-m", "edgeseq.bench.child", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TRIAL_SECONDS)
    except subprocess.TimeoutExpired:
        return Trial(fault=f"gave no answer within {TRIAL_SECONDS:.0f} s")
    if done.returncode:
        return Trial(fault=reason(done.returncode, done.stderr))
    return judge(np.load(answers), reference, contender.bits, json.loads(done.stdout.splitlines()[-1])["peak_rss_mb"])


def judge(log_probs: Floats, reference: Floats, bits: int, peak_rss_mb: float) -> Trial:
    """Say how far answers are from the reference, and whether that is too far for weights of `bits`."""
    if log_probs.shape != reference.shape:
        return Trial(fault=f"wrong: its log-probs have the shape {list(log_probs.shape)}, torch's {list(reference.shape)}")
    difference = float(np.abs(log_probs - reference).max())
    variation = float((reference - reference.mean(axis=(0, 1, 2))).std())
    allowed = FLOAT_TOLERANCE if bits == 32 else QUANTIZED_TOLERANCE[bits] * variation
    if not difference <= allowed:  # also when it is not a number
        return Trial(fault=f"wrong: differs from torch by {difference:.2g} in log-probs, allowed are {allowed:.2g}")
    return Trial(peak_rss_mb, difference)


def _row(network: BenchNetwork, chunk_steps: int, runner: Contender, trial: Trial, bursts: Bursts) -> NetworkRow:
    us_per_step = bursts.spread().scaled(1e6 / chunk_steps)
    return NetworkRow(
        runtime=runner.runtime.name,
        bits=runner.bits,
        shape=str(network.shape),
        chunk_steps=chunk_steps,
        streams=1,
        us_per_step=us_per_step,
        rtf=us_per_step.median / (1e6 * network.step_seconds),
        p99_ms=1000 * bursts.percentile(99),
        peak_rss_mb=trial.peak_rss_mb,
        max_difference=trial.max_difference,
        file_bytes=runner.path.stat().st_size,
        form=runner.form,
    )


def _ratios(network: BenchNetwork, chunk_steps: int, runners: Sequence[Contender], bursts: dict[str, Bursts]) -> list[Ratio]:
    """Compare every peer with every width of edgeseq."""
    return [
        Ratio(
            of=peer.runtime.name,
            to="edgeseq",
            bits=own.bits,
            shape=str(network.shape),
            chunk_steps=chunk_steps,
            streams=1,
            times=paired_ratio(bursts[peer.label], bursts[own.label]),
        )
        for own in runners
        if own.runtime is EDGESEQ
        for peer in runners
        if peer.runtime is not EDGESEQ
    ]
