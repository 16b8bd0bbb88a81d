"""Connections of a listener: so many at once; one more is told so and closed before anything is made for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

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


def at_most(n: int, server: web.Server, refused: Callable[[], None]) -> Callable[[], asyncio.BaseProtocol]:
    """Make connections of an aiohttp server, but not more than `n` at once; `refused` hears of others."""

    def make() -> asyncio.BaseProtocol:
        if len(server.connections) < n:
            return server()
        refused()
        return _Refused()

    return make
