"""Microphones as blocks of sound, for weeks: what fails is noticed, reported, tried again, and what was lost is marked.

Recording happens in a process of its own (`capture/recorder.py`), for with a frozen sound server PortAudio hangs, in closing
and at exit too. Here that process is watched: it is killed when it gives nothing, and restarted. Sound waits in a ring
that the two share; a consumer that is too slow gets larger blocks first, and then loses the oldest.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from edgeseq.errors import DeviceError, UsageError
from edgeseq.sound.blocks import EMPTY, WAIT_SECONDS, Floats, Lost
from edgeseq.sound.capture.devices import Device, find_microphone
from edgeseq.sound.capture.load import Load
from edgeseq.sound.capture.process import Message, RecorderProcess, list_microphones
from edgeseq.sound.capture.recorder import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, CaptureRequest, CaptureStream
from edgeseq.sound.capture.stream import GONE, RecordedStream
from edgeseq.sound.doubts import Mixer
from edgeseq.sound.resampling import LiveResampler

__all__ = ["Device", "Microphone", "find_microphone", "list_microphones"]

RING_SECONDS = 10.0
"""of sound kept for a reader that is busy"""
LARGEST_BLOCK_SECONDS = 1.0
"""given at a time to a reader that is behind"""
BEHIND_SECONDS = 1.0
"""Sound waiting this long is reported."""
DROP_SECONDS, KEPT_SECONDS = 5.0, 1.0
"""When so much is waiting, the oldest is dropped until so much is left."""
DEAD_SECONDS = 1.5
"""without a block, and a microphone counts as gone"""
FIRST_OPEN_SECONDS, OPEN_SECONDS = 15.0, 2.0
"""given to a microphone that is opened first, on a slow board busy with starting, and later (longer if it was slow first)"""
REST_SECONDS = 0.24
"""taken at once while nobody speaks: to wake up costs more than to work"""
LONGEST_REQUEST_SECONDS = 0.5
"""Blocks are announced at least so often, or a microphone that has gone would be noticed late."""
REPORT_SECONDS = 30.0
"""between two lines about the same trouble"""

Report = Callable[[str], None]


@dataclass(frozen=True)
class Loss:
    """How often and how much sound was lost for one reason."""

    n: int = 0
    seconds: float = 0.0


@dataclass
class Outage:
    """A microphone that has gone."""

    since: float
    """steady clock"""
    n_starts: int = 0
    """of recorders, to get it back"""

    def pause_seconds(self) -> float:
        """Before the next one is started."""
        return min(FIRST_PAUSE_SECONDS * 2.0 ** (self.n_starts - 1), LONGEST_PAUSE_SECONDS)


class Microphone:
    """An open microphone. Leaving its `with` block closes it, at once, whatever state the sound system is in."""

    def __init__(
        self, wanted: str | int | None, sample_rate: int, block_seconds: float = 0.08, *, report: Report | None = None
    ) -> None:
        """Open the microphone `wanted` (index, name, part of a name, None) to hear it at `sample_rate` Hz.

        It is recorded at the rate, channels and format that it offers, mixed and resampled. `report` takes a line whenever
        it goes, comes back, or the machine cannot keep up; without it these are logged. Raises DeviceError or UsageError
        where there is no such microphone now; one that goes later is waited for.
        """
        self.sample_rate = sample_rate
        self.losses: dict[str, Loss] = {}
        """by reason"""
        self.n_overruns = 0
        """that the sound system has reported"""
        self._report = report or logging.getLogger(__name__).warning
        self._request = CaptureRequest(wanted, sample_rate, min(block_seconds, LONGEST_REQUEST_SECONDS), RING_SECONDS)
        self._load = Load()
        self._told_slow = -REPORT_SECONDS
        self._given_seconds = 0.0
        self._is_resting = False
        self._outage: Outage | None = None
        self._start_at: float | None = None
        self._stopped = threading.Event()
        self._inbox: deque[Message] = deque()
        began = time.monotonic()
        self._process = RecorderProcess(self._request)
        try:
            opened = self._wait_until_open(began + FIRST_OPEN_SECONDS)
        except BaseException:
            self._process.kill()
            raise
        self._open_seconds = max(OPEN_SECONDS, 3 * (time.monotonic() - began))
        self._stream = RecordedStream(opened, self._process.ring)
        self._began = self._last_sign = time.monotonic()

    @property
    def opened(self) -> CaptureStream:
        """What is recorded: name, rate, channels, format."""
        return self._stream.opened

    @property
    def name(self) -> str:
        """For the device."""
        return self.opened.name

    @property
    def rate(self) -> int:
        """At which it is recorded, Hz."""
        return self.opened.rate

    @property
    def heard_until(self) -> float | None:
        """Time of the steady clock at which the newest sample that was taken was recorded; None before the first."""
        return self._stream.heard_until

    @property
    def pid(self) -> int:
        """For the process that records."""
        return self._process.pid

    def blocks(self) -> Iterator[Floats | Lost]:
        """Give mono float32 blocks at `sample_rate` as they are said, empty ones while none comes.

        They are as long as was asked for, or longer (up to a second) for a reader that is behind. Where sound is missing
        comes a `Lost`; one of 0 s tells that the microphone has gone just now. Ends after `stop`.
        """
        resampler: LiveResampler | None = None
        mixer = Mixer(f"the microphone '{self.name}'", self.rate, self._report)
        for samples in self.raw_blocks():
            if isinstance(samples, Lost):
                resampler = None
                yield samples
            elif not len(samples):
                yield EMPTY
            else:
                resampler = resampler or LiveResampler(self.rate, self.sample_rate)
                self._load.give()
                yield resampler.step(mixer.mix(samples))
                self._load.take_back(len(samples) / self.rate)

    def raw_blocks(self) -> Iterator[Floats | Lost]:
        """Do as `blocks`, with all channels at the device's own rate, `[n_samples, n_channels]`; a `Lost` may change both."""
        while not self._stopped.is_set():
            if self._is_resting and self._stream.waiting_seconds == 0:
                self._stopped.wait(max(0.0, REST_SECONDS - self._request.block_seconds))
            is_busy = self._stream.waiting_seconds > 0 or bool(self._inbox)
            self._hear_recorder(0.0 if is_busy else WAIT_SECONDS)
            if self._stream.waiting_seconds > 0:
                yield from self._take()
            elif self._inbox:
                yield from self._obey(self._inbox.popleft())
            else:
                yield from self._check_alive()
                yield np.zeros((0, self.opened.n_channels), np.float32)

    def rest(self, is_resting: bool) -> None:
        """Give blocks of at least `REST_SECONDS` from now on, or of the usual length again."""
        self._is_resting = is_resting

    def stop(self) -> None:
        """Let `blocks` come to its end; may be called from another thread."""
        self._stopped.set()

    def close(self) -> None:
        """End the recording."""
        self.stop()
        self._stream.close()
        self._process.kill()

    def summary(self) -> list[str]:
        """Say what was lost, a line for each reason; none if nothing was."""
        lines = [
            f"{loss.seconds:.1f} s of sound were lost in {loss.n} place{'s' if loss.n > 1 else ''}: {reason}."
            for reason, loss in self.losses.items()
        ]
        return lines + ([f"the sound system reported {self.n_overruns} overruns."] if self.n_overruns else [])

    def __enter__(self) -> Microphone:
        """Return the open microphone."""
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def _wait_until_open(self, deadline: float) -> CaptureStream:
        while (left := deadline - time.monotonic()) > 0 and not self._process.has_ended:
            for message in self._process.read(min(left, WAIT_SECONDS)):
                if message["type"] == "failed":
                    raise (UsageError if message["is_usage"] else DeviceError)(message["text"])
                if message["type"] == "opened":
                    return _opened(message)
        raise DeviceError(
            f"the sound system does not answer: no microphone was opened within {FIRST_OPEN_SECONDS:.0f} s.\n"
            "  Restart the sound server, or the machine."
        )

    def _hear_recorder(self, seconds: float) -> None:
        """Take in what the recorder says. The newest block counts, unless another stream lies between."""
        for message in self._process.read(seconds):
            self._last_sign = time.monotonic()
            if message["type"] == "blocks" and not self._inbox:
                self._stream.newest = message["newest"]
            elif message["type"] == "blocks" and self._inbox[-1]["type"] == "blocks":
                self._inbox[-1] = message
            else:
                self._inbox.append(message)

    def _obey(self, message: Message) -> Iterator[Lost]:
        if message["type"] == "blocks":
            self._stream.newest = message["newest"]
        elif message["type"] == "opened":
            heard_until = self._stream.heard_until or self._began
            self._stream.close()
            self._stream = RecordedStream(_opened(message), self._process.ring, heard_until)
        elif message["type"] in ("ended", "failed"):
            yield from self._note_outage("unplugged, or its sound server ended")

    def _take(self) -> Iterator[Floats | Lost]:
        waiting = self._stream.waiting_seconds
        if waiting > BEHIND_SECONDS:
            self._tell_slow(waiting)
        if waiting > DROP_SECONDS:
            self._stream.drop(KEPT_SECONDS)
        taken = self._stream.take(LARGEST_BLOCK_SECONDS)
        self.n_overruns += self._stream.take_overruns()
        if self._outage is not None:
            gone_seconds = time.monotonic() - self._outage.since
            self._report(f"the microphone '{self.name}' is back after {gone_seconds:.1f} s ({self.rate} Hz).")
            self._outage = None
        for samples in taken:
            self._count(samples)
            yield samples

    def _count(self, samples: Floats | Lost) -> None:
        if isinstance(samples, Lost):
            before = self.losses.get(samples.reason, Loss())
            self.losses[samples.reason] = Loss(before.n + 1, before.seconds + samples.seconds)
            self._given_seconds += samples.seconds
        else:
            self._given_seconds += len(samples) / self.rate

    def _check_alive(self) -> Iterator[Lost]:
        """Kill a recorder that gives nothing, and start another one after a pause."""
        now = time.monotonic()
        if self._start_at is not None:
            if now >= self._start_at:
                self._start_at, self._last_sign = None, now
                self._process = RecorderProcess(self._request)
            return
        patience = DEAD_SECONDS if self._outage is None else self._open_seconds + LONGEST_PAUSE_SECONDS
        if not self._process.has_ended and now - self._last_sign < patience:
            return
        self._process.kill()
        yield from self._note_outage("it gives nothing, not even silence")
        assert self._outage is not None
        self._outage.n_starts += 1
        self._start_at = now + self._outage.pause_seconds()

    def _note_outage(self, why: str) -> Iterator[Lost]:
        """Tell that the microphone has gone, once; what was being said ends here."""
        if self._outage is None:
            self._outage = Outage(self._stream.heard_until or self._began)
            self._report(f"at {self._given_seconds:.1f} s: the microphone '{self.name}' has gone ({why}); trying again.")
            yield Lost(0.0, GONE)

    def _tell_slow(self, waiting: float) -> None:
        now = time.monotonic()
        if now - self._told_slow < REPORT_SECONDS or not self._load.seconds:
            return
        self._told_slow = now
        self._report(
            f"at {self._given_seconds:.1f} s: {waiting:.1f} s of sound are waiting; {self._load.seconds:.1f} s took "
            f"{self._load.busy_seconds:.1f} s of work, {self._load.factor:.1f} times slower than real time with this model. "
            f"Try a smaller model, a smaller --beam or fewer other programs; beyond {DROP_SECONDS:.0f} s the oldest is dropped."
            if self._load.factor > 1
            else f"at {self._given_seconds:.1f} s: {waiting:.1f} s of sound are waiting: this program was held up."
        )


def _opened(message: Message) -> CaptureStream:
    return CaptureStream(**{key: value for key, value in message.items() if key != "type"})
