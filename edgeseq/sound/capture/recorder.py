"""The program that records: it copies what PortAudio gives into a ring, says so, and does nothing else.

It loads neither numpy nor the network's runtime. The program that started it reads its messages from a pipe: a line `b NUMBER`
for blocks up to that number, and JSON objects for all else. It ends when its standard input is closed, whatever PortAudio hangs
in then. A microphone that cannot be opened, or ends, is tried again and again.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

from edgeseq.errors import DeviceError, EdgeseqError, UsageError
from edgeseq.sound.capture.devices import Device, find_microphone, import_sounddevice, microphones_of
from edgeseq.sound.capture.ring import Ring, RingLayout

DEVICE_BLOCK_SECONDS = 0.04
"""at most: what PortAudio is asked for. Larger blocks come late through a sound server, smaller ones cost more."""
USUAL_RATES = (48_000, 44_100, 16_000)
"""Hz; most devices and sound servers run at the first"""
FORMATS = ("float32", "int16")
SAMPLE_BYTES = {"float32": 4, "int16": 2}
MAX_LAG_SECONDS = 60.0
"""A device that says that its sound is older than this has no clock worth the name."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 2.0
"""between two attempts to open a microphone"""
MAX_TEXT = 600
"""characters of an error; however they are written, a message then goes into a pipe as a whole"""

INVALID_CHANNELS, INVALID_RATE, INVALID_FORMAT = -9998, -9997, -9994
"""PortAudio's error codes for what may be asked for differently"""


@dataclass(frozen=True)
class CaptureRequest:
    """What to record."""

    wanted: str | int | None
    """index, name or part of a name; None is the system's choice"""
    sample_rate: int
    """that the sound is for, Hz"""
    block_seconds: float
    """so often blocks are announced"""
    ring_seconds: float


@dataclass(frozen=True)
class CaptureStream:
    """A stream that is being recorded."""

    name: str
    rate: int
    n_channels: int
    sample_format: str
    """float32 or int16"""
    block_samples: int
    """of each channel"""
    n_slots: int
    first_block: int
    """its number"""

    @property
    def layout(self) -> RingLayout:
        """How its blocks lie in the ring."""
        return RingLayout(self.n_slots, self.block_samples * self.n_channels * SAMPLE_BYTES[self.sample_format])


