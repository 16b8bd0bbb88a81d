"""vosk-server's WebSocket protocol, so that its clients work unchanged.

A client may send `{"config": {...}}`, which is not answered; then sound, 16-bit little-endian mono, in messages of any size,
each answered by one JSON text: `{"partial": ...}`, or `{"text": ..., "result": [...]}` when an utterance has ended. By
`{"eof" : 1}` it asks for the last words and ends, by `{"reset" : 1}` it asks for them and continues.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aiohttp import web

from edgeseq.decoding.beam import BeamOptions
from edgeseq.decoding.greedy import GreedyDecoder
from edgeseq.decoding.loading import AnyBeam, load_beam
from edgeseq.errors import EdgeseqError, UsageError
from edgeseq.events import Event, Final
from edgeseq.serve.context import Context
from edgeseq.serve.hub import Stream
from edgeseq.serve.limits import LimitError, StoppingError
from edgeseq.serve.pcm import as_text, pcm16_samples
from edgeseq.serve.websocket import LeftError, Socket, accepted
from edgeseq.stream.recognizer import Recognizer
from edgeseq.untrusted import parse_json

log = logging.getLogger(__name__)

PROTOCOL = "vosk"
MOST_BRACKETS = 1000
"""Objects and lists in a text message."""
DEFAULT_RATE = 8000
"""Hz, of clients that say none"""
MOST_ALTERNATIVES = 10
KEPT = 32
"""Beam searches that are remembered."""


@dataclass(frozen=True)
class Config:
    """What a client asked for."""

    rate: int = DEFAULT_RATE
    words: bool = True
    max_alternatives: int = 0


def make_app(context: Context) -> web.Application:
    """Make the application: any path is a WebSocket."""

    async def answer(request: web.Request) -> web.StreamResponse:
        async with accepted(request, context, PROTOCOL) as socket:
            await _Conversation(context, socket).hold()
        return socket.response

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", answer)])
    return app


class _Conversation:
    """One client's, from the first message to the last."""

    def __init__(self, context: Context, socket: Socket) -> None:
        self._context, self._socket = context, socket
        self._config = Config()
        self._recognizer = context.hub.find(None)
        self._partial = ""
        self._samples = pcm16_samples()
        self._began = 0.0
        """seconds of sound before the last reset"""

    async def hold(self) -> None:
        """Take settings until sound comes, then open a stream."""
        async for received in self._socket:
            message = as_text(received)
            if isinstance(message, str) and (wanted := self._read(message)).get("config") is not None:
                await self._configure(wanted["config"])
                continue
            async with self._context.hub.open(PROTOCOL, rate=self._config.rate, recognizer=self._recognizer) as stream:
                try:
                    if await self._take(message, stream):
                        await self._listen(stream)
                except EdgeseqError as fault:
                    if stream.n_heard or isinstance(fault, StoppingError):
                        with suppress(LeftError):
                            await self._reply(await stream.last_words(), ended=True)
                    raise
            return

    async def _listen(self, stream: Stream) -> None:
        async for message in self._socket:
            if not await self._take(as_text(message), stream):
                return

    async def _take(self, message: str | bytes, stream: Stream) -> bool:
        """Do what a message asks for; False when it was the last."""
        if isinstance(message, bytes):
            samples = self._samples.take(message)
            await stream.at_rate(self._samples.rate)
            await self._reply(await stream.hear(samples))
            return True
        wanted = self._read(message)
        if wanted.get("config") is not None:
            await self._configure(wanted["config"])
            await stream.reset(self._recognizer, self._config.rate)
            self._partial = ""
            return True
        heard = stream.n_heard / stream.recognizer.sample_rate
        self._samples.drop_rest()
        await self._reply(await stream.finish(), ended=True)
        self._began = heard
        return not wanted.get("eof")

    def _read(self, message: str) -> dict[str, Any]:
        most = self._context.hub.limits.settings_bytes
        if len(message) > most:
            raise LimitError(f"settings of {len(message):,} bytes; this server takes at most {most:,}.")
        return _read(message)

    async def _configure(self, config: Any) -> None:
        await self._socket.pace.settings()
        if not isinstance(config, dict):
            raise UsageError('wanted settings: {"config": {"sample_rate": 16000}}.')
        recognizer = self._recognizer
        if config.get("model") is not None:
            recognizer = self._context.hub.find(str(config["model"]))
        self._config = Config(
            round(_number(config, "sample_rate", self._config.rate, 384_000)),
            bool(config.get("words", self._config.words)),
            round(_number(config, "max_alternatives", self._config.max_alternatives, 1e9)),
        )
        if config.get("phrases") is not None:
            recognizer = await self._context.phrases.understand(recognizer, str(config["phrases"]))
        elif config.get("phrase_list"):
            recognizer = await self._context.phrases.understand_list(recognizer, _texts(config["phrase_list"]))
        self._recognizer = recognizer
        if self._config.max_alternatives > 1:
            self._recognizer = await self._context.hub.work(with_alternatives, recognizer, self._config.max_alternatives)

    async def _reply(self, events: Sequence[Event], ended: bool = False) -> None:
        """Answer a message: the utterances that have ended, or else what is being said."""
        finals = [event for event in events if isinstance(event, Final)]
        if finals:
            self._partial = ""
        if events:
            self._partial = events[-1].text if not isinstance(events[-1], Final) else ""
        if finals or ended:
            self._partial = "" if ended else self._partial
            await self._socket.send(_written(self._result(finals)))
        else:
            await self._socket.send(_written({"partial": self._partial}))

    def _result(self, finals: Sequence[Final]) -> dict[str, Any]:
        """Say utterances in the form of Vosk's results; usually there is one."""
        words = [
            {
                "conf": round(word.confidence, 6),
                "end": round(self._began + word.end, 3),
                "start": round(self._began + word.start, 3),
                "word": word.word,
            }
            for final in finals
            for word in final.words
        ]
        text = " ".join(final.text for final in finals)
        shown = {"result": words} if self._config.words and words else {}
        meaning = {"intent": finals[-1].intent, "slots": dict(finals[-1].slots)} if finals and finals[-1].slots else {}
        if not self._config.max_alternatives:
            return {**shown, "text": text, **meaning}
        others = finals[0].alternatives if len(finals) == 1 else ()
        best = {"confidence": round(finals[0].confidence, 6) if finals else 0.0, **shown, "text": text, **meaning}
        rest = [{"confidence": 0.0, "text": other} for other in others if other != text]
        return {"alternatives": [best, *rest[: self._config.max_alternatives - 1]]}


