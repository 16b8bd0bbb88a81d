"""Wyoming, which Home Assistant speaks: speech to text while one speaks, wake words, voice activity.

What sound is for is said before it comes: `transcribe`, or `detect`. Sound without either is transcribed, too, and tells
besides when voice starts and stops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from wyoming.asr import Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.error import Error
from wyoming.event import Event, Eventable
from wyoming.ping import Pong
from wyoming.vad import VoiceStarted, VoiceStopped
from wyoming.wake import Detection, NotDetected

from edgeseq.errors import AudioError, EdgeseqError, UsageError
from edgeseq.events import Event as Told
from edgeseq.serve.biasing import biased, texts
from edgeseq.serve.choosing import choose_model
from edgeseq.serve.connections import ACCEPTED, Slots, bound_reads, bound_writes, current, listen_longer
from edgeseq.serve.context import Context
from edgeseq.serve.discovery import Announcement, announce, is_reachable
from edgeseq.serve.hub import HIGHEST_RATE, LOWEST_RATE, PIECE_SECONDS, Hub, Stream
from edgeseq.serve.limits import LimitError
from edgeseq.serve.pace import Pace
from edgeseq.serve.running_text import RunningText
from edgeseq.serve.voice_watch import Change, VoiceWatch
from edgeseq.serve.wake import WakeWords, check_count, listen_for
from edgeseq.serve.wyoming_events import HEADER_BYTES, MOST_CHANNELS, read_event, to_samples, whole_number
from edgeseq.serve.wyoming_info import PROGRAM, info, written
from edgeseq.serve.wyoming_texts import code_of, sendable, text_of
from edgeseq.sound.blocks import EMPTY, Floats
from edgeseq.stream.recognizer import Recognizer

log = logging.getLogger(__name__)

LAST_SECONDS = 1.0
"""for a client to read why it is refused"""
LATEST_MS = 2**53
"""of time stamps that clients give"""


class WyomingListener:
    """Wyoming at one address."""

    def __init__(self, context: Context, n_connections: int) -> None:
        """Prepare for this many connections at once."""
        self._context = context
        self._slots = Slots(n_connections, context.paces, lambda: context.hub.metrics.refused("wyoming", "connections"))
        self._info = written(info(context.hub))
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._announcement: Announcement | None = None
        self.port = 0
        """0 for a unix socket"""

    async def listen(self, uri: str) -> None:
        """Take connections at tcp://HOST:PORT (port 0 takes a free one) or unix:///PATH. Raises OSError."""
        parts = urlsplit(uri)
        if parts.scheme == "unix":
            self._path = Path(parts.path)
            self._server = await asyncio.start_unix_server(self._take, self._path, limit=HEADER_BYTES, backlog=ACCEPTED)
            listen_longer(self._server)
            return
        self._server = await asyncio.start_server(
            self._take, parts.hostname, parts.port or 0, limit=HEADER_BYTES, backlog=ACCEPTED
        )
        listen_longer(self._server)
        self.port = self._server.sockets[0].getsockname()[1]
        if is_reachable(parts.hostname or ""):
            self._announcement = await announce(parts.hostname or "", self.port)

    async def stop_listening(self) -> None:
        """Take no more connections; those that are open continue."""
        if self._announcement is not None:
            announcement, self._announcement = self._announcement, None
            await announcement.close()
        if self._server is not None:
            self._server.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    async def close(self) -> None:
        """End all connections."""
        await self.stop_listening()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        slot = self._slots.take(writer.transport)
        if slot is None:
            writer.transport.abort()
            return
        bound_reads(writer.transport)
        current.set(slot)
        self._connections.add(task)
        try:
            await Connection(self._context.hub, reader, writer, slot.pace, self._info).serve()
        except asyncio.CancelledError:
            pass  # the server ends; nobody waits for this task's result
        finally:
            slot.free()
            self._connections.discard(task)


async def start(context: Context, uri: str, n_connections: int | None = None) -> WyomingListener:
    """Speak Wyoming at an address, with that many connections at once. Raises OSError where that is not possible."""
    listener = WyomingListener(context, n_connections or context.hub.limits.connections)
    await listener.listen(uri)
    return listener


