"""The one way to open a file of sound: by what it holds, whatever its name or its header says.

Everything that reads recordings (transcribing, serving, checking, training, evaluating) opens them here, so all of them agree
about files that are unfinished, empty or cut, and about names that are no text.
"""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, cast

import soundfile

from edgeseq.errors import AudioError
from edgeseq.sound import wav
from edgeseq.sound.containers import Kind, hidden_kind, recognize
from edgeseq.sound.wav import SampleLayout

HEAD_BYTES = 4096
TAIL_BYTES = 1 << 16
"""looked at behind the samples of a WAV"""
UNKNOWN_LENGTH = ("MP3", "OGG")
"""Formats whose number of samples soundfile estimates."""


class UnreadableError(AudioError):
    """A file that soundfile does not read; perhaps ffmpeg does, or it is raw."""

    def __init__(self, message: str, reason: str, kind: Kind | None = None) -> None:
        """Say so: `reason` is soundfile's, `kind` what the file's beginning looks like, None for what may be raw samples."""
        super().__init__(message)
        self.reason, self.kind = reason, kind


class SoundFile(soundfile.SoundFile):
    """An open file of sound, with what its header says beside what there is; closes all that it opened."""

    def __init__(self, file: BinaryIO, layout: SampleLayout | None, behind: str = "") -> None:
        """Read `file`, and own it; `layout` is that of a WAV.

        Where its header, or what lies behind its samples, would confuse soundfile, that is given the samples alone.
        """
        self.behind = behind
        """what lies behind the samples that the header promises, and may be sound; "" for nothing"""
        self.n_header = 0 if layout is None else layout.n_promised
        """samples that a WAV's header promises, 0 if it does not say; soundfile cuts their number to what is there"""
        self._owned: list[BinaryIO] = [file]
        if layout is not None and (layout.n_bytes is None or behind):
            window = _Window(file, layout)
            super().__init__(window, "r", layout.rate, layout.n_channels, subtype=layout.subtype, format="RAW", endian="LITTLE")
        else:
            descriptor = _descriptor(file)
            file.seek(0)
            super().__init__(file if descriptor is None else descriptor, closefd=False)

    @property
    def n_promised(self) -> int:
        """Samples of each channel that the header promises; 0 where that is an estimate."""
        return 0 if self.format in UNKNOWN_LENGTH else max(self.frames, self.n_header)

    def close(self) -> None:
        """Close it, and the file beneath."""
        super().close()
        while self._owned:
            self._owned.pop().close()


def open_sound(source: str | os.PathLike[str] | int | BinaryIO, name: str | None = None) -> SoundFile:
    """Open sound: a file by its name, an open descriptor (which stays open), or bytes in memory.

    `name` is what messages call it. Raises UnreadableError for what soundfile does not read, AudioError for a file that is
    not there, empty, or no file.
    """
    name = name or (str(source) if isinstance(source, str | os.PathLike) else "the file")
    try:
        file = _open_bytes(source)
    except OSError as fault:
        raise AudioError(f"{name}: cannot be opened ({fault.strerror}). Check the name.") from fault
    except ValueError as fault:  # a zero byte within
        raise AudioError(f"{name}: no name of a file ({fault}).") from fault
    opened = None
    try:
        _check_file(file, name)
        opened = _open(file, name)
    finally:
        if opened is None:
            file.close()
    return opened


def check_path(path: str | os.PathLike[str]) -> os.stat_result:
    """Raise AudioError for what cannot be opened as a file or a pipe; gives its status."""
    try:
        status = Path(path).stat()
    except OSError as fault:
        raise AudioError(f"{path}: cannot be opened ({fault.strerror}). Check the name.") from fault
    except ValueError as fault:
        raise AudioError(f"{path!r}: no name of a file ({fault}).") from fault
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"{path}: a folder; wanted a sound file.")
    if not os.access(path, os.R_OK):
        raise AudioError(f"{path}: may not be read by you (permission denied).")
    return status


def _open_bytes(source: str | os.PathLike[str] | int | BinaryIO) -> BinaryIO:
    if isinstance(source, int):
        return os.fdopen(os.dup(source), "rb")
    return Path(source).open("rb") if isinstance(source, str | os.PathLike) else source


def _descriptor(file: BinaryIO) -> int | None:
    try:
        return file.fileno()
    except (OSError, AttributeError):
        return None


def _check_file(file: BinaryIO, name: str) -> None:
    if _size(file) == 0:
        raise AudioError(f"{name}: an empty file (0 bytes). Record or copy it again.")


def _size(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def _open(file: BinaryIO, name: str) -> SoundFile:
    size = _size(file)
    file.seek(0)
    head = file.read(HEAD_BYTES)
    layout, behind = None, ""
    if wav.is_wav(head):
        head += file.read(wav.MAX_HEADER_BYTES)
        layout = _layout(head, size, name)
        behind = _behind(file, layout, size)
    try:
        return SoundFile(file, layout, behind)
    except soundfile.SoundFileError as fault:
        reason = str(getattr(fault, "error_string", fault)).rstrip(".")
        kind = recognize(head) or hidden_kind(head[:HEAD_BYTES])
        raise UnreadableError(f"{name}: cannot be read as sound ({reason}).", reason, kind) from fault


def _layout(head: bytes, size: int, name: str) -> SampleLayout | None:
    """Give the layout of a WAV, None where soundfile or ffmpeg may know better."""
    try:
        layout = wav.find_layout(head, name)
    except AudioError:
        return None
    return None if layout is None else layout.within(size)


def _behind(file: BinaryIO, layout: SampleLayout | None, size: int) -> str:
    if layout is None or layout.n_bytes is None:
        return ""
    end = layout.offset + layout.n_bytes + layout.n_bytes % 2
    if end >= size:
        return ""
    file.seek(end)
    return wav.left_behind(file.read(TAIL_BYTES), size - end)


class _Window(io.RawIOBase):
    """The samples of a WAV, as a file of their own."""

    def __init__(self, file: BinaryIO, layout: SampleLayout) -> None:
        super().__init__()
        self._file, self._first, self._at = file, layout.offset, 0
        n_there = max(0, _size(file) - layout.offset)
        n_meant = n_there if layout.n_bytes is None else min(n_there, layout.n_bytes)
        self._n = n_meant // layout.frame_bytes * layout.frame_bytes

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._first + self._at)
        n = self._file.readinto(memoryview(buffer)[: max(0, self._n - self._at)])  # type: ignore[attr-defined]
        self._at += n
        return cast(int, n)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._n}[whence]
        self._at = max(0, begin + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