def with_alternatives(recognizer: Recognizer, n: int) -> Recognizer:
    """Let a recognizer tell up to `n` texts of an utterance, if its search can."""
    n = min(n, MOST_ALTERNATIVES)
    decoder = recognizer.decoder
    if n < 2:
        return recognizer
    if isinstance(decoder, GreedyDecoder):
        return _with_beam(recognizer, n)
    return recognizer.with_decoder(decoder.with_nbest(n)) if isinstance(decoder, AnyBeam) else recognizer


@lru_cache(KEPT)
def _with_beam(recognizer: Recognizer, n: int) -> Recognizer:
    """Make a beam search once for all clients of a model that want as many texts."""
    return recognizer.with_decoder(load_beam(recognizer.metadata, BeamOptions(nbest=n)))


def _read(message: str) -> dict[str, Any]:
    """Read a text message. Raises UsageError for one that is none of the protocol's."""
    wanted = _parsed(message)
    if not isinstance(wanted, dict) or not {"config", "eof", "reset"} & set(wanted):
        raise UsageError('text is wanted as {"config": {...}}, {"eof": 1} or {"reset": 1}; sound as binary messages.')
    return wanted


def _parsed(text: str) -> Any:
    """Parse JSON; None for what is none."""
    try:
        return parse_json(text, most_brackets=MOST_BRACKETS)
    except ValueError:
        return None


def _number(config: dict[str, Any], name: str, default: float, most: float) -> float:
    value = config.get(name, default)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if not 0 <= number <= most:
        raise UsageError(f"{name} is {str(value)[:40]!r}; wanted a number from 0 to {most:g}.")
    return number


def _texts(value: Any) -> list[str]:
    texts = _parsed(value) if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UsageError('phrase_list is not a list of texts; wanted for instance ["turn on", "turn off", "[unk]"].')
    return texts


def _written(reply: dict[str, Any]) -> str:
    """Write a reply with the spaces that Vosk's have; some clients look for them."""
    return json.dumps(reply, ensure_ascii=False, indent=2, separators=(",", " : "))
