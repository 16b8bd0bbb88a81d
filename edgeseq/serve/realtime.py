"""OpenAI's Realtime interface, as far as it transcribes: a WebSocket at /v1/realtime?intent=transcription.

An item of the conversation is one utterance. Where the server detects turns, an utterance begins with its first word and
ends by the recognizer's endpoint rules; else it ends where the client commits.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

from aiohttp import web

from edgeseq.errors import EdgeseqError, UsageError
from edgeseq.events import Event, Final
from edgeseq.serve.context import Context
from edgeseq.serve.hub import PIECE_SECONDS, Hub
from edgeseq.serve.limits import LimitError, StoppingError
from edgeseq.serve.openai_forms import sendable, status_of
from edgeseq.serve.realtime_session import Settings
from edgeseq.serve.running_text import RunningText
from edgeseq.serve.websocket import LeftError, Socket, accepted
from edgeseq.untrusted import parse_json

log = logging.getLogger(__name__)

SUBPROTOCOL = "realtime"
MOST_BRACKETS = 1000
"""Objects and lists in a text message."""
MOST_FAULTS = 100
"""of a client, before it is left"""
TRANSCRIPTION = "conversation.item.input_audio_transcription"


class FaultyEventError(UsageError):
    """A client's event that is none, or cannot be followed; the conversation continues."""

    def __init__(self, message: str, code: str = "invalid_value") -> None:
        """Say what is wrong, and its code for programs."""
        super().__init__(message)
        self.code = code


def routes(context: Context) -> list[web.RouteDef]:
    """List the routes."""

    async def realtime(request: web.Request) -> web.WebSocketResponse:
        is_flat = "realtime=v1" in request.headers.get("OpenAI-Beta", "")
        async with accepted(request, context, "openai-realtime", (SUBPROTOCOL,), text_is_sound=True) as socket:
            conversation = Conversation(socket, context.hub, Settings(request.query.get("model") or None), is_flat)
            try:
                await conversation.hold()
            except EdgeseqError as fault:
                with suppress(LeftError):
                    await conversation.refuse(fault)
                raise
        return socket.response

    return [web.get("/v1/realtime", realtime)]


