"""A run's metrics sent to a tool, in a thread of its own, so that a slow disk or server keeps no step waiting.

A tool that fails is reported once and tried again, while the training continues. What it has been sent is written down beside
the run: a resumed training continues the tool's run, and sends what that does not have yet, once.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from queue import Empty, SimpleQueue
from typing import Any

from edgeseq.errors import EdgeseqError
from edgeseq.training.metric import METRICS, WER, is_validation
from edgeseq.whole_file import write_whole

GATHER_SECONDS = 1.0
"""Rows of so long are sent together: a request to MLflow costs as much as a small training step."""
MOST_AT_ONCE = 20
"""More rows are sent in pieces: MLflow takes 1,000 figures a request."""
RETRY_SECONDS = 30.0
"""After so long what failed is tried again."""
WAIT_SECONDS = 120.0
"""At the end of a training a tool is waited for at most so long."""
MOST_OF_FAULT = 600
"""Characters of a tool's message that are shown."""


@dataclass(frozen=True)
class Row:
    """What loggers are sent of a step."""

    kind: str
    """train or valid"""
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class SentSteps:
    """What a tool has of a run."""

    run: str | None = None
    """its own name for the run; None before it has one"""
    steps: Mapping[str, int] = field(default_factory=dict)
    """the last step of each kind of row"""

    def lacks(self, row: Row) -> bool:
        """Whether the tool has not got this row, nor a later one."""
        return row.step > self.steps.get(row.kind, 0)


@dataclass(frozen=True)
class Tool:
    """A tool that has begun, or continued, a run."""

    run: str | None
    """its own name for the run"""
    send: Callable[[Sequence[Row]], None]
    end: Callable[[str], None]
    """by the run's status: success, failed or KILLED"""


def row_of(line: Mapping[str, Any]) -> Row | None:
    """Make of a line of metrics.jsonl what loggers are sent; None of a notice."""
    if "loss" in line:
        figures = {f"train/{key}": line[key] for key in ("loss", "gradient_norm", "lr", "difficulty", "wait_seconds")}
        layers = {f"gradient_norm/{layer}": norm for layer, norm in line.get("layer_norms", {}).items()}
        return Row("train", line["step"], figures | layers)
    if is_validation(line):
        figures = {
            _metric_name("valid" if key == WER.key else f"valid_{key}", name): value
            for key in METRICS
            for name, value in line.get(key, {}).items()
        }
        return Row("valid", line["step"], figures)
    return None


def _metric_name(measure: str, manifest: str) -> str:
    """Name what was measured on a manifest so that every tool takes it: MLflow wants whole paths downwards, and few characters.

    >>> _metric_name("valid", "fsdd/test.jsonl"), _metric_name("valid_per", "/corpora/Übung 1.jsonl")
    ('valid/fsdd/test.jsonl', 'valid_per/corpora/_bung 1.jsonl')
    >>> _metric_name("valid", "../mine.jsonl")
    'valid/mine.jsonl'
    """
    parts = [part for part in PurePosixPath(manifest).parts if part not in ("/", "..")]
    return "/".join([measure, *(re.sub(r"[^A-Za-z0-9_. -]", "_", part) for part in parts)])


def read_sent(path: Path) -> SentSteps:
    """Read what a tool has been sent; nothing where there is no such file. Raises EdgeseqError for one that is broken."""
    if not path.exists():
        return SentSteps()
    try:
        return SentSteps(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as fault:
        raise EdgeseqError(f"{path}: cannot be read ({fault}).\n  Remove it, and a new run is begun there.") from fault


def in_short(fault: BaseException) -> str:
    """What a fault says, on one line; databases add whole statements."""
    return " ".join(str(fault).split())[:MOST_OF_FAULT] or type(fault).__name__


class Follower:
    """Sends a run's rows to one tool, in a thread of its own."""

    def __init__(self, title: str, tool: Tool, sent: SentSteps, kept: Path | None = None) -> None:
        """Continue after what is `sent`, which is written to the file `kept`."""
        self._title, self._tool, self._sent, self._kept = title, tool, sent, kept
        self._queue: SimpleQueue[Row | None] = SimpleQueue()
        self._ending = threading.Event()
        self._status = "failed"
        self._fault = ""
        self._told = False
        self._complete = False
        self._thread = threading.Thread(target=self._work, name=f"logging to {title}", daemon=True)
        self._thread.start()

    def follow(self, line: Mapping[str, Any]) -> None:
        """Take a line of metrics.jsonl, to be sent unless the tool has it."""
        row = row_of(line)
        if row is not None:
            self._queue.put(row)

    def news(self) -> str | None:
        """Say what has failed, once."""
        if not self._fault or self._told:
            return None
        self._told = True
        return f"{self._title} cannot be written to, and will be tried again; the training continues: {self._fault}"

    def end(self, status: str) -> None:
        """Let the tool's run end as `success`, `failed` or `KILLED` once everything is sent."""
        self._status = status
        self._ending.set()
        self._queue.put(None)

    def wait(self) -> str | None:
        """Wait for the end, not for ever; says what is missing then."""
        self._thread.join(WAIT_SECONDS)
        if self._complete:
            return None
        why = self._fault or f"it took more than {WAIT_SECONDS:g} s"
        later = "" if self._kept is None else ", and --resume sends it"
        return f"{self._title} lacks the end of this run, which metrics.jsonl has{later}: {why}"

    def _work(self) -> None:
        rows: list[Row] = []
        going_on = True
        while (delivered := self._deliver(rows)) and going_on:
            rows, going_on = self._take()
        ended = self._attempt(lambda: self._tool.end(self._status))
        self._complete = delivered and ended

    def _take(self) -> tuple[list[Row], bool]:
        """Take what comes within a while, at least one row; and whether more may come."""
        rows: list[Row] = []
        row = self._queue.get()
        until = time.monotonic() + GATHER_SECONDS
        while row is not None:
            rows.append(row)
            if len(rows) == MOST_AT_ONCE:
                return rows, True
            try:
                row = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                return rows, True
        return rows, False

    def _deliver(self, rows: Sequence[Row]) -> bool:
        """Send rows, however often it takes; one last time when the training has ended."""
        while not self._attempt(lambda: self._send(rows)):
            if self._ending.wait(RETRY_SECONDS):
                return self._attempt(lambda: self._send(rows))
        return True

    def _send(self, rows: Sequence[Row]) -> None:
        lacking = [row for row in rows if self._sent.lacks(row)]
        if lacking:
            self._tool.send(lacking)
        self._sent = SentSteps(self._sent.run, {**self._sent.steps, **{row.kind: row.step for row in lacking}})
        if self._kept is not None:
            write_whole(self._kept, json.dumps(asdict(self._sent)).encode())

    def _attempt(self, call: Callable[[], None]) -> bool:
        try:
            call()
        except Exception as fault:  # a training is worth more than its logs
            self._fault = in_short(fault)
            return False
        return True
