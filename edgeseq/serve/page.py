"""The web page: static files, and the WebSocket that the page speaks.

A client of `/listen` says what it sends in a first text message, `{"rate": 48000, "model": "digits-en", "phrases": "..."}`
(model and phrases may be left out), then sends 16-bit little-endian mono samples in binary messages, and
`{"type": "finish"}` to get its last words. The server answers in text messages: `{"type": "ready"}` first, then events as
`--format jsonl` writes them, behind them `{"type": "heard", "samples": n}` (of those sent) for each binary message,
`{"type": "finished"}` in the end, and `{"type": "error", "message": ..., "again": ...}` before it closes on its own:
`again` if it is worth coming back. When the server is stopped in the middle, `{"type": "stopping"}` comes before the words
that it then tells: they end where the server did, not where somebody paused.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from aiohttp import web

from edgeseq.decoding.decoder import kind_of
from edgeseq.errors import EdgeseqError, UsageError
from edgeseq.events import Event
from edgeseq.model.understanding import understanding
from edgeseq.phrases.examples import example_for
from edgeseq.phrases.faults import Fault, PhraseError, Place
from edgeseq.serve.context import Context
from edgeseq.serve.hub import Stream
from edgeseq.serve.limits import BusyError, LimitError, StoppingError
from edgeseq.serve.pcm import as_text, pcm16_samples
from edgeseq.serve.websocket import LeftError, Socket, accepted
from edgeseq.stream.recognizer import Recognizer
from edgeseq.untrusted import parse_json

PROTOCOL = "page"
MOST_BRACKETS = 1000
"""Objects and lists in a text message."""
MOST_LETTERS = 100
"""of what a model understands: two or three lines beside the words"""
FOLDER = Path(__file__).parent / "static"
INDEX = "index.html"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), screen-wake-lock=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every answer: nothing from elsewhere is loaded, the page itself has no script, nobody learns the address."""
ASKED_EACH_TIME = "no-cache"
"""Files are small; browsers keep them, and ask by ETag whether there are newer ones."""


@dataclass(frozen=True)
class File:
    """A file of the page, in memory."""

    content: bytes
    content_type: str
    etag: str


@dataclass(frozen=True)
class Settings:
    """What a client wants, from its first message."""

    rate: int
    """of its samples, Hz"""
    model: str | None
    phrases: str
    """text of a phrase file; empty for none"""


