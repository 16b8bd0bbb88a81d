"""A command for each final: its JSON on standard input, no shell, and never in the way of the stream.

One thread starts the commands one after another, so they see the finals in order. What cannot keep up is reported, not awaited.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from edgeseq.errors import UsageError

MAX_WAITING = 32
"""finals; a person says no more in a minute"""
SLOW_SECONDS = 10.0
"""A command that takes longer is reported; it continues."""
END_SECONDS = 5.0
"""What is still running this long after the stream's end is stopped."""

Report = Callable[[str], None]


class CommandRunner:
    """Starts a command for each text it is handed, in a thread of its own.

    >>> with CommandRunner("cat", report=print) as runner:
    ...     runner.hand_over("{}")
    """

    def __init__(
        self,
        command: str,
        report: Report,
        *,
        max_waiting: int = MAX_WAITING,
        slow_seconds: float = SLOW_SECONDS,
        end_seconds: float = END_SECONDS,
    ) -> None:
        """Split `command` into words as a shell would, and find its program; `report` takes one line for each failure.

        Raises UsageError when there is no such program.
        """
        self.arguments = split_command(command)
        self._report = report
        self._slow_seconds, self._end_seconds = slow_seconds, end_seconds
        self._waiting: queue.Queue[str | None] = queue.Queue(max_waiting)
        self._running: subprocess.Popen[bytes] | None = None
        self._is_given_up = False
        self._thread = threading.Thread(target=self._work, name="edgeseq-run", daemon=True)

    def __enter__(self) -> CommandRunner:
        """Begin to take texts."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        """Wait a little for commands that run and wait; stop what is then left."""
        deadline = time.monotonic() + self._end_seconds
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=self._end_seconds)
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._give_up()

    def hand_over(self, text: str) -> None:
        """Have the command started with `text` and a line end on its standard input; never waits."""
        try:
            self._waiting.put_nowait(text)
        except queue.Full:
            self._report(f"--run: {self._waiting.maxsize} finals wait for {self.arguments[0]}, which is too slow; one is lost.")

    def _work(self) -> None:
        while (text := self._waiting.get()) is not None and not self._is_given_up:
            self._run(text)

    def _run(self, text: str) -> None:
        try:
            # What a command prints must not get among the words on standard output. A session of its own: Ctrl-C is not for it.
            process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.PIPE,
                stdout=_standard_error(),
                stderr=_standard_error(),
                start_new_session=True,
            )
        except OSError as fault:
            self._report(f"--run: {self.arguments[0]} cannot be started ({fault.strerror}).")
            return
        self._running = process
        content: bytes | None = (text + "\n").encode()
        try:
            process.communicate(content, timeout=self._slow_seconds)
        except subprocess.TimeoutExpired:
            self._report(f"--run: {self.arguments[0]} takes more than {self._slow_seconds:g} s; the finals after it wait.")
            process.communicate()
        self._running = None
        if process.returncode and not self._is_given_up:
            self._report(f"--run: {self.arguments[0]} ended with {_exit_text(process.returncode)}.")

    def _give_up(self) -> None:
        self._is_given_up = True
        left = self._waiting.qsize()
        self._report(
            f"--run: {self.arguments[0]} was still running {self._end_seconds:g} s after the end and was stopped"
            + (f"; {left} finals were not handed over." if left > 1 else ".")
        )
        process = self._running
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def split_command(command: str) -> list[str]:
    """Take a command line apart and find its program. Raises UsageError."""
    try:
        arguments = shlex.split(command)
    except ValueError as fault:
        raise UsageError(f"--run {command!r}: {fault}. Wanted: a program and its arguments, quoted as in a shell.") from fault
    if not arguments:
        raise UsageError("--run: the command is empty. Wanted: a program and its arguments.")
    if shutil.which(arguments[0]) is None:
        raise UsageError(
            f"--run: there is no program {arguments[0]!r}. No shell is used: name a file that can be run, or --run 'sh -c ...'."
        )
    return arguments


def _standard_error() -> int:
    """Return the file number of standard error, also where a test has put something else in its place."""
    return sys.__stderr__.fileno() if sys.__stderr__ is not None else subprocess.DEVNULL


def _exit_text(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"signal {-code}"
