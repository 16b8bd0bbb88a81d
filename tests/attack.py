"""The standing attack: what is known to stop, swell or lock a server, against one that runs, with honest clients beside it.

    python tests/attack.py                   # all attacks, ten attackers each, six seconds an attack
    python tests/attack.py --seconds 2 --only describe,preamble

It starts `edgeseq serve` itself and connects to 127.0.0.1 alone. While each attack runs, an honest Vosk and an honest Wyoming
client speak without end and a probe asks /health; then figures are printed: the longest stall of the event loop (the server's
own watchdog, and how much of it was computing), the honest clients' slowest answer, memory above that of the quiet server
(its processes together), streams and connections that have not come back. It ends with code 1 where a figure is too large.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated

import aiohttp
import numpy as np
import raw_clients as raw
import soundfile
import typer
from real_server import RealServer, real_server

CLIP = Path(__file__).parent.parent / "demo" / "number.flac"
RATE = 16_000
STALL_SECONDS, ANSWER_SECONDS, MEMORY_MB, EXIT_SECONDS = 0.1, 1.5, 150.0, 10.0
"""must"""
PROBE_SECONDS = 0.1
START_SECONDS = 1.0
"""for the honest clients' process"""
REST_SECONDS = 5.0
"""between attacks; the watchdog remembers stalls for as long"""
ATTACKERS = 10
SAFE = (ConnectionError, asyncio.IncompleteReadError, TimeoutError, OSError, aiohttp.ClientError)
"""What attackers meet when they are turned away."""

Attack = Callable[[RealServer, float], Awaitable[None]]
"""One attacker: attacks until a moment of the clock."""


@dataclass
class Figures:
    """What one attack did."""

    name: str
    stall: float = 0.0
    """seconds, of the event loop, by the server's own watchdog"""
    work: float = 0.0
    """seconds that the loop computed at once"""
    answers: dict[str, float] = field(default_factory=dict)
    """honest protocol -> seconds that its slowest answer took"""
    health: float = 0.0
    memory_mb: float = 0.0
    """above the quiet server"""
    left: int = 0
    """streams open a while after"""
    faults: list[str] = field(default_factory=list)

    def note_stall(self, metrics: str) -> None:
        """Read what the watchdog tells."""
        for line in metrics.splitlines():
            name, _, value = line.rpartition(" ")
            if name == "edgeseq_loop_stall_seconds":
                self.stall = max(self.stall, float(value))
            elif name == "edgeseq_loop_work_seconds":
                self.work = max(self.work, float(value))

    def line(self) -> str:
        answers = max(self.answers.values(), default=float("nan"))
        return (
            f"{self.name:<22} {1000 * self.stall:7.0f} {1000 * self.work:7.0f} {answers:8.2f} {self.health:8.2f} "
            f"{self.memory_mb:8.1f} {self.left:5}  {'; '.join(self.faults)[:60]}"
        )


HEAD = f"{'attack':<22} {'stall':>7} {'of CPU':>7} {'answer':>8} {'health':>8} {'memory':>8} {'left':>5}\n" + (
    f"{'':<22} {'ms':>7} {'ms':>7} {'s':>8} {'s':>8} {'MB':>8}"
)


# Attackers. Each is one client without a token, as fast as the server lets it.


async def preamble(server: RealServer, until: float) -> None:
    """Bodies that never come to a form's first boundary, inflated and not."""
    lines, path, kind = (
        b"\r\n" * 1_000_000,
        "/v1/audio/transcriptions",
        {"Content_Type": "multipart/form-data; boundary=X", "Connection": "close"},
    )
    bodies = [
        raw.request(server, "openai", path, method="POST", content=gzip.compress(lines), **kind, Content_Encoding="gzip"),
        raw.request(server, "openai", path, method="POST", content=lines, **kind),
    ]
    await _each(server, "openai", bodies, until)


async def parts(server: RealServer, until: float) -> None:
    """Forms of parts without end, headers without end, chunks of a byte."""
    path, kind = "/v1/audio/transcriptions", {"Content_Type": "multipart/form-data; boundary=b", "Connection": "close"}
    many = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\n' * 20_000
    headers = b"--b\r\n" + b"X: y\r\n" * 200_000
    bodies = [raw.request(server, "openai", path, method="POST", content=body, **kind) for body in (many, headers)]
    chunked = raw.request(server, "openai", path, method="POST", **kind, Transfer_Encoding="chunked")
    await _each(server, "openai", [*bodies, chunked + b"1\r\n-\r\n" * 50_000], until)


