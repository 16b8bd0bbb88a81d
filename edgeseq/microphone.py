"""Microphones through sounddevice (PortAudio): blocks of sound as they are said.

PortAudio is loaded when a microphone is asked for, not before. Its callback only copies into a bounded
queue, and whoever reads waits with a timeout, so that a device that dies or freezes ends in a message
and never in a hang.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from edgeseq.blocks import EMPTY, WAIT_SECONDS, Floats, mono, resample
from edgeseq.errors import DeviceError, UsageError

QUEUE_SECONDS = 10.0
"""of sound kept for a reader that is busy; then the newest is lost and counted"""
DEAD_SECONDS = 2.0
"""without a block, and a microphone counts as gone"""
CLOSE_SECONDS = 2.0
"""PortAudio hangs in closing a device whose sound server is frozen; it is left alone after this"""

INVALID_CHANNELS, INVALID_RATE = -9998, -9997
"""PortAudio's error codes for what may be asked for differently"""

ADVICE = "  Plug one in, or start the sound server; `edgeseq devices` lists what there is."


@dataclass(frozen=True)
class Device:
    """A microphone, as the machine sees it."""

    index: int
    name: str
    n_channels: int
    rate: int
    """its own sample rate, Hz"""
    is_default: bool


def list_microphones() -> list[Device]:
    """List what sound can be taken from. Raises DeviceError when there is nothing, or no PortAudio."""
    sounddevice = _import_sounddevice()
    default = sounddevice.default.device[0]
    found = [
        Device(
            index,
            str(entry["name"]),
            int(entry["max_input_channels"]),
            round(entry["default_samplerate"]),
            index == default,
        )
        for index, entry in enumerate(sounddevice.query_devices())
        if entry["max_input_channels"] > 0
    ]
    if not found:
        raise DeviceError(f"this machine shows no microphone.\n{ADVICE}")
    return found


def find_microphone(wanted: str | int | None, devices: list[Device]) -> Device:
    """Choose a microphone by index, name, or part of a name; None is the system's own choice.

    Raises UsageError that lists those there are.
    """
    if wanted is None:
        return next((device for device in devices if device.is_default), devices[0])
    if str(wanted).isdecimal():
        matches = [device for device in devices if device.index == int(wanted)]
    else:
        name = str(wanted).casefold()
        matches = [device for device in devices if device.name.casefold() == name]
        matches = matches or [device for device in devices if name and name in device.name.casefold()]
    if len(matches) == 1:
        return matches[0]
    shown = "\n".join(f"  {device.index}  {device.name}" for device in matches or devices)
    said = "more than one microphone is called" if matches else "no microphone is called"
    raise UsageError(f"{said} '{wanted}'. Give an index or more of a name:\n{shown}")


class Microphone:
    """An open microphone. Leaving its `with` block closes it."""

    def __init__(self, wanted: str | int | None, sample_rate: int, block_seconds: float = 0.08) -> None:
        """Open the microphone `wanted` (index, name, part of a name, None) to hear it at `sample_rate` Hz.

        Where the device refuses that rate, its own is taken and resampled. Raises DeviceError or UsageError.
        """
        self._sounddevice = _import_sounddevice()
        self.device = find_microphone(wanted, list_microphones())
        self.name = self.device.name
        self.sample_rate = sample_rate
        self.n_lost = 0
        """times that sound was lost because nobody took it"""
        self._queue: queue.Queue[Floats] = queue.Queue(maxsize=max(2, round(QUEUE_SECONDS / block_seconds)))
        self._ended = threading.Event()
        self._stopped = False
        self._stream, self.rate = self._open(block_seconds)

    def blocks(self) -> Iterator[Floats]:
        """Give mono float32 blocks at `sample_rate` as they are said, empty ones while none comes.

        Ends after `stop`. Raises DeviceError when the microphone goes away.
        """
        return resample(self._own_blocks(), self.rate, self.sample_rate)

    def stop(self) -> None:
        """Let `blocks` come to its end; may be called from another thread."""
        self._stopped = True

    def close(self) -> None:
        """Release the device. Does not hang, even if PortAudio does."""
        self.stop()
        closing = threading.Thread(target=self._abort, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)

    def __enter__(self) -> Microphone:
        """Return the open microphone."""
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def _open(self, block_seconds: float) -> tuple[Any, int]:
        """Try the model's rate, then the device's own; one channel, then all of them."""
        failure: Exception | None = None
        for rate in dict.fromkeys((self.sample_rate, self.device.rate)):
            for n_channels in dict.fromkeys((1, self.device.n_channels)):
                try:
                    stream = self._sounddevice.InputStream(
                        device=self.device.index,
                        samplerate=rate,
                        channels=n_channels,
                        dtype="float32",
                        blocksize=max(1, round(rate * block_seconds)),
                        callback=self._take,
                        finished_callback=self._ended.set,
                    )
                    stream.start()
                    return stream, rate
                except self._sounddevice.PortAudioError as fault:
                    failure = fault
                    if _code(fault) == INVALID_RATE:
                        break
                    if _code(fault) != INVALID_CHANNELS:
                        raise self._unusable(fault) from fault
        raise self._unusable(failure) from failure

    def _take(self, samples: Floats, n_samples: int, times: Any, status: Any) -> None:
        """Take a block from PortAudio's thread: copy, nothing else."""
        if status.input_overflow:
            self.n_lost += 1
        try:
            self._queue.put_nowait(samples.copy())
        except queue.Full:
            self.n_lost += 1

    def _own_blocks(self) -> Iterator[Floats]:
        last = time.monotonic()
        while not self._stopped:
            try:
                block = self._queue.get(timeout=WAIT_SECONDS)
            except queue.Empty:
                self._check_alive(time.monotonic() - last)
                yield EMPTY
            else:
                last = time.monotonic()
                yield mono(block)

    def _check_alive(self, silent_seconds: float) -> None:
        if self._stopped:
            return
        if self._ended.is_set():
            raise DeviceError(f"the microphone '{self.name}' has gone: unplugged, or its sound server ended.\n{ADVICE}")
        if silent_seconds > DEAD_SECONDS:
            raise DeviceError(
                f"the microphone '{self.name}' has given nothing for {DEAD_SECONDS:.0f} s, not even silence.\n"
                "  Plug it in again, or restart the sound server."
            )

    def _abort(self) -> None:
        try:
            self._stream.abort()
            self._stream.close()
        except self._sounddevice.PortAudioError:
            pass  # it has gone already

    def _unusable(self, fault: Exception | None) -> DeviceError:
        reason = str(fault.args[0]) if fault is not None and fault.args else str(fault)
        rates = f"{self.sample_rate} Hz or its own {self.device.rate} Hz"
        advice = (
            f"  It takes neither {rates}: try another one, `edgeseq devices` lists them."
            if fault is not None and _code(fault) == INVALID_RATE
            else "  Another program may hold it, or the sound server be down; `edgeseq devices` lists others."
        )
        return DeviceError(f"the microphone '{self.name}' cannot be opened: {reason}.\n{advice}")


def _code(fault: Exception) -> int | None:
    """Return PortAudio's error code, which some of its errors lack."""
    return fault.args[1] if len(fault.args) > 1 else None


def _import_sounddevice() -> Any:
    try:
        import sounddevice
    except OSError as fault:
        raise DeviceError(
            "the library PortAudio, which microphones are read through, is not installed.\n"
            "  Install it: sudo apt install libportaudio2"
        ) from fault
    return sounddevice
