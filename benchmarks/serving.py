"""How many live streams a server sustains: `edgeseq serve` as a process, clients in real time, answers compared and timed.

    python -m benchmarks.serving --streams 150 --shape gru:4x512
    python -m benchmarks.serving --streams 150 --model digits-en --audio demo/number.flac
    python -m benchmarks.serving --check --streams 150 --shape gru:4x512

The delay of an answer runs from when its last sample was spoken (by the clock, not when it was sent) to when the answer came.
Each answer is compared with what the same sound gives alone, in this process. `--check` compares
log-probs instead, of many streams in the batches of a server's hub with those of each alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.live_clients import Plan, is_vosk
from benchmarks.serving_answers import PCM16_SCALE, answers_alone, timed
from benchmarks.serving_process import Observed, observe, serving
from benchmarks.serving_rows import largest_difference
from edgeseq.bench.shape import parse_shape
from edgeseq.bench.sound import noise_bursts
from edgeseq.bench.timing import percentile
from edgeseq.cli.faults import run
from edgeseq.models import load_recognizer
from edgeseq.sound.blocks import Floats

LATE_SECONDS = 0.2
N_SOUNDS = 8
"""different ones; streams share them"""
CHECK_SECONDS = 5.0
"""of sound in each stream whose log-probs are compared"""


@dataclass(frozen=True)
class Load:
    """How a server bore a number of live streams."""

    model: str
    streams: int
    protocols: dict[str, int]
    seconds: float
    """of sound in each stream"""
    message_ms: float
    spread_seconds: float
    """in which the streams began, and ended"""
    answers: int
    different: int
    """answers that are not what the sound alone gives, or are missing"""
    late_ms_median: float
    late_ms_p99: float
    late_ms_worst: float
    late_streams: int
    """with an answer later than 200 ms"""
    sent_late_ms_p99: float
    """of the clients' own; part of the above"""
    sent_late_ms_worst: float
    server_cores: float
    """processor time of the server's process by the clock's"""
    client_cores: float
    server_mb: float
    """resident, at the end"""
    rtf: float
    """seconds of computing for a second of sound, by the server's own count"""
    batch_mean: float
    """streams stepped together"""
    batches: dict[str, int]
    """at most that many streams -> batches"""
    cores: int
    """that server and clients share"""
    load: float
    """of the machine, a minute's average, before the streams began"""

    def to_table(self) -> str:
        """Lay the figures out."""
        values = {key: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in asdict(self).items()}
        return "\n".join(f"{key:20} {value}" for key, value in values.items())


def measure(
    model: Path | str,
    sounds: Sequence[Floats],
    n_streams: int,
    protocols: Sequence[str],
    message_seconds: float,
    spread_seconds: float,
    processes: int,
) -> Load:
    """Let live streams come from clients in `processes` processes, and say how the server bore them.

    They begin, and so end, at random within `spread_seconds`.

    sounds: 16-bit samples `[n_samples]` at the model's rate. Raises EdgeseqError when a process fails.
    """
    recognizer = load_recognizer(model)
    rate = recognizer.sample_rate
    alone = [answers_alone(recognizer, sound, round(message_seconds * rate)) for sound in sounds]
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as name:
        paths = [str(Path(name) / f"{n}.npy") for n in range(len(sounds))]
        for path, sound in zip(paths, sounds, strict=True):
            np.save(path, sound)
        with serving(model, n_streams, Path(name)) as server:
            ports = server.wait_until_listening()
            plans = []
            for first in range(processes):
                urls = [_url(protocols[n % len(protocols)], ports, rate) for n in range(first, n_streams, processes)]
                plans.append(Plan(urls, paths, rate, message_seconds, spread_seconds, seed=first))
            observed, results = observe(server, ports, plans)
    timings = [
        timed(stream, alone[plan.sound_of(n)], is_vosk(plan.urls[n]))
        for plan, result in zip(plans, results, strict=True)
        for n, stream in enumerate(result["spoken"])
    ]
    return Load(
        model=recognizer.metadata.name,
        streams=n_streams,
        protocols={protocol: sum(_said(url) == protocol for plan in plans for url in plan.urls) for protocol in protocols},
        seconds=round(len(sounds[0]) / rate, 2),
        message_ms=1000 * message_seconds,
        spread_seconds=spread_seconds,
        client_cores=sum(result["processor_seconds"] for result in results) / observed.seconds,
        **_late(timings),
        **_seen(observed),
    )


