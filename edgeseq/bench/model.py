"""Speed, latency and memory of a model on this machine: what `edgeseq listen` and `edgeseq transcribe` cost.

The whole path is timed: sound at 48 kHz, 80 ms at a time as a microphone gives it, resampled to the model's
rate, through the network to words. Start, memory and processor time are those of whole processes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseq.bench.memory_bandwidth import beyond_caches, read_bandwidth
from edgeseq.bench.memory_growth import memory_after
from edgeseq.bench.processes import processor_seconds, run_process
from edgeseq.bench.sound import CHUNK_SECONDS, MICROPHONE_RATE, make_sound, noise_bursts
from edgeseq.bench.timing import Clock, Progress, Spread, percentile
from edgeseq.bench.weights_read import count_reads, optimized_graph
from edgeseq.model.metadata import CtcMetadata
from edgeseq.model.signature import AUDIO
from edgeseq.models import load_recognizer, read_metadata

if TYPE_CHECKING:
    from edgeseq.data.clips import Samples
    from edgeseq.model.metadata import ModelMetadata
    from edgeseq.model.network import Network
    from edgeseq.stream.recognizer import Recognizer

REPEATS = 5
"""For each measurement; the median counts, for the worst chunk the largest."""
START_CLIP_SECONDS = 1.0
NETWORK_CHUNKS, NETWORK_ROUNDS = 50, 20
"""For the network alone."""


@dataclass(frozen=True)
class Timing:
    """One pass over the sound, through the whole path."""

    rtf: float
    """compute time by time of sound"""
    chunk_ms: tuple[float, ...]
    """time of each chunk of 80 ms"""


@dataclass(frozen=True)
class Weights:
    """What reading the weights costs, and how near the network is to that limit."""

    bytes_a_second: float
    """read for a second of sound, each reading counted"""
    chunk_us: Spread
    """time of the network for one of its chunks, frontend included"""
    gb_per_s: float
    """bytes read while it computes, 10^9 a second"""
    cache_gb_per_s: float
    """what one core reads from a buffer as large as all weights"""
    memory_gb_per_s: float
    """the same of a buffer that no cache holds"""
    limit_percent: float
    """the time that reading alone would take, of the time taken"""


@dataclass(frozen=True)
class ModelRow:
    """Figures of one model file."""

    bits: int
    model: str
    rtf: Spread
    """whole path, resampling from 48 kHz included"""
    rtf_without_resampling: Spread
    p50_ms: Spread
    """of 80 ms chunks, whole path"""
    p99_ms: Spread
    worst_ms: float
    start_seconds: Spread
    """from the start of `edgeseq transcribe` to the words of a second of sound"""
    processor_ms: Spread
    """of the same, user and system, beyond that of importing onnxruntime"""
    peak_rss_mb: float
    """largest memory of `edgeseq transcribe`, whole process, 10^6 bytes"""
    file_bytes: int
    weights: Weights
    rss_mb: tuple[float, float] | None = None
    """after a minute and after an hour of sound, if that was asked for"""

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `edgeseq bench --json` prints them: medians, and quartiles under `spread`."""
        spreads = {
            "rtf": (self.rtf, 5),
            "rtf_without_resampling": (self.rtf_without_resampling, 5),
            "p50_ms": (self.p50_ms, 3),
            "p99_ms": (self.p99_ms, 3),
            "start_seconds": (self.start_seconds, 3),
            "processor_ms": (self.processor_ms, 1),
            "network_chunk_us": (self.weights.chunk_us, 1),
        }
        return {
            "runtime": "edgeseq",
            "bits": self.bits,
            "model": self.model,
            **{name: round(spread.median, digits) for name, (spread, digits) in spreads.items()},
            "worst_ms": round(self.worst_ms, 3),
            "peak_rss_mb": round(self.peak_rss_mb, 1),
            "file_bytes": self.file_bytes,
            "weight_mb_per_second_of_sound": round(self.weights.bytes_a_second / 1e6, 2),
            "weight_gb_per_s": round(self.weights.gb_per_s, 2),
            "cache_gb_per_s": round(self.weights.cache_gb_per_s, 1),
            "memory_gb_per_s": round(self.weights.memory_gb_per_s, 1),
            "limit_percent": round(self.weights.limit_percent, 1),
            **self._growth(),
            "spread": {
                name: [round(spread.low, digits), round(spread.high, digits)] for name, (spread, digits) in spreads.items()
            },
        }

    def _growth(self) -> dict[str, float]:
        if self.rss_mb is None:
            return {}
        minute, hour = self.rss_mb
        return {
            "rss_mb_after_a_minute": round(minute, 2),
            "rss_mb_after_an_hour": round(hour, 2),
            "growth_mb": round(hour - minute, 2),
        }


