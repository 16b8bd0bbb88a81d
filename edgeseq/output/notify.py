"""Telling systemd how a service is: ready, at work, ending. Without systemd nothing is sent.

The protocol is a datagram of lines to the socket named in the environment (man sd_notify).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

DEFAULT_SECONDS = 20.0
"""between two signs of life where no watchdog waits for them"""


def notify(*lines: str) -> None:
    """Send lines such as `READY=1` to the program that started this one, if it listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.connect("\0" + address[1:] if address.startswith("@") else address)
        out.send("\n".join(lines).encode(errors="replace"))


def watchdog_seconds() -> float:
    """Time between two signs of life: half of what the watchdog waits for."""
    given = os.environ.get("WATCHDOG_USEC", "")
    return int(given) / 2e6 if given.isdigit() and int(given) else DEFAULT_SECONDS


def alive_while(items: Iterable[T]) -> Iterator[T]:
    """Pass items on, and tell the watchdog now and then that they are taken; it hears nothing from a program that hangs."""
    every, told = watchdog_seconds(), float("-inf")
    for item in items:
        now = time.monotonic()
        if now - told >= every:
            told = now
            notify("WATCHDOG=1")
        yield item