class Connection:
    """One client's connection."""

    def __init__(self, hub: Hub, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pace: Pace, about: bytes) -> None:
        """Talk through `reader` and `writer`; `about` answers `describe`."""
        self._hub, self._reader, self._writer, self._pace, self._about = hub, reader, writer, pace, about
        self._request: Event | None = None
        """`transcribe` or `detect`; what the next sound is for"""
        self._has_answered = False
        self._open = AsyncExitStack()
        self._sound: _Sound | None = None
        bound_writes(writer.transport)

    async def serve(self) -> None:
        """Answer until the client leaves, or is refused."""
        who = str((self._writer.get_extra_info("peername") or ["unix"])[0])
        try:
            async with self._open:
                await self._answer_all()
        except (ConnectionError, asyncio.IncompleteReadError) as fault:
            log.info("wyoming %s: left (%s)", who, fault)
        except EdgeseqError as fault:
            self._hub.metrics.refused("wyoming", code_of(fault))
            log.info("wyoming %s: refused: %s", who, sendable(str(fault)))
            await self._say_last(fault)
        except Exception:
            log.exception("wyoming %s: failed", who)
        finally:
            await self._leave()

    async def _answer_all(self) -> None:
        while True:
            try:
                limits = self._hub.limits
                async with self._hub.patience(limits.idle_seconds):
                    event = await read_event(self._reader, limits.settings_bytes, limits.message_bytes)
                if event is None:
                    await self._stop_sound()  # the client says no more, and may still read
                    return
                await self._wait_for_turn(event)
                await self._answer(event)
            except EdgeseqError:
                with suppress(EdgeseqError, ConnectionError):
                    await self._stop_sound()  # the last words, although the client has not ended
                raise

    async def _wait_for_turn(self, event: Event) -> None:
        """Let others have theirs first; what is not sound has a pace."""
        if event.type in ("audio-chunk", "audio-stop"):
            await self._pace.sound()
        elif event.type in ("transcribe", "detect"):
            await self._pace.settings()
        else:
            await self._pace.event()

    async def _say_last(self, fault: EdgeseqError) -> None:
        """Say why it ends, and read what still comes for a moment: a socket closed before would take the words back."""
        with suppress(ConnectionError, EdgeseqError, TimeoutError):
            await self.send(Error(sendable(str(fault).splitlines()[0]), code_of(fault)))
            if self._writer.can_write_eof():
                self._writer.write_eof()
            async with asyncio.timeout(LAST_SECONDS):
                while await self._reader.read(HEADER_BYTES):
                    pass

    async def _leave(self) -> None:
        """Close the connection, what is unread included."""
        self._writer.close()
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._writer.wait_closed()
        except (TimeoutError, ConnectionError):
            self._writer.transport.abort()

    async def send(self, event: Eventable) -> None:
        """Send an event; a client that does not read is waited for, and then left. Raises LimitError."""
        await self._send_bytes(written(event))

    async def _send_bytes(self, content: bytes) -> None:
        seconds = self._hub.limits.send_seconds
        try:
            async with asyncio.timeout(seconds):
                self._writer.write(content)
                await self._writer.drain()
        except TimeoutError:
            self._writer.transport.abort()
            raise LimitError(f"the client has not read what was sent for {seconds:g} s.") from None

    async def _answer(self, event: Event) -> None:
        """Do what an event asks for; those of other purposes are ignored, as the protocol requires."""
        if event.type == "audio-chunk":
            await self._hear(event)
        elif event.type in ("transcribe", "detect"):
            await self._drop_sound()
            self._request = event
        elif event.type == "audio-start":
            await self._drop_sound()
            await self._start_sound(event)
        elif event.type == "audio-stop":
            if self._sound is None:
                await self._answer_silence()
            await self._stop_sound()
        elif event.type == "describe":
            await self._send_bytes(self._about)
        elif event.type == "select-program" and event.data.get("name") != PROGRAM:
            raise UsageError(f"there is no program '{str(event.data.get('name'))[:40]}' here; there is {PROGRAM}.")
        elif event.type == "ping":
            text = text_of(event.data, "text")
            await self.send(Pong(None if text is None else sendable(text[:1000])))

    async def _start_sound(self, event: Event) -> None:
        form = _Form.of(event)
        began_ms = whole_number(event, "timestamp", 0, LATEST_MS) if event.data.get("timestamp") is not None else 0
        purpose = await self._purpose(form, began_ms)
        stream = await self._open.enter_async_context(self._hub.open("wyoming", rate=form.rate, recognizer=purpose.recognizer))
        self._sound = _Sound(form, purpose, stream)
        await purpose.begin()

    async def _purpose(self, form: _Form, began_ms: int) -> _Purpose:
        """Make what the request wants of the sound; names and words are compiled beside the event loop."""
        data = {} if self._request is None else self._request.data
        recognizer = choose_model(self._hub, text_of(data, "name"), text_of(data, "language"))
        limits = self._hub.limits
        if self._request is not None and self._request.type == "detect":
            chosen = choose_model(self._hub, None, None)
            names = texts(data.get("names"))
            check_count(names)
            return _Detecting(self, await self._hub.work(listen_for, chosen, names, limits), began_ms)
        names, terms = texts(data.get("transcript_names")), texts(data.get("transcript_terms"))
        if names or terms:
            recognizer = await self._hub.work(biased, recognizer, names, terms, limits)
        return _Transcribing(self, recognizer, VoiceWatch(form.rate) if self._request is None else None, began_ms)

    async def _hear(self, event: Event) -> None:
        if self._sound is None:
            await self._start_sound(event)
        assert self._sound is not None
        form, sound = _Form.of(event), self._sound
        if form.rate != sound.form.rate:
            raise AudioError(f"sound at {form.rate} Hz within sound at {sound.form.rate} Hz; start over with audio-start.")
        if form != sound.form:  # in width or channels: no sample can be in both
            sound.form, sound.rest = form, b""
        frame_bytes = form.width * form.channels
        payload = sound.rest + (event.payload or b"")
        n_whole = len(payload) // frame_bytes * frame_bytes
        sound.rest = payload[n_whole:]
        n_piece = max(1, round(PIECE_SECONDS * form.rate)) * frame_bytes
        for first in range(0, n_whole, n_piece):
            samples = to_samples(payload[first : min(n_whole, first + n_piece)], form.width, form.channels)
            await sound.purpose.take(samples, await sound.stream.hear(samples))

    async def _stop_sound(self) -> None:
        """End what is heard: the last words."""
        if self._sound is not None:
            sound, self._sound = self._sound, None
            await sound.purpose.end(await sound.stream.last_words())
            await self._open.aclose()
            self._note_answer()

    async def _answer_silence(self) -> None:
        """Answer a request, or a first `audio-stop`, for which no sound came: nothing was said."""
        if self._request is None and self._has_answered:
            return
        purpose = await self._purpose(_Form(HIGHEST_RATE, 2, 1), 0)
        await purpose.begin()
        await purpose.end(())
        self._note_answer()

    def _note_answer(self) -> None:
        self._has_answered = True
        if self._request is not None and self._request.type == "transcribe":
            self._request = None

    async def _drop_sound(self) -> None:
        """Forget sound that was not ended."""
        self._sound = None
        await self._open.aclose()


