"""How fast one core reads memory: the limit of a recurrent step, which touches every weight and computes little with it."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import numpy as np

from edgeseq.bench.timing import Clock

MEGABYTE = 1 << 20
SMALLEST_BYTES = 1 << 18
"""Below it the call itself would be measured."""
PASS_SECONDS = 0.01
PASSES = 9
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
MEMORY = Path("/proc/meminfo")


def read_bandwidth(n_bytes: int, clock: Clock = time.perf_counter) -> float:
    """Measure how fast a buffer of `n_bytes` is read again and again, 10^9 bytes a second; the median of several passes.

    Reading is numpy's search for the largest byte: one load and one vector instruction for every 16 to 64 bytes.
    """
    buffer = np.ones(max(n_bytes, SMALLEST_BYTES), dtype=np.uint8)  # written, so that its pages are there
    repeats = 1
    while _seconds(buffer, repeats, clock) < PASS_SECONDS:
        repeats *= 2
    return median(len(buffer) * repeats / _seconds(buffer, repeats, clock) for _ in range(PASSES)) / 1e9


def _seconds(buffer: np.ndarray, repeats: int, clock: Clock) -> float:
    began = clock()
    for _ in range(repeats):
        buffer.max()
    return clock() - began


def beyond_caches() -> int:
    """Choose a buffer that no cache holds: four times the last one, 64 MB to 1 GB, at most a quarter of the free memory."""
    wanted = min(max(4 * largest_cache(), 64 * MEGABYTE), 1024 * MEGABYTE)
    return min(wanted, max(free_memory() // 4, MEGABYTE))


def largest_cache() -> int:
    """Ask the system for the size of the largest cache, bytes; 0 if it does not tell."""
    return max((_bytes(path.read_text(encoding="ascii")) for path in CACHES.glob("index*/size")), default=0)


def free_memory() -> int:
    """Ask the system how much memory there is to be had, bytes; plenty if it does not tell."""
    for line in MEMORY.read_text(encoding="ascii").splitlines() if MEMORY.exists() else []:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 4096 * MEGABYTE


def _bytes(size: str) -> int:
    """Read a size as the kernel writes it.

    >>> _bytes("2048K")
    2097152
    """
    number, unit = size.strip()[:-1], size.strip()[-1:]
    return int(number) * {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[unit]
