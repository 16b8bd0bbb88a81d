"""What clients say, kept as WAV files, where `--save-audio` asks for it: written by a thread of its own.

A full or slow disk costs the file, never the stream.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
import wave
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO

from edgeseq.serve.pcm import to_pcm16
from edgeseq.sound.blocks import Floats

log = logging.getLogger(__name__)

STOP_SECONDS = 2.0
"""for what waits to be written when the server ends"""
MOST_WAITING = 1000
"""Pieces of sound that may wait for the disk, of all streams; more are not kept."""


class SoundKeeper:
    """A folder, and the thread that writes into it."""

    def __init__(self, folder: Path) -> None:
        """Keep files in `folder`; begin with `start`."""
        self.folder = folder
        self._numbers = count(1)
        self._pieces: queue.Queue[tuple[KeptSound, bytes | None] | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._write, name="edgeseq-sound", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and end; a disk that is stuck is left after STOP_SECONDS."""
        deadline = time.monotonic() + STOP_SECONDS
        with suppress(queue.Full):
            self._pieces.put(None, timeout=STOP_SECONDS)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            log.error(
                "sound is not kept in %s: the disk does not answer; %d pieces are lost", self.folder, self._pieces.qsize()
            )

    def open(self, protocol: str, rate: int) -> KeptSound:
        """Name the file of a stream; it is made with the first sound. Nothing of a client's is part of the name."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        return KeptSound(self, self.folder / f"{moment}-{protocol}-{next(self._numbers):06d}.wav", rate)

    def hand_over(self, sound: KeptSound, content: bytes | None) -> None:
        """Let the thread write a piece, or close with None; does not wait."""
        try:
            self._pieces.put_nowait((sound, content))
        except queue.Full:
            sound.give_up("the disk is too slow")

    def _write(self) -> None:
        while (piece := self._pieces.get()) is not None:
            sound, content = piece
            sound.write(content)


class KeptSound:
    """The file of one stream."""

    def __init__(self, keeper: SoundKeeper, path: Path, rate: int) -> None:
        """Write 16-bit mono at `rate` Hz to `path`."""
        self._keeper, self.path, self._rate = keeper, path, rate
        self._file: BinaryIO | None = None
        self._wave: wave.Wave_write | None = None
        self._failed = False

    def hear(self, samples: Floats) -> None:
        """Keep samples, float32 `[n_samples]`; does not wait."""
        if not self._failed and len(samples):
            self._keeper.hand_over(self, to_pcm16(samples))

    def close(self) -> None:
        """End the file; does not wait."""
        self._keeper.hand_over(self, None)

    def give_up(self, why: str) -> None:
        """Keep no more of this stream."""
        if not self._failed:
            self._failed = True
            log.error("sound is not kept any more in %s: %s", self.path, why)

    def write(self, content: bytes | None) -> None:
        """Write a piece, or end; in the keeper's thread."""
        try:
            if content is None:
                self._end()
            elif not self._failed:
                self._opened().writeframesraw(content)
        except OSError as fault:
            self.give_up(fault.strerror or str(fault))
            self._drop()

    def _opened(self) -> wave.Wave_write:
        if self._wave is None:
            self._file = os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
            self._wave = wave.open(self._file, "wb")  # noqa: SIM115  # closed when the stream ends
            self._wave.setparams((1, 2, self._rate, 0, "NONE", ""))
        return self._wave

    def _end(self) -> None:
        if self._wave is not None:
            self._wave.close()
        if self._file is not None:
            self._file.close()
        self._wave = self._file = None

    def _drop(self) -> None:
        """Close a file that cannot be written to its end."""
        try:
            self._end()
        except OSError:
            self._wave = self._file = None
