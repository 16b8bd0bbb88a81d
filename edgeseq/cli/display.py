"""How events are shown: lines for people, lines for programs, a terminal's line rewritten in place."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, TextIO

import typer

from edgeseq.cli.live_line import LiveLine, is_terminal
from edgeseq.cli.printing import encodable, encodable_json, say, take_line_away
from edgeseq.errors import printable

if TYPE_CHECKING:
    from edgeseq.events import Event, Gap
    from edgeseq.output.subtitles import Cue


class Format(StrEnum):
    """What `--format` takes."""

    text = "text"
    jsonl = "jsonl"
    srt = "srt"
    vtt = "vtt"

    @property
    def is_subtitles(self) -> bool:
        """Whether times begin at zero in each file, so that several need several outputs."""
        return self in (Format.srt, Format.vtt)

    @property
    def suffix(self) -> str:
        """Suffix of a file in this format."""
        return ".txt" if self is Format.text else f".{self.value}"


class Display:
    """Shows the events of one source on standard output or in `out`; every line is flushed."""

    def __init__(
        self,
        form: Format,
        file: str | None = None,
        prefix: str = "",
        *,
        spell: Callable[[Sequence[str]], str] = " ".join,
        out: TextIO | None = None,
    ) -> None:
        """Name `file` in jsonl lines; put `prefix` before each line of text; make text of words by `spell`."""
        self.form, self.prefix, self.spell, self.out = form, printable(prefix), spell, out
        self.file = None if file is None else printable(file)
        self.line = LiveLine(sys.stdout) if form is Format.text and out is None and can_rewrite() else None
        """where partials are shown"""
        self.n_cues = 0
        self.n_shown = 0
        """events"""
        if form is Format.vtt:
            from edgeseq.output.subtitles import VTT_HEADER

            self._write(VTT_HEADER, end="")

    def show(self, event: Event) -> None:
        """Show one event: partials on a terminal and in jsonl, finals always."""
        event = self.spelled(event)
        self.n_shown += 1
        if self.form is Format.jsonl:
            self._write(event.to_json(self.file))
        elif self.form.is_subtitles:
            self._show_cues(event)
        elif event.type == "final":
            if self.line is not None:
                self.line.end_text()
            self._write(f"{self.prefix}{printable(event.text)}")
        elif self.line is not None:
            self.line.show_text(printable(event.text))

    def show_gap(self, gap: Gap) -> None:
        """Show that sound was lost: jsonl tells it among the events, all else on standard error."""
        if self.form is Format.jsonl:
            self._write(gap.to_json(self.file))
        else:
            say(f"edgeseq: no sound from {gap.start:.1f} to {gap.end:.1f} s: {gap.reason}.", err=True)

    def spelled(self, event: Event) -> Event:
        """Spell the text of an event, in figures where that is wanted; its words stay as they were said."""
        return replace(event, text=self.spell([word.word for word in event.words]))

    def _show_cues(self, event: Event) -> None:
        from edgeseq.output.subtitles import cues

        if event.type == "final":
            for cue in cues(event, self.spell):
                self._show_cue(cue)

    def _show_cue(self, cue: Cue) -> None:
        self.n_cues += 1
        cue = replace(cue, text=printable(cue.text))
        self._write(cue.to_srt(self.n_cues) if self.form is Format.srt else cue.to_vtt(), end="")

    def _write(self, text: str, end: str = "\n") -> None:
        if self.out is None:
            take_line_away()
            typer.echo((encodable_json if self.form is Format.jsonl else encodable)(text), nl=bool(end))
        else:
            self.out.write(text + end)


def can_rewrite() -> bool:
    """Whether standard output is a terminal that understands how to go back in a line."""
    return is_terminal(sys.stdout)


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


def fit_start(text: str, columns: int) -> str:
    """Keep the beginning of a text that is wider than a line, before an ellipsis.

    >>> fit_start("three one four", 9)
    'three on…'
    """
    if sum(map(width, text)) <= columns:
        return text
    kept, left = [], max(columns, 1) - 1
    for character in text:
        left -= width(character)
        if left < 0:
            break
        kept.append(character)
    return "".join(kept).rstrip() + "…"


def width(character: str) -> int:
    """Count the columns that a character takes: 2 for wide ones, 0 for marks upon others."""
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