async def pipelined(server: RealServer, until: float) -> None:
    """Requests one behind the other, whose answers are read, or not."""
    one = raw.request(server, "openai", "/metrics") + raw.request(server, "openai", "/nothing")
    for read in (True, False):
        await _each(server, "openai", [one * 3000], time.monotonic() + (until - time.monotonic()) / (1 + read), read=read)


async def describe(server: RealServer, until: float) -> None:
    """Wyoming's `describe`, without end."""
    await _each(server, "wyoming", [b'{"type":"describe"}\n' * 5000], until)


async def wyoming_json(server: RealServer, until: float) -> None:
    """Events of a megabyte of JSON, and as large as the server takes; names without end."""
    many = json.dumps({"names": [f"w{n}" for n in range(90_000)]}).encode()
    most = json.dumps({"transcript_names": [f"{n:05}{'w' * 18}" for n in range(9_900)]}).encode()
    lists = json.dumps({"x": [[]] * 300_000}).encode()
    bodies = [("transcribe", most), ("x", most), ("transcribe", most), ("x", lists), ("detect", many)]
    events = [json.dumps({"type": kind, "data_length": len(data)}).encode() + b"\n" + data for kind, data in bodies]
    start = raw.event("audio-start", {"rate": 16_000, "width": 2, "channels": 1})
    await _each(server, "wyoming", [b"".join(event + start for event in events) * 4], until)


async def empty_phrases(server: RealServer, until: float) -> None:
    """Vosk's settings with hundreds of thousands of empty phrases."""
    message = raw.text({"config": {"phrase_list": ["one"] + [""] * 340_000}})
    await _each(server, "vosk", [message * 10], until)


async def settings(server: RealServer, until: float) -> None:
    """Settings, and other rates, as fast as can be."""
    rates = [383_984, 47_984, 44_100, 383_968, 22_050, 383_952]
    changes = [raw.text({"config": {"sample_rate": rate, "max_alternatives": 5}}) + raw.frame(bytes(64)) for rate in rates]
    await _each(server, "vosk", [b"".join([*changes, raw.text({"reset": 1})]) * 100], until)


async def tiny_frames(server: RealServer, until: float) -> None:
    """Frames of nothing: pings, empty texts, empty sound."""
    await _each(
        server, "vosk", [raw.frame(b"", raw.PING) * 40_000, raw.frame(b"") * 20_000, raw.frame(bytes(2)) * 20_000], until
    )


async def realtime(server: RealServer, until: float) -> None:
    """Large settings, and text that is much JSON, to the Realtime interface."""
    update = {"type": "session.update", "session": {"audio": {"input": {"transcription": {"prompt": "a, b. " * 100_000}}}}}
    lists = raw.text({"type": "input_audio_buffer.append", "audio": [[]] * 200_000})
    await _each(server, "realtime", [(raw.text(update) + lists) * 5], until)


async def phrases(server: RealServer, until: float) -> None:
    """Grammars that explode."""
    rules = {"r0": "(one|two)"} | {f"r{n}": f"(a {{r{n - 1}}} x | b {{r{n - 1}}} y)" for n in range(1, 40)}
    bomb = {"rate": 8000, "phrases": json.dumps({"rules": rules, "intents": {"x": ["{r39}"]}})}
    laugh = {
        "rules": {"r0": "one"} | {f"r{n}": f"{{r{n - 1}}} {{r{n - 1}}}" for n in range(1, 40)},
        "intents": {"x": ["{r39}"]},
    }
    await _each(server, "page", [raw.text(bomb), raw.text({"rate": 8000, "phrases": json.dumps(laugh)})], until)


async def uploads(server: RealServer, until: float) -> None:
    """Small files that become large: many channels, high rates, much silence; and garbage."""
    closing = b"Connection: close\r\nContent-Type:"
    bodies = [raw.upload(server, [("file", content)]).replace(b"Content-Type:", closing, 1) for content in hostile_sounds()]
    await _each(server, "openai", bodies, until)


async def silent(server: RealServer, until: float) -> None:
    """Connections that say nothing, to all ports, as many as there may be."""
    async with contextlib.AsyncExitStack() as stack:
        while time.monotonic() < until:
            for protocol in ("openai", "vosk", "wyoming", "sherpa"):
                with suppress(*SAFE):
                    await stack.enter_async_context(raw.connected(server, protocol, upgrade=False))
            await asyncio.sleep(0.01)


