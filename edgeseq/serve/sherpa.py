"""sherpa-onnx's online WebSocket protocol, with the fields of its C++ server.

A client sends sound, 32-bit little-endian float mono, in messages of any size, and the text `Done` at the end. It gets
JSON whenever what was said changes, and finally the text `Done!`. Nothing in the protocol tells the rate: sherpa-onnx's
clients send 16 kHz, others may say theirs in the address.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiohttp import web

from edgeseq.errors import EdgeseqError, UsageError
from edgeseq.events import Event, Final
from edgeseq.serve.context import Context
from edgeseq.serve.hub import Stream
from edgeseq.serve.limits import StoppingError
from edgeseq.serve.pcm import float32_samples
from edgeseq.serve.websocket import LeftError, Socket, accepted

PROTOCOL = "sherpa"
DEFAULT_RATE = 16_000
"""Hz"""
END, ENDED = "Done", "Done!"
LEAST_CONFIDENCE = 1e-6
"""whose logarithm is sent"""


def make_app(context: Context) -> web.Application:
    """Make the application: any path is a WebSocket. `?model=NAME&sample_rate=HZ` chooses other than the defaults."""

    async def answer(request: web.Request) -> web.StreamResponse:
        async with accepted(request, context, PROTOCOL) as socket:
            recognizer = context.hub.find(request.query.get("model"))
            async with context.hub.open(PROTOCOL, rate=_rate(request), recognizer=recognizer) as stream:
                await _Conversation(socket, stream).hold()
        return socket.response

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", answer)])
    return app


def _rate(request: web.Request) -> int:
    given = request.query.get("sample_rate", str(DEFAULT_RATE))
    if not given.isdecimal() or len(given) > len("384000"):
        raise UsageError(f"sample_rate={given[:20]}: wanted a whole number of Hz.")
    return int(given)


class _Conversation:
    """One client's, from its first sound to `Done`."""

    def __init__(self, socket: Socket, stream: Stream) -> None:
        self._socket, self._stream = socket, stream
        self._samples = float32_samples()
        self._segment = 0
        self._began = 0.0
        """seconds, at which this segment began"""

    async def hold(self) -> None:
        """Hear sound until the end."""
        try:
            async for message in self._socket:
                if isinstance(message, bytes) and message.strip() != END.encode():
                    samples = self._samples.take(message)
                    await self._stream.at_rate(self._samples.rate)
                    await self._tell(await self._stream.hear(samples))
                elif message.strip() in (END, END.encode()):
                    await self._end()
                    return
                else:
                    came = str(message[:20])
                    raise UsageError(f"the text {came!r} came; wanted sound as binary messages, then the text 'Done'.")
        except EdgeseqError as fault:
            if self._stream.n_heard or isinstance(fault, StoppingError):
                with suppress(LeftError):
                    await self._end()
            raise

    async def _end(self) -> None:
        await self._tell(await self._stream.last_words(), is_eof=True)
        await self._socket.send(ENDED)

    async def _tell(self, events: Sequence[Event], is_eof: bool = False) -> None:
        """Tell the utterances that ended and what is being said now."""
        finals = [event for event in events if isinstance(event, Final)]
        for n, final in enumerate(finals, start=1):
            await self._send(self._result(final, is_final=True, is_eof=is_eof and n == len(finals)))
            self._segment += 1
            self._began = final.end
        if is_eof and not finals:
            await self._send(self._result(None, is_final=True, is_eof=True))
        elif events and not isinstance(events[-1], Final):
            await self._send(self._result(events[-1]))

    async def _send(self, result: dict[str, Any]) -> None:
        await self._socket.send(json.dumps(result, ensure_ascii=False))

    def _result(self, event: Event | None, is_final: bool = False, is_eof: bool = False) -> dict[str, Any]:
        """Say an utterance as the C++ server does; times are relative to `start_time`, words stand for tokens."""
        words = () if event is None else event.words
        return {
            "text": "" if event is None else event.text,
            "tokens": [f" {word.word}" for word in words],
            "timestamps": [round(max(0.0, word.start - self._began), 3) for word in words],
            "ys_probs": [round(math.log(max(word.confidence, LEAST_CONFIDENCE)), 6) for word in words],
            "lm_probs": [],
            "context_scores": [],
            "segment": self._segment,
            "words": [],
            "start_time": round(self._began, 3),
            "is_final": is_final,
            "is_eof": is_eof,
        }
