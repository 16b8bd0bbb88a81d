"""WebSockets with limits: what a client sends is waited for only so long, what it does not read is not kept for it.

async def answer(request):
    async with accepted(request, context, "vosk") as socket:
        async for message in socket: ...
        await socket.send(text)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any, cast

from aiohttp import WebSocketError, WSCloseCode, WSMessage, WSMsgType, web

from edgeseq.errors import AudioError, EdgeseqError, UsageError
from edgeseq.serve.connections import bound_writes, current
from edgeseq.serve.context import Context
from edgeseq.serve.limits import BusyError, LimitError, StoppingError

log = logging.getLogger(__name__)

REASON_BYTES = 123
"""of a close frame (RFC 6455, section 5.5)"""
CLOSE_SECONDS = 2.0
"""for a client's answer to a close"""
GONE_SECONDS = 0.05
"""between two looks whether a client is gone"""


class LeftError(Exception):
    """The client is gone, or broke the protocol of WebSockets; nobody needs a message."""


class MessageSizeError(LimitError):
    """A message has more bytes than the server takes."""


class _Response(web.WebSocketResponse):
    """A WebSocket that stays open behind a message that is too large: aiohttp would close it before the last words are said."""

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        if code == WSCloseCode.MESSAGE_TOO_BIG and not message:
            return False
        return await super().close(code=code, message=message, drain=drain)


class Socket:
    """One WebSocket connection of a client."""

    def __init__(self, ws: web.WebSocketResponse, request: web.Request, context: Context, text_is_sound: bool = False) -> None:
        """Talk through `ws`, which answered `request`."""
        self._ws, self._request, self._context = ws, request, context
        slot = current.get()
        self.pace = context.paces.of(str(request.remote)) if slot is None else slot.pace
        self._text_is_sound = text_is_sound
        self._is_unread = False
        """the client has left an answer unread for too long: nothing more is sent. The connection is dropped when the
        conversation has ended, which aiohttp would cancel, its reason with it"""

    @property
    def response(self) -> web.WebSocketResponse:
        """What the request's handler returns."""
        return self._ws

    async def receive(self) -> str | bytes | None:
        """Wait for a message: text or bytes; None when the client has ended.

        Raises LimitError for a client that says nothing, StoppingError when the server ends.
        """
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
            most = self._context.hub.limits.message_bytes
            raise MessageSizeError(f"a message has more than the {most:,} bytes that this server takes.")
        raise LeftError(str(message.data))

    async def _next(self) -> WSMessage:
        """Wait for the next message that is no ping; pings are answered, and do not count as a sign of life."""
        hub, since = self._context.hub, asyncio.get_running_loop().time()
        while True:
            try:
                async with hub.patience(hub.limits.idle_seconds, since):
                    message = await self._ws.receive()
            except ConnectionError as fault:  # answering a close
                raise LeftError(str(fault)) from None
            if message.type not in (WSMsgType.PING, WSMsgType.PONG):
                return message
            await self.pace.event()
            if message.type is WSMsgType.PING:
                await self._send(self._ws.pong, message.data)

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Pass messages on until the client ends."""
        return self._messages()

    async def _messages(self) -> AsyncIterator[str | bytes]:
        while (message := await self.receive()) is not None:
            yield message

    async def send(self, text: str) -> None:
        """Send text; a client that does not read is waited for, and then left. Raises LimitError, LeftError."""
        await self._send(self._ws.send_str, text)

    async def _send(self, send: Callable[[Any], Awaitable[None]], content: str | bytes) -> None:
        if self._is_unread:
            raise LeftError("it does not read")
        seconds = self._context.hub.limits.send_seconds
        try:
            async with asyncio.timeout(seconds):
                await send(content)
        except TimeoutError:
            self._is_unread = True
            raise LimitError(f"the client has not read what was sent for {seconds:g} s.") from None
        except (ConnectionError, RuntimeError) as fault:
            raise LeftError(str(fault)) from None

    async def close(self, code: int = WSCloseCode.OK, reason: str = "") -> None:
        """End the conversation."""
        if self._ws.closed:
            return
        if self._is_unread:
            self.abort()
            return
        try:
            async with asyncio.timeout(2 * CLOSE_SECONDS):
                if code == WSCloseCode.MESSAGE_TOO_BIG:
                    await self._close_unread(code, reason)
                else:
                    await self._ws.close(code=code, message=shortened(reason))
        except (TimeoutError, ConnectionError, RuntimeError):
            self.abort()

    async def _close_unread(self, code: int, reason: str) -> None:
        """Say that it ends, and let go what still comes for a moment: a socket closed before would take the words back."""
        await self._ws.send_frame(code.to_bytes(2, "big") + shortened(reason), WSMsgType.CLOSE)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._request.transport is not None:
                    await asyncio.sleep(GONE_SECONDS)
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
    ws = _Response(
        compress=False,
        autoping=False,
        max_msg_size=context.hub.limits.message_bytes,
        timeout=CLOSE_SECONDS,
        writer_limit=0,  # each answer waits until the system has taken it, see bound_writes
        protocols=subprotocols,
    )
    try:
        await ws.prepare(request)
    except ValueError:  # bytes in a header that are no text
        raise web.HTTPBadRequest(text="wanted a WebSocket's handshake") from None
    except ConnectionError:  # gone before it was answered
        raise web.HTTPBadRequest() from None
    if request.transport is not None:
        bound_writes(request.transport)
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


def close_code(fault: EdgeseqError) -> int:
    """Choose the close code that says what was wrong (RFC 6455, section 7.4; 1013 is 'try again later')."""
    if isinstance(fault, StoppingError):
        return WSCloseCode.GOING_AWAY
    if isinstance(fault, BusyError):
        return WSCloseCode.TRY_AGAIN_LATER
    if isinstance(fault, MessageSizeError):
        return WSCloseCode.MESSAGE_TOO_BIG
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
