"""Speed, latency and memory of a model on this machine: what `edgeseq listen` and `edgeseq transcribe` cost.

The whole path is timed: sound at 48 kHz, 80 ms at a time as a microphone gives it, resampled to the model's
rate, through the network to words. Start and memory are those of whole processes.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from edgeseq.errors import EdgeseqError

if TYPE_CHECKING:
    from edgeseq.data.clips import Samples
    from edgeseq.recognizer import Recognizer

MICROPHONE_RATE = 48_000
"""Hz; what USB microphones give"""
CHUNK_SECONDS = 0.08
REPEATS = 5
"""Of each measurement; the median counts, of the worst chunk the largest."""
START_CLIP_SECONDS = 1.0
PROCESS_SECONDS = 600.0
"""Longest that a measured process may take."""

Progress = Callable[[int, int], None]
"""Called with the number of measurements done and to do."""

CHILD = """
import atexit, sys
def tell_memory():
    with open("/proc/self/status") as status:
        sys.stderr.write("".join(line for line in status if line.startswith("VmHWM:")))
atexit.register(tell_memory)
from edgeseq.cli import main
main()
"""
"""Runs the command line and ends by telling its largest memory.

The kernel's figure for a child (wait4) will not do: until its exec a child counts as large as its parent.
"""


@dataclass(frozen=True)
class Timing:
    """One pass over the sound, through the whole path."""

    rtf: float
    """compute time by time of sound"""
    chunk_ms: tuple[float, ...]
    """time of each chunk of 80 ms"""


@dataclass(frozen=True)
class ProcessFigures:
    """One run of a whole process."""

    seconds: float
    """from its start to its first line of output, or its end if it says nothing"""
    peak_rss_mb: float
    """10^6 bytes"""


@dataclass(frozen=True)
class Row:
    """Figures of one model file in one runtime."""

    runtime: str
    bits: int
    model: str
    rtf: float
    """whole path, resampling from 48 kHz included"""
    rtf_without_resampling: float
    p50_ms: float
    """of 80 ms chunks, whole path"""
    p99_ms: float
    worst_ms: float
    start_seconds: float
    """from the start of `edgeseq transcribe` to the words of a second of sound"""
    peak_rss_mb: float
    """largest memory of `edgeseq transcribe`, whole process, 10^6 bytes"""
    file_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `edgeseq bench --json` prints them."""
        digits = {"rtf": 5, "rtf_without_resampling": 5, "start_seconds": 3, "peak_rss_mb": 1}
        return {
            key: round(value, digits.get(key, 3)) if isinstance(value, float) else value for key, value in asdict(self).items()
        }


def bench_model(
    path: Path,
    seconds: float = 60.0,
    sound: Path | None = None,
    *,
    repeats: int = REPEATS,
    on_progress: Progress = lambda done, total: None,
) -> Row:
    """Measure the model file `path` on `seconds` of sound: of the file `sound`, repeated, or bursts of noise.

    Raises ModelError or AudioError for a file that cannot be used, EdgeseqError when a process fails.
    """
    samples = make_sound(seconds, sound)
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder:
        long, short = Path(folder) / "long.wav", Path(folder) / "short.wav"
        _write_wav(long, samples)
        _write_wav(short, samples[: round(START_CLIP_SECONDS * MICROPHONE_RATE)])
        starts = [run_process(["transcribe", "--model", str(path), str(short)]) for _ in range(repeats)]
        on_progress(1, 3)
        whole = run_process(["transcribe", "--model", str(path), str(long)])
        on_progress(2, 3)
    recognizer = _load(path)
    timings = [time_path(recognizer, samples, MICROPHONE_RATE) for _ in range(repeats)]
    resampled = _resample(samples, recognizer.sample_rate)
    direct = [time_path(recognizer, resampled, recognizer.sample_rate) for _ in range(repeats)]
    on_progress(3, 3)
    return Row(
        runtime="edgeseq",
        bits=32 if recognizer.metadata.quantization == "float32" else _bits(recognizer.metadata.quantization),
        model=recognizer.metadata.name,
        rtf=median(timing.rtf for timing in timings),
        rtf_without_resampling=median(timing.rtf for timing in direct),
        p50_ms=median(percentile(timing.chunk_ms, 50) for timing in timings),
        p99_ms=median(percentile(timing.chunk_ms, 99) for timing in timings),
        worst_ms=max(max(timing.chunk_ms) for timing in timings),
        start_seconds=median(start.seconds for start in starts),
        peak_rss_mb=whole.peak_rss_mb,
        file_bytes=path.stat().st_size,
    )


