"""Many live streams through one network: all that have a chunk ready are stepped together, nobody waits long for the others.

A stream's events are those that it would get alone. Streams may differ in reader (decoder, phrases, endpoint rules; thresholds)
and gate; what they share is the network. Nothing here runs by itself: the owner feeds, asks how long it may sleep, and steps.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic

import numpy as np

from edgeseq.errors import UsageError
from edgeseq.model.network import Floats, Network
from edgeseq.stream.reader import E
from edgeseq.stream.state import check_samples
from edgeseq.stream.stepping import St, StreamStepper, step_together

WAIT_SECONDS = 0.02
"""Longest that a chunk that is ready waits for other streams' chunks."""
MAX_BATCH = 64
"""Streams stepped together; more gain little more, and the first would wait for the last."""


@dataclass
class _Stream(Generic[St, E]):
    """One stream's recognizer or spotter, its state, and sound that has not been stepped yet."""

    stepper: StreamStepper[St, E]
    state: St
    waiting: deque[Floats] = field(default_factory=deque)
    n_waiting: int = 0
    """samples in `waiting`"""
    ready_at: float = 0.0
    """clock time at which the oldest whole chunk was there"""
    is_ending: bool = False
    """whether nothing comes behind what waits"""


class Batcher(Generic[St, E]):
    """Steps streams of one network together. For one thread; `join`, `feed`, `step` and the rest never wait.

    >>> batcher = Batcher(recognizer.network)                                           # doctest: +SKIP
    >>> one = batcher.join(recognizer)                                                  # doctest: +SKIP
    >>> batcher.feed(one, samples)                                                      # doctest: +SKIP
    >>> time.sleep(batcher.wait_seconds() or 0); events = batcher.step()                  # doctest: +SKIP
    """

    def __init__(
        self,
        network: Network,
        *,
        max_batch: int = MAX_BATCH,
        wait_seconds: float = WAIT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Step at most `max_batch` streams of `network` at a time; a chunk waits at most `wait_seconds` for company."""
        self._network = network
        self._max_batch, self._longest_wait, self._clock = max_batch, wait_seconds, clock
        self._streams: dict[int, _Stream[St, E]] = {}
        self._next_key = 0

    def __len__(self) -> int:
        """Count the streams."""
        return len(self._streams)

    def join(self, stepper: StreamStepper[St, E], state: St | None = None) -> int:
        """Add a stream of a recognizer or spotter, from its beginning or from `state`; returns the key that names it.

        Raises UsageError when the network of `stepper` is another one.
        """
        if stepper.network is not self._network:
            raise UsageError(
                f"a stream of {stepper.network.path} cannot be batched with streams of {self._network.path}.\n"
                "  Make a Batcher for each network."
            )
        key, self._next_key = self._next_key, self._next_key + 1
        self._streams[key] = _Stream(stepper, stepper.init_state() if state is None else state)
        return key

    def feed(self, key: int, samples: Floats) -> None:
        """Hand over a stream's next samples, float32 `[n_samples]` as `StreamStepper.step` takes them; any length.

        Raises UsageError for another type or shape and after `end`, AudioError for NaN and infinity; the stream is then as it
        was.
        """
        check_samples(samples)
        stream = self._streams[key]
        if stream.is_ending:
            raise UsageError("this stream is ending; feed it when its last words have been reported.")
        was_ready = self._is_ready(stream)
        stream.waiting.append(samples)
        stream.n_waiting += len(samples)
        if not was_ready and self._is_ready(stream):
            stream.ready_at = self._clock()

    def waiting_seconds(self, key: int) -> float:
        """Seconds of a stream's sound that are still to be stepped."""
        return self._streams[key].n_waiting / self._network.metadata.sample_rate

    def reset(self, key: int) -> None:
        """Let a stream start afresh: what it heard and said is forgotten, and so is sound that waits."""
        stream = self._streams[key]
        self._streams[key] = _Stream(stream.stepper, stream.stepper.init_state())

    def change(self, key: int, stepper: StreamStepper[St, E]) -> None:
        """Give a stream another reader or gate, and let it start afresh."""
        self._streams[key].stepper = stepper
        self.reset(key)

    def end(self, key: int) -> None:
        """Let nothing come behind what waits: a `step` soon reports the last words, and the stream then starts afresh."""
        stream = self._streams[key]
        if not self._is_ready(stream):
            stream.ready_at = self._clock()
        stream.is_ending = True

    def finish(self, key: int) -> list[E]:
        """End a stream and wait for its last words; the others are not stepped meanwhile."""
        self.end(key)
        events: list[E] = []
        while self.is_ready(key):
            events += self.step([key])[key]
        return events

    def leave(self, key: int) -> St:
        """Remove a stream; sound that waits is not heard. Returns its state, from which it can continue elsewhere."""
        return self._streams.pop(key).state

    def wait_seconds(self) -> float | None:
        """Seconds that the owner may sleep before `step`, if nothing is fed; 0 when it is due, None when nothing is ready."""
        ready = [stream for stream in self._streams.values() if self._is_ready(stream)]
        if not ready:
            return None
        n_chunk = self._network.metadata.chunk_samples
        if len(ready) in (len(self._streams), self._max_batch) or any(stream.n_waiting >= 2 * n_chunk for stream in ready):
            return 0.0
        oldest = min(stream.ready_at for stream in ready)
        return max(0.0, oldest + self._longest_wait - self._clock())

    def due(self) -> list[int]:
        """List the streams that the next step takes: with a whole chunk or at their end; who has waited longest comes first."""
        ready = sorted((stream.ready_at, key) for key, stream in self._streams.items() if self._is_ready(stream))
        return [key for _, key in ready[: self._max_batch]]

    def step(self, keys: Sequence[int] | None = None) -> dict[int, list[E]]:
        """Step one chunk of each stream that is due, or of those given; returns what each tells.

        Whatever is raised, all streams are as they were.
        """
        streams = {key: self._streams[key] for key in (self.due() if keys is None else keys)}
        now = self._clock()
        chunks = [self._take_chunk(stream, now) for stream in streams.values()]
        ending = [stream.is_ending and stream.n_waiting == 0 for stream in streams.values()]
        try:
            events, states = step_together(
                [stream.stepper for stream in streams.values()],
                chunks,
                [stream.state for stream in streams.values()],
                ending,
            )
        except BaseException:
            for stream, chunk in zip(streams.values(), chunks, strict=True):
                stream.waiting.appendleft(chunk)
                stream.n_waiting += len(chunk)
            raise
        for key, state, has_ended in zip(streams, states, ending, strict=True):
            streams[key].state = state
            if has_ended:
                self.reset(key)
        return dict(zip(streams, events, strict=True))

    def is_ready(self, key: int) -> bool:
        """Whether a whole chunk of a stream, or its end, waits to be stepped."""
        return self._is_ready(self._streams[key])

    def _is_ready(self, stream: _Stream[St, E]) -> bool:
        return stream.is_ending or stream.n_waiting >= self._network.metadata.chunk_samples

    def _take_chunk(self, stream: _Stream[St, E], now: float) -> Floats:
        """Take one chunk of what waits, or the rest of it; if another is there, it waits from now on."""
        chunk = _take(stream, min(stream.n_waiting, self._network.metadata.chunk_samples))
        stream.ready_at = now
        return chunk


def _take(stream: _Stream[St, E], n_samples: int) -> Floats:
    """Take the next samples of those that wait."""
    taken, n_left = [], n_samples
    while n_left > 0:
        block = stream.waiting.popleft()
        if len(block) > n_left:
            stream.waiting.appendleft(block[n_left:])
        taken.append(block[:n_left])
        n_left -= len(taken[-1])
    stream.n_waiting -= n_samples
    return np.concatenate(taken) if taken else np.zeros(0, dtype=np.float32)
