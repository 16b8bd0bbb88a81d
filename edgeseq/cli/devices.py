"""`edgeseq devices`."""

from __future__ import annotations

from edgeseq.errors import UsageError


def devices() -> None:
    """Not there yet."""
    raise UsageError("not there yet")