class Conversation:
    """One client's WebSocket."""

    def __init__(self, socket: Socket, hub: Hub, settings: Settings, is_flat: bool) -> None:
        """Talk through `socket`; `is_flat` where the client knows only the form before today's."""
        self._socket, self._hub, self._settings, self._is_flat = socket, hub, settings, is_flat
        self._samples = settings.samples()
        self._id = f"sess_{secrets.token_hex(8)}"
        self._numbers = count(1)
        self._item: str | None = None
        """utterance that has begun"""
        self._item_ms = 0
        """when it began, since the conversation did"""
        self._previous: str | None = None
        self._said = RunningText()
        self._n_samples, self._n_before, self._n_committed = 0, 0, 0
        """of the conversation; before the stream started afresh; when an item was last committed"""
        self._heard_ms = 0.0
        """of samples at other rates, before"""
        self._n_faults = 0

    async def hold(self) -> None:
        """Answer until the client ends. Raises EdgeseqError for what ends the conversation."""
        recognizer = await self._hub.work(self._settings.recognizer, self._hub)
        async with self._hub.open("openai-realtime", rate=self._settings.rate, recognizer=recognizer) as self._stream:
            await self._send_session("created")
            try:
                async for message in self._socket:
                    await self._answer(message)
            except EdgeseqError:
                if self._n_samples != self._n_committed:
                    with suppress(EdgeseqError, LeftError):
                        await self._commit()  # the last words, although the client has not ended
                raise

    async def refuse(self, fault: EdgeseqError, event_id: object = None) -> None:
        """Tell what is wrong."""
        status, code = status_of(fault)
        error = {
            "type": "invalid_request_error" if status < 500 else "server_error",
            "code": fault.code if isinstance(fault, FaultyEventError) else code,
            "message": sendable(str(fault)),
            "param": None,
            "event_id": sendable(event_id[:200]) if isinstance(event_id, str) else None,
        }
        await self._send("error", error=error)

    async def _answer(self, message: str | bytes) -> None:
        """Follow an event; a faulty one is reported, and the conversation continues."""
        event: dict[str, Any] = {}
        try:
            event = _parse(message)
            await self._follow(event)
        except (StoppingError, LimitError):
            raise
        except EdgeseqError as fault:
            self._n_faults += 1
            if self._n_faults == 1:
                log.info("openai-realtime %s: refused: %s", self._id, fault)
            if self._n_faults > MOST_FAULTS:
                raise LimitError(f"more than {MOST_FAULTS} faulty events.") from None
            await self.refuse(fault, event.get("event_id"))

    async def _follow(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if kind == "input_audio_buffer.append":
            await self._append(event.get("audio"))
            return
        await (self._socket.pace.settings() if isinstance(kind, str) and kind.endswith("update") else self._socket.pace.event())
        if kind == "input_audio_buffer.commit":
            if self._n_samples == self._n_committed:
                raise FaultyEventError("there is no sound to commit.", "input_audio_buffer_commit_empty")
            await self._commit()
        elif kind == "input_audio_buffer.clear":
            await self._begin_anew()
            await self._send("input_audio_buffer.cleared")
        elif kind == "session.update":
            await self._change(self._settings.updated(event.get("session")))
        elif kind == "transcription_session.update":
            self._is_flat = True
            await self._change(self._settings.updated_flat(event.get("session")))
        else:
            raise FaultyEventError(f"there is no event '{str(kind)[:60]}' here; this server only transcribes.", "unknown_event")

    async def _change(self, settings: Settings) -> None:
        """Hear by other settings from now on; sound that was not committed is heard by them no more."""
        if settings != self._settings:
            recognizer = await self._hub.work(settings.recognizer, self._hub)
            before, self._settings = self._settings, settings
            self._heard_ms += 1000 * self._n_samples / before.rate
            self._n_samples = 0
            await self._begin_anew(recognizer)
        await self._send_session("updated")

    async def _begin_anew(self, recognizer: Any = None) -> None:
        await self._stream.reset(recognizer, self._settings.rate)
        self._samples = self._settings.samples()
        self._item, self._said = None, RunningText()
        self._n_before = self._n_committed = self._n_samples

    async def _append(self, audio: object) -> None:
        """Hear sound, a piece at a time."""
        if not isinstance(audio, str):
            raise FaultyEventError("'audio' is not text; wanted sound in base64.")
        try:
            content = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError):
            raise FaultyEventError("'audio' is not base64.", "invalid_base64") from None
        samples = self._samples.take(content)
        if self._samples.rate not in (None, self._settings.rate):  # of a WAV's header
            await self._stream.at_rate(self._samples.rate)
            self._settings = replace(self._settings, rate=self._stream.rate)
        n_piece = max(1, round(PIECE_SECONDS * self._settings.rate))
        for first in range(0, len(samples), n_piece):
            piece = samples[first : first + n_piece]
            self._n_samples += len(piece)
            await self._tell(await self._stream.hear(piece))

    async def _commit(self) -> None:
        """End what is being said, and the item with it, if there were no words."""
        before = self._previous
        self._samples.drop_rest()
        await self._tell(await self._stream.finish())
        if self._item is not None or self._previous == before:
            await self._begin_item(self._n_committed / self._settings.rate)
            await self._complete(round(self._now_ms()))
        self._n_before = self._n_samples

    async def _tell(self, events: Sequence[Event]) -> None:
        """Tell what was heard."""
        for event in events:
            if self._item is None:
                await self._begin_item(self._n_before / self._settings.rate + event.start)
                if self._settings.turns is not None:
                    began_ms = max(0, self._item_ms - self._settings.turns.prefix_padding_ms)
                    await self._send("input_audio_buffer.speech_started", audio_start_ms=began_ms, item_id=self._item)
            piece, self._said = self._said.after([event])
            if piece:
                await self._send(f"{TRANSCRIPTION}.delta", item_id=self._item, content_index=0, delta=piece)
            if isinstance(event, Final) and self._settings.turns is not None:
                seconds = self._n_before / self._settings.rate + event.end
                silence_ms = self._settings.turns.silence_duration_ms
                ended_ms = round(min(self._now_ms(), self._heard_ms + 1000 * seconds + silence_ms))
                await self._send("input_audio_buffer.speech_stopped", audio_end_ms=ended_ms, item_id=self._item)
                await self._complete(ended_ms)

    async def _begin_item(self, seconds: float) -> None:
        if self._item is None:
            self._item, self._item_ms = f"item_{secrets.token_hex(8)}", round(self._heard_ms + 1000 * seconds)

    async def _complete(self, ended_ms: int) -> None:
        """Tell that an item is whole, and its text."""
        item_id, previous = self._item, self._previous
        seconds = max(0.0, (ended_ms - self._item_ms) / 1000)
        content = [{"type": "input_audio", "transcript": None}]
        item = {"id": item_id, "object": "realtime.item", "type": "message", "role": "user", "content": content}
        await self._send("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
        for kind in ("created",) if self._is_flat else ("added", "done"):
            await self._send(f"conversation.item.{kind}", previous_item_id=previous, item=item | {"status": "completed"})
        usage = {"type": "duration", "seconds": seconds}
        await self._send(
            f"{TRANSCRIPTION}.completed", item_id=item_id, content_index=0, transcript=self._said.text, usage=usage
        )
        self._item, self._previous, self._said = None, item_id, RunningText()
        self._n_committed = self._n_samples

    def _now_ms(self) -> float:
        """Milliseconds of sound since the conversation began."""
        return self._heard_ms + 1000 * self._n_samples / self._settings.rate

    async def _send_session(self, what: str) -> None:
        if self._is_flat:
            about = {"id": self._id, "object": "realtime.transcription_session"} | self._settings.to_flat(self._hub)
            await self._send(f"transcription_session.{what}", session=about)
        else:
            about = {"id": self._id, "object": "realtime.transcription_session"} | self._settings.to_dict(self._hub)
            await self._send(f"session.{what}", session=about)

    async def _send(self, kind: str, **fields: Any) -> None:
        number = f"event_{self._id[5:]}_{next(self._numbers)}"
        await self._socket.send(json.dumps({"type": kind, "event_id": number, **fields}))


def _parse(message: str | bytes) -> dict[str, Any]:
    try:
        event = parse_json(message, most_brackets=MOST_BRACKETS)
    except ValueError:
        event = None
    if not isinstance(event, dict) and isinstance(message, bytes):
        raise FaultyEventError("a binary message; wanted JSON, with sound in base64.", "invalid_json")
    if not isinstance(event, dict):
        raise FaultyEventError("a message that is no JSON object.", "invalid_json")
    return event
