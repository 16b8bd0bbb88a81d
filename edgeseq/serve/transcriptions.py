"""OpenAI's REST interface: POST /v1/audio/transcriptions, and GET /v1/models."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from aiohttp import web
from aiohttp.helpers import parse_content_type
from aiohttp.http import HttpProcessingError

from edgeseq.errors import EdgeseqError, UsageError
from edgeseq.events import Final
from edgeseq.serve.access import error_response
from edgeseq.serve.biasing import biased, terms_of_prompt
from edgeseq.serve.choosing import choose_model
from edgeseq.serve.context import Context
from edgeseq.serve.decoding import Decoders
from edgeseq.serve.hub import Hub, resident_bytes
from edgeseq.serve.limits import BusyError, LimitError, Limits
from edgeseq.serve.multipart import FormReader
from edgeseq.serve.openai_forms import FORMATS, GRANULARITIES, NoModelError, Transcription, models, refusal, status_of
from edgeseq.serve.running_text import RunningText
from edgeseq.serve.spool import Spool, SpoolFile
from edgeseq.stream.recognizer import Recognizer

log = logging.getLogger(__name__)

FORM_BYTES = 65_536
"""of all fields of the form but the file"""
MOST_FIELDS, FIELD_BYTES = 500, 1000
"""fields of a form, and what their headers may take each on average"""
UPLOAD_SECONDS = 300.0
"""for a file to come"""
BROKEN = (ValueError, LookupError, AssertionError, web.HTTPException, web.RequestPayloadError, HttpProcessingError)
"""What aiohttp raises for forms that are none."""
INDEX = re.compile(r"\[\d*\]$")
"""Behind the name of a list: none, empty, or a number, as several libraries write it."""
LISTS = ("timestamp_granularities", "keywords", "languages")


@dataclass
class TranscriptionForm:
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
        """Note a field; others of OpenAI's (temperature, include ...) mean nothing here and are ignored."""
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
        self._spool, self._decoders = Spool(hub.limits), Decoders(hub)
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
        if resident_bytes() > self._hub.limits.memory_bytes:
            raise BusyError("this server has no memory for another file; try again later.")
        self._n_open += 1
        try:
            async with self._spool.open() as file:
                form = await self._receive(request, file)
                recognizer = await self._recognizer(form)
                if form.is_stream:
                    return await self._stream(request, file.file, recognizer)
                return await self._whole(file.file, recognizer, form)
        finally:
            self._n_open -= 1

    async def _receive(self, request: web.Request, file: SpoolFile) -> TranscriptionForm:
        """Read a form; its file goes to `file`. Raises UsageError, LimitError and FullDiskError."""
        limits = self._hub.limits
        if not request.content_type.startswith("multipart/"):
            raise UsageError(f"content type {request.content_type[:60]}; wanted multipart/form-data with a file and a model.")
        most_bytes = limits.upload_bytes + FORM_BYTES + MOST_FIELDS * FIELD_BYTES
        if (request.content_length or 0) > most_bytes:
            raise _too_large("the file", limits.upload_bytes)
        try:
            boundary = request.headers.get("Content-Type", "")
            reader = FormReader(self._reading(request), _boundary(boundary), most_bytes)
            form = await self._read_form(reader, file)
        except BROKEN as fault:
            raise UsageError(f"the form is broken ({type(fault).__name__}); wanted multipart/form-data.") from None
        form.check()
        await file.flush()
        return form

    def _reading(self, request: web.Request) -> Callable[[], Awaitable[bytes]]:
        """Give what reads a request's body, a piece at a time, within its time."""
        deadline = time.monotonic() + UPLOAD_SECONDS

        async def read() -> bytes:
            async with self._hub.patience(self._hub.limits.idle_seconds):
                piece = await request.content.readany()
            if time.monotonic() > deadline:
                raise LimitError(f"the file did not come within {UPLOAD_SECONDS:g} s.")
            await asyncio.sleep(0)
            return piece

        return read

    async def _read_form(self, reader: FormReader, file: SpoolFile) -> TranscriptionForm:
        form, n_fields, n_left, has_file = TranscriptionForm(), 0, FORM_BYTES, False
        while (part := await reader.next_part()) is not None:
            n_fields += 1
            await asyncio.sleep(0)  # many parts may have come at once
            if n_fields > MOST_FIELDS:
                raise UsageError(f"a form with more than {MOST_FIELDS} parts.")
            if part.name != "file":
                value = await _read_field(reader, n_left)
                n_left -= len(value)
                form.add(part.name, value.decode(errors="replace"))
                continue
            if has_file:
                raise UsageError("a form with more than one file.")
            has_file = True
            await self._keep_file(reader, file)
        if not has_file:
            raise UsageError("the form has no file; wanted one in the field 'file'.")
        return form

    async def _keep_file(self, reader: FormReader, file: SpoolFile) -> None:
        most, n_bytes = self._hub.limits.upload_bytes, 0
        while piece := await reader.read_piece():
            n_bytes += len(piece)
            if n_bytes > most:
                raise _too_large("the file", most)
            await file.write(piece)

    async def _recognizer(self, form: TranscriptionForm) -> Recognizer:
        try:
            chosen = choose_model(self._hub, form.model, form.language or next(iter(form.languages), None))
        except UsageError as fault:
            is_unknown = form.model and form.model not in self._hub.recognizers
            raise (NoModelError(str(fault)) if is_unknown else fault) from None
        return await self._hub.work(_biased, chosen, form, self._hub.limits)

    async def _whole(self, file: BinaryIO, recognizer: Recognizer, form: TranscriptionForm) -> web.Response:
        """Answer when all has been heard."""
        heard = FileProgress()
        async with aclosing(self._hear(file, recognizer, heard)) as pieces:
            async for _ in pieces:
                pass
        about = recognizer.metadata
        return heard.transcription(about.sample_rate, about.language).to_response(
            form.response_format, form.timestamp_granularities or ("segment",)
        )

    async def _stream(self, request: web.Request, file: BinaryIO, recognizer: Recognizer) -> web.StreamResponse:
        """Answer by server-sent events while the file is heard."""
        heard, about = FileProgress(), recognizer.metadata
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

    async def _hear(self, file: BinaryIO, recognizer: Recognizer, heard: FileProgress) -> AsyncGenerator[str, None]:
        """Hear a file; give what each block of it adds to the text."""
        async with (
            self._hub.open("openai", recognizer=recognizer) as stream,
            aclosing(self._decoders.blocks(file, recognizer.sample_rate)) as blocks,
        ):
            async for block in blocks:
                async with self._hub.patience(None):  # ends with the server
                    told = await stream.hear(block)
                yield heard.take(told, len(block))
            yield heard.take(await stream.finish(), 0)