async def sockets(server: RealServer, until: float) -> None:
    """WebSockets that are opened and say nothing."""
    async with contextlib.AsyncExitStack() as stack:
        while time.monotonic() < until:
            with suppress(*SAFE):
                await stack.enter_async_context(raw.connected(server, "vosk"))
            await asyncio.sleep(0.01)


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        preamble, parts, pipelined, describe, wyoming_json, empty_phrases, settings, tiny_frames, realtime, phrases, uploads,
        silent, sockets,
    )
}  # fmt: skip


OF_ONE_ADDRESS = ("silent", "sockets")
"""Attacks that take all that one address may have: honest clients come from another. In the others all come from one."""


async def _each(server: RealServer, protocol: str, contents: list[bytes], until: float, read: bool = True) -> None:
    """Send each of some contents over a connection of its own, again and again."""
    while time.monotonic() < until:
        for content in contents:
            with suppress(*SAFE):
                async with asyncio.timeout(max(0.0, until - time.monotonic())), raw.connected(server, protocol) as client:
                    await _send(client, content, read)
            await asyncio.sleep(0)


async def _send(client: raw.Raw, content: bytes, read: bool) -> None:
    """Send, and read what is answered until nothing comes any more."""
    if not read:
        client.pause_reading()
    sending = asyncio.ensure_future(client.send(content))
    try:
        while read:
            async with asyncio.timeout(ANSWER_SECONDS if sending.done() else None):
                if not await client.reader.read(65_536):
                    break
        await sending
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError, *SAFE):
            await sending


@cache
def hostile_sounds() -> list[bytes]:
    """Make files that swell."""
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for name, rate, channels, seconds, kind in (
            ("a.ogg", 192_000, 255, 0.2, None), ("b.wav", 1_000_000, 32, 0.2, None), ("c.flac", 8000, 1, 1000.0, None),
            ("d.ogg", 8000, 8, 20.0, None), ("e.w64", 384_000, 64, 0.2, None),
        ):  # fmt: skip
            path = Path(folder) / name
            with suppress(soundfile.SoundFileError), soundfile.SoundFile(path, "w", rate, channels, kind) as file:
                for _ in range(max(1, round(seconds))):
                    file.write(np.zeros((round(rate * min(1.0, seconds)), channels), np.float32))
            if path.exists() and path.stat().st_size < 25_000_000:
                made.append(path.read_bytes())
    return [*made, made[0][:2000] + os.urandom(20_000), os.urandom(100_000), b"RIFF" + bytes(100_000)]


# Honest clients and a probe


@dataclass(frozen=True)
class Ports:
    """A server, as its clients know it."""

    ports: dict[str, int]
    headers: dict[str, str] = field(default_factory=dict)
    local_address: str | None = None
    """from which the client comes"""


async def honest(server: Ports, protocol: str, figures: Figures, until: float) -> None:
    """Speak without end; note the slowest answer, and wrong words."""
    samples, _ = soundfile.read(CLIP, dtype="float32")
    samples = samples[: 3 * RATE]
    n = 0
    while time.monotonic() < until or not n:
        n += 1
        began = time.monotonic()
        try:
            async with asyncio.timeout(20):
                slowest = await _say(server, protocol, samples)
        except (*SAFE, AssertionError) as fault:
            figures.faults.append(f"{protocol}: {fault!r:.80}")
            slowest = time.monotonic() - began
            await asyncio.sleep(0.1)
        figures.answers[protocol] = max(figures.answers.get(protocol, 0.0), slowest)


