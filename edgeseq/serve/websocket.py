"""WebSockets with limits: what a client sends is waited for only so long, what it does not read is not kept for it.

async def answer(request):
    async with accepted(request, context, "vosk") as socket:
        async for message in socket: ...
        await socket.send(text)
"""

from __future__ import annotations

import asyncio
import logging
import socket as socket_options
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import cast

from aiohttp import WebSocketError, WSCloseCode, WSMessage, WSMsgType, web

from edgeseq.errors import AudioError, EdgeseqError, UsageError
from edgeseq.serve.connections import current
from edgeseq.serve.context import Context
from edgeseq.serve.limits import BusyError, LimitError, StoppingError

log = logging.getLogger(__name__)

REASON_BYTES = 123
"""of a close frame (RFC 6455, section 5.5)"""
CLOSE_SECONDS = 2.0
"""for a client's answer to a close"""
KERNEL_BYTES = 65_536
"""that the system buffers for a client"""
WRITER_BYTES = 32_768
"""that are buffered for a client before the server waits for it"""


class LeftError(Exception):
    """The client is gone, or broke the protocol of WebSockets; nobody needs a message."""


class Socket:
    """One WebSocket connection of a client."""

    def __init__(self, ws: web.WebSocketResponse, request: web.Request, context: Context, text_is_sound: bool = False) -> None:
        """Talk through `ws`, which answered `request`."""
        self._ws, self._request, self._context = ws, request, context
        slot = current.get()
        self.pace = context.paces.of(str(request.remote)) if slot is None else slot.pace
        self._text_is_sound = text_is_sound

    @property
    def response(self) -> web.WebSocketResponse:
        """What the request's handler returns."""
        return self._ws

    async def receive(self) -> str | bytes | None:
        """Wait for a message: text or bytes; None when the client has ended.

        Raises LimitError for a client that says nothing, StoppingError when the server ends.
        """
        hub = self._context.hub
        async with hub.patience(hub.limits.idle_seconds):
            message = await self._next()
        if message.type is WSMsgType.BINARY:
            await self.pace.sound()
            return cast(bytes, message.data)
        if message.type is WSMsgType.TEXT:
            n_bytes = len(message.data)
            await (self.pace.sound(n_bytes) if self._text_is_sound else self.pace.event(n_bytes))
            return cast(str, message.data)
        if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
            return None
        if isinstance(message.data, WebSocketError) and message.data.code == WSCloseCode.MESSAGE_TOO_BIG:
            raise LimitError(f"a message has more than the {hub.limits.message_bytes:,} bytes that this server takes.")
        raise LeftError(str(message.data))

    async def _next(self) -> WSMessage:
        """Wait for the next message that is no ping; pings are answered, at the client's pace."""
        while True:
            try:
                message = await self._ws.receive()
                if message.type is WSMsgType.PING:
                    await self.pace.event()
                    await self._ws.pong(message.data)
                elif message.type is WSMsgType.PONG:
                    await self.pace.event()
                else:
                    return message
            except ConnectionError as fault:  # answering
                raise LeftError(str(fault)) from None

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Pass messages on until the client ends."""
        return self._messages()

    async def _messages(self) -> AsyncIterator[str | bytes]:
        while (message := await self.receive()) is not None:
            yield message

    async def send(self, text: str) -> None:
        """Send text; a client that does not read is waited for, and then left."""
        seconds = self._context.hub.limits.send_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._ws.send_str(text)
        except TimeoutError:
            self.abort()
            raise LimitError(f"the client has not read what was sent for {seconds:g} s.") from None
        except (ConnectionError, RuntimeError) as fault:
            raise LeftError(str(fault)) from None

    async def close(self, code: int = WSCloseCode.OK, reason: str = "") -> None:
        """End the conversation."""
        if self._ws.closed:
            return
        try:
            async with asyncio.timeout(2 * CLOSE_SECONDS):
                await self._ws.close(code=code, message=shortened(reason))
        except (TimeoutError, ConnectionError, RuntimeError):
            self.abort()

    def abort(self) -> None:
        """Drop the connection and all that waits to be sent."""
        if self._request.transport is not None:
            self._request.transport.abort()


@asynccontextmanager
async def accepted(
    request: web.Request,
    context: Context,
    protocol: str,
    subprotocols: tuple[str, ...] = (),
    *,
    text_is_sound: bool = False,
) -> AsyncIterator[Socket]:
    """Take a client's WebSocket; what is raised within closes it with a code and the reason, and is logged once.

    `subprotocols` are those of which a browser's client may ask for one. `text_is_sound`: sound comes in text messages.
    While the client has no stream, its connection may have to give way to others (see connections.py).
    """
    ws = web.WebSocketResponse(
        compress=False,
        autoping=False,
        max_msg_size=context.hub.limits.message_bytes,
        timeout=CLOSE_SECONDS,
        writer_limit=WRITER_BYTES,
        protocols=subprotocols,
    )
    try:
        await ws.prepare(request)
    except ValueError:  # bytes in a header that are no text
        raise web.HTTPBadRequest(text="wanted a WebSocket's handshake") from None
    except ConnectionError:  # gone before it was answered
        raise web.HTTPBadRequest() from None
    _bound_buffer(request)
    socket = Socket(ws, request, context, text_is_sound)
    slot = current.get()
    code: int = WSCloseCode.OK
    reason = ""
    try:
        with nullcontext() if slot is None else slot.lent():
            yield socket
    except LeftError as fault:
        log.info("%s %s: left (%s)", protocol, request.remote, fault)
    except EdgeseqError as fault:
        code, reason = close_code(fault), str(fault).splitlines()[0].encode(errors="replace").decode()
        context.hub.metrics.refused(protocol, reason_of(fault))
        log.info("%s %s: refused: %s", protocol, request.remote, reason)
    except Exception:
        code, reason = WSCloseCode.INTERNAL_ERROR, "something is wrong within the server; its log says what."
        log.exception("%s %s: failed", protocol, request.remote)
    finally:
        await socket.close(code, reason)


def _bound_buffer(request: web.Request) -> None:
    """Let the system keep little for a client that does not read; it would take megabytes."""
    sock = None if request.transport is None else request.transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket_options.SOL_SOCKET, socket_options.SO_SNDBUF, KERNEL_BYTES)


def close_code(fault: EdgeseqError) -> int:
    """Choose the close code that says what was wrong (RFC 6455, section 7.4; 1013 is 'try again later')."""
    if isinstance(fault, StoppingError):
        return WSCloseCode.GOING_AWAY
    if isinstance(fault, BusyError):
        return WSCloseCode.TRY_AGAIN_LATER
    return WSCloseCode.POLICY_VIOLATION


def reason_of(fault: EdgeseqError) -> str:
    """Name a fault in one word, for counting."""
    kinds = (
        (StoppingError, "stopping"),
        (BusyError, "busy"),
        (LimitError, "limit"),
        (AudioError, "audio"),
        (UsageError, "usage"),
    )
    return next((name for kind, name in kinds if isinstance(fault, kind)), "other")


def shortened(reason: str) -> bytes:
    """Cut a reason to what a close frame holds."""
    return reason.encode()[:REASON_BYTES].decode(errors="ignore").encode()
