"""Texts and codes in Wyoming's events."""

from __future__ import annotations

from edgeseq.errors import AudioError, EdgeseqError, UsageError
from edgeseq.serve.limits import BusyError, LimitError, StoppingError


def code_of(fault: EdgeseqError) -> str:
    """Name a fault for programs."""
    kinds = ((StoppingError, "stopping"), (BusyError, "busy"), (LimitError, "limit"), (AudioError, "audio"))
    return next((name for kind, name in kinds if isinstance(fault, kind)), "usage")


def sendable(text: str) -> str:
    """Replace what JSON can hold and UTF-8 cannot: halves of surrogate pairs that a client sent."""
    return text.encode("utf-8", "replace").decode()


def text_of(data: dict[str, object], name: str) -> str | None:
    """Read a text of an event's data, None without it. Raises UsageError."""
    value = data.get(name)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{name} {str(value)[:40]}; wanted a text.")
    return value or None
