"""How fast clients may send what is not sound: a little slower each, so that a flood is waited for and nobody else is.

A client beyond its pace is not refused: it waits, and what it sends waits in the network's own buffers. An address has a pace,
too, over all its connections. Sound has none: it waits for the worker anyway.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

from edgeseq.serve.limits import Limits

BURST_SECONDS = 4.0
"""of its pace that a client may send at once"""
ADDRESS_SHARE = 8
"""An address may send as much as this many connections."""
TEXT_BYTES = 32_768
"""of JSON that count as an event: a megabyte takes up to 15 ms to parse"""
MOST_ADDRESSES = 1024
"""that are remembered; those that were heard of longest ago are forgotten"""


class Bucket:
    """A pace: so much a second, and some at once."""

    def __init__(self, a_second: float) -> None:
        """Begin full."""
        self._a_second = a_second
        self._free_at = time.monotonic() - BURST_SECONDS
        """when all that was taken would have been taken at an even pace"""

    def take(self, n: float = 1.0) -> float:
        """Take some; give the seconds to wait for them."""
        now = time.monotonic()
        self._free_at = max(self._free_at, now - BURST_SECONDS) + n / self._a_second
        return max(0.0, self._free_at - now)


class _Pair:
    """Paces of one connection, or one address."""

    def __init__(self, limits: Limits, factor: float) -> None:
        self.events = Bucket(factor * limits.events_per_second)
        self.settings = Bucket(factor * limits.settings_per_second)


class Pace:
    """One connection's."""

    def __init__(self, own: _Pair, address: _Pair) -> None:
        """Made by `Paces.of`."""
        self._own, self._address = own, address

    async def sound(self, n_bytes: int = 0) -> None:
        """Let others have their turn; `n_bytes` of text that sound came in have their pace."""
        if n_bytes:
            await self._wait(n_bytes / TEXT_BYTES)
        else:
            await asyncio.sleep(0)

    async def event(self, n_bytes: int = 0) -> None:
        """Let others have their turn before something that costs little, and waits for the pace; `n_bytes` of text."""
        await self._wait(1.0 + n_bytes / TEXT_BYTES)

    async def _wait(self, n: float) -> None:
        await asyncio.sleep(max(self._own.events.take(n), self._address.events.take(n)))

    async def settings(self) -> None:
        """The same before something that costs milliseconds: settings, names, phrases."""
        await asyncio.sleep(max(self._own.settings.take(), self._address.settings.take()))


class Paces:
    """Those of a server."""

    def __init__(self, limits: Limits) -> None:
        """Know no address yet."""
        self._limits = limits
        self._addresses: OrderedDict[str, _Pair] = OrderedDict()

    def of(self, address: str) -> Pace:
        """Make a connection's."""
        shared = self._addresses.pop(address, None) or _Pair(self._limits, ADDRESS_SHARE)
        self._addresses[address] = shared
        if len(self._addresses) > MOST_ADDRESSES:
            self._addresses.popitem(last=False)
        return Pace(_Pair(self._limits, 1.0), shared)
