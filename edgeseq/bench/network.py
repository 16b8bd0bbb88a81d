"""All that `edgeseq bench` measures of networks alone: peers, streams and profiles, at every chunk length asked for."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeseq.bench.machine import machine
from edgeseq.bench.peers import ROUNDS, Comparison, compare
from edgeseq.bench.profile import Profile, profile_graph
from edgeseq.bench.results import NetworkRow, Ratio, network_table
from edgeseq.bench.runtimes import PEERS
from edgeseq.bench.streams import compare_streams
from edgeseq.bench.synthetic import BenchNetwork, find_form, write_edgeseq
from edgeseq.bench.timing import BURST_SECONDS, Progress
from edgeseq.export.forms import GraphForm


@dataclass(frozen=True)
class NetworkBench:
    """What to measure of every network."""

    chunk_steps: Sequence[int]
    bits: Sequence[int]
    peers: bool = False
    streams: Sequence[int] = ()
    profile: bool = False
    target: str = "generic"
    rounds: int = ROUNDS
    burst_seconds: float = BURST_SECONDS


@dataclass(frozen=True)
class NetworkReport:
    """All figures."""

    comparisons: dict[str, Comparison] = field(default_factory=dict)
    """what was compared -> figures"""
    profiles: dict[str, Profile] = field(default_factory=dict)
    """graph -> where its time goes"""

    @property
    def rows(self) -> list[NetworkRow]:
        """For all comparisons."""
        return [row for comparison in self.comparisons.values() for row in comparison.rows]

    @property
    def ratios(self) -> list[Ratio]:
        """For all comparisons."""
        return [ratio for comparison in self.comparisons.values() for ratio in comparison.ratios]

    @property
    def absent(self) -> dict[str, str]:
        """Runtime -> how to get it."""
        return {name: how for comparison in self.comparisons.values() for name, how in comparison.absent.items()}

    @property
    def faults(self) -> dict[str, str]:
        """What was not timed -> why."""
        return {
            f"{name}, {where}": why for where, comparison in self.comparisons.items() for name, why in comparison.faults.items()
        }

    def to_json(self) -> str:
        """Give one JSON object."""
        figures: dict[str, Any] = {
            "rows": [row.to_dict() for row in self.rows],
            "ratios": [ratio.to_dict() for ratio in self.ratios],
            "absent": self.absent,
            "faults": self.faults,
            "machine": machine(),
        }
        if self.profiles:
            figures["profiles"] = {name: profile.to_dict() for name, profile in self.profiles.items()}
        return json.dumps(figures)

    def to_table(self) -> str:
        """Lay it out for people."""
        absent = {name: f"not installed ({install})" for name, install in self.absent.items()}
        parts = [network_table(self.rows, self.ratios, absent | self.faults)]
        parts += [f"{name}\n{profile.to_table()}" for name, profile in self.profiles.items()]
        return "\n\n".join(parts)


def bench_networks(
    networks: Sequence[BenchNetwork], wanted: NetworkBench, *, on_progress: Progress = lambda done, total: None
) -> NetworkReport:
    """Measure each network at each chunk length. Raises UsageError for an unknown target."""
    report = NetworkReport()
    cases = [(network, steps) for network in networks for steps in wanted.chunk_steps]
    for done, (network, steps) in enumerate(cases):
        on_progress(done, len(cases))
        where = f"{network.shape}, {steps} {'step' if steps == 1 else 'steps'} a chunk"
        settings: dict[str, Any] = {"target": wanted.target, "rounds": wanted.rounds, "burst_seconds": wanted.burst_seconds}
        report.comparisons[where] = compare(network, steps, wanted.bits, PEERS if wanted.peers else (), **settings)
        for bits in wanted.bits if wanted.streams else ():
            streams = f"{where}, {bits} bit, many streams"
            report.comparisons[streams] = compare_streams(network, steps, bits, wanted.streams, **settings)
        for bits in wanted.bits if wanted.profile else ():
            report.profiles[f"{where}, {bits} bit"] = _profile(network, steps, find_form(network, steps, bits, wanted.target))
    on_progress(len(cases), len(cases))
    return report


def _profile(network: BenchNetwork, chunk_steps: int, form: GraphForm) -> Profile:
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder:
        return profile_graph(write_edgeseq(network, chunk_steps, form, Path(folder) / "edgeseq.onnx"), chunk_steps)
