"""Connections of a listener: a number at once, and from one address no more than a share; each comes back when it ends.

A connection holds a slot from when it is taken to when it is lost, whatever state it is in: also within a TLS handshake that
never ends. One that is not at work (no request, no stream) gives way when there is no slot left: the one that has said
nothing for longest, of the address that has most. So those who open connections and say nothing lock nobody out.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from asyncio.sslproto import SSLProtocol
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from edgeseq.serve.pace import Pace, Paces

if TYPE_CHECKING:
    from aiohttp import web

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"
ADDRESS_SHARE = 0.75
"""of a listener's slots that one address may have"""
BACKLOG, ACCEPTED = 1024, 16
"""connections that may wait to be taken, a thousand come in a second; that are taken before others have their turn"""
LINGERING, LINGER_SECONDS = 16, 1.0
"""connections of a listener that may stay open without a slot to hear why they have none, and for how long"""
GRACE_SECONDS = 1.0
"""that a connection has to say something, before it may have to give way"""
READ_BYTES = 32_768
"""that are taken from a connection before others have their turn; asyncio takes 256 KiB"""
KERNEL_BYTES = 65_536
"""that the system buffers for a client; it would take megabytes"""
UNIX = "unix"
"""the address of clients of a unix socket"""


class Slot:
    """One connection's."""

    def __init__(self, slots: Slots, transport: asyncio.BaseTransport, address: str, pace: Pace) -> None:
        """Made by `Slots.take`."""
        self._slots, self.transport, self.address, self.pace = slots, transport, address, pace
        self.rested_at = time.monotonic()
        """when something was last at work, or the connection came"""
        self.n_held = 0
        """requests and streams that are at work; without any the connection may have to give way"""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the connection while something is at work."""
        self.n_held += 1
        try:
            yield
        finally:
            self.n_held -= 1
            self._slots.rest(self)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let a request's slot go while its client says nothing: a WebSocket without a stream."""
        self.n_held -= 1
        self._slots.rest(self)
        try:
            yield
        finally:
            self.n_held += 1

    def free(self) -> None:
        """Give the slot back; may be called twice."""
        self._slots.drop(self)


current: ContextVar[Slot | None] = ContextVar("slot", default=None)
"""That of the connection whose task runs."""


class Slots:
    """Those of one listener."""

    def __init__(self, n: int, paces: Paces, refused: Callable[[], None]) -> None:
        """Give `n` at once; `refused` hears of each connection that gets none, or gives way."""
        self._n, self._paces, self._refused = n, paces, refused
        self._n_address = max(1, round(ADDRESS_SHARE * n))
        self._taken: dict[Slot, None] = {}
        """in the order in which they last rested"""
        self._of_address: Counter[str] = Counter()
        self.lingering: set[_TurnedAway] = set()
        """connections without a slot that are still open"""

    def __len__(self) -> int:
        """Count those that are taken."""
        return len(self._taken)

    def take(self, transport: asyncio.BaseTransport) -> Slot | None:
        """Give a new connection a slot, perhaps another one's; None if there is none."""
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else UNIX
        if not self._make_room(address):
            self._refused()
            return None
        slot = Slot(self, transport, address, self._paces.of(address))
        self._taken[slot] = None
        self._of_address[address] += 1
        return slot

    def rest(self, slot: Slot) -> None:
        """Note that a connection has nothing at work any more."""
        if not slot.n_held and slot in self._taken:
            slot.rested_at = time.monotonic()
            del self._taken[slot]
            self._taken[slot] = None

    def drop(self, slot: Slot) -> None:
        """Take a slot back."""
        if slot in self._taken:
            del self._taken[slot]
            self._of_address[slot.address] -= 1
            if not self._of_address[slot.address]:
                del self._of_address[slot.address]

    def _make_room(self, address: str) -> bool:
        if self._of_address[address] >= self._n_address:
            return self._end_one(address)
        if len(self._taken) < self._n:
            return True
        most = max(self._of_address, key=self._of_address.__getitem__)
        return self._end_one(most)

    def _end_one(self, address: str) -> bool:
        """End the connection of an address that has rested for longest; False if none has rested long enough."""
        resting = next((slot for slot in self._taken if slot.address == address and not slot.n_held), None)
        if resting is None or time.monotonic() - resting.rested_at < GRACE_SECONDS:
            return False
        self._refused()
        self.drop(resting)
        cast(asyncio.Transport, resting.transport).abort()
        return True


