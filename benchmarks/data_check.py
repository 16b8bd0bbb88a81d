"""How fast `edgeseq data check` is on generated files: headers per second, and decoded sound against real time.

    python -m benchmarks.data_check [N_FILES]

The sound is noise that comes and goes like syllables. Noise is hardest for FLAC, so speech decodes faster. The benchmark counts
processor time of one process, because the machine may have other work; files are in the system's cache.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import soundfile

from edgeseq.data.check import check
from edgeseq.data.manifest import Recording, write_manifest

RATE = 16_000
SECONDS = (4.0, 8.0)
N_FILES = 1000
PASSES = 3
FORMATS = {"wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}


def make_files(folder: Path, suffix: str, n_files: int) -> tuple[Path, float]:
    """Write files that differ in sound and length, and their manifest; returns it and all their seconds."""
    random = np.random.default_rng(0)
    recordings = []
    for number in range(n_files):
        n_samples = int(RATE * random.uniform(*SECONDS))
        syllables = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * np.arange(n_samples) / RATE)
        path = folder / f"{number:06d}.{suffix}"
        soundfile.write(path, 0.03 * syllables * random.standard_normal(n_samples), RATE, subtype=FORMATS[suffix])
        recordings.append(Recording(path, n_samples / RATE, "what somebody said for some seconds", speaker=f"s{number % 100}"))
    write_manifest(folder / "manifest.jsonl", recordings)
    return folder / "manifest.jsonl", sum(recording.duration for recording in recordings)


def seconds_to_check(manifest: Path, decode: bool) -> float:
    """Processor time of a check; the median of some passes."""

    def once() -> float:
        began = time.process_time()
        check(manifest, decode=decode, jobs=1)
        return time.process_time() - began

    return median(once() for _ in range(PASSES))


def main() -> None:
    """Print a line a format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n_files", nargs="?", type=int, default=N_FILES, help="of each format; default: %(default)s")
    n_files = parser.parse_args().n_files
    print(f"{n_files:,} files of {SECONDS[0]:g} to {SECONDS[1]:g} s at {RATE} Hz, one process")
    for suffix in FORMATS:
        with tempfile.TemporaryDirectory() as folder:
            manifest, sound_seconds = make_files(Path(folder), suffix, n_files)
            headers, decoded = seconds_to_check(manifest, False), seconds_to_check(manifest, True)
        print(f"{suffix:5} headers {n_files / headers:8,.0f} files/s   decoded {sound_seconds / decoded:8,.0f}x real time")


if __name__ == "__main__":
    main()
