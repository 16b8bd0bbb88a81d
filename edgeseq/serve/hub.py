"""Streams of many clients: asyncio outside, one worker thread that steps them together inside.

A protocol opens a stream, hands over sound, and gets back its events:

>>> async with hub.open("vosk", rate=16000) as stream:      # doctest: +SKIP
...     events = await stream.hear(samples)                 # doctest: +SKIP
...     events = await stream.finish()                      # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import math
import resource
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edgeseq.errors import AudioError, EdgeseqError, UsageError
from edgeseq.events import Event
from edgeseq.model.network import Network
from edgeseq.serve.connections import current
from edgeseq.serve.kept_sound import KeptSound, SoundKeeper
from edgeseq.serve.limits import STOPPING, BusyError, LimitError, Limits, StoppingError
from edgeseq.serve.metrics import Metrics
from edgeseq.serve.watchdog import Watchdog
from edgeseq.serve.worker import Worker
from edgeseq.sound.blocks import Floats
from edgeseq.sound.resampling import LiveResampler
from edgeseq.stream.batcher import MAX_BATCH, WAIT_SECONDS, Batcher
from edgeseq.stream.recognizer import Recognizer
from edgeseq.stream.state import check_samples

T = TypeVar("T")

LOWEST_RATE, HIGHEST_RATE = 1000, 384_000
"""Hz, of clients' sound"""
MOST_PHASES = 1000
"""of a live resampler; more, for rates such as 44,101 Hz, would take megabytes a stream"""
RESAMPLER_SECONDS = 0.15
"""Longest that a resampler holds sound back."""
RESAMPLED_SAMPLES = 8192
"""of a client's sound that are resampled within the event loop, or else at once in a thread"""
WORK_THREADS = 2
"""for what clients' settings cost; more would take the event loop's turns"""
PIECE_SECONDS = 1.0
"""Sound handed to the worker at once; more comes when that has been heard."""


