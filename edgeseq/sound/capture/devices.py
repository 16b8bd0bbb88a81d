"""Which microphones there are, and which one is meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeseq.errors import DeviceError, UsageError

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


def microphones_of(sounddevice: Any) -> list[Device]:
    """List what sound can be taken from, by a loaded sounddevice. Raises DeviceError when there is nothing."""
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


def import_sounddevice() -> Any:
    """Load PortAudio, which looks for devices while it is loaded. Raises DeviceError if it is not installed."""
    try:
        import sounddevice
    except OSError as fault:
        raise DeviceError(
            "the library PortAudio, which microphones are read through, is not installed.\n"
            "  Install it: sudo apt install libportaudio2"
        ) from fault
    return sounddevice