async def _say(server: Ports, protocol: str, samples: np.ndarray) -> float:
    """Speak twice as fast as in real time; give the seconds that the last answer took."""
    last, ask = (b"transcript-stop", raw.event("audio-stop")) if protocol == "wyoming" else (b'"text"', raw.text('{"eof" : 1}'))
    async with raw.connected(server, protocol) as client:
        await client.send(raw.opening(protocol, RATE))
        for first in range(0, len(samples), RATE // 5):
            await client.send(raw.sound(protocol, samples[first : first + RATE // 5], RATE))
            await asyncio.sleep(0.1)
        asked, said = time.monotonic(), b""
        await client.send(ask)
        while last not in said:
            piece = await client.reader.read(65_536)
            if not piece:
                raise ConnectionError("closed before the last answer")
            said += piece
        return time.monotonic() - asked


async def probe(server: Ports, figures: Figures, until: float) -> None:
    """Ask /health and the watchdog again and again."""
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            connector = aiohttp.TCPConnector(local_addr=(server.local_address or "127.0.0.1", 0))
            async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20)) as session:
                async with session.get(f"http://127.0.0.1:{server.ports['http']}/health") as answer:
                    await answer.read()
                figures.health = max(figures.health, time.monotonic() - began)
                async with session.get(f"http://127.0.0.1:{server.ports['http']}/metrics") as answer:
                    figures.note_stall(await answer.text())
        except SAFE as fault:
            figures.faults.append(f"health: {fault!r:.60}")
            figures.health = max(figures.health, time.monotonic() - began)
        await asyncio.sleep(PROBE_SECONDS)


async def beside(ports: dict[str, int], seconds: float, local_address: str) -> Figures:
    """Be honest, in a process of its own: the attackers' is busy."""
    figures, until = Figures(""), time.monotonic() + seconds
    server = Ports(ports, local_address=local_address)
    clients = [honest(server, protocol, figures, until) for protocol in ("vosk", "wyoming")]
    await asyncio.gather(probe(server, figures, until), *clients)
    return figures


# Memory: the server and all that it has started


def family_mb(pid: int) -> float:
    """Give the memory of a process and its children, shared pages counted once: 10^6 bytes."""
    pids, total = [pid], 0.0
    for one in pids:  # grows while it is walked
        with suppress(OSError, ValueError):
            for task in Path(f"/proc/{one}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
            total += sum(_kilobytes(one, name) for name in ("Pss",)) * 1024 / 1e6
    return total


def _kilobytes(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


async def watch_memory(server: RealServer, quiet_mb: float, figures: Figures, until: float) -> None:
    """Note the peak above the quiet server."""
    while time.monotonic() < until:
        now = await asyncio.to_thread(family_mb, server.process.pid)
        figures.memory_mb = max(figures.memory_mb, now - quiet_mb)
        await asyncio.sleep(0.1)


# Attacks against one server


async def attack_one(
    server: RealServer, name: str, n_attackers: int, seconds: float, quiet_mb: float, verbose: bool = False
) -> Figures:
    """Run one attack, honest clients beside it."""
    n_log = len(server.log())
    command = [sys.executable, __file__, "--beside", json.dumps(server.ports), "--seconds", str(seconds)]
    command += ["--from-address", "127.0.0.2" if name in OF_ONE_ADDRESS else "127.0.0.1"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    await asyncio.sleep(START_SECONDS)
    until = time.monotonic() + seconds
    figures = Figures(name)
    attackers = [ATTACKS[name](server, until) for _ in range(n_attackers)] if name in ATTACKS else []
    out, *_ = await asyncio.gather(process.communicate(), watch_memory(server, quiet_mb, figures, until), *attackers)
    told = json.loads(out[0])
    figures = Figures(**{**told, "name": name, "memory_mb": figures.memory_mb})
    figures.left = round((await server.until_no_streams(10.0)).streams)
    figures.faults += [line[:150] for line in server.failures()]
    if verbose:
        print("\n".join(line for line in server.log()[n_log:].splitlines() if "stood still" in line), flush=True)
    await asyncio.sleep(REST_SECONDS)
    return figures


async def broken_handshakes(n: int) -> str:
    """Close so many TLS connections in the middle of their handshake; the port must serve again at once."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XDG_STATE_HOME": folder}
        port = _free_port()
        command = [
            sys.executable,
            "-m",
            "edgeseq",
            "serve",
            "--http",
            f"127.0.0.1:{port}",
            "--tls",
            "self-signed",
            "--token",
            "t",
        ]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        try:
            await _until_open(port)
            writers = []
            for _ in range(n):
                with suppress(*SAFE):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(b"\x16\x03\x01\x02\x00\x01")
                    writers.append(writer)
            await asyncio.sleep(0.5)
            for writer in writers:
                writer.transport.abort()
            await asyncio.sleep(0.05)
            began = time.monotonic()
            async with aiohttp.ClientSession() as session:
                while True:
                    with suppress(*SAFE):
                        async with session.get(f"https://127.0.0.1:{port}/health", ssl=_any_certificate()) as answer:
                            if answer.status == 200:
                                return f"{time.monotonic() - began:.2f} s after {len(writers):,} broken handshakes"
                    if time.monotonic() - began > 60:
                        return "not within 60 s"
                    await asyncio.sleep(0.05)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait)


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _free_port() -> int:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def _until_open(port: int) -> None:
    for _ in range(300):
        with suppress(*SAFE):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the server does not listen")


@asynccontextmanager
async def under_attack(server: RealServer, name: str, n_attackers: int, seconds: float):
    """Attack while something else is done."""
    until = time.monotonic() + seconds
    attackers = [asyncio.create_task(ATTACKS[name](server, until)) for _ in range(n_attackers)]
    try:
        yield
    finally:
        for attacker in attackers:
            attacker.cancel()
        await asyncio.gather(*attackers, return_exceptions=True)


async def seconds_to_exit(name: str, n_attackers: int) -> float:
    """Send SIGTERM while an attack runs; give the seconds to the process's end."""
    async with real_server(model=MODEL) as server, under_attack(server, name, n_attackers, 30.0):
        await asyncio.sleep(1.5)
        began = time.monotonic()
        server.process.terminate()
        code = await asyncio.to_thread(server.process.wait, 60)
        took = time.monotonic() - began
        server.process.poll()
        server.check = lambda: None  # it has ended, as it should
        assert code == 0, f"the server ended with code {code}"
        return took


MODEL = "digits-en"


async def run(
    names: list[str], n_attackers: int, seconds: float, rest: bool = True, verbose: bool = False
) -> tuple[list[Figures], list[str]]:
    """Attack; give the figures, and what is too large of them."""
    all_figures, wrong = [], []
    print(HEAD, flush=True)
    async with real_server(model=MODEL) as server:
        quiet_mb = 0.0
        for _ in range(2):  # the first fills what is kept
            quiet = await attack_one(server, "(quiet)", 0, 2.0, quiet_mb)
            quiet_mb = family_mb(server.process.pid)
        print(f"{quiet.line()} {quiet_mb:.0f} MB", flush=True)
        for name in names:
            figures = await attack_one(server, name, n_attackers, seconds, quiet_mb, verbose)
            all_figures.append(figures)
            print(figures.line(), flush=True)
        status, _ = await server.get("health")
        if status != 200:
            wrong.append(f"health {status}")
    wrong += judge(all_figures)
    if rest:
        print("port serves again:", await broken_handshakes(1000), flush=True)
        exit_seconds = max([await seconds_to_exit(name, n_attackers) for name in ("describe", "preamble")])
        print(f"SIGTERM to exit: {exit_seconds:.1f} s", flush=True)
        if exit_seconds > EXIT_SECONDS:
            wrong.append(f"{exit_seconds:.1f} s to exit")
    return all_figures, wrong


def judge(all_figures: list[Figures]) -> list[str]:
    """Name figures that are too large; a stall counts by what the loop computed, since machines are busy."""
    wrong = []
    for figures in all_figures:
        found = {
            f"computed {1000 * figures.work:.0f} ms at once": figures.work > STALL_SECONDS,
            f"answers after {max(figures.answers.values()):.2f} s": max(figures.answers.values()) > ANSWER_SECONDS,
            f"{figures.memory_mb:.0f} MB more": figures.memory_mb > MEMORY_MB,
            f"{figures.left} streams left": figures.left > 0,
            "; ".join(figures.faults)[:200]: bool(figures.faults),
        }
        wrong += [f"{figures.name}: {what}" for what, is_wrong in found.items() if is_wrong]
    return wrong


def main(
    beside_: Annotated[str, typer.Option("--beside", hidden=True)] = "",
    from_address: Annotated[str, typer.Option(hidden=True)] = "127.0.0.1",
    seconds: Annotated[float, typer.Option(help="An attack lasts so long.")] = 6.0,
    attackers: Annotated[int, typer.Option(help="At once.")] = ATTACKERS,
    only: Annotated[str, typer.Option(help=f"Some of {', '.join(ATTACKS)}, between commas.")] = "",
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what the server's watchdog tells.")] = False,
) -> None:
    """Attack a server of one's own, and print what that does."""
    if beside_:
        print(json.dumps(asdict(asyncio.run(beside(json.loads(beside_), seconds + START_SECONDS, from_address)))))
        return
    names = only.split(",") if only else list(ATTACKS)
    _, wrong = asyncio.run(run(names, attackers, seconds, rest=not only, verbose=verbose))
    for what in wrong:
        print(f"too large: {what}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    typer.run(main)
