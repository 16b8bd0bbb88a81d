"""Memory that clients needed is given back to the system when they are gone."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""of glibc's malloc.h"""
LARGE_BYTES = 128 << 10
"""Blocks from this size on are the system's, and so is what is free at the heap's end beyond it."""
ARENAS = 2
"""heaps, between which threads are divided"""


def give_memory_back() -> None:
    """Hold glibc to its first thresholds, which it raises with the largest block freed: a busy hour would be kept for ever.

    Does nothing with other C libraries. Call it before there are threads.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in ((M_MMAP_THRESHOLD, LARGE_BYTES), (M_TRIM_THRESHOLD, LARGE_BYTES), (M_ARENA_MAX, ARENAS)):
        mallopt(parameter, value)