@dataclass(frozen=True)
class _Form:
    """How sound is written."""

    rate: int
    """Hz"""
    width: int
    """bytes a sample"""
    channels: int

    @classmethod
    def of(cls, event: Event) -> _Form:
        """Read it. Raises UsageError."""
        return cls(
            whole_number(event, "rate", LOWEST_RATE, HIGHEST_RATE),
            whole_number(event, "width", 1, 4),
            whole_number(event, "channels", 1, MOST_CHANNELS),
        )


class _Purpose(Protocol):
    """What sound is heard for."""

    recognizer: Recognizer

    async def begin(self) -> None: ...

    async def take(self, samples: Floats, told: Sequence[Told]) -> None: ...

    async def end(self, told: Sequence[Told]) -> None: ...


@dataclass
class _Sound:
    """What is being heard."""

    form: _Form
    purpose: _Purpose
    stream: Stream
    rest: bytes = b""
    """part of a sample, which waits for the next chunk"""


class _Transcribing:
    """Tells text, in pieces that will not change; when voice starts and stops, too, where nothing was asked for."""

    def __init__(self, connection: Connection, recognizer: Recognizer, voice: VoiceWatch | None, began_ms: int) -> None:
        self._connection, self.recognizer, self._voice, self._began_ms = connection, recognizer, voice, began_ms
        self._language = recognizer.metadata.language
        self._said = RunningText()

    async def begin(self) -> None:
        await self._connection.send(TranscriptStart(language=self._language))

    async def take(self, samples: Floats, told: Sequence[Told]) -> None:
        if self._voice is not None:
            await self._tell_voice(self._voice.hear(samples))
        piece, self._said = self._said.after(told)
        if piece:
            await self._connection.send(TranscriptChunk(piece))

    async def end(self, told: Sequence[Told]) -> None:
        await self.take(EMPTY, told)
        if self._voice is not None:
            await self._tell_voice(self._voice.end())
        await self._connection.send(Transcript(self._said.text, language=self._language))
        await self._connection.send(TranscriptStop())

    async def _tell_voice(self, changes: Sequence[Change]) -> None:
        for change in changes:
            ms = self._began_ms + round(1000 * change.seconds)
            await self._connection.send(VoiceStarted(ms) if change.is_voice else VoiceStopped(ms))


class _Detecting:
    """Tells names that are said."""

    def __init__(self, connection: Connection, words: WakeWords, began_ms: int) -> None:
        self._connection, self._words, self._began_ms = connection, words, began_ms
        self.recognizer = words.recognizer
        self._n_hits = 0

    async def begin(self) -> None:
        pass

    async def take(self, samples: Floats, told: Sequence[Told]) -> None:
        for hit in self._words.hits(told):
            self._n_hits += 1
            await self._connection.send(Detection(hit.name, self._began_ms + round(1000 * hit.end)))

    async def end(self, told: Sequence[Told]) -> None:
        await self.take(EMPTY, told)
        if not self._n_hits:
            await self._connection.send(NotDetected())
