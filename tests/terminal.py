"""A terminal in memory, in which tests run the real program and see what a person sees."""

from __future__ import annotations

import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fcntl import ioctl

import pytest
from command_line import EDGESEQ

pyte = pytest.importorskip("pyte")


class Terminal:
    """A program with its standard streams in a terminal."""

    def __init__(self, *words: object, columns: int = 80, rows: int = 24, env: Mapping[str, str] | None = None) -> None:
        """Start `edgeseq WORDS`."""
        self.screen = pyte.Screen(columns, rows)
        self.written = b""
        self._stream = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        clean = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        self.process = subprocess.Popen(
            [*EDGESEQ, *map(str, words)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**clean, "TERM": "xterm-256color", **(env or {})},
            start_new_session=True,
        )
        os.close(theirs)

    @property
    def lines(self) -> list[str]:
        """What the screen shows, without empty lines."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    @property
    def last(self) -> str:
        """The last line of the screen."""
        return self.lines[-1] if self.lines else ""

    def watch(self, seconds: float = 60.0) -> Iterator[None]:
        """Yield after each piece that was written, until the program ends."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not select.select([self._ours], [], [], 0.05)[0]:
                if self.process.poll() is not None:
                    return
                continue
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # the other end is closed
                return
            self.written += piece
            self._stream.feed(piece)
            yield
        raise AssertionError(f"not within {seconds:g} s; the screen shows:\n" + "\n".join(self.lines))

    def wait_for(self, text: str, seconds: float = 60.0) -> float:
        """Wait until the screen shows a text; returns the seconds that took."""
        began = time.monotonic()
        pieces = self.watch(seconds)
        while not any(text in line for line in self.lines):
            if next(pieces, self) is self:
                raise AssertionError(f"no {text!r}; the screen shows:\n" + "\n".join(self.lines))
        return time.monotonic() - began

    def end(self, seconds: float = 60.0) -> int:
        """Read to the end; returns the exit code."""
        for _ in self.watch(seconds):
            pass
        return self.process.wait(timeout=30)

    def close(self) -> None:
        """End what is still running."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)


@contextmanager
def terminal(*words: object, **options: object) -> Iterator[Terminal]:
    """Run `edgeseq WORDS` in a terminal."""
    started = Terminal(*words, **options)  # type: ignore[arg-type]
    try:
        yield started
    finally:
        started.close()