def routes(context: Context) -> list[web.RouteDef]:
    """List the routes."""
    files = read_files(FOLDER)
    models = [_describe_model(name, recognizer) for name, recognizer in context.hub.recognizers.items()]

    async def index(request: web.Request) -> web.Response:
        return _answer(request, files[INDEX])

    async def file(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in files:
            raise web.HTTPNotFound(headers=HEADERS)
        return _answer(request, files[name])

    async def about(request: web.Request) -> web.Response:
        return web.json_response(describe(context, models), headers={**HEADERS, "Cache-Control": "no-store"})

    async def listen(request: web.Request) -> web.StreamResponse:
        async with accepted(request, context, PROTOCOL) as socket:
            try:
                await _listen(socket, context)
            except EdgeseqError as fault:
                with suppress(LeftError):
                    await socket.send(json.dumps(told(fault), ensure_ascii=False))
                raise
        return socket.response

    return [
        web.get("/", index),
        web.get("/page/{name}", file),
        web.get("/listen", listen),
        web.get("/listen/about", about),
    ]


def read_files(folder: Path) -> dict[str, File]:
    """Read the files of the page by name."""
    return {path.name: _read(path) for path in sorted(folder.iterdir()) if path.is_file()}


def describe(context: Context, models: list[dict[str, Any]]) -> dict[str, Any]:
    """Say what the page shows of its server and of its models."""
    return {
        "models": models,
        "keeps_audio": context.save_audio is not None,
        "fingerprint": context.fingerprint,
        "phrases_bytes": context.hub.limits.phrases_bytes,
    }


def read_settings(message: str | bytes | None) -> Settings:
    """Read a client's first message. Raises UsageError.

    >>> read_settings('{"rate": 48000}')
    Settings(rate=48000, model=None, phrases='')
    """
    found = _parsed(message) if isinstance(message, str) else None
    if found is None:
        raise UsageError('the first message says what is sent, as JSON text: {"rate": 48000}.')
    rate, model, phrases = found.get("rate"), found.get("model"), found.get("phrases")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or rate % 1 != 0:  # NaN and infinity, too
        raise UsageError(f'"rate" is {json.dumps(rate)[:40]}; wanted samples a second, a whole number.')
    if not (model is None or isinstance(model, str)) or not (phrases is None or isinstance(phrases, str)):
        raise UsageError('"model" and "phrases" are texts, or left out.')
    return Settings(int(rate), model, (phrases or "").strip("\n"))


def told(fault: EdgeseqError) -> dict[str, Any]:
    """Write a refusal as the page shows it; faults of phrases with their places."""
    message: dict[str, Any] = {"type": "error", "message": str(fault), "again": isinstance(fault, LimitError)}
    if isinstance(fault, PhraseError):
        places = [(one.place.line, one.place.column, one.message) for one in fault.faults]
        message["faults"] = [{"line": line, "column": column, "message": text} for line, column, text in places]
    return message


async def _listen(socket: Socket, context: Context) -> None:
    """Hear one client from its first message to its last."""
    first = await socket.receive()
    if first is None:
        return
    await socket.pace.settings()
    settings = read_settings(first)
    recognizer = await _recognizer(context, settings)
    async with context.hub.open(PROTOCOL, rate=settings.rate, recognizer=recognizer) as stream:
        await _send(socket, {"type": "ready", "model": settings.model or context.hub.default, "rate": settings.rate})
        try:
            await _converse(socket, stream)
        except EdgeseqError as fault:
            with suppress(LeftError):
                if isinstance(fault, StoppingError):
                    await _send(socket, {"type": "stopping"})
                await _tell(socket, await stream.last_words())
            raise


async def _converse(socket: Socket, stream: Stream) -> None:
    """Pass on what is said and what is heard of it, until the client ends."""
    n_samples, sound = 0, pcm16_samples()
    async for received in socket:
        message = as_text(received)
        if isinstance(message, bytes):
            samples = sound.take(message)
            await stream.at_rate(sound.rate)
            await _tell(socket, await stream.hear(samples))
            n_samples += len(samples)
            await _send(socket, {"type": "heard", "samples": n_samples})
        elif _is_finish(message):
            sound.drop_rest()
            await _tell(socket, await stream.finish())
            await _send(socket, {"type": "finished"})
            n_samples = 0
        else:
            raise UsageError('the only text behind the first is {"type": "finish"}; sound is sent in binary messages.')


async def _recognizer(context: Context, settings: Settings) -> Recognizer:
    """Find the model that is wanted, with the client's own phrases if there are any."""
    recognizer = context.hub.find(settings.model)
    if not settings.phrases:
        return recognizer
    try:
        return await context.phrases.understand(recognizer, settings.phrases)
    except BusyError:
        raise
    except LimitError as fault:  # coming back with the same phrases would not help
        raise PhraseError("phrases", [Fault(Place(1, 1), str(fault))]) from fault


async def _tell(socket: Socket, events: Sequence[Event]) -> None:
    for event in events:
        await socket.send(event.to_json())


async def _send(socket: Socket, message: dict[str, Any]) -> None:
    await socket.send(json.dumps(message, ensure_ascii=False))


def _is_finish(message: str) -> bool:
    found = _parsed(message)
    return found is not None and found.get("type") == "finish"


def _parsed(message: str) -> dict[str, Any] | None:
    """Read a JSON object; None if it is none."""
    try:
        found = parse_json(message, most_brackets=MOST_BRACKETS)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _describe_model(name: str, recognizer: Recognizer) -> dict[str, Any]:
    metadata = recognizer.metadata
    return {
        "name": name,
        "language": metadata.language,
        "rate": metadata.sample_rate,
        "bytes": recognizer.network.path.stat().st_size,
        "quantization": metadata.quantization,
        "decoder": kind_of(recognizer.decoder),
        "understands": shorten(understanding(metadata), MOST_LETTERS, placeholder=" …"),
        "example": example_for(metadata),
    }


def _answer(request: web.Request, file: File) -> web.Response:
    headers = {**HEADERS, "Cache-Control": ASKED_EACH_TIME, "ETag": file.etag}
    if request.headers.get("If-None-Match") == file.etag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=file.content, headers={**headers, "Content-Type": file.content_type})


def _read(path: Path) -> File:
    content = path.read_bytes()
    kind = "text/javascript" if path.suffix == ".js" else mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    charset = "; charset=utf-8" if kind.startswith("text/") else ""
    return File(content, kind + charset, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
