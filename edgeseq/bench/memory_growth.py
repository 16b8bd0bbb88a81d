"""Memory of a recognizer that hears a minute of sound, and an hour, as fast as it can, in a process of its own.

    python -m edgeseq.bench.memory_growth MODEL SECONDS SECONDS...

Prints the process's memory after each amount of sound as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeseq.bench.processes import reason, rss_mb
from edgeseq.bench.sound import CHUNK_SECONDS, noise_bursts
from edgeseq.errors import EdgeseqError

MINUTE, HOUR = 60.0, 3600.0


def memory_after(path: Path, seconds: Sequence[float] = (MINUTE, HOUR)) -> list[float]:
    """Measure the memory after each of `seconds` of sound, ascending, 10^6 bytes, in a process of its own.

    Raises EdgeseqError when that fails.
    """
    command = [sys.executable, "-m", "edgeseq.bench.memory_growth", str(path), *map(str, seconds)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise EdgeseqError(f"the long stream {reason(done.returncode, done.stderr)}")
    return [float(value) for value in json.loads(done.stdout)]


def main(path: str, *seconds: str) -> None:
    """Push sound through, and print a list."""
    from edgeseq.models import load_recognizer

    try:
        recognizer = load_recognizer(path)
    except EdgeseqError as fault:
        sys.exit(str(fault))
    n_chunk = round(CHUNK_SECONDS * recognizer.sample_rate)
    sound = noise_bursts(30.0, recognizer.sample_rate)
    chunks = [np.array(sound[first : first + n_chunk]) for first in range(0, len(sound) - n_chunk + 1, n_chunk)]
    state = recognizer.init_state()
    figures: list[float] = []
    n_done = 0
    for end in map(float, seconds):
        while n_done * CHUNK_SECONDS < end:
            _, state = recognizer.step(chunks[n_done % len(chunks)], state)
            n_done += 1
        figures.append(rss_mb())
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