class Recorder:
    """One microphone into one ring."""

    def __init__(self, request: CaptureRequest, ring: int, messages: int) -> None:
        """Write blocks to the memory behind the descriptor `ring`, lines to the pipe `messages`."""
        self._request, self._ring_descriptor, self._messages = request, ring, messages
        self._number = 0
        self._n_overruns = 0
        self._ended = threading.Event()

    def run(self) -> None:
        """Record for ever; see the module's text."""
        sounddevice = self._load()
        pause = FIRST_PAUSE_SECONDS
        while True:
            first = self._number
            try:
                stream = self._open(sounddevice)
                self._ended.wait()
                self._tell({"type": "ended"})
                with contextlib.suppress(sounddevice.PortAudioError):
                    stream.close()
            except EdgeseqError as fault:
                self._tell_failure(fault)
            pause = FIRST_PAUSE_SECONDS if self._number > first else pause
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            # PortAudio looks for devices once, when it is initialized.
            sounddevice._terminate()
            sounddevice._initialize()

    def _load(self) -> Any:
        self._tell({"type": "started"})
        try:
            return import_sounddevice()
        except DeviceError as fault:
            self._tell_failure(fault)
            sys.exit(1)

    def _open(self, sounddevice: Any) -> Any:
        """Try rates, then channels, then formats, the best first. Raises DeviceError or UsageError."""
        device = find_microphone(self._request.wanted, microphones_of(sounddevice))
        failure: Exception | None = None
        refused: set[int] = set()
        for rate, n_channels, sample_format in _ways(device, self._request.sample_rate):
            if rate in refused:
                continue
            try:
                return self._start(sounddevice, device, rate, n_channels, sample_format)
            except sounddevice.PortAudioError as fault:
                failure = fault
                if _code(fault) == INVALID_RATE:
                    refused.add(rate)
                elif _code(fault) not in (INVALID_CHANNELS, INVALID_FORMAT):
                    break
        raise unusable(device, failure, self._request.sample_rate) from failure

    def _start(self, sounddevice: Any, device: Device, rate: int, n_channels: int, sample_format: str) -> Any:
        pieces = math.ceil(self._request.block_seconds / DEVICE_BLOCK_SECONDS - 1e-9)
        block_samples = max(1, round(rate * self._request.block_seconds / pieces))
        n_slots = max(8, math.ceil(self._request.ring_seconds * rate / block_samples))
        opened = CaptureStream(device.name, rate, n_channels, sample_format, block_samples, n_slots, self._number)
        self._ended.clear()
        taken = _Taken(opened, Ring(self._ring_descriptor, opened.layout), pieces)
        stream = sounddevice.RawInputStream(
            device=device.index,
            samplerate=rate,
            channels=n_channels,
            dtype=sample_format,
            blocksize=block_samples,
            latency="low",
            callback=lambda content, n_samples, times, status: self._take(taken, content, times, status),
            finished_callback=self._ended.set,
        )
        self._tell({"type": "opened", **asdict(opened)})
        stream.start()
        return stream

    def _take(self, taken: _Taken, content: Any, times: Any, status: Any) -> None:
        """Take a block from PortAudio's thread."""
        now = time.monotonic()
        lag = times.currentTime - times.inputBufferAdcTime
        if not 0 <= lag < MAX_LAG_SECONDS:
            lag = taken.opened.block_samples / taken.opened.rate
        self._n_overruns += bool(status.input_overflow)
        taken.ring.write(self._number, taken.n_samples, now - lag, self._n_overruns, content)
        taken.n_samples += taken.opened.block_samples
        self._number += 1
        if (self._number - taken.opened.first_block) % taken.pieces == 0:
            # Into a full pipe nothing is said: its reader has long been left behind.
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(self._messages, b"b %d\n" % (self._number - 1))

    def _tell_failure(self, fault: EdgeseqError) -> None:
        text = str(fault)[:MAX_TEXT]
        self._tell({"type": "failed", "is_usage": isinstance(fault, UsageError), "text": text})

    def _tell(self, message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        while True:
            select.select([], [self._messages], [])
            with contextlib.suppress(BlockingIOError):
                os.write(self._messages, line)
                return


@dataclass
class _Taken:
    """What PortAudio's thread keeps of one stream."""

    opened: CaptureStream
    ring: Ring
    pieces: int
    """blocks to an announcement"""
    n_samples: int = 0


def _ways(device: Device, sample_rate: int) -> list[tuple[int, int, str]]:
    """List rates, numbers of channels and formats to ask for: what loses least comes first."""
    rates = dict.fromkeys((*USUAL_RATES[:1], device.rate, *USUAL_RATES, sample_rate))
    channels = dict.fromkeys((1, min(2, device.n_channels), device.n_channels))
    return [(rate, n_channels, form) for rate in rates for n_channels in channels for form in FORMATS]


def unusable(device: Device, fault: Exception | None, sample_rate: int) -> DeviceError:
    """Say why a microphone cannot be opened."""
    reason = str(fault.args[0]) if fault is not None and fault.args else str(fault)
    advice = (
        f"  It takes neither its own {device.rate} Hz nor any usual rate: try another one, `edgeseq devices` lists them."
        if fault is not None and _code(fault) == INVALID_RATE
        else "  Another program may hold it, or the sound server be down; `edgeseq devices` lists others."
    )
    return DeviceError(f"the microphone '{device.name}' cannot be opened: {reason}.\n{advice}")


def _code(fault: Exception) -> int | None:
    """Return PortAudio's error code, which some of its errors lack."""
    return fault.args[1] if len(fault.args) > 1 else None


def print_devices() -> None:
    """Print the microphones as one line of JSON, or what is wrong."""
    try:
        found = [asdict(device) for device in microphones_of(import_sounddevice())]
        print(json.dumps({"devices": found}))
    except (DeviceError, UsageError) as fault:
        print(json.dumps({"text": str(fault)}))
    sys.stdout.flush()
    os._exit(0)  # PortAudio's own clean-up may hang


def main() -> None:
    """Run the program: `list`, or a request as JSON and the numbers of two descriptors."""
    if sys.argv[1:] == ["list"]:
        print_devices()
    request, ring, messages = sys.argv[1:]
    os.set_blocking(int(messages), False)

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        Recorder(CaptureRequest(**json.loads(request)), int(ring), int(messages)).run()
    except BrokenPipeError:
        os._exit(0)
