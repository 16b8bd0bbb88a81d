"""A manifest as training draws from it: where each line begins, eight bytes a recording; lines are read as they are drawn."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeseq.data.manifest import BYTE_ORDER_MARK, Recording, parse_line, scan_manifest
from edgeseq.errors import ManifestError

RECENT_RECORDINGS = 4096
"""Kept in memory: a batch asks for each of its recordings several times, and a small corpus comes again."""


class Recordings(Protocol):
    """Recordings by number, in memory or not."""

    def __len__(self) -> int:
        """Count them."""

    def __getitem__(self, number: int, /) -> Recording:
        """Give one."""

    def __iter__(self) -> Iterator[Recording]:
        """Go through all of them."""


class ManifestIndex:
    """The recordings of a manifest, left in the file."""

    def __init__(self, path: Path, begins: NDArray[np.int64], version: tuple[int, int], allow_empty_text: bool = False) -> None:
        """Name the file, the bytes at which lines begin, `[n_recordings]`, and its size and time of change."""
        self.path, self.begins, self._version, self._allow_empty_text = path, begins, version, allow_empty_text
        self._recent: dict[int, Recording] = {}

    @classmethod
    def of(cls, path: Path, *, allow_empty_text: bool = False) -> ManifestIndex:
        """Go once through a manifest; raises ManifestError that names every fault (see `read_manifest`)."""
        begins = array("q", (begin for begin, _ in scan_manifest(path, allow_empty_text=allow_empty_text)))
        with path.open("rb") as file:
            return cls(path, np.array(begins, dtype=np.int64), _version(file), allow_empty_text)

    def __len__(self) -> int:
        """Count the recordings."""
        return len(self.begins)

    def __getitem__(self, number: int, /) -> Recording:
        """Read one recording's line, or take it from memory. Raises ManifestError if the file has changed."""
        if number not in self._recent:
            if len(self._recent) == RECENT_RECORDINGS:
                self._recent.clear()
            with self._open() as file:
                self._recent[number] = self._read(file, int(self.begins[number]))
        return self._recent[number]

    def __iter__(self) -> Iterator[Recording]:
        """Read all lines."""
        with self._open() as file:
            for begin in self.begins:
                yield self._read(file, int(begin))

    def texts(self) -> Iterator[str]:
        """Read all texts, without looking at the other keys."""
        with self._open() as file:
            for begin in self.begins:
                file.seek(int(begin))
                yield json.loads(file.readline().decode().lstrip(BYTE_ORDER_MARK)).get("text", "")

    def take(self, numbers: NDArray[np.int64]) -> ManifestIndex:
        """Keep the recordings of these numbers, in this order."""
        return ManifestIndex(self.path, self.begins[numbers], self._version, self._allow_empty_text)

    def _open(self) -> BufferedReader:
        try:
            file = self.path.open("rb")
        except OSError as fault:
            raise ManifestError(
                f"{self.path}: cannot be read any more ({fault.strerror}). Training needs it to its end."
            ) from None
        if _version(file) != self._version:
            file.close()
            raise ManifestError(
                f"{self.path}: has changed since the training began. It reads recordings from it as it draws them.\n"
                "  Put the old file back and continue with --resume; keep what a training reads apart from what you edit."
            )
        return file

    def _read(self, file: BufferedReader, begin: int) -> Recording:
        file.seek(begin)
        return parse_line(file.readline().decode(), self.path.parent, self._allow_empty_text)


def _version(file: BufferedReader) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def take(recordings: Recordings, numbers: NDArray[np.int64]) -> Recordings:
    """Keep the recordings of these numbers, in this order; those of a manifest stay in their file."""
    if isinstance(recordings, ManifestIndex):
        return recordings.take(numbers)
    return tuple(recordings[int(number)] for number in numbers)
