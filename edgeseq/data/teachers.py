"""Teachers at work: programs that transcribe WAV files, in one of two ways.

Run once a file (`{file}` in its command): what it prints on standard output is the text, or a JSON object with `text` and
maybe `confidence`. Started once: it reads a path a line on standard input, and answers each with a line of JSON that names
the path again, so that no text goes to the wrong recording:

    {"audio_filepath": "clips/1.wav", "text": "turn on the light", "confidence": 0.93}

Lines that are not JSON objects, such as progress, are ignored.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseq.data.engines import LOOK_SECONDS
from edgeseq.data.teacher_file import Teacher
from edgeseq.errors import TeacherError
from edgeseq.untrusted import parse_json

LAST_BYTES = 2000
"""of standard error, in which the reason for a failure is searched for"""
MOST_BYTES = 1_000_000
"""A program that prints more than this for one recording babbles."""


@dataclass(frozen=True)
class Answer:
    """What a teacher says of one recording."""

    text: str
    """as it wrote it; empty where it heard no speech"""
    confidence: float | None = None
    """from 0 to 1; None where the teacher gives none"""


class TeacherProgram:
    """A teacher's process: started when it is asked, started again after it failed, ended by `close`."""

    def __init__(self, teacher: Teacher, stop: Callable[[], bool] = lambda: False) -> None:
        """Start nothing yet. `stop` is asked now and then; when it says so, the program is ended."""
        self.teacher = teacher
        self._stop = stop
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._n_read = 0

    @property
    def pid(self) -> int | None:
        """Number of its process; None where none runs."""
        return None if self._process is None else self._process.pid

    def ask(self, file: Path) -> Answer:
        """Have a WAV file transcribed. Raises TeacherError when the program fails, hangs, babbles or is to stop."""
        deadline = time.monotonic() + self.teacher.seconds
        self._n_read = 0
        try:
            process = self._process or self._start(file)
            if not self.teacher.once_a_file:
                return self._ask_running(process, file, deadline)
            printed = b"\n".join(iter(lambda: self._read_line(process, deadline), None))
            if process.wait() != 0:
                raise TeacherError(f"{self.teacher.name} failed with {process.returncode}{self._reason()}")
            self._end()
            return _answer_of(printed.decode(errors="replace"))
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """End the program."""
        self._end()
        self._errors.close()

    def _start(self, file: Path) -> subprocess.Popen[bytes]:
        once = self.teacher.once_a_file
        self._errors.seek(0)
        self._errors.truncate()
        self._lines.clear()
        self._rest = b""
        try:
            # In a session of its own, so that Ctrl-C does not reach it, and what it has started ends with it.
            self._process = subprocess.Popen(
                self.teacher.arguments(file),
                stdin=subprocess.DEVNULL if once else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
            )
        except OSError as fault:
            raise TeacherError(
                f"{self.teacher.name}: {self.teacher.command[0]} cannot be started ({fault.strerror})"
            ) from fault
        return self._process

    def _ask_running(self, process: subprocess.Popen[bytes], file: Path, deadline: float) -> Answer:
        assert process.stdin is not None, "opened as a pipe"
        with suppress(BrokenPipeError):  # it has ended, which reading finds out
            process.stdin.write(f"{file}\n".encode())
            process.stdin.flush()
        while (line := self._read_line(process, deadline)) is not None:
            entry = _object_of(line.decode(errors="replace"))
            if entry is None:
                continue
            if entry.get("audio_filepath") != str(file):
                raise TeacherError(f"{self.teacher.name} answered about {entry.get('audio_filepath')!r}, not about {file}")
            return _checked(entry)
        raise TeacherError(f"{self.teacher.name} ended without an answer{self._reason()}")

    def _read_line(self, process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
        """Give the next line that the program prints, the last one even if it is not ended; None behind that."""
        assert process.stdout is not None, "opened as a pipe"
        while not self._lines:
            if self._stop():
                raise TeacherError("stopped")
            if time.monotonic() > deadline:
                raise TeacherError(f"{self.teacher.name} gave no answer within {self.teacher.seconds:g} s")
            if not select.select([process.stdout], [], [], LOOK_SECONDS)[0]:
                continue
            piece = os.read(process.stdout.fileno(), 65536)
            self._n_read += len(piece)
            if self._n_read > MOST_BYTES:
                raise TeacherError(f"{self.teacher.name} babbles: it printed more than {MOST_BYTES:,} bytes")
            if not piece:
                last, self._rest = self._rest, b""
                return last or None
            *lines, self._rest = (self._rest + piece).split(b"\n")
            self._lines.extend(lines)
        return self._lines.popleft()

    def _reason(self) -> str:
        """Give the last line of standard error, where a program says why it failed."""
        self._errors.seek(max(0, os.fstat(self._errors.fileno()).st_size - LAST_BYTES))
        said = [line.strip() for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        return f": {said[-1]}" if said else ""

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        process.wait()


def _answer_of(printed: str) -> Answer:
    """Read all that a program printed: a JSON object, or else the text itself."""
    entry = _object_of(printed)
    return Answer(" ".join(printed.split())) if entry is None else _checked(entry)


def _object_of(text: str) -> dict[str, Any] | None:
    try:
        entry = parse_json(text)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _checked(entry: dict[str, Any]) -> Answer:
    text, confidence = entry.get("text"), entry.get("confidence")
    if not isinstance(text, str):
        raise TeacherError(f"'text' of its answer is {text!r}; a string is wanted")
    if confidence is not None and not (type(confidence) in (int, float) and 0 <= confidence <= 1):
        raise TeacherError(f"'confidence' of its answer is {confidence!r}; a number from 0 to 1 is wanted")
    return Answer(" ".join(text.split()), confidence)
