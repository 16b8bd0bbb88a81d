"""Wyoming's events on a socket, read within limits.

An event is a line of JSON, then as many bytes of JSON and of payload as the line says. The package `wyoming` reads them, too,
but as much as a client says.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from wyoming.event import Event

from edgeseq.errors import AudioError, UsageError
from edgeseq.serve.limits import LimitError
from edgeseq.sound.blocks import Floats
from edgeseq.untrusted import parse_json

HEADER_BYTES = 65_536
"""of the line"""
MOST_BRACKETS = 20_000
"""Objects and lists in an event."""
MOST_COMMAS = 10_000
"""in an event, which bounds its names"""
MOST_CHANNELS = 32
FULL_SCALE = {1: 2.0**7, 2: 2.0**15, 3: 2.0**23, 4: 2.0**31}
"""bytes of a sample -> the integer that 1.0 is"""


async def read_event(reader: asyncio.StreamReader, most_data: int, most_payload: int) -> Event | None:
    """Read the next event, None when the client has ended; `most_data` and `most_payload` are bytes.

    The reader was made with HEADER_BYTES as its limit. Raises LimitError for what is too large, UsageError for what is not
    event, IncompleteReadError where the client breaks off within one.
    """
    try:
        line = await reader.readline()
    except ValueError:
        raise LimitError(f"the first line of an event is longer than {HEADER_BYTES:,} bytes.") from None
    if not line:
        return None
    header = _parse(line, "the first line of an event")
    data = header.get("data") or {}
    n_data, n_payload = _length(header, "data_length", most_data), _length(header, "payload_length", most_payload)
    if n_data:
        data = data | _parse(await reader.readexactly(n_data), "the data of an event") if isinstance(data, dict) else None
    payload = await reader.readexactly(n_payload) if n_payload else None
    if not isinstance(header.get("type"), str) or not isinstance(data, dict):
        raise UsageError("an event without a type, or whose data is not a JSON object.")
    return Event(header["type"], data, payload)


def _parse(text: bytes, what: str) -> dict[str, Any]:
    try:
        parsed = parse_json(text, most_brackets=MOST_BRACKETS, most_commas=MOST_COMMAS)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise UsageError(f"{what} is not a JSON object.")
    return parsed


def _length(header: dict[str, Any], name: str, most_bytes: int) -> int:
    length = header.get(name)
    if length is None:
        return 0
    if not isinstance(length, int) or length < 0:
        raise UsageError(f"{name} {str(length)[:40]}; wanted a number of bytes.")
    if length > most_bytes:
        raise LimitError(f"an event with {name} {length:,}; this server takes at most {most_bytes:,} bytes.")
    return length


def whole_number(event: Event, name: str, low: int, high: int) -> int:
    """Read a field of an event's data. Raises UsageError."""
    value = event.data.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UsageError(f"{event.type} with {name} {str(value)[:40]}; wanted a whole number from {low} to {high:,}.")
    return value


def to_samples(payload: bytes, width: int, channels: int) -> Floats:
    """Turn PCM (signed, little-endian, `width` bytes a sample, channels interleaved) into mono float32 `[n_samples]`.

    Raises AudioError for bytes that are no whole number of samples.

    >>> to_samples(bytes([0, 0x40, 0, 0xC0]), width=2, channels=1), to_samples(bytes([64, 0]), width=1, channels=2)
    (array([ 0.5, -0.5], dtype=float32), array([0.25], dtype=float32))
    """
    if len(payload) % (width * channels):
        raise AudioError(f"{len(payload)} bytes of sound; wanted whole samples of {width} bytes and {channels} channels.")
    if width == 3:
        bytes_ = np.frombuffer(payload, np.uint8).reshape(-1, 3)
        numbers = np.zeros((len(bytes_), 4), np.uint8)
        numbers[:, 1:] = bytes_
        integers = numbers.view("<i4")[:, 0] >> 8
    else:
        integers = np.frombuffer(payload, f"<i{width}")
    samples = integers.astype(np.float32) / np.float32(FULL_SCALE[width])
    return samples if channels == 1 else samples.reshape(-1, channels).mean(axis=1, dtype=np.float32)