def bench_model(
    path: Path,
    seconds: float = 60.0,
    sound: Path | None = None,
    *,
    memory: bool = False,
    repeats: int = REPEATS,
    on_progress: Progress = lambda done, total: None,
) -> ModelRow:
    """Measure the model file `path` on `seconds` of sound: of the file `sound`, repeated, or bursts of noise.

    With `memory`, an hour of sound is pushed through as well. Raises ModelError or AudioError for a file that cannot be used,
    EdgeseqError when a process fails, UsageError for a model that gives no words.
    """
    CtcMetadata.of(read_metadata(path))
    samples = make_sound(seconds, sound)
    n_parts = 5 if memory else 4
    starts, processor = _time_starts(path, samples[: round(START_CLIP_SECONDS * MICROPHONE_RATE)], repeats)
    on_progress(1, n_parts)
    with _as_wav(samples) as long:
        whole = run_process(["transcribe", "--model", str(path), str(long)])
    on_progress(2, n_parts)
    recognizer = _load(path)
    timings = [time_path(recognizer, samples, MICROPHONE_RATE) for _ in range(repeats)]
    resampled = _resample(samples, recognizer.sample_rate)
    direct = [time_path(recognizer, resampled, recognizer.sample_rate) for _ in range(repeats)]
    on_progress(3, n_parts)
    weights = measure_weights(recognizer.network)
    on_progress(4, n_parts)
    growth = _minute_and_hour(path) if memory else None
    on_progress(n_parts, n_parts)
    return ModelRow(
        bits=_bits(recognizer.metadata.quantization),
        model=recognizer.metadata.name,
        rtf=Spread.of([timing.rtf for timing in timings]),
        rtf_without_resampling=Spread.of([timing.rtf for timing in direct]),
        p50_ms=Spread.of([percentile(timing.chunk_ms, 50) for timing in timings]),
        p99_ms=Spread.of([percentile(timing.chunk_ms, 99) for timing in timings]),
        worst_ms=max(max(timing.chunk_ms) for timing in timings),
        start_seconds=Spread.of(starts),
        processor_ms=Spread.of(processor),
        peak_rss_mb=whole.peak_rss_mb,
        file_bytes=path.stat().st_size,
        weights=weights,
        rss_mb=growth,
    )


def _time_starts(path: Path, samples: Samples, repeats: int) -> tuple[list[float], list[float]]:
    """Time `edgeseq transcribe` of a short sound: seconds by the clock, and milliseconds of processor time."""
    with _as_wav(samples) as short:
        transcribe = ["transcribe", "--model", str(path), str(short)]
        seconds = [run_process(transcribe).seconds for _ in range(repeats)]
        return seconds, [1000 * processor_seconds(transcribe) for _ in range(repeats)]


@contextmanager
def _as_wav(samples: Samples) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder:
        path = Path(folder) / "sound.wav"
        _write_wav(path, samples)
        yield path


