"""A bounded ring of blocks in memory that two processes share: one writes and never waits, one reads and sees what it missed.

A slot is a header and a block. The writer numbers blocks from 0 over the whole life of the memory; block `n` lies in slot
`n % n_slots`. It announces each block only after it is written (through a pipe, which also orders the memory of the two), so
a reader that knows of a block finds it whole, or finds another number in its slot: then it was overwritten.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from dataclasses import dataclass
from typing import Any

HEADER = struct.Struct("<QQdQ")
"""number of the block plus 1 (0: nothing yet), first sample, time, number of overruns so far"""
MARGIN = 2
"""slots behind the writer that count as overwritten, for it may be at work there"""


@dataclass(frozen=True)
class RingLayout:
    """How the memory is divided."""

    n_slots: int
    block_bytes: int

    @property
    def slot_bytes(self) -> int:
        """Header and block, to a multiple of 8."""
        return HEADER.size + (self.block_bytes + 7) // 8 * 8

    @property
    def n_bytes(self) -> int:
        """Size of the whole."""
        return self.n_slots * self.slot_bytes


@dataclass(frozen=True)
class Slot:
    """A block as it was written."""

    sample: int
    """number of its first sample since its stream was opened"""
    time: float
    """seconds of the machine's steady clock at which that sample was recorded"""
    n_overruns: int
    """that the sound system has reported since then"""
    content: bytes


def shared_memory() -> int:
    """Make empty memory without a name, for a child process to inherit; returns its file descriptor."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("edgeseq")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Ring:
    """The memory, from either side."""

    def __init__(self, descriptor: int, layout: RingLayout) -> None:
        """Map the memory behind a file descriptor; it grows where it is too small, and never shrinks under a reader."""
        if os.fstat(descriptor).st_size < layout.n_bytes:
            os.ftruncate(descriptor, layout.n_bytes)
        self.layout = layout
        self._memory = mmap.mmap(descriptor, layout.n_bytes)

    def write(self, number: int, sample: int, time: float, n_overruns: int, content: Any) -> None:
        """Put block `number` into its slot; `content` is any buffer of `block_bytes` bytes."""
        at = number % self.layout.n_slots * self.layout.slot_bytes
        HEADER.pack_into(self._memory, at, 0, sample, time, n_overruns)
        self._memory[at + HEADER.size : at + HEADER.size + self.layout.block_bytes] = content
        HEADER.pack_into(self._memory, at, number + 1, sample, time, n_overruns)

    def read(self, number: int) -> Slot | None:
        """Copy block `number`; None if a later one has taken its slot."""
        at = number % self.layout.n_slots * self.layout.slot_bytes
        mark, sample, time, n_overruns = HEADER.unpack_from(self._memory, at)
        content = self._memory[at + HEADER.size : at + HEADER.size + self.layout.block_bytes]
        if mark != number + 1 or HEADER.unpack_from(self._memory, at)[0] != mark:
            return None
        return Slot(sample, time, n_overruns, content)

    def oldest(self, newest: int) -> int:
        """Number of the oldest block that can still be read once `newest` is written."""
        return max(0, newest + 1 - (self.layout.n_slots - MARGIN))

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()
