"""How events are shown: lines for people, lines for programs, a terminal's line rewritten in place."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from enum import StrEnum
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgeseq.events import Event

CLEAR_TO_END = "\x1b[K"


class Format(StrEnum):
    """What `--format` takes."""

    text = "text"
    jsonl = "jsonl"


class Display:
    """Shows the events of one source on standard output; every line is flushed."""

    def __init__(self, form: Format, file: str | None = None, prefix: str = "") -> None:
        """Name `file` in jsonl lines; put `prefix` before each line of text."""
        self.form, self.file, self.prefix = form, file, prefix
        self.rewrites = form is Format.text and can_rewrite()

    def show(self, event: Event) -> None:
        """Show one event: partials on a terminal and in jsonl, finals always."""
        if self.form is Format.jsonl:
            typer.echo(event.to_json(self.file))
        elif event.type == "final":
            start = f"\r{CLEAR_TO_END}" if self.rewrites else ""
            typer.echo(encodable(f"{start}{self.prefix}{printable(event.text)}"))
        elif self.rewrites:
            line = fit(printable(event.text), shutil.get_terminal_size().columns - 1)
            typer.echo(encodable(f"\r{line}{CLEAR_TO_END}"), nl=False)


def can_rewrite() -> bool:
    """Whether standard output is a terminal that understands how to go back in a line."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def fit(text: str, columns: int) -> str:
    """Keep the end of a text that is wider than a terminal's line, after an ellipsis.

    >>> fit("three one four", 9)
    '…one four'
    """
    if sum(map(width, text)) <= columns:
        return text
    kept, left = [], max(columns, 1) - 1
    for character in reversed(text):
        left -= width(character)
        if left < 0:
            break
        kept.append(character)
    return "…" + "".join(reversed(kept)).lstrip()


def width(character: str) -> int:
    """Count the columns that a character takes: 2 for wide ones, 0 for marks upon others."""
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def printable(text: str) -> str:
    """Replace control characters, which could move the cursor or worse; texts come from strangers."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) == "Cc" else c for c in text)


def encodable(text: str) -> str:
    """Replace what standard output's encoding cannot say (a terminal in an old locale)."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, errors="replace").decode(encoding)