def _late(timings: Sequence[tuple[list[float], list[float], int]]) -> dict[str, Any]:
    """Give the figures of answers, which `timed` gives for each stream."""
    lateness = [late for lates, _, _ in timings for late in lates]
    sent = [1000 * late for _, lates, _ in timings for late in lates]
    return {
        "answers": len(lateness),
        "different": sum(n_different for _, _, n_different in timings),
        "late_ms_median": 1000 * median(lateness),
        "late_ms_p99": 1000 * percentile(lateness, 99),
        "late_ms_worst": 1000 * max(lateness),
        "late_streams": sum(max(lates) > LATE_SECONDS for lates, _, _ in timings),
        "sent_late_ms_p99": percentile(sent, 99),
        "sent_late_ms_worst": max(sent),
    }


def _seen(observed: Observed) -> dict[str, Any]:
    """Give the figures of the server's process."""
    figures = observed.figures
    return {
        "server_cores": observed.server_cores,
        "server_mb": observed.server_mb,
        "rtf": figures["edgeseq_real_time_factor"],
        "batch_mean": figures["edgeseq_batch_streams_sum"] / figures["edgeseq_batch_streams_count"],
        "batches": _batches(figures),
        "cores": len(os.sched_getaffinity(0)),
        "load": observed.load,
    }


def _batches(figures: dict[str, float]) -> dict[str, int]:
    """Take the counts of a histogram apart."""
    bounds = [(name.split('"')[1], value) for name, value in figures.items() if name.startswith("edgeseq_batch_streams_bucket")]
    counts = [value - before for (_, value), before in zip(bounds, [0.0, *(value for _, value in bounds)], strict=False)]
    return {bound.removesuffix(".0"): int(count) for (bound, _), count in zip(bounds, counts, strict=True) if count}


def _url(protocol: str, ports: dict[str, int], rate: int) -> str:
    return f"ws://127.0.0.1:{ports[protocol]}/{protocol}?sample_rate={rate}"


def _said(url: str) -> str:
    return "vosk" if is_vosk(url) else "sherpa"


def make_sounds(audio: Path | None, seconds: float, rate: int) -> list[Floats]:
    """Give some sounds, 16-bit samples `[n_samples]`: a recording from different places, repeated, or bursts of noise."""
    n_samples = round(seconds * rate)
    if audio is None:
        once = noise_bursts(seconds, rate)
    else:
        from edgeseq.sound.audio import read_blocks

        once = np.concatenate([*read_blocks(audio, rate), np.zeros(rate, dtype=np.float32)])
    found = [np.resize(np.roll(once, -n * len(once) // N_SOUNDS), n_samples) for n in range(N_SOUNDS)]
    return [np.clip(np.rint(sound * PCM16_SCALE), -32768, 32767).astype(np.int16) for sound in found]


def main(
    streams: Annotated[int, typer.Option(min=1, help="Live streams at once.")] = 150,
    shape: Annotated[
        str, typer.Option(metavar="CELL:LAYERSxSIZE", help="A model of this size, drawn at random.")
    ] = "gru:4x512",
    model: Annotated[str | None, typer.Option(help="This model instead.")] = None,
    bits: Annotated[int, typer.Option(help="Bits of a drawn model's weights: 4, 8, 32.")] = 8,
    audio: Annotated[Path | None, typer.Option(help="What is spoken.  [default: bursts of noise]")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of sound in each stream.")] = 30.0,
    message_ms: Annotated[float, typer.Option(min=10, help="Sound in a message.")] = 100.0,
    spread: Annotated[float, typer.Option(min=0, help="Seconds in which the streams begin, and end.")] = 5.0,
    protocols: Annotated[str, typer.Option(help="vosk, sherpa, or both.")] = "vosk,sherpa",
    processes: Annotated[int, typer.Option(min=1, help="Processes of clients.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Measure so often.")] = 1,
    check: Annotated[bool, typer.Option("--check", help="Compare log-probs with those alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Measure a server's live streams."""
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder:
        chosen: Path | str = model or _drawn(shape, bits, Path(folder))
        recognizer = load_recognizer(chosen)
        if check:
            sounds = make_sounds(audio, CHECK_SECONDS, recognizer.sample_rate)
            worst, batch = asyncio.run(largest_difference(recognizer, sounds, streams))
            typer.echo(f"{streams} streams, batches of {batch:.1f}: log-probs differ by at most {worst:.2g} from each alone")
            return
        sounds = make_sounds(audio, seconds, recognizer.sample_rate)
        for _ in range(repeats):
            load = measure(chosen, sounds, streams, protocols.split(","), message_ms / 1000, spread, processes)
            typer.echo(json.dumps(asdict(load)) if as_json else load.to_table() + "\n")


def _drawn(shape: str, bits: int, folder: Path) -> Path:
    from benchmarks.whole_model import write_model

    return write_model(parse_shape(shape), bits, folder)


if __name__ == "__main__":
    run(main)
