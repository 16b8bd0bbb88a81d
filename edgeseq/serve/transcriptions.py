"""OpenAI's REST interface: POST /v1/audio/transcriptions, and GET /v1/models."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from aiohttp import BodyPartReader, web
from aiohttp.http import HttpProcessingError

from edgeseq.errors import EdgeseqError, UsageError
from edgeseq.events import Final
from edgeseq.serve.access import error_response
from edgeseq.serve.biasing import biased, terms_of_prompt
from edgeseq.serve.choosing import choose_model
from edgeseq.serve.context import Context
from edgeseq.serve.hub import Hub
from edgeseq.serve.limits import BusyError, LimitError
from edgeseq.serve.openai_forms import FORMATS, GRANULARITIES, NoModelError, Transcription, models, refusal, status_of
from edgeseq.serve.running_text import RunningText
from edgeseq.serve.uploads import read_upload
from edgeseq.sound.blocks import Floats
from edgeseq.stream.recognizer import Recognizer

log = logging.getLogger(__name__)

PIECE_BYTES = 65_536
FIELD_PIECE_BYTES = 2048
"""Of fields but the file: aiohttp keeps a piece or two for each of them until its memory is next gone through."""
FORM_BYTES = 65_536
"""of all fields of the form but the file"""
MOST_FIELDS = 500
UPLOAD_SECONDS = 300.0
"""for a file to come"""
BROKEN = (ValueError, LookupError, AssertionError, web.HTTPException, web.RequestPayloadError, HttpProcessingError)
"""What aiohttp raises for forms that are none."""
INDEX = re.compile(r"\[\d*\]$")
"""Behind the name of a list: none, empty, or a number, as several libraries write it."""
LISTS = ("timestamp_granularities", "keywords", "languages")


@dataclass
class Form:
    """What was sent with a file; a field a field of the form."""

    model: str | None = None
    language: str | None = None
    prompt: str = ""
    response_format: str = "json"
    stream: str = "false"
    timestamp_granularities: list[str] = field(default_factory=list)
    keywords: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)

    def add(self, name: str, value: str) -> None:
        """Note a field; others of OpenAI's (temperature, include ...) mean nothing here and are passed over."""
        name = INDEX.sub("", name)
        if name in LISTS:
            getattr(self, name).append(value)
        elif name in self.__dataclass_fields__:
            setattr(self, name, value)

    def check(self) -> None:
        """Raise UsageError for values that are none of those there are."""
        wanted = [(self.response_format, FORMATS, "response_format"), (self.stream.lower(), ("true", "false"), "stream")]
        wanted += [(value, GRANULARITIES, "timestamp_granularities") for value in self.timestamp_granularities]
        for value, allowed, name in wanted:
            if value not in allowed:
                raise UsageError(f"{name} is '{value[:40]}'; wanted {', '.join(allowed)}.")

    @property
    def is_stream(self) -> bool:
        """Whether text is to come while the file is heard."""
        return self.stream.lower() == "true"