def time_path(recognizer: Recognizer, samples: Samples, sample_rate: int) -> Timing:
    """Push sound (float32 [n_samples]) through resampler and recognizer by 80 ms, and time each chunk."""
    from edgeseq.audio import resample

    n_chunk = round(CHUNK_SECONDS * sample_rate)
    chunks = (samples[first : first + n_chunk] for first in range(0, len(samples), n_chunk))
    resampled = resample(chunks, sample_rate, recognizer.sample_rate)
    state = recognizer.init_state()
    chunk_ms = []
    while True:
        began = time.perf_counter()
        chunk = next(resampled, None)
        if chunk is None:
            break
        _, state = recognizer.step(chunk, state)
        chunk_ms.append(1000 * (time.perf_counter() - began))
    began = time.perf_counter()
    recognizer.flush(state)
    total = sum(chunk_ms) / 1000 + time.perf_counter() - began
    return Timing(total / (len(samples) / sample_rate), tuple(chunk_ms))


def run_process(arguments: Sequence[str]) -> ProcessFigures:
    """Run `edgeseq ARGUMENTS` in a process of its own. Raises EdgeseqError with what it said if it fails."""
    command = [sys.executable, "-c", CHILD, *arguments]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None, "asked for as a pipe"
        process.stdout.readline()
        seconds = time.perf_counter() - began
        try:
            _, said = process.communicate(timeout=PROCESS_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise EdgeseqError(f"edgeseq {' '.join(arguments)}: did not end in {PROCESS_SECONDS:.0f} s.") from None
    if process.returncode:
        raise EdgeseqError(f"edgeseq {' '.join(arguments)}: ended with code {process.returncode}.\n  {said.strip()}")
    return ProcessFigures(seconds, _peak_rss_mb(said))


def time_help(repeats: int = REPEATS) -> float:
    """Give the seconds that `edgeseq --help` takes, median."""
    program = "from edgeseq.cli import main; main()"
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - began)
    return median(seconds)


def make_sound(seconds: float, source: Path | None = None) -> Samples:
    """Give `seconds` of sound, float32 [n_samples], 48 kHz: a file, repeated, or bursts of noise."""
    import numpy as np

    n_samples = round(seconds * MICROPHONE_RATE)
    if source is not None:
        from edgeseq.audio import read_blocks

        once = np.concatenate(list(read_blocks(source, MICROPHONE_RATE)))
        return np.resize(once, n_samples)
    noise = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
    spoken = np.arange(n_samples) / MICROPHONE_RATE % 0.6 < 0.4
    return np.where(spoken, 0.1 * noise, 1e-3 * noise).astype(np.float32)


def machine() -> dict[str, Any]:
    """Say what the figures were measured on."""
    from importlib.metadata import version

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": version("onnxruntime"),
    }


def to_json(rows: Sequence[Row], help_seconds: float) -> str:
    """Give all figures as one JSON object."""
    return json.dumps(
        {
            "rows": [row.to_dict() for row in rows],
            "help_seconds": round(help_seconds, 3),
            "machine": machine(),
        }
    )


def to_table(rows: Sequence[Row]) -> str:
    """Lay rows out side by side, a line for each figure."""
    values = [row.to_dict() for row in rows]
    lines = []
    for name in (field.name for field in fields(Row)):
        lines.append(f"{name:24}" + "".join(f"{value[name]!s:>16}" for value in values))
    return "\n".join(lines)


def percentile(values: Sequence[float], percent: float) -> float:
    """Give the value that `percent` of the values do not exceed.

    >>> percentile([4.0, 1.0, 3.0, 2.0], 50)
    2.0
    """
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * percent // 100) - 1)]


def _load(path: Path) -> Recognizer:
    import edgeseq

    return edgeseq.load(path)


def _bits(quantization: str) -> int:
    digits = "".join(character for character in quantization if character.isdigit())
    return int(digits or 0)


def _resample(samples: Samples, sample_rate: int) -> Samples:
    import numpy as np
    import soxr

    return np.asarray(soxr.resample(samples, MICROPHONE_RATE, sample_rate), dtype=np.float32)


def _write_wav(path: Path, samples: Samples) -> None:
    import soundfile

    soundfile.write(path, samples, MICROPHONE_RATE, subtype="PCM_16")


def _peak_rss_mb(status: str) -> float:
    """Find the child's own figure, such as `VmHWM:    55000 kB`."""
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise EdgeseqError("the system does not tell a process's largest memory (VmHWM in /proc/self/status).")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.machine()
