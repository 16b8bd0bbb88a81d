"""What one server takes on: limits that protect a small board."""

from __future__ import annotations

from dataclasses import dataclass

from edgeseq.errors import EdgeseqError

STOPPING = "this server is being stopped; connect again later."


@dataclass(frozen=True)
class Limits:
    """Beyond these a client is refused in its protocol's own words."""

    streams: int = 32
    """open at once"""
    message_bytes: int = 1 << 20
    """of one WebSocket message, or the payload of one Wyoming event"""
    upload_bytes: int = 25_000_000
    """of one file"""
    stream_seconds: float = 4 * 3600.0
    """of sound in one stream"""
    silence_seconds: float = 3600.0
    """of sound in one stream in which no word was said"""
    memory_bytes: int = 1 << 30
    """that the server may take; above that it opens no more streams"""
    idle_seconds: float = 60.0
    """without anything from a client"""
    send_seconds: float = 10.0
    """that a client may leave an answer unread"""
    connections: int = 256
    """open at once to one listener, with and without a stream"""
    events_per_second: float = 100.0
    """that are not sound, of one connection: requests, questions, ends; faster ones wait"""
    settings_per_second: float = 10.0
    """of one connection: settings, names, phrases; faster ones wait"""
    phrases_bytes: int = 64_000
    """of a client's own phrases"""
    phrases_nodes: int = 20_000
    """states of their graph"""
    phrases_seconds: float = 2.0
    """of processor time for compiling them"""

    @property
    def settings_bytes(self) -> int:
        """Most that a text with settings, or the data of a Wyoming event, may have: phrases or names, written as JSON."""
        return 4 * self.phrases_bytes + 16_384


class FullDiskError(EdgeseqError):
    """There is no room on the disk for what a client sends."""


class LimitError(EdgeseqError):
    """A client asked for more than a limit allows."""


class BusyError(LimitError):
    """The server has as many streams as it may have."""


class StoppingError(LimitError):
    """The server is being stopped."""
