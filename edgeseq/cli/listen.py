"""`edgeseq listen`."""

from __future__ import annotations

from edgeseq.errors import UsageError


def listen() -> None:
    """Not there yet."""
    raise UsageError("not there yet")