def time_path(recognizer: Recognizer, samples: Samples, sample_rate: int, clock: Clock = time.perf_counter) -> Timing:
    """Push sound (float32 [n_samples]) through resampler and recognizer by 80 ms, and time each chunk."""
    from edgeseq.sound.audio import resample

    n_chunk = round(CHUNK_SECONDS * sample_rate)
    chunks = (samples[first : first + n_chunk] for first in range(0, len(samples), n_chunk))
    resampled = resample(chunks, sample_rate, recognizer.sample_rate)
    state = recognizer.init_state()
    chunk_ms = []
    while True:
        began = clock()
        chunk = next(resampled, None)
        if chunk is None:
            break
        _, state = recognizer.step(chunk, state)
        chunk_ms.append(1000 * (clock() - began))
    began = clock()
    recognizer.flush(state)
    total = sum(chunk_ms) / 1000 + clock() - began
    return Timing(total / (len(samples) / sample_rate), tuple(chunk_ms))


def measure_weights(network: Network, clock: Clock = time.perf_counter) -> Weights:
    """Time the network alone, and compare with the time that reading its weights would take."""
    metadata = network.metadata
    reads = count_reads(optimized_graph(network.path), steps_a_chunk(metadata))
    chunk = noise_bursts(metadata.chunk_samples / metadata.sample_rate, metadata.sample_rate)[None]
    state = network.init_state()
    rounds = []
    for _ in range(NETWORK_ROUNDS):
        times = []
        for _ in range(NETWORK_CHUNKS):
            began = clock()
            _, state = network.step({AUDIO: chunk}, state)
            times.append(clock() - began)
        rounds.append(median(times))
    seconds = Spread.of(rounds)
    return Weights(
        bytes_a_second=reads.bytes_a_chunk * metadata.sample_rate / metadata.chunk_samples,
        chunk_us=seconds.scaled(1e6),
        gb_per_s=reads.bytes_a_chunk / seconds.median / 1e9,
        cache_gb_per_s=read_bandwidth(reads.distinct_bytes, clock),
        memory_gb_per_s=read_bandwidth(beyond_caches(), clock),
        limit_percent=100 * reads.least_seconds(lambda n_bytes: read_bandwidth(n_bytes, clock)) / seconds.median,
    )


def steps_a_chunk(metadata: ModelMetadata) -> int:
    """Say how often the recurrent layers step for a chunk; a step may give several rows."""
    rows_per_step = metadata.config.get("network", {}).get("rows_per_step", 1)
    return int(max(1, metadata.chunk_samples // metadata.step_samples // rows_per_step))


def time_help(repeats: int = REPEATS) -> float:
    """Give the seconds that `edgeseq --help` takes, median."""
    program = "from edgeseq.cli import main; main()"
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - began)
    return median(seconds)


def model_table(rows: Sequence[ModelRow]) -> str:
    """Lay rows out side by side, one line for each figure, followed by its quartiles."""
    values = [row.to_dict() for row in rows]
    lines = []
    for name in (key for key in values[0] if key != "spread"):
        cells = []
        for value in values:
            low_high = value["spread"].get(name)
            cells.append(f"{value[name]}" + (f" ({low_high[0]}-{low_high[1]})" if low_high else ""))
        lines.append(f"{name:30}" + "".join(f"{cell:>28}" for cell in cells))
    return "\n".join(lines)


def _minute_and_hour(path: Path) -> tuple[float, float]:
    minute, hour = memory_after(path)
    return minute, hour


def _load(path: Path) -> Recognizer:
    return load_recognizer(path)


def _bits(quantization: str) -> int:
    digits = "".join(character for character in quantization if character.isdigit())
    return int(digits or 0)


def _resample(samples: Samples, sample_rate: int) -> Samples:
    import soxr

    return np.asarray(soxr.resample(samples, MICROPHONE_RATE, sample_rate), dtype=np.float32)


def _write_wav(path: Path, samples: Samples) -> None:
    import soundfile

    soundfile.write(path, samples, MICROPHONE_RATE, subtype="PCM_16")