@dataclass
class FileProgress:
    """What has been heard of a file."""

    text: RunningText = field(default_factory=RunningText)
    finals: list[Final] = field(default_factory=list)
    n_samples: int = 0

    def take(self, told: list[Any], n_samples: int) -> str:
        """Note the events of the next samples; give what it adds to the text."""
        self.n_samples += n_samples
        self.finals += [event for event in told if isinstance(event, Final)]
        piece, self.text = self.text.after(told)
        return piece

    def transcription(self, sample_rate: int, language: str) -> Transcription:
        """Give the whole."""
        return Transcription(tuple(self.finals), self.n_samples / sample_rate, language)


def _biased(chosen: Recognizer, form: TranscriptionForm, limits: Limits) -> Recognizer:
    return biased(chosen, form.keywords, terms_of_prompt(form.prompt), limits)


async def _read_field(reader: FormReader, most_bytes: int) -> bytes:
    """Read a field that is no file. Raises LimitError."""
    value = b""
    while piece := await reader.read_piece():
        value += piece
        if len(value) > most_bytes:
            raise _too_large("the form without its file", FORM_BYTES)
    return value


def _boundary(content_type: str) -> str:
    """Read the boundary of a form."""
    parameters = parse_content_type(content_type)[1]
    return parameters.get("boundary", "")


def _too_large(what: str, most: int) -> LimitError:
    return LimitError(f"{what} is larger than {most:,} bytes, which is the most that this server takes.")
