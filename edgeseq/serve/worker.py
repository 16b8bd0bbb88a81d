"""The thread that owns the batchers of a server: commands in, events out."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from edgeseq.events import Event
from edgeseq.model.network import Network
from edgeseq.serve.limits import STOPPING, StoppingError
from edgeseq.serve.metrics import Metrics
from edgeseq.sound.blocks import Floats
from edgeseq.stream.batcher import Batcher
from edgeseq.stream.state import State

log = logging.getLogger(__name__)

Words = Batcher[State, Event]
"""Steps recognizers."""

T = TypeVar("T")

STOP_SECONDS = 3.0
"""for a step that is being taken when the server ends"""


@dataclass
class _Hearing:
    """Somebody who waits until what was handed over has been stepped."""

    future: asyncio.Future[list[Event]]
    handed_at: float
    seconds: float
    """of sound that were handed over"""
    events: list[Event] = field(default_factory=list)


class Worker:
    """Steps all streams of some networks in one thread; asyncio tasks ask it and wait.

    Nothing but this thread touches a batcher. Answers go back to the event loop once a round, all together.
    """

    def __init__(self, batchers: Mapping[Network, Words], metrics: Metrics) -> None:
        """Own `batchers`."""
        self._batchers, self._metrics = dict(batchers), metrics
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._hearings: dict[tuple[Network, int], _Hearing] = {}
        self._failed: set[tuple[Network, int]] = set()
        """streams that were ended here, and whose owners do not know it yet"""
        self._answers: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._work, name="edgeseq-worker", daemon=True)

    @property
    def waiting(self) -> dict[tuple[Network, int], float]:
        """Streams whose sound waits to be stepped, and how many seconds were handed over; as it is at a moment."""
        return {stream: hearing.seconds for stream, hearing in self._hearings.copy().items()}

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to work for tasks of `loop`."""
        self._loop = loop
        self._thread.start()

    def stop(self) -> None:
        """End after the commands that have been given; those who wait get StoppingError. Waits for the thread, not for ever."""
        self._commands.put(None)
        self._thread.join(STOP_SECONDS)

    def leave(self, network: Network, key: int) -> None:
        """Remove a stream; does not wait."""

        def forget() -> None:
            self._hearings.pop((network, key), None)
            if (network, key) in self._failed:
                self._failed.discard((network, key))
            else:
                self._batchers[network].leave(key)

        self._commands.put(forget)

    async def ask(self, network: Network, command: Callable[[Words], T]) -> T:
        """Let the thread do something, and wait for what comes of it, or is raised."""
        future: asyncio.Future[T] = self._loop.create_future()

        def answer() -> None:
            try:
                result = command(self._batchers[network])
            except Exception as fault:  # handed on to who asked
                self._fail(future, fault)
            else:
                self._succeed(future, result)

        self._commands.put(answer)
        return await future

    async def answer(self) -> None:
        """Wait until the thread takes a command."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._commands.put(lambda: self._succeed(future, None))
        await future

    async def hear(self, network: Network, key: int, samples: Floats) -> list[Event]:
        """Feed a stream, and wait until no whole chunk of it is left; returns its events."""
        seconds = len(samples) / network.metadata.sample_rate
        return await self._follow(network, key, seconds, lambda batcher: batcher.feed(key, samples))

    async def finish(self, network: Network, key: int) -> list[Event]:
        """End a stream, which then starts afresh; returns its last words."""
        return await self._follow(network, key, 0.0, lambda batcher: batcher.end(key))

    async def _follow(self, network: Network, key: int, seconds: float, hand_over: Callable[[Words], None]) -> list[Event]:
        """Hand over something of a stream, and wait until the stream is no longer ready."""
        future: asyncio.Future[list[Event]] = self._loop.create_future()
        handed_at = time.monotonic()

        def begin() -> None:
            batcher = self._batchers[network]
            try:
                hand_over(batcher)
            except Exception as fault:  # handed on to who feeds
                self._fail(future, fault)
                return
            if batcher.is_ready(key):
                self._hearings[network, key] = _Hearing(future, handed_at, seconds)
            else:
                self._succeed(future, [])

        self._commands.put(begin)
        return await future

    def _work(self) -> None:
        while self._obey():
            for network, batcher in self._batchers.items():
                if batcher.wait_seconds() == 0.0:
                    self._step(network, batcher)
            self._send()
        for hearing in self._hearings.values():
            self._fail(hearing.future, StoppingError(STOPPING))
        self._send()

    def _obey(self) -> bool:
        """Wait for a command, or until a batch is due, and do all that has been given. False when it is time to end."""
        waits = [wait for batcher in self._batchers.values() if (wait := batcher.wait_seconds()) is not None]
        try:
            command = self._commands.get(timeout=min(waits, default=None))
            while command is not None:
                self._do(command)
                command = self._commands.get_nowait()
        except queue.Empty:
            return True
        return False

    def _do(self, command: Callable[[], None]) -> None:
        try:
            command()
        except Exception:  # the thread is everybody's: it must continue
            log.exception("a command failed")

    def _step(self, network: Network, batcher: Words) -> None:
        began = time.monotonic()
        told = self._step_safely(network, batcher)
        now = time.monotonic()
        self._metrics.stepped(len(told), now - began)
        for key, events in told.items():
            hearing = self._hearings.get((network, key))
            if hearing is None:
                continue
            hearing.events += events
            if not batcher.is_ready(key):
                del self._hearings[network, key]
                self._metrics.answered(now - hearing.handed_at)
                self._succeed(hearing.future, hearing.events)

    def _step_safely(self, network: Network, batcher: Words) -> dict[int, list[Event]]:
        """Step what is due; when that fails, each stream alone, and whose step fails then is sent away."""
        due = batcher.due()
        try:
            return batcher.step(due)
        except Exception:
            log.exception("a batch of %d streams failed; they are stepped one by one", len(due))
        told: dict[int, list[Event]] = {}
        for key in due:
            try:
                told |= batcher.step([key])
            except Exception as fault:
                log.error("a stream failed and is ended: %r", fault)
                batcher.leave(key)
                self._failed.add((network, key))
                hearing = self._hearings.pop((network, key), None)
                if hearing is not None:
                    self._fail(hearing.future, fault)
        return told

    def _succeed(self, future: asyncio.Future[Any], result: Any) -> None:
        self._answers.append(lambda: None if future.done() else future.set_result(result))

    def _fail(self, future: asyncio.Future[Any], fault: Exception) -> None:
        self._answers.append(lambda: None if future.done() else future.set_exception(fault))

    def _send(self) -> None:
        """Hand all answers over to the event loop."""
        if not self._answers:
            return
        answers, self._answers = self._answers, []

        def deliver() -> None:
            for answer in answers:
                answer()

        self._loop.call_soon_threadsafe(deliver)
