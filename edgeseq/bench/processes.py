"""Whole processes: how long they take to their first words, how much processor time and memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeseq.errors import EdgeseqError

PROCESS_SECONDS = 600.0
"""Longest that a measured process may take."""
STATUS = Path("/proc/self/status")

CHILD = """
import atexit, sys
def tell_memory():
    with open("/proc/self/status") as status:
        sys.stderr.write("".join(line for line in status if line.startswith("VmHWM:")))
atexit.register(tell_memory)
from edgeseq.cli import main
main()
"""
"""Runs the command line and ends by telling its largest memory.

The kernel's figure for a child (wait4) will not do: until its exec a child counts as large as its parent.
"""
COMMAND = "from edgeseq.cli import main; main()"
BASELINE = "import onnxruntime"


@dataclass(frozen=True)
class ProcessFigures:
    """One run of a whole process."""

    seconds: float
    """from its start to its first line of output, or its end if it says nothing"""
    peak_rss_mb: float
    """10^6 bytes"""


def run_process(arguments: Sequence[str]) -> ProcessFigures:
    """Run `edgeseq ARGUMENTS` in a process of its own. Raises EdgeseqError with what it said if it fails."""
    command = [sys.executable, "-c", CHILD, *arguments]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None, "asked for as a pipe"
        process.stdout.readline()
        seconds = time.perf_counter() - began
        try:
            _, said = process.communicate(timeout=PROCESS_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise EdgeseqError(f"edgeseq {' '.join(arguments)}: did not end in {PROCESS_SECONDS:.0f} s.") from None
    if process.returncode:
        raise EdgeseqError(f"edgeseq {' '.join(arguments)}: ended with code {process.returncode}.\n  {said.strip()}")
    return ProcessFigures(seconds, _memory(said, "VmHWM"))


def processor_seconds(arguments: Sequence[str]) -> float:
    """Give the processor time, user and system, of `edgeseq ARGUMENTS` beyond that of importing onnxruntime."""
    whole = _processor_seconds(COMMAND, *arguments)
    return whole - _processor_seconds(BASELINE)


def _processor_seconds(program: str, *arguments: str) -> float:
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise EdgeseqError(f"edgeseq {' '.join(arguments)}: ended with code {process.returncode}; run it to see why.")
    return usage.ru_utime + usage.ru_stime


def reason(code: int, said: str) -> str:
    """Say why a process failed: its signal, or what it said, of a traceback the last line.

    >>> reason(-4, "")
    'ended by SIGILL'
    >>> reason(1, "Traceback (most recent call last):\\n  ...\\nImportError: no such thing")
    'ended with code 1: ImportError: no such thing'
    """
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    words = said.strip()
    if "Traceback" in words:
        words = words.splitlines()[-1]
    return f"ended with code {code}: {words}" if words else f"ended with code {code}"


def peak_rss_mb() -> float:
    """This process's largest memory so far, 10^6 bytes."""
    return _own_memory("VmHWM")


def rss_mb() -> float:
    """This process's memory now, 10^6 bytes."""
    return _own_memory("VmRSS")


def _own_memory(field: str) -> float:
    return _memory(STATUS.read_text(encoding="ascii") if STATUS.exists() else "", field)


def _memory(status: str, field: str) -> float:
    """Find a figure such as `VmHWM:    55000 kB`."""
    for line in status.splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise EdgeseqError(f"the system does not tell a process's memory ({field} in {STATUS}).")
