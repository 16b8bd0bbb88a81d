"""Memory of a training: how much of the machine's is left, and pages that are used again."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

MEMORY = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")
"""A container's own, seen from within (control groups, version 2)."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""As glibc's malloc.h numbers them."""
KEPT_BYTES = 1 << 30


def share_left() -> float | None:
    """Ask how much of the memory can still be had, in [0, 1], of the machine's or the container's; None if nothing tells."""
    try:
        lines = (line.split() for line in MEMORY.read_text(encoding="ascii").splitlines())
        kilobytes = {line[0]: int(line[1]) for line in lines}
        left = kilobytes["MemAvailable:"] / kilobytes["MemTotal:"]
    except (OSError, KeyError, ValueError, IndexError):
        return None
    return min(left, _left_of_container())


def _left_of_container() -> float:
    try:
        most, used = (int((GROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no container, or one without a bound ("max")
        return 1.0
    return max(0.0, 1 - used / max(1, most))


def reuse_pages() -> None:
    """Let glibc keep what tensors give back instead of returning it to the kernel.

    Otherwise each tensor above 32 MB gets fresh pages, and the kernel fills them with zeros before they are written: a quarter
    of the time of a recurrent layer. Other C libraries are left alone.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
