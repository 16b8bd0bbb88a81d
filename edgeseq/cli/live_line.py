"""The last line of a terminal while edgeseq listens: how loud it is, and what is being said, dim until it is final."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

from edgeseq.cli.printing import encodable, line_is_gone, line_is_shown

if TYPE_CHECKING:
    from edgeseq.sound.blocks import Floats

CLEAR_TO_END = "\x1b[K"
DIM, NOT_DIM = "\x1b[2m", "\x1b[22m"
BAR_COLUMNS = 12
LEAST_COLUMNS = 40
"""of a terminal that has room for the level beside the words"""
LEVEL_SECONDS = 0.16
"""between two levels: a line that changes more often flickers"""
MUTED_SECONDS = 2.0
"""without anything but zeros"""


class LiveLine:
    """A line that is rewritten in place, with one write for each change."""

    def __init__(self, out: TextIO) -> None:
        """Write to a terminal."""
        self._out = out
        self._text, self._level, self._drawn = "", "", ""

    def show_text(self, text: str) -> None:
        """Show what is being said, in place of what was."""
        self._text = text
        self._draw()

    def show_level(self, level: str) -> None:
        """Show how loud it is, in place of what was."""
        self._level = level
        self._draw()

    def end_text(self) -> None:
        """Forget what was being said: it is final and printed as a line that stays."""
        self._text = ""

    def take_away(self) -> None:
        """Clear the line; the next change draws it again."""
        if self._drawn:
            self._write(f"\r{CLEAR_TO_END}")
            self._drawn = ""
            line_is_gone()

    def _draw(self) -> None:
        from edgeseq.cli.display import fit

        columns = shutil.get_terminal_size().columns - 1
        level = self._level if columns >= LEAST_COLUMNS else ""
        text = fit(self._text, columns - len(level) - 1 if level else columns)
        line = " ".join(filter(None, (level, dim(text))))
        if line != self._drawn:
            self._write(f"\r{line}{CLEAR_TO_END}")
            self._drawn = line
            line_is_shown(self.take_away)

    def _write(self, text: str) -> None:
        self._out.write(encodable(text, self._out))
        self._out.flush()


class LevelMeter:
    """Draws the level of blocks as they come: a bar, or what is wrong with them."""

    def __init__(self, rate: int) -> None:
        """Take sound at `rate` Hz."""
        self._rate = rate
        self._blocks: list[Floats] = []
        self._n_zeros = 0
        self._next = 0.0

    def take(self, block: Floats) -> str | None:
        """Take a block (float32, -1 to 1); returns what to show, None while the last is to stay."""
        import numpy as np

        from edgeseq.sound.level import bar, level

        self._blocks.append(block)
        now = time.monotonic()
        if now < self._next:
            return None
        self._next = now + LEVEL_SECONDS
        samples = np.concatenate(self._blocks)
        self._blocks = []
        heard = level(samples)
        self._n_zeros = self._n_zeros + len(samples) if heard.is_zero else 0
        if self._n_zeros >= MUTED_SECONDS * self._rate:
            return f"[{'muted?':^{BAR_COLUMNS}}]"
        return f"[{'too loud!':^{BAR_COLUMNS}}]" if heard.clipped else f"[{bar(heard.peak_db, BAR_COLUMNS)}]"


def dim(text: str) -> str:
    """Make a text dim, where colours are not refused ($NO_COLOR)."""
    return text if not text or os.environ.get("NO_COLOR") else f"{DIM}{text}{NOT_DIM}"


def is_terminal(out: TextIO) -> bool:
    """Whether a stream is a terminal that understands how to go back in a line."""
    return out.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def open_line() -> LiveLine | None:
    """Make the line on standard output or, where that goes elsewhere, on standard error; None if neither is a terminal."""
    out = next((stream for stream in (sys.stdout, sys.stderr) if is_terminal(stream)), None)
    return None if out is None else LiveLine(out)
