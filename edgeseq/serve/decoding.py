"""Strangers' files, decoded beside the server: a few processes at once, each within its own limits (see decode_process.py)."""

from __future__ import annotations

import asyncio
import os
import struct
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import BinaryIO

import numpy as np

from edgeseq.errors import AudioError
from edgeseq.serve.children import environment
from edgeseq.serve.decode_process import FAULT
from edgeseq.serve.hub import Hub
from edgeseq.serve.limits import BusyError
from edgeseq.sound.blocks import Floats
from edgeseq.untrusted import parse_json

AT_ONCE = 4
"""files that are decoded; others wait"""
TURN_SECONDS = 60.0
"""that a file waits for its turn"""
SILENT_SECONDS = 30.0
"""in which a process must give something"""
MOST_FRAME = 1 << 24
"""bytes"""


class Decoders:
    """Those of a server."""

    def __init__(self, hub: Hub) -> None:
        """Decode for clients of `hub`."""
        self._hub = hub
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def blocks(self, file: BinaryIO, sample_rate: int) -> AsyncGenerator[Floats, None]:
        """Give a file's sound as blocks of mono float32 samples at `sample_rate` Hz, as it is decoded.

        Raises AudioError for what is not sound or takes too much, BusyError when others take too long.
        """
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            raise BusyError("other clients' files are being decoded; try again later.") from None
        try:
            async with aclosing(self._decoded(file, sample_rate)) as blocks:
                async for block in blocks:
                    yield block
        finally:
            self._turns.release()

    async def _decoded(self, file: BinaryIO, sample_rate: int) -> AsyncGenerator[Floats, None]:
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edgeseq.serve.decode_process", str(sample_rate),
            stdin=file, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env=environment(), start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            while (block := await self._next(process.stdout)) is not None:
                if len(block):
                    yield block
        finally:
            _end(process)
            while await process.stdout.read(
                MOST_FRAME
            ):  # `wait` waits for the end of the pipe, which is paused while it is full
                pass
            await process.wait()

    async def _next(self, out: asyncio.StreamReader) -> Floats | None:
        """Read a frame; None for the last."""
        try:
            async with self._hub.patience(SILENT_SECONDS):
                (n_bytes,) = struct.unpack("<I", await out.readexactly(4))
                if n_bytes & ~FAULT > MOST_FRAME:
                    raise AudioError("the file: cannot be decoded here.")
                content = await out.readexactly(n_bytes & ~FAULT)
        except asyncio.IncompleteReadError:
            raise AudioError("the file: takes too much memory or time to be decoded. Send WAV, FLAC, Ogg or MP3.") from None
        if not n_bytes & FAULT:
            return np.frombuffer(content[: len(content) // 4 * 4], "<f4")
        fault = parse_json(content).get("audio")
        if fault is not None:
            raise AudioError(str(fault))
        return None


def _end(process: asyncio.subprocess.Process) -> None:
    """End a process and what it has started."""
    try:
        os.killpg(process.pid, 9)
    except (ProcessLookupError, PermissionError):
        if process.returncode is None:
            process.kill()
