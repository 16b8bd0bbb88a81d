"""`edgeseq serve` as a process of its own on free ports: what it logs, how large it is, what it counts."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from command_line import EDGESEQ

PROTOCOLS = ("wyoming", "http", "vosk", "sherpa")
LISTENING = re.compile(r"(\w+): listening at \w+://127\.0\.0\.1:(\d+)")
LAST_LINE = "Ctrl-C ends"
"""that it prints before it serves"""
START_SECONDS = 30.0
END_SECONDS = 20.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Open:
    """What a server holds open for clients."""

    streams: float
    files: int
    """file descriptors of the process"""


class RealServer:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, token: str) -> None:
        self.process, self._log, self.token = process, log, token
        self.ports: dict[str, int] = {}

    async def wait_until_listening(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while len(self.ports) < len(PROTOCOLS):
            self.check()
            assert time.monotonic() < deadline, f"the server does not listen: {self.log()}"
            self.ports = {protocol: int(port) for protocol, port in LISTENING.findall(self.log())}
            await asyncio.sleep(0.05)

    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def check(self) -> None:
        """Fail if it has ended."""
        assert self.process.poll() is None, f"the server ended with code {self.process.returncode}: {self.log()[-2000:]}"

    def failures(self) -> list[str]:
        """Lines of the log that tell of faults of the server's own, and what it printed besides its log."""
        lines = [line for line in self.log().splitlines() if line != LAST_LINE]
        return [line for line in lines if " ERROR " in line or not line[:4].isdecimal()]

    def rss_mb(self) -> float:
        """Memory, 10^6 bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024 / 1e6

    def processor_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def headers(self) -> dict[str, str]:
        """What clients say with a request."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.ports['http']}/{path}"

    async def get(self, path: str, seconds: float = 10.0) -> tuple[int, str]:
        """Ask for status and text of a page."""
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=self.headers) as session,
            session.get(self.url(path)) as answer,
        ):
            return answer.status, await answer.text()

    async def metrics(self) -> dict[str, float]:
        """Read /metrics: name, labels included -> value."""
        _, text = await self.get("metrics")
        lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    async def open(self) -> Open:
        values = await self.metrics()
        streams = sum(value for name, value in values.items() if name.startswith("edgeseq_streams{"))
        return Open(streams, len(os.listdir(f"/proc/{self.process.pid}/fd")))  # noqa: PTH208

    async def until_no_streams(self, seconds: float) -> Open:
        """Wait until all streams are closed, or so long."""
        deadline = time.monotonic() + seconds
        while (now := await self.open()).streams and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        return now


@asynccontextmanager
async def real_server(*words, model: str = "digits-en", token: str = ""):
    """Run a server; ends it by SIGTERM, and requires that it ends well and in time."""
    with tempfile.TemporaryDirectory(prefix="edgeseq-server-") as folder:
        log = Path(folder) / "log"
        access = ["--token", token] if token else []
        listen = [word for protocol in PROTOCOLS for word in (f"--{protocol}", _address(protocol))]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*EDGESEQ, "serve", "--model", str(model), *listen, *access, *map(str, words)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, "COLUMNS": "200"},
            )  # fmt: skip
        server = RealServer(process, log, token)
        try:
            await server.wait_until_listening()
            yield server
            server.check()
            process.terminate()
            code = await asyncio.to_thread(process.wait, END_SECONDS)
            assert code == 0, f"the server ended with code {code}: {server.log()[-2000:]}"
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def _address(protocol: str) -> str:
    return "tcp://127.0.0.1:0" if protocol == "wyoming" else "127.0.0.1:0"