class Hub:
    """The models of a server, and the streams that go through them. Enter it (`async with`) before opening streams."""

    def __init__(
        self,
        recognizers: Mapping[str, Recognizer],
        limits: Limits = Limits(),  # noqa: B008  # frozen
        metrics: Metrics | None = None,
        *,
        save_audio: Path | None = None,
        max_batch: int = MAX_BATCH,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        """Serve `recognizers` by name; the first is what clients get that name none.

        save_audio: folder for what clients say; None keeps nothing.
        """
        self.recognizers = dict(recognizers)
        self.limits = limits
        self.metrics = Metrics() if metrics is None else metrics
        networks = {recognizer.network for recognizer in self.recognizers.values()}
        self._worker = Worker({n: Batcher(n, max_batch=max_batch, wait_seconds=wait_seconds) for n in networks}, self.metrics)
        self.save_audio = save_audio
        self._keeper = None if save_audio is None else SoundKeeper(save_audio)
        self._streams: set[Stream] = set()
        self._stopping = False
        self._is_ending = False
        self._waits: set[asyncio.Timeout] = set()
        self._threads = ThreadPoolExecutor(WORK_THREADS, "edgeseq-settings")
        self._watchdog = Watchdog(self.metrics)

    @property
    def default(self) -> str:
        """The model that clients get that name none."""
        return next(iter(self.recognizers))

    @property
    def is_stopping(self) -> bool:
        """Whether no more streams are opened."""
        return self._stopping

    @property
    def n_waiting_streams(self) -> int:
        """Count the streams whose sound waits to be stepped."""
        return len(self._worker.waiting)

    @property
    def waiting_seconds(self) -> float:
        """Seconds of sound that wait to be stepped, of all streams, each counted as when it was handed over."""
        return sum(self._worker.waiting.values())

    def find(self, model: str | None) -> Recognizer:
        """Give the recognizer of a configured model. Raises UsageError that lists them."""
        name = model or self.default
        if name not in self.recognizers:
            raise UsageError(f"there is no model {name[:80]!r} here. There are: {', '.join(self.recognizers)}.")
        return self.recognizers[name]

    def __len__(self) -> int:
        """Count the open streams."""
        return len(self._streams)

    async def __aenter__(self) -> Hub:
        """Start the worker."""
        self._worker.start(asyncio.get_running_loop())
        if self._keeper is not None:
            self._keeper.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop at once; `drain` first lets streams come to their end."""
        self._stopping = True
        for stream in list(self._streams):
            stream.close()
        await asyncio.to_thread(self._worker.stop)
        if self._keeper is not None:
            await asyncio.to_thread(self._keeper.stop)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._watchdog.stop()

    def watch(self) -> None:
        """Begin to watch over the event loop: everything has been imported, and clients come."""
        self._watchdog.start()

    async def work(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call what takes more than a millisecond in one of a few threads: settings, names, tables."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def drain(self, seconds: float, last_seconds: float = 0.0) -> None:
        """Open no more streams, and wait at most so long for those there are.

        Those that then are still open must end (`patience`), and have `last_seconds` for their last words.
        """
        self._stopping = True
        await self._wait_for_streams(seconds)
        self._is_ending = True
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(0.0)
        await self._wait_for_streams(last_seconds)

    async def _wait_for_streams(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._streams and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def patience(self, seconds: float | None, since: float | None = None) -> AsyncIterator[None]:
        """Wait for something of a client within this, and no longer than `seconds` from now, or from `since`.

        `since` is of the loop's clock. Raises LimitError when the time is over, StoppingError as soon as the server ends.
        """
        if self._is_ending:
            raise StoppingError(STOPPING)
        now = asyncio.get_running_loop().time()
        until = None if seconds is None else seconds + (now if since is None else since)
        if until is not None and until <= now:
            raise LimitError(f"nothing came for {seconds:g} s.")
        limit = asyncio.timeout_at(until)
        self._waits.add(limit)
        try:
            async with limit:
                yield
        except TimeoutError:
            raise StoppingError(STOPPING) if self._is_ending else LimitError(f"nothing came for {seconds:g} s.") from None
        finally:
            self._waits.discard(limit)

    async def is_alive(self, seconds: float) -> bool:
        """Tell whether the worker answers within so long."""
        try:
            await asyncio.wait_for(self._worker.answer(), seconds)
        except TimeoutError:
            return False
        return True

    @asynccontextmanager
    async def open(
        self, protocol: str, *, rate: int | None = None, recognizer: Recognizer | None = None
    ) -> AsyncIterator[Stream]:
        """Open a stream for a client of `protocol` that sends sound at `rate` Hz (None: the model's).

        `recognizer` is one of this hub's, or one that shares its network with another decoder or other rules. Raises
        BusyError or StoppingError and UsageError for an impossible rate, which the protocol tells the client, and counts.
        """
        if self._stopping:
            raise StoppingError(STOPPING)
        if len(self._streams) >= self.limits.streams:
            raise BusyError(f"this server has {len(self._streams)} streams open and takes no more; try again later.")
        if resident_bytes() > self.limits.memory_bytes:
            raise BusyError("this server has no memory for another stream; try again later.")
        chosen = recognizer or self.find(None)
        await self.prepare(rate, chosen)
        stream = Stream(self, self._worker, chosen, rate)
        if self._keeper is not None:
            stream.keep(self._keeper, protocol)
        self._streams.add(stream)
        self.metrics.opened(protocol)
        slot = current.get()
        try:
            with nullcontext() if slot is None else slot.held():
                await stream.join()
                yield stream
        finally:
            self._streams.discard(stream)
            stream.close()
            self.metrics.closed(protocol)

    async def prepare(self, rate: int | None, recognizer: Recognizer) -> None:
        """Make the filters for a rate, which may take long, where they are not known yet."""
        if rate is not None and LOWEST_RATE <= rate <= HIGHEST_RATE and is_live(rate, recognizer.sample_rate):
            await self.work(LiveResampler, rate, recognizer.sample_rate)


class Stream:
    """One client's sound. Made by `Hub.open`; for one task at a time."""

    def __init__(self, hub: Hub, worker: Worker, recognizer: Recognizer, rate: int | None) -> None:
        """Prepare to join; raises UsageError for an impossible rate."""
        self._hub, self._worker, self.recognizer = hub, worker, recognizer
        self._key: int | None = None
        self._n_silent = 0
        """samples at the model's rate since a word was reported"""
        self._kept: KeptSound | None = None
        self._keep_anew: Callable[[int], KeptSound] | None = None
        self.n_heard = 0
        """samples at the model's rate since the stream opened"""
        self._set_rate(recognizer.sample_rate if rate is None else rate)

    def keep(self, keeper: SoundKeeper, protocol: str) -> None:
        """Write what is heard to a file, and after a change of rate to another one."""
        self._keep_anew = lambda rate: keeper.open(protocol, rate)
        self._kept = self._keep_anew(self.rate)

    async def join(self) -> None:
        """Take a place in the batch; one that is taken when the client has gone is given back."""
        chosen = self.recognizer
        joining = asyncio.ensure_future(self._worker.ask(chosen.network, lambda batcher: batcher.join(chosen)))
        try:
            self._key = await asyncio.shield(joining)
        except asyncio.CancelledError:
            joining.add_done_callback(partial(self._give_back, chosen.network))
            raise

    def _give_back(self, network: Network, joined: asyncio.Future[int]) -> None:
        if not joined.cancelled() and joined.exception() is None:
            self._worker.leave(network, joined.result())

    async def hear(self, samples: Floats) -> list[Event]:
        """Hand over sound, float32 mono `[n_samples]` in [-1, 1] at the stream's rate, and wait until it has been stepped.

        Sound that makes no whole network chunk waits for what follows. Raises UsageError and AudioError as
        `Recognizer.step`, LimitError when the stream has become longer than the server allows.
        """
        check_samples(samples)
        if self._kept is not None:
            self._kept.hear(samples)
        if self.rate == self.recognizer.sample_rate or len(samples) <= RESAMPLED_SAMPLES:
            return await self._hear(self._resample(samples))
        events: list[Event] = []
        for first in range(0, len(samples), RESAMPLED_SAMPLES):
            piece = samples[first : first + RESAMPLED_SAMPLES]
            events += await self._hear(await self._hub.work(self._resample, piece))
        return events

    async def finish(self) -> list[Event]:
        """End what is being said: the last words. The stream then starts afresh, at time 0."""
        if self.rate != self.recognizer.sample_rate:  # what the resampler has not given yet
            silence = np.zeros(round(RESAMPLER_SECONDS * self.rate), dtype=np.float32)
            events = await self._hear(self._resample(silence), is_counted=False)
        else:
            events = []
        self._set_rate(self.rate)
        return events + await self._worker.finish(self.recognizer.network, self._joined())

    async def last_words(self) -> list[Event]:
        """Do as `finish` for a client that is refused; nothing where that fails, too."""
        try:
            return await self.finish()
        except EdgeseqError:
            return []

    async def at_rate(self, rate: int | None) -> None:
        """Hear a WAV's sound at the rate of its header (None: as before). Raises AudioError in the middle of other sound."""
        if rate in (None, self.rate):
            return
        if self.n_heard:
            raise AudioError(f"a WAV at {rate} Hz within sound at {self.rate} Hz; begin another stream.")
        await self.reset(rate=rate)

    async def reset(self, recognizer: Recognizer | None = None, rate: int | None = None) -> None:
        """Forget what was said and start afresh, perhaps with another recognizer or rate. Raises UsageError."""
        chosen, before = recognizer or self.recognizer, self.recognizer
        await self._hub.prepare(rate, chosen)
        key = self._joined()
        self.recognizer = chosen
        if self._kept is not None and self._keep_anew is not None and rate not in (None, self.rate):
            self._kept.close()
            self._kept = self._keep_anew(rate or self.rate)
        self._set_rate(rate or self.rate)
        if chosen.network is before.network:
            await self._worker.ask(chosen.network, lambda batcher: batcher.change(key, chosen))
        else:
            self._worker.leave(before.network, key)
            await self.join()

    def close(self) -> None:
        """Leave the batch; may be called twice."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None
        if self._key is not None:
            key, self._key = self._key, None
            self._worker.leave(self.recognizer.network, key)

    def _joined(self) -> int:
        if self._key is None:
            raise UsageError("this stream is closed; open another one.")
        return self._key

    def _set_rate(self, rate: int) -> None:
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise UsageError(f"sound at {rate} Hz; wanted {LOWEST_RATE} to {HIGHEST_RATE}.")
        self.rate, self._resample = rate, _resampler(rate, self.recognizer.sample_rate)

    async def _hear(self, samples: Floats, *, is_counted: bool = True) -> list[Event]:
        """Hand over sound at the model's rate, a piece at a time; what a client did not send counts for no limit."""
        limit, rate = self._hub.limits.stream_seconds, self.recognizer.sample_rate
        self.n_heard += len(samples)
        if is_counted and self.n_heard > limit * rate:
            raise LimitError(f"this stream is longer than the {limit:g} s of sound that this server hears.")
        events: list[Event] = []
        n_piece = max(1, round(PIECE_SECONDS * rate))
        for first in range(0, len(samples), n_piece):
            events += await self._worker.hear(self.recognizer.network, self._joined(), samples[first : first + n_piece])
        self._hub.metrics.heard(len(samples) / rate)
        self._n_silent = 0 if events else self._n_silent + len(samples)
        if is_counted and self._n_silent > self._hub.limits.silence_seconds * rate:
            raise LimitError(f"nothing was said for {self._hub.limits.silence_seconds:g} s.")
        return events


def resident_bytes() -> int:
    """Memory that this process takes; 0 where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()


def is_live(rate: int, wanted: int) -> bool:
    """Tell whether sound is resampled here, without holding any back."""
    return rate != wanted and wanted // math.gcd(rate, wanted) <= MOST_PHASES


def _resampler(rate: int, wanted: int) -> Callable[[Floats], Floats]:
    """Give what turns a stream's next samples from `rate` to `wanted` Hz: at once at usual rates, by soxr at others."""
    if rate == wanted:
        return lambda samples: samples
    if is_live(rate, wanted):
        return LiveResampler(rate, wanted).step
    import soxr

    return soxr.ResampleStream(rate, wanted, 1, dtype="float32").resample_chunk
