"""Ctrl-C and SIGTERM as a normal end: the last words are still printed."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from edgeseq.errors import AudioError


@dataclass
class Stop:
    """Whether someone asked the command to end."""

    requested: bool = False


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Turn the first Ctrl-C or SIGTERM into a request; a second one interrupts at once."""
    stop = Stop()

    def request(signum: int, frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    before: dict[int, Any] = {s: signal.signal(s, request) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def until(blocks: Iterable[Any], stop: Stop) -> Iterator[Any]:
    """Pass on blocks of sound until a stop is requested; sources give empty ones while they wait.

    In `arecord | edgeseq listen` Ctrl-C ends both at once: then the end of the sound is not a fault.
    """
    source = iter(blocks)
    try:
        while not stop.requested:
            try:
                block = next(source, None)
            except AudioError:
                if stop.requested:
                    return
                raise
            if block is None:
                return
            yield block
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()
