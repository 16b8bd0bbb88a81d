"""The one way to print a line: names and texts come from strangers, and no terminal is to be steered by them."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

import typer

from edgeseq.errors import printable

KEPT = "\n\t"
_SHOWN: list[Callable[[], None]] = []
"""What takes away the line that is being rewritten on the terminal, if there is one."""


def line_is_shown(take_away: Callable[[], None]) -> None:
    """Note that a terminal's last line is being rewritten: what is printed next must call `take_away` first."""
    _SHOWN[:] = [take_away]


def line_is_gone() -> None:
    """Note that it was taken away."""
    _SHOWN.clear()


def take_line_away() -> None:
    """Make room for a line that stays; before everything that is printed past `say`."""
    for take_away in tuple(_SHOWN):
        take_away()


def say(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text on standard output, or on standard error; what cannot be printed or encoded is replaced."""
    take_line_away()
    typer.echo(encodable(printable(str(text), keep=KEPT), sys.stderr if err else sys.stdout), err=err, nl=nl)


def encodable(text: str, stream: TextIO | None = None) -> str:
    """Replace what a stream's encoding cannot say (a terminal in an old locale); by default standard output's."""
    encoding = _encoding(stream or sys.stdout)
    return text.encode(encoding, errors="replace").decode(encoding)


def encodable_json(text: str) -> str:
    """Escape what standard output's encoding cannot say, as JSON does."""
    try:
        text.encode(_encoding(sys.stdout))
    except UnicodeEncodeError:
        return json.dumps(json.loads(text))
    return text


def _encoding(stream: TextIO | None) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


def open_missing_streams() -> None:
    """Give standard input, output and error, where a supervisor closed them, nothing to read and nowhere to write.

    Otherwise the next file that is opened would get their numbers, and what is printed with them.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


class _Lines(logging.Handler):
    """Prints what the library warns of: a line on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say(f"edgeseq: {record.getMessage()}", err=True)
        except OSError:
            self.handleError(record)


def print_warnings() -> None:
    """Let the library's warnings be lines on standard error, unless a log is kept."""
    log: Any = logging.getLogger("edgeseq")
    if not logging.getLogger().handlers and not any(isinstance(handler, _Lines) for handler in log.handlers):
        log.addHandler(_Lines(logging.WARNING))
        log.propagate = False
