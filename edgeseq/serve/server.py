"""One server: its models, and a listener for each protocol that is wanted.

>>> async with Server({"digits-en": recognizer}, {"http": "127.0.0.1:0"}) as server:   # doctest: +SKIP
...     print(server.ports["http"])                                                  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import logging
import resource
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from edgeseq.errors import DeviceError, MissingExtraError, UsageError
from edgeseq.serve.access import Access, middleware
from edgeseq.serve.addresses import Address, parse_address, uri
from edgeseq.serve.connections import ACCEPTED, Slots, factory, listen_longer
from edgeseq.serve.context import Context
from edgeseq.serve.limits import Limits

if TYPE_CHECKING:
    from aiohttp import web

log = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0
"""for streams in progress when the server is stopped"""
LAST_SECONDS = 2.0
"""for their last words, after that"""
KEEPALIVE_SECONDS = 30.0
"""that an HTTP connection may stay open without a request"""
HANDSHAKE_SECONDS = 10
"""for TLS"""
FORM_BYTES = 1 << 20
"""of an upload besides its file"""
OTHER_FILES, FILES_A_STREAM = 96, 4
"""that the process has open besides connections with a slot: its own, lingering ones, and those of each stream and upload"""
WITHOUT_TOKEN = ("wyoming", "sherpa")
"""Protocols that have no place for a token."""


class PortListener(Protocol):
    """A protocol that is spoken at a port."""

    port: int
    """0 for a unix socket"""

    async def stop_listening(self) -> None:
        """Take no more connections; those that are open continue."""

    async def close(self) -> None:
        """End all connections."""


@dataclass(frozen=True)
class Security:
    """Who may connect, and how."""

    access: Access = field(default_factory=Access)
    allow_unauthenticated: bool = False
    """let protocols without a place for a token be reached from other machines"""
    tls: ssl.SSLContext | None = None
    """for http, and for others whose address says wss://"""

    def check(self, address: Address) -> Address:
        """Return where to listen; raises UsageError for an address that would be open to everybody."""
        if address.is_encrypted and self.tls is None:
            raise UsageError(f"--{address.protocol} {address}: wanted --tls CERT KEY or --tls self-signed for this, too.")
        if not address.is_loopback():
            self._check_open(address)
        if address.protocol == "http" and self.tls is not None:
            return Address("http", "https", address.host, address.port)
        return address

    def _check_open(self, address: Address) -> None:
        reached = f"--{address.protocol} {address} can be reached from other machines"
        if address.protocol in WITHOUT_TOKEN:
            if not self.allow_unauthenticated:
                raise UsageError(
                    f"{reached}, and {address.protocol} has no place for a token.\n"
                    "  Listen at 127.0.0.1, or say --allow-unauthenticated if everybody who reaches it may use it."
                )
        elif self.access.token is None:
            raise UsageError(
                f"{reached}, and there is no token.\n"
                "  Give one with --token or in EDGESEQ_TOKEN (for instance of: openssl rand -hex 16), or listen at 127.0.0.1."
            )