def routes(context: Context) -> list[web.RouteDef]:
    """List the routes."""
    transcriber = Transcriber(context.hub)
    names, created = list(context.hub.recognizers), int(context.hub.metrics.started_at)

    async def list_models(request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": models(names, created)})

    async def show_model(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in names:
            return refusal(NoModelError(f"there is no model '{name[:200]}' here. There are: {', '.join(names)}."))
        return web.json_response(models([name], created)[0])

    return [
        web.post("/v1/audio/transcriptions", transcriber.answer),
        web.get("/v1/models", list_models),
        web.get("/v1/models/{name:.+}", show_model),
    ]


class Transcriber:
    """Hears files that clients send."""

    def __init__(self, hub: Hub) -> None:
        """Open streams of `hub`."""
        self._hub = hub
        self._n_open = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Take a file and its form, and answer with what is said in it."""
        try:
            return await self._answer(request)
        except EdgeseqError as fault:
            _, code = status_of(fault)
            self._hub.metrics.refused("openai", code)
            log.info("openai %s: refused: %s", request.remote, fault)
            return refusal(fault)
        except ConnectionError:
            raise  # the client is gone; aiohttp notes it
        except Exception:
            log.exception("openai %s: failed", request.remote)
            return error_response(500, "something is wrong within the server; its log says what.")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self._n_open >= self._hub.limits.streams:
            raise BusyError(f"this server is hearing {self._n_open} files and takes no more; try again later.")
        self._n_open += 1
        try:
            with tempfile.TemporaryFile() as opened:
                file = cast(BinaryIO, opened)
                form = await self._receive(request, file)
                recognizer = await self._recognizer(form)
                if form.is_stream:
                    return await self._stream(request, file, recognizer)
                return await self._whole(file, recognizer, form)
        finally:
            self._n_open -= 1

    async def _receive(self, request: web.Request, file: BinaryIO) -> Form:
        """Read a form; its file goes to `file`. Raises UsageError and LimitError."""
        limits, deadline = self._hub.limits, time.monotonic() + UPLOAD_SECONDS
        if not request.content_type.startswith("multipart/"):
            raise UsageError(f"content type {request.content_type[:60]}; wanted multipart/form-data with a file and a model.")
        if (request.content_length or 0) > limits.upload_bytes + FORM_BYTES + MOST_FIELDS * 1000:
            raise _too_large("the file", limits.upload_bytes)
        form, n_fields, n_bytes, has_file = Form(), 0, 0, False
        try:
            reader = await request.multipart()
            while True:
                async with self._hub.patience(limits.idle_seconds):
                    part = await reader.next()
                if part is None:
                    break
                n_fields += 1
                if not isinstance(part, BodyPartReader) or part.name is None or n_fields > MOST_FIELDS:
                    raise UsageError(f"a form with parts in parts, without names, or with more than {MOST_FIELDS} of them.")
                if part.name == "file":
                    if has_file:
                        raise UsageError("a form with more than one file.")
                    has_file = True
                    if await self._copy(part, file.write, limits.upload_bytes, deadline, PIECE_BYTES) is None:
                        raise _too_large("the file", limits.upload_bytes)
                else:
                    value = bytearray()
                    n = await self._copy(part, value.extend, FORM_BYTES - n_bytes, deadline, FIELD_PIECE_BYTES)
                    if n is None:
                        raise _too_large("the form without its file", FORM_BYTES)
                    n_bytes += n
                    form.add(part.name, value.decode(errors="replace"))
        except BROKEN as fault:
            raise UsageError(f"the form is broken ({type(fault).__name__}); wanted multipart/form-data.") from None
        if not has_file:
            raise UsageError("the form has no file; wanted one in the field 'file'.")
        form.check()
        return form

    async def _copy(
        self, part: BodyPartReader, write: Callable[[bytes], Any], most: int, deadline: float, piece_bytes: int
    ) -> int | None:
        """Copy a part of a form until `deadline` by the clock; return its bytes, or None once there are more than `most`."""
        n_bytes = 0
        while True:
            async with self._hub.patience(self._hub.limits.idle_seconds):
                piece = await part.read_chunk(piece_bytes)
            if not piece:
                return n_bytes
            n_bytes += len(piece)
            if n_bytes > most:
                return None
            if time.monotonic() > deadline:
                raise LimitError(f"the file did not come within {UPLOAD_SECONDS:g} s.")
            write(bytes(piece))

    async def _recognizer(self, form: Form) -> Recognizer:
        try:
            chosen = choose_model(self._hub, form.model, form.language or next(iter(form.languages), None))
        except UsageError as fault:
            is_unknown = form.model and form.model not in self._hub.recognizers
            raise (NoModelError(str(fault)) if is_unknown else fault) from None
        return await asyncio.to_thread(biased, chosen, form.keywords, terms_of_prompt(form.prompt), self._hub.limits)

    async def _whole(self, file: BinaryIO, recognizer: Recognizer, form: Form) -> web.Response:
        """Answer when all has been heard."""
        heard = Heard()
        async with aclosing(self._hear(file, recognizer, heard)) as pieces:
            async for _ in pieces:
                pass
        about = recognizer.metadata
        return heard.transcription(about.sample_rate, about.language).to_response(
            form.response_format, form.timestamp_granularities or ("segment",)
        )

    async def _stream(self, request: web.Request, file: BinaryIO, recognizer: Recognizer) -> web.StreamResponse:
        """Answer by server-sent events while the file is heard."""
        heard, about = Heard(), recognizer.metadata
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        try:
            async with aclosing(self._hear(file, recognizer, heard)) as pieces:
                async for piece in pieces:
                    if not response.prepared:
                        await response.prepare(request)
                    if piece:
                        await self._send(request, response, {"type": "transcript.text.delta", "delta": piece})
        except EdgeseqError as fault:
            if not response.prepared:
                raise
            log.info("openai %s: refused: %s", request.remote, fault)
            await self._send(request, response, json.loads(refusal(fault).text or "{}"))
            return response
        if not response.prepared:
            await response.prepare(request)
        usage = heard.transcription(about.sample_rate, about.language).usage
        await self._send(request, response, {"type": "transcript.text.done", "text": heard.text.text, "usage": usage})
        await response.write_eof()
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse, event: dict[str, Any]) -> None:
        """Send an event; a client that does not read is waited for, and then left."""
        seconds = self._hub.limits.send_seconds
        try:
            async with asyncio.timeout(seconds):
                await response.write(f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode())
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise LimitError(f"the client has not read what was sent for {seconds:g} s.") from None

    async def _hear(self, file: BinaryIO, recognizer: Recognizer, heard: Heard) -> AsyncGenerator[str, None]:
        """Hear a file; give what each block of it adds to the text."""
        async with (
            self._hub.open("openai", recognizer=recognizer) as stream,
            aclosing(_blocks(file, recognizer.sample_rate)) as blocks,
        ):
            async for block in blocks:
                async with self._hub.patience(None):  # ends with the server
                    told = await stream.hear(block)
                yield heard.take(told, len(block))
            yield heard.take(await stream.finish(), 0)


@dataclass
class Heard:
    """What has been heard of a file."""

    text: RunningText = field(default_factory=RunningText)
    finals: list[Final] = field(default_factory=list)
    n_samples: int = 0

    def take(self, told: list[Any], n_samples: int) -> str:
        """Note what was told of the next samples; give what it adds to the text."""
        self.n_samples += n_samples
        self.finals += [event for event in told if isinstance(event, Final)]
        piece, self.text = self.text.after(told)
        return piece

    def transcription(self, sample_rate: int, language: str) -> Transcription:
        """Give the whole."""
        return Transcription(tuple(self.finals), self.n_samples / sample_rate, language)


async def _blocks(file: BinaryIO, sample_rate: int) -> AsyncGenerator[Floats, None]:
    """Read a file's sound beside the event loop."""
    loop = asyncio.get_running_loop()
    iterator = read_upload(file, sample_rate)
    try:
        while True:
            reading = loop.run_in_executor(None, next, iterator, None)
            try:
                block = await asyncio.shield(reading)
            except asyncio.CancelledError:
                await asyncio.wait({reading})  # a generator cannot be closed while it runs
                reading.exception()  # nobody else asks for it
                raise
            if block is None:
                return
            if len(block):
                yield block
    finally:
        iterator.close()  # type: ignore[attr-defined]  # of a generator


def _too_large(what: str, most: int) -> LimitError:
    return LimitError(f"{what} is larger than {most:,} bytes, which is the most that this server takes.")
