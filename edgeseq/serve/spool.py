"""Where files that clients send are kept while they are heard: on a disk, if there is one; counted, if it is memory after all.

The usual folder for temporary files is memory on many boards (tmpfs). `TMPDIR` is obeyed; without it a folder on a disk is
searched for. A full disk costs the file, and the client gets a message.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from edgeseq.serve.limits import BusyError, FullDiskError, Limits

log = logging.getLogger(__name__)

T = TypeVar("T")

FOLDERS = ("/tmp", "/var/tmp")
MEMORY = ("tmpfs", "ramfs")
"""Kinds of file systems that are memory."""
MEMORY_SHARE = 16
"""One part in this many of the memory that a server may take may hold files."""
WRITERS = 2
"""threads that wait for the disk"""


class Spool:
    """A folder, and how much of it is taken."""

    def __init__(self, limits: Limits) -> None:
        """Choose a folder."""
        self.folder = choose_folder()
        self.is_memory = in_memory(self.folder)
        self._most_bytes = max(limits.upload_bytes, limits.memory_bytes // MEMORY_SHARE)
        self._threads = ThreadPoolExecutor(WRITERS, "edgeseq-spool")
        self.n_bytes = 0
        """of all files that are kept"""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SpoolFile]:
        """Keep a file, which is gone when this ends. Raises FullDiskError."""
        file = None
        try:
            opened = await self.call(partial(tempfile.TemporaryFile, dir=self.folder))
            file = SpoolFile(self, cast(BinaryIO, opened))
            yield file
        finally:
            if file is not None:
                file.close()

    def take(self, n_bytes: int) -> None:
        """Count what is written. Raises BusyError where files would fill the memory."""
        if self.is_memory and self.n_bytes + n_bytes > self._most_bytes:
            raise BusyError("this server has no memory for another file; try again later.")
        self.n_bytes += n_bytes

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Let a thread do what may wait for the disk. Raises FullDiskError where there is no room."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        except OSError as fault:
            log.error("a file cannot be kept in %s: %s", self.folder, fault.strerror or fault)
            raise FullDiskError("this server has no room on its disk for the file; try again later.") from None


class SpoolFile:
    """One client's file."""

    def __init__(self, spool: Spool, file: BinaryIO) -> None:
        """Made by `Spool.open`."""
        self._spool, self.file, self._n_bytes = spool, file, 0

    async def write(self, piece: bytes) -> None:
        """Append. Raises BusyError and FullDiskError."""
        self._spool.take(len(piece))
        self._n_bytes += len(piece)
        await self._spool.call(self.file.write, piece)

    async def flush(self) -> None:
        """Give all to the system. Raises FullDiskError."""
        await self._spool.call(self.file.flush)

    def close(self) -> None:
        """Give its room back."""
        self._spool.n_bytes -= self._n_bytes
        try:
            self.file.close()
        except OSError as fault:  # what waited could not be written
            log.debug("closing a file: %s", fault)


def choose_folder() -> Path:
    """Give the folder that TMPDIR names, or the first of the usual ones that is no memory, or else the first."""
    if named := os.environ.get("TMPDIR"):
        return Path(named)
    usual = [Path(folder) for folder in FOLDERS if os.access(folder, os.W_OK | os.X_OK)]
    return next((folder for folder in usual if not in_memory(folder)), usual[0] if usual else Path(tempfile.gettempdir()))


def in_memory(folder: Path) -> bool:
    """Tell whether a folder is memory; False where the system does not say."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        real = folder.resolve()
    except OSError:
        return False
    mounts = {fields[4]: line.partition(" - ")[2].split(" ")[0] for line in lines if len(fields := line.split(" ")) > 5}
    return next((mounts[str(place)] in MEMORY for place in (real, *real.parents) if str(place) in mounts), False)
