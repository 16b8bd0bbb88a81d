"""How far a long command is: a bar on a terminal, a line now and then elsewhere, always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgeseq.cli.printing import say

LINE_SECONDS = 15.0


@contextmanager
def progress(what: str, unit: str = "files") -> Iterator[Callable[[int, int], None]]:
    """Give a function to be called with the amount done and wanted (0 while it is not known)."""
    if not sys.stderr.isatty():
        yield _Lines(what, unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


class _Lines:
    def __init__(self, what: str, unit: str) -> None:
        self.what, self.unit, self.next_line = what, unit, time.monotonic() + LINE_SECONDS

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() >= self.next_line:
            self.next_line = time.monotonic() + LINE_SECONDS
            of = f" of {total:,}" if total else ""
            say(f"{self.what}: {done:,}{of} {self.unit}", err=True)
