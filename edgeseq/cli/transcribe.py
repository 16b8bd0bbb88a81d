"""`edgeseq transcribe`."""

from __future__ import annotations

from edgeseq.errors import UsageError


def transcribe() -> None:
    """Not there yet."""
    raise UsageError("not there yet")
