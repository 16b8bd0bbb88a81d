"""What a server counts, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from edgeseq.serve.hub import Hub
    from edgeseq.serve.metrics import Distribution

__all__ = ["CONTENT_TYPE", "exposition"]


def exposition(hub: Hub) -> bytes:
    """Write all metrics of a hub, and memory and processor time of its process, as text."""
    registry = CollectorRegistry()
    registry.register(_HubCollector(hub))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _HubCollector(Collector):
    """Reads a hub's counts when it is asked."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        """List them."""
        hub, counts = self._hub, self._hub.metrics
        yield _labelled(GaugeMetricFamily("edgeseq_streams", "Streams that are open.", labels=["protocol"]), counts.open)
        yield GaugeMetricFamily("edgeseq_streams_limit", "Streams that may be open.", hub.limits.streams)
        yield _labelled(
            CounterMetricFamily("edgeseq_streams_opened", "Streams since the start.", labels=["protocol"]), counts.total
        )
        refusals = CounterMetricFamily("edgeseq_refusals", "Clients that were turned away.", labels=["protocol", "reason"])
        for (protocol, reason), n in list(counts.refusals.items()):
            refusals.add_metric([protocol, reason], n)
        yield refusals
        yield CounterMetricFamily("edgeseq_sound_seconds", "Sound that was heard.", counts.sound_seconds)
        yield CounterMetricFamily("edgeseq_compute_seconds", "Time in which batches were computed.", counts.step_seconds)
        yield GaugeMetricFamily(
            "edgeseq_real_time_factor", "Time of computing for a second of sound, since the start.", counts.real_time_factor
        )
        yield GaugeMetricFamily(
            "edgeseq_busy_ratio", "Share of the last minute in which batches were computed.", counts.busy_ratio()
        )
        yield GaugeMetricFamily("edgeseq_waiting_streams", "Streams whose sound waits to be stepped.", hub.n_waiting_streams)
        yield GaugeMetricFamily(
            "edgeseq_waiting_seconds", "Sound that waits to be stepped, of all streams.", hub.waiting_seconds
        )
        yield CounterMetricFamily("edgeseq_chunks", "Network chunks that were stepped, of all streams.", counts.n_chunks)
        yield CounterMetricFamily("edgeseq_late", "Times that sound was stepped later than 0.2 s after it came.", counts.n_late)
        stalled, computed = counts.recent_stall()
        yield GaugeMetricFamily(
            "edgeseq_loop_stall_seconds", "Longest time of the last 5 s that the event loop stood still.", stalled
        )
        yield GaugeMetricFamily("edgeseq_loop_work_seconds", "Longest time of the last 5 s that it computed at once.", computed)
        yield GaugeMetricFamily(
            "edgeseq_loop_longest_stall_seconds", "Longest time that it stood still, since the start.", counts.longest_stall
        )
        yield GaugeMetricFamily(
            "edgeseq_loop_longest_work_seconds", "Longest time that it computed at once, since the start.", counts.longest_work
        )
        yield _labelled(
            CounterMetricFamily("edgeseq_loop_stalls", "Times it stood still for 0.1 s or more.", labels=["protocol"]),
            counts.stalls,
        )
        yield _histogram("edgeseq_latency_seconds", "From sound's coming to its being stepped.", counts.latencies)
        yield _histogram("edgeseq_batch_streams", "Streams that were stepped together.", counts.batches)


def _labelled(family: Metric, counts: dict[str, int]) -> Metric:
    for name, n in list(counts.items()):
        family.add_metric([name], n)  # type: ignore[attr-defined]
    return family


def _histogram(name: str, text: str, distribution: Distribution) -> Metric:
    bounds = [*map(str, distribution.bounds), "+Inf"]
    return HistogramMetricFamily(
        name, text, buckets=list(zip(bounds, distribution.cumulated(), strict=True)), sum_value=distribution.total
    )
