"""Connections of a listener: so many at once; one more is told so and closed before anything is made for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast
from weakref import WeakSet

if TYPE_CHECKING:
    from aiohttp import web

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"


class _Refused(asyncio.Protocol):
    """Says that there is no room, and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer before the client has said anything."""
        out = cast(asyncio.Transport, transport)
        out.write(BUSY)
        out.close()


class _Counted(asyncio.Protocol):
    """A connection that counts from when it is taken, before any handshake, until it is lost or forgotten."""

    def __init__(self, inner: asyncio.Protocol, counted: WeakSet[_Counted]) -> None:
        self._counted = counted
        self._lost = inner.connection_lost
        self.connection_made = inner.connection_made  # type: ignore[method-assign]
        self.data_received = inner.data_received  # type: ignore[method-assign]
        self.eof_received = inner.eof_received  # type: ignore[method-assign]
        self.pause_writing = inner.pause_writing  # type: ignore[method-assign]
        self.resume_writing = inner.resume_writing  # type: ignore[method-assign]
        counted.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count no more."""
        self._counted.discard(self)
        self._lost(exc)


def at_most(n: int, server: web.Server, refused: Callable[[], None]) -> Callable[[], asyncio.Protocol]:
    """Make connections of an aiohttp server, but not more than `n` at once; `refused` hears of others."""
    counted: WeakSet[_Counted] = WeakSet()

    def make() -> asyncio.Protocol:
        if len(counted) < n:
            return _Counted(server(), counted)
        refused()
        return _Refused()

    return make
