"""A server's log: one line a fact on standard error, and a flood of one fact counted instead of written."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings

BURST = 10
"""Lines of one kind ..."""
PERIOD_SECONDS = 10.0
"""... within this time; more are counted, and the next line gives the count."""
KINDS = 200
"""that are remembered"""


class OneLine(logging.Formatter):
    """Writes a record, whatever it holds, as one line; the journal knows the time."""

    def __init__(self) -> None:
        """Leave out the time where systemd's journal writes it."""
        has_time = "JOURNAL_STREAM" in os.environ
        super().__init__("%(levelname)s %(message)s" if has_time else "%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Give the line; no character of a client's can begin another one or steer a terminal."""
        text = super().format(record)
        lines = "; ".join(line.strip() for line in text.splitlines() if line.strip())
        return "".join(char if char.isprintable() else "\ufffd" for char in lines)


class NoFloods(logging.Filter):
    """Lets few records of one kind through in a while; a kind is a place in the code."""

    def __init__(self) -> None:
        """Nothing was written yet."""
        super().__init__()
        self._kinds: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the record is written."""
        kind, now = (record.pathname, record.lineno), time.monotonic()
        if kind not in self._kinds and len(self._kinds) >= KINDS:
            self._kinds.clear()
        began, n = self._kinds.get(kind, (now, 0))
        if now - began >= PERIOD_SECONDS:
            if n > BURST:
                record.msg, record.args = f"{record.getMessage()} (and {n - BURST} more like this before)", ()
            began, n = now, 0
        self._kinds[kind] = (began, n + 1)
        return n < BURST


class ClientFaults(logging.Filter):
    """Reports clients that do not speak HTTP, or are gone, in a line without their bytes: there may be a token among them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten what aiohttp says of them; let all through."""
        from aiohttp.http import HttpProcessingError
        from aiohttp.web import RequestPayloadError

        fault = record.exc_info[1] if record.exc_info else None
        if record.name.startswith("aiohttp") and isinstance(fault, HttpProcessingError | RequestPayloadError | ConnectionError):
            who = record.args[0] if isinstance(record.args, tuple) and record.args else "a client"
            record.msg, record.args = "http %s: left (%s)", (who, type(fault).__name__)
            record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
            record.exc_info = record.exc_text = None
        return True


def log_to_stderr(level: int = logging.INFO) -> None:
    """Let the program's log go to standard error; warnings of aiohttp's hold clients' bytes and stay out of it."""
    warnings.filterwarnings("ignore", module="aiohttp")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    handler.addFilter(ClientFaults())
    handler.addFilter(NoFloods())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    ours = logging.getLogger("edgeseq")  # which other commands print to the terminal by themselves
    for other in list(ours.handlers):
        ours.removeHandler(other)
    ours.propagate = True