class Server:
    """Listeners around one hub. Enter it to listen; leaving it stops gracefully."""

    def __init__(
        self,
        context: Context,
        listen: Mapping[str, str],
        security: Security = Security(),
        *,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        """Prepare to speak protocols (wyoming, http, vosk, sherpa) at addresses; port 0 takes a free one, see `ports`.

        Raises UsageError for addresses that are none, or open to everybody.
        """
        self.context, self._security, self._drain_seconds = context, security, drain_seconds
        self._addresses = [security.check(parse_address(protocol, text)) for protocol, text in listen.items()]
        self._listeners: dict[str, PortListener] = {}

    @property
    def ports(self) -> dict[str, int]:
        """Protocol -> the port at which it is spoken."""
        return {protocol: listener.port for protocol, listener in self._listeners.items()}

    @property
    def uris(self) -> dict[str, str]:
        """Protocol -> its address, with the port that was taken."""
        return {
            address.protocol: str(address) if address.path else uri(address.scheme, address.host, self.ports[address.protocol])
            for address in self._addresses
            if address.protocol in self._listeners
        }

    def address(self, protocol: str) -> Address:
        """Give the address of a protocol that is spoken, as it was typed."""
        return next(address for address in self._addresses if address.protocol == protocol)

    async def __aenter__(self) -> Server:
        """Start to listen. Raises DeviceError for a port that is taken, with nothing left open."""
        await self.context.hub.__aenter__()
        try:
            for address in self._addresses:
                self._listeners[address.protocol] = await self._listen(address)
        except BaseException:
            await self._close()
            raise
        self.context.hub.watch()
        for protocol, where in self.uris.items():
            log.info("%s: listening at %s", protocol, where)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Take nobody new, let streams come to their end within the deadline, then close."""
        for listener in self._listeners.values():
            await listener.stop_listening()
        hub = self.context.hub
        if len(hub):
            log.info("stopping: %d streams have %g s to end", len(hub), self._drain_seconds)
        await hub.drain(self._drain_seconds, LAST_SECONDS)
        if len(hub):
            log.warning("stopping: %d streams were cut off", len(hub))
        await self._close()

    async def _close(self) -> None:
        await asyncio.gather(*(listener.close() for listener in self._listeners.values()))
        self._listeners = {}
        await self.context.hub.__aexit__()

    async def _listen(self, address: Address) -> PortListener:
        try:
            n = most_connections(self.context.hub.limits, len(self._addresses))
            if address.protocol == "wyoming":
                return await _listen_wyoming(self.context, address, n)
            return await _HttpListener.start(self._make_app(address.protocol), address, self.context, self._security, n)
        except OSError as fault:
            raise DeviceError(
                f"--{address.protocol} {address}: cannot listen there ({fault.strerror or fault}).\n"
                "  Is another server running? Choose another port."
            ) from fault

    def _make_app(self, protocol: str) -> web.Application:
        if protocol == "vosk":
            from edgeseq.serve import vosk

            return vosk.make_app(self.context)
        if protocol == "sherpa":
            from edgeseq.serve import sherpa

            return sherpa.make_app(self.context)
        return make_http_app(self.context)


def make_http_app(context: Context) -> web.Application:
    """Gather what is spoken at --http: OpenAI's interfaces, the web page, health and metrics."""
    from aiohttp import web

    from edgeseq.serve import health, page, realtime, transcriptions

    app = web.Application(client_max_size=context.hub.limits.upload_bytes + FORM_BYTES)
    for module in (health, page, realtime, transcriptions):
        app.add_routes(module.routes(context))
    return app


class _HttpListener:
    """An aiohttp application at a port."""

    def __init__(self, runner: web.AppRunner, server: asyncio.Server) -> None:
        self._runner, self._server = runner, server
        self.port: int = server.sockets[0].getsockname()[1]

    @classmethod
    async def start(
        cls, app: web.Application, address: Address, context: Context, security: Security, n_connections: int
    ) -> _HttpListener:
        from aiohttp import web

        protocol, metrics = address.protocol, context.hub.metrics
        access = replace(security.access, has_page=protocol == "http")
        if protocol in WITHOUT_TOKEN:
            access = replace(access, token=None)
        app.middlewares.append(middleware(access, lambda reason: metrics.refused(protocol, reason)))
        runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=KEEPALIVE_SECONDS,
            shutdown_timeout=LAST_SECONDS,
            handler_cancellation=True,
            auto_decompress=False,
        )
        await runner.setup()
        assert runner.server is not None
        slots = Slots(n_connections, context.paces, lambda: metrics.refused(protocol, "connections"))
        make = factory(slots, runner.server, security.tls if address.is_encrypted else None, HANDSHAKE_SECONDS)
        try:
            loop = asyncio.get_running_loop()
            server = await loop.create_server(make, address.host, address.port, backlog=ACCEPTED)
            listen_longer(server)
        except BaseException:
            await runner.cleanup()
            raise
        return cls(runner, server)

    async def stop_listening(self) -> None:
        """Take no more connections."""
        self._server.close()

    async def close(self) -> None:
        """End all connections."""
        self._server.close()
        await self._runner.cleanup()


async def _listen_wyoming(context: Context, address: Address, n_connections: int) -> PortListener:
    from edgeseq.serve import wyoming_server

    return await wyoming_server.start(context, str(address), n_connections)


def most_connections(limits: Limits, n_listeners: int) -> int:
    """Give the connections that each listener may have: all of them, and what streams need, fit below the limit of open files.

    Beyond that limit nothing can even be refused: the system says no, and asyncio asks again and again.
    """
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return limits.connections
    left = soft - OTHER_FILES - FILES_A_STREAM * min(limits.streams, soft // (4 * FILES_A_STREAM))
    return max(1, min(limits.connections, left // max(1, n_listeners)))


def check_installed() -> None:
    """Raise MissingExtraError without the packages that a server needs."""
    try:
        import aiohttp  # noqa: F401
        import prometheus_client  # noqa: F401
        import wyoming  # noqa: F401
    except ImportError as fault:
        raise MissingExtraError(
            f"a server needs the serve extra ({fault.name} is missing): pip install 'edgeseq[serve]'"
        ) from fault