class _Counted(asyncio.Protocol):
    """A connection without TLS: passes all on to an inner protocol while it has a slot."""

    def __init__(self, make_inner: Callable[[], asyncio.Protocol], slots: Slots) -> None:
        self._make_inner, self._slots = make_inner, slots
        self._inner: asyncio.Protocol | None = None
        self._slot: Slot | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a slot, or say that there is no room before anything is made for the client."""
        self._slot = self._slots.take(transport)
        if self._slot is None:
            _TurnedAway(cast(asyncio.Transport, transport), self._slots.lingering)
            return
        bound_reads(transport)
        inner = self._inner = self._make_inner()
        self.data_received = inner.data_received  # type: ignore[method-assign]
        self.eof_received = inner.eof_received  # type: ignore[method-assign]
        self.pause_writing = inner.pause_writing  # type: ignore[method-assign]
        self.resume_writing = inner.resume_writing  # type: ignore[method-assign]
        with as_current(self._slot):
            inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the slot back."""
        if self._slot is not None:
            self._slot.free()
        if self._inner is not None:
            self._inner.connection_lost(exc)


class _TurnedAway(asyncio.Protocol):
    """A connection for which there is no room: it is answered so, and may send on until it has read that.

    To close it while something of it is unread is to reset it. A client that is still sending then fails instead of reading
    the answer, and some systems throw away what they have received. So it lingers, at most LINGER_SECONDS.
    """

    def __init__(self, transport: asyncio.Transport, lingering: set[_TurnedAway]) -> None:
        self._lingering = lingering
        self._end: asyncio.TimerHandle | None = None
        transport.set_protocol(self)
        transport.write(BUSY)
        if len(lingering) >= LINGERING:
            transport.close()
            return
        lingering.add(self)
        bound_reads(transport)
        try:
            transport.write_eof()
        except OSError:  # the client is gone already
            transport.abort()
            return
        self._end = asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room for another."""
        self._lingering.discard(self)
        if self._end is not None:
            self._end.cancel()


class _CountedTls(SSLProtocol):
    """A connection with TLS: asyncio's own, which has a slot from its first byte on, and gives it back however it ends."""

    max_size = READ_BYTES

    def __init__(self, inner: asyncio.Protocol, slots: Slots, context: ssl.SSLContext, handshake_seconds: int) -> None:
        waiter: Any = None  # nobody waits for the handshake
        super().__init__(
            asyncio.get_running_loop(), inner, context, waiter, server_side=True, ssl_handshake_timeout=handshake_seconds
        )
        self._slots = slots
        self._slot: Slot | None = None

    def connection_made(self, transport: Any) -> None:
        """Take a slot, or close: there is nobody to tell why before the handshake."""
        self._slot = self._slots.take(transport)
        if self._slot is None:
            transport.abort()
            return
        bound_reads(transport)
        transport.set_write_buffer_limits(0)  # what the system does not take waits within TLS (see bound_writes)
        with as_current(self._slot):
            super().connection_made(transport)

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on what came; what is made of it belongs to this connection."""
        if self._slot is not None:
            with as_current(self._slot):
                super().buffer_updated(nbytes)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the slot back."""
        if self._slot is not None:
            self._slot.free()
            super().connection_lost(exc)


def listen_longer(server: asyncio.Server) -> None:
    """Let BACKLOG connections wait, of which asyncio takes ACCEPTED at a time: it takes for one number what are two."""
    for listening in server.sockets:
        with socket.socket(fileno=os.dup(listening.fileno())) as same:
            same.listen(BACKLOG)


def bound_reads(transport: asyncio.BaseTransport) -> None:
    """Let a connection give only so much at a time."""
    if hasattr(transport, "max_size"):
        transport.max_size = READ_BYTES


def bound_writes(transport: asyncio.WriteTransport) -> None:
    """Keep next to nothing for a client that does not read: what it is sent counts as sent when the system has taken it.

    So the sender waits for the client from the first byte on that it leaves, and notices after `send_seconds`.
    """
    transport.set_write_buffer_limits(0)
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)


@contextmanager
def as_current(slot: Slot) -> Iterator[None]:
    """Let the tasks that are made within know whose connection they are."""
    token = current.set(slot)
    try:
        yield
    finally:
        current.reset(token)


def factory(
    slots: Slots, server: web.Server, context: ssl.SSLContext | None, handshake_seconds: int
) -> Callable[[], asyncio.BaseProtocol]:
    """Make connections of an aiohttp server, each with a slot."""
    if context is None:
        return lambda: _Counted(server, slots)
    return lambda: _CountedTls(server(), slots, context, handshake_seconds)
