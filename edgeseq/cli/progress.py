"""How far a long command is: on a terminal a line that is rewritten, elsewhere a line now and then; on standard error."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from edgeseq.cli.display import width
from edgeseq.cli.live_line import CLEAR_TO_END
from edgeseq.cli.printing import encodable, line_is_gone, line_is_shown, say
from edgeseq.errors import printable

LINE_SECONDS = 15.0
"""Where there is no terminal, a line is printed this often."""
REDRAW_SECONDS = 0.1
GAP = "  "


class StatusLine:
    """Shows what is known of a long work, the most important first; what does not fit the terminal's line is left out."""

    def __init__(self) -> None:
        """Find out whether standard error is a terminal."""
        self.is_terminal = sys.stderr.isatty()
        self._next = 0.0 if self.is_terminal else time.monotonic() + LINE_SECONDS
        self._is_shown = False

    def show(self, parts: Sequence[str], *, now: bool = False) -> None:
        """Show parts, if the last ones have been there long enough or this must be seen `now`."""
        if not now and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + (REDRAW_SECONDS if self.is_terminal else LINE_SECONDS)
        if self.is_terminal:
            self._write("\r" + fitting(parts, shutil.get_terminal_size().columns - 1) + CLEAR_TO_END)
            self._is_shown = True
            line_is_shown(self.clear)
        else:
            say(GAP.join(parts), err=True)

    def announce(self, what: str) -> None:
        """Show on a terminal that work begins; its first figure takes this away."""
        if self.is_terminal:
            self.show([f"{what} ..."], now=True)
            self._next = 0.0

    def print(self, line: str) -> None:
        """Print a line that stays."""
        self.clear()
        say(line, err=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._is_shown:
            self._write("\r" + CLEAR_TO_END)
            self._is_shown = False
            line_is_gone()

    def _write(self, text: str) -> None:
        sys.stderr.write(encodable(text, sys.stderr))
        sys.stderr.flush()


def fitting(parts: Sequence[str], columns: int) -> str:
    """Join as many of the first parts as fit a line; the first in any case, cut if it must be.

    >>> fitting(["step 5/900", "3 min left", "loss 0.512"], 24)
    'step 5/900  3 min left'
    """
    kept = printable(parts[0])
    while kept and sum(map(width, kept)) > columns:
        kept = kept[:-1]
    for part in map(printable, parts[1:]):
        if sum(map(width, kept + GAP + part)) > columns:
            break
        kept += GAP + part
    return kept


def time_left(seconds: float) -> str:
    """Say how long something still takes.

    >>> time_left(40), time_left(100), time_left(9000)
    ('40 s left', '2 min left', '2 h 30 min left')
    """
    if seconds < 90:
        return f"{max(0, round(seconds))} s left"
    minutes = round(seconds / 60)
    return f"{minutes} min left" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min left"


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Show on a terminal, at once, what takes a moment: "loading english-small ..."."""
    line = StatusLine()
    line.announce(what)
    try:
        yield
    finally:
        line.clear()


@contextmanager
def progress(what: str, unit: str = "files") -> Iterator[Callable[[int, int], None]]:
    """Give a function to be called with the amount done and wanted (0 while it is not known)."""
    line, began = StatusLine(), time.monotonic()
    line.announce(what)
    first: list[int] = []

    def show(done: int, total: int) -> None:
        first[:] = first or [done]
        share = f" of {total:,}" if total else ""
        seconds = time.monotonic() - began
        new = done - first[0]
        left = [time_left(seconds / new * (total - done))] if total and new and seconds > 1 else []
        line.show([f"{what}: {done:,}{share} {unit}", *left])

    try:
        yield show
    finally:
        line.clear()
