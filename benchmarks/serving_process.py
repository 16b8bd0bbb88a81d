"""`edgeseq serve` and its clients as processes, for `benchmarks.serving`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.live_clients import Plan
from edgeseq.errors import EdgeseqError

PROTOCOLS = ("vosk", "sherpa")
SERVER = [sys.executable, "-c", "from edgeseq.cli import main; main()", "serve"]
CLIENTS = [sys.executable, "-m", "benchmarks.live_clients"]
LISTENING = re.compile(r"(\w+): listening at \w+://127\.0\.0\.1:(\d+)")
START_SECONDS = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """`edgeseq serve` in a process of its own."""

    def __init__(self, model: Path | str, n_streams: int, log: Path) -> None:
        """Start to listen at free ports."""
        listen = [word for protocol in (*PROTOCOLS, "http") for word in (f"--{protocol}", "127.0.0.1:0")]
        connections = 2 * n_streams + 8  # one address may have three quarters of them
        limits = ["--limit", f"streams={n_streams + 8}", "--limit", f"connections={connections}"]
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen([*SERVER, "--model", str(model), *listen, *limits], stdout=out, stderr=out)

    def wait_until_listening(self) -> dict[str, int]:
        """Return protocol -> port. Raises EdgeseqError with what it said if it fails."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            ports = {protocol: int(port) for protocol, port in LISTENING.findall(self._log.read_text(errors="replace"))}
            if len(ports) == len(PROTOCOLS) + 1:
                return ports
            time.sleep(0.05)
        raise EdgeseqError(f"the server does not listen: {self._log.read_text(errors='replace')[-1000:]}")

    def processor_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_mb(self) -> float:
        """Memory, 10^6 bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def serving(model: Path | str, n_streams: int, folder: Path) -> Iterator[Server]:
    """Run a server, and end it."""
    server = Server(model, n_streams, folder / "server.log")
    try:
        yield server
    finally:
        server.process.terminate()
        try:
            server.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


@dataclass(frozen=True)
class Observed:
    """What was seen of a server while its clients spoke."""

    load: float
    """of the machine, a minute's average, before the streams began"""
    seconds: float
    """that it took"""
    server_cores: float
    server_mb: float
    figures: dict[str, float]
    """of its /metrics, at the end"""


def observe(server: Server, ports: dict[str, int], plans: Sequence[Plan]) -> tuple[Observed, list[dict[str, Any]]]:
    """Let clients speak to a server; returns what was seen of it, and what each process of clients says.

    Raises EdgeseqError when a process fails.
    """
    load, used, began = os.getloadavg()[0], server.processor_seconds(), time.monotonic()
    results = _run_clients(plans)
    seconds = time.monotonic() - began
    cores = (server.processor_seconds() - used) / seconds
    return Observed(load, seconds, cores, server.resident_mb(), _metrics(ports["http"])), results


def _run_clients(plans: Sequence[Plan]) -> list[dict[str, Any]]:
    processes = [subprocess.Popen(CLIENTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in plans]
    for process, plan in zip(processes, plans, strict=True):
        assert process.stdin is not None, "asked for as a pipe"
        process.stdin.write(json.dumps(asdict(plan)))
        process.stdin.close()
        process.stdin = None
    results = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise EdgeseqError("the clients failed; see above.")
    return [json.loads(result) for result in results]


def _metrics(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = [line.rpartition(" ") for line in answer.read().decode().splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}
