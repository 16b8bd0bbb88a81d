"""How many live streams a server takes: `edgeseq serve` as a process, clients in real time, answers compared and timed.

    python -m benchmarks.serving --streams 150 --shape gru:4x512
    python -m benchmarks.serving --streams 150 --model digits-en --audio demo/number.flac
    python -m benchmarks.serving --check --streams 150 --shape gru:4x512

An answer is late by the time from when the last sample that it answers was said (by the clock, not when it was sent) to when
the answer was there. Each answer is compared with what the same sound gives alone, in this process. `--check` compares
log-probs instead, of many streams in the batches of a server's hub with those of each alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.live_clients import Plan, is_vosk
from edgeseq.bench.shape import parse_shape
from edgeseq.bench.sound import noise_bursts
from edgeseq.bench.timing import percentile
from edgeseq.cli.faults import run
from edgeseq.decoding.greedy import GreedyDecoder, GreedyState
from edgeseq.errors import EdgeseqError
from edgeseq.events import Event, Final
from edgeseq.models import load_recognizer
from edgeseq.sound.blocks import Floats
from edgeseq.stream.recognizer import Recognizer

PROTOCOLS = ("vosk", "sherpa")
LATE_SECONDS = 0.2
N_SOUNDS = 8
"""different ones; streams share them"""
SERVER = [sys.executable, "-c", "from edgeseq.cli import main; main()", "serve"]
CLIENTS = [sys.executable, "-m", "benchmarks.live_clients"]
LISTENING = re.compile(r"(\w+): listening at \w+://127\.0\.0\.1:(\d+)")
START_SECONDS = 60.0
TICKS = os.sysconf("SC_CLK_TCK")
PCM16_SCALE = 32768.0
CHECK_SECONDS = 5.0
"""of sound in each stream whose log-probs are compared"""

Answers = list[tuple[int, str]]
"""number of a message -> text of an answer to it, in order"""


@dataclass(frozen=True)
class Load:
    """How a server bore a number of live streams."""

    model: str
    streams: int
    protocols: dict[str, int]
    seconds: float
    """of sound in each stream"""
    message_ms: float
    spread_seconds: float
    """in which the streams began, and ended"""
    answers: int
    different: int
    """answers that are not what the sound alone gives, or are missing"""
    late_ms_median: float
    late_ms_p99: float
    late_ms_worst: float
    late_streams: int
    """with an answer later than 200 ms"""
    sent_late_ms_p99: float
    """of the clients' own; part of the above"""
    sent_late_ms_worst: float
    server_cores: float
    """processor time of the server's process by the clock's"""
    client_cores: float
    server_mb: float
    """resident, at the end"""
    rtf: float
    """seconds of computing for a second of sound, by the server's own count"""
    batch_mean: float
    """streams stepped together"""
    batches: dict[str, int]
    """at most that many streams -> batches"""
    cores: int
    """that server and clients share"""
    load: float
    """of the machine, a minute's average, before the streams began"""

    def to_table(self) -> str:
        """Lay the figures out."""
        values = {key: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in asdict(self).items()}
        return "\n".join(f"{key:20} {value}" for key, value in values.items())


class Server:
    """`edgeseq serve` in a process of its own."""

    def __init__(self, model: Path | str, n_streams: int, log: Path) -> None:
        """Start to listen at free ports."""
        listen = [word for protocol in (*PROTOCOLS, "http") for word in (f"--{protocol}", "127.0.0.1:0")]
        limits = ["--limit", f"streams={n_streams + 8}", "--limit", f"connections={n_streams + 8}"]
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


def measure(
    model: Path | str,
    sounds: Sequence[Floats],
    n_streams: int,
    protocols: Sequence[str],
    message_seconds: float,
    spread_seconds: float,
    processes: int,
) -> Load:
    """Let live streams come from clients in `processes` processes, and say how the server bore them.

    They begin, and so end, at random within `spread_seconds`.

    sounds: 16-bit samples `[n_samples]` at the model's rate. Raises EdgeseqError when a process fails.
    """
    recognizer = load_recognizer(model)
    rate = recognizer.sample_rate
    alone = [answers_alone(recognizer, sound, round(message_seconds * rate)) for sound in sounds]
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as name:
        folder = Path(name)
        paths = [folder / f"{n}.npy" for n in range(len(sounds))]
        for path, sound in zip(paths, sounds, strict=True):
            np.save(path, sound)
        with serving(model, n_streams, folder) as server:
            ports = server.wait_until_listening()
            load, used, began = os.getloadavg()[0], server.processor_seconds(), time.monotonic()
            plans = [
                Plan(
                    [_url(protocols[n % len(protocols)], ports, rate) for n in range(first, n_streams, processes)],
                    [str(path) for path in paths],
                    rate,
                    message_seconds,
                    spread_seconds,
                    seed=first,
                )
                for first in range(processes)
            ]
            results = _run_clients(plans)
            seconds = time.monotonic() - began
            server_cores = (server.processor_seconds() - used) / seconds
            figures = _metrics(ports["http"])
            memory = server.resident_mb()
    timings = [
        _timed(stream, alone[plan.sound_of(n)], is_vosk(plan.urls[n]))
        for plan, result in zip(plans, results, strict=True)
        for n, stream in enumerate(result["spoken"])
    ]
    lateness = [late for lates, _, _ in timings for late in lates]
    sent = [1000 * late for _, lates, _ in timings for late in lates]
    return Load(
        model=recognizer.metadata.name,
        streams=n_streams,
        protocols={protocol: sum(_said(url) == protocol for plan in plans for url in plan.urls) for protocol in protocols},
        seconds=round(len(sounds[0]) / rate, 2),
        message_ms=1000 * message_seconds,
        spread_seconds=spread_seconds,
        answers=len(lateness),
        different=sum(n_different for _, _, n_different in timings),
        late_ms_median=1000 * median(lateness),
        late_ms_p99=1000 * percentile(lateness, 99),
        late_ms_worst=1000 * max(lateness),
        late_streams=sum(max(lates) > LATE_SECONDS for lates, _, _ in timings),
        sent_late_ms_p99=percentile(sent, 99),
        sent_late_ms_worst=max(sent),
        server_cores=server_cores,
        client_cores=sum(result["processor_seconds"] for result in results) / seconds,
        server_mb=memory,
        rtf=figures["edgeseq_real_time_factor"],
        batch_mean=figures["edgeseq_batch_streams_sum"] / figures["edgeseq_batch_streams_count"],
        batches=_batches(figures),
        cores=len(os.sched_getaffinity(0)),
        load=load,
    )


def answers_alone(recognizer: Recognizer, sound: Floats, n_message: int) -> Answers:
    """Say what a sound gives, alone, message by message: finals, and what is being said if it has changed."""
    samples, state = sound.astype(np.float32) / np.float32(PCM16_SCALE), recognizer.init_state()
    answers: Answers = []
    n = 0
    for n, first in enumerate(range(0, len(samples), n_message)):
        events, state = recognizer.step(samples[first : first + n_message], state)
        answers += [(n, text) for text in _texts(events)]
    last, _ = recognizer.flush(state)
    return answers + [(n + 1, text) for text in _texts([event for event in last if isinstance(event, Final)])]


def _texts(events: Sequence[Event]) -> list[str]:
    texts = [event.text for event in events if isinstance(event, Final)]
    return texts + ([events[-1].text] if events and not isinstance(events[-1], Final) else [])


def _timed(stream: dict[str, Any], alone: Answers, vosk: bool) -> tuple[list[float], list[float], int]:
    """Give each answer's lateness, each message's, and how many answers differ from those alone."""
    sent = [at - due for due, at in zip(stream["due"], stream["sent"], strict=True)]
    told = [(at, json.loads(text)) for at, text in stream["answers"] if text.startswith("{")]
    n_closed = sum(text.startswith("closed") for _, text in stream["answers"])
    lates, n_different = _timed_vosk(stream, told, alone) if vosk else _timed_sherpa(stream, told, alone)
    return lates, sent, n_different + n_closed


def _timed_vosk(stream: dict[str, Any], told: list[tuple[float, dict[str, Any]]], alone: Answers) -> tuple[list[float], int]:
    """Each message has an answer; the last one is to the end."""
    due = [*stream["due"], stream["due"][-1]]
    lates = [at - when for when, (at, _) in zip(due, told, strict=False)]
    wanted: dict[int, list[str]] = {}
    for n, text in alone:
        wanted.setdefault(n, []).append(text)
    n_different, partial = abs(len(due) - len(told)), ""
    for n, (_, answer) in enumerate(told):
        texts = wanted.get(n, [])
        if "text" in answer:
            n_different += answer["text"] not in (" ".join(texts), " ".join(texts[:-1]))
            partial = texts[-1] if len(texts) > 1 and answer["text"] != " ".join(texts) else ""
        else:
            partial = texts[-1] if texts else partial
            n_different += answer["partial"] != partial
    return lates, n_different


def _timed_sherpa(stream: dict[str, Any], told: list[tuple[float, dict[str, Any]]], alone: Answers) -> tuple[list[float], int]:
    """The answers are those alone, in order; so it is known which message each answers."""
    due = [*stream["due"], stream["due"][-1]]
    heard = [(at, answer) for at, answer in told if answer["text"]]
    lates = [at - due[n] for (n, _), (at, _) in zip(alone, heard, strict=False)]
    n_different = abs(len(alone) - len(heard))
    n_different += sum(text != answer["text"] for (_, text), (_, answer) in zip(alone, heard, strict=False))
    return lates or [0.0], n_different


def _url(protocol: str, ports: dict[str, int], rate: int) -> str:
    return f"ws://127.0.0.1:{ports[protocol]}/{protocol}?sample_rate={rate}"


def _said(url: str) -> str:
    return "vosk" if is_vosk(url) else "sherpa"


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


def _batches(figures: dict[str, float]) -> dict[str, int]:
    """Take the counts of a histogram apart."""
    bounds = [(name.split('"')[1], value) for name, value in figures.items() if name.startswith("edgeseq_batch_streams_bucket")]
    counts = [value - before for (_, value), before in zip(bounds, [0.0, *(value for _, value in bounds)], strict=False)]
    return {bound.removesuffix(".0"): int(count) for (bound, _), count in zip(bounds, counts, strict=True) if count}


class RowKeeper(GreedyDecoder):
    """A greedy decoder that keeps the log-probs that it is given; for one stream."""

    def __init__(self, metadata: Any) -> None:
        """Keep nothing yet."""
        super().__init__(metadata)
        self.rows: list[Floats] = []

    def step(self, log_probs: Floats, state: GreedyState) -> GreedyState:
        """Keep the rows `[n_steps, n_tokens]`, and continue."""
        self.rows.append(log_probs.copy())
        return super().step(log_probs, state)

    @property
    def log_probs(self) -> Floats:
        """All rows."""
        return np.concatenate(self.rows)


async def largest_difference(recognizer: Recognizer, sounds: Sequence[Floats], n_streams: int) -> tuple[float, float]:
    """Push streams through a hub in messages of random sizes.

    Returns the largest difference of a log-prob from the same stream alone, and the mean number of streams in a batch.
    """
    from edgeseq.serve.hub import Hub
    from edgeseq.serve.limits import Limits

    keepers = [RowKeeper(recognizer.metadata) for _ in range(n_streams)]
    spoken = [np.roll(sounds[n % len(sounds)], 977 * n).astype(np.float32) / np.float32(PCM16_SCALE) for n in range(n_streams)]
    sizes = np.random.default_rng(0)

    async def speak(hub: Hub, n: int) -> None:
        async with hub.open("vosk", recognizer=recognizer.with_decoder(keepers[n])) as stream:
            at = 0
            while at < len(spoken[n]):
                size = int(sizes.integers(1, 2 * recognizer.metadata.chunk_samples))
                await stream.hear(spoken[n][at : at + size])
                at += size
            await stream.finish()

    async with Hub({"drawn": recognizer}, Limits(streams=n_streams)) as hub:
        await asyncio.gather(*(speak(hub, n) for n in range(n_streams)))
        batch = hub.metrics.n_chunks / hub.metrics.n_steps
    worst = 0.0
    for keeper, samples in zip(keepers, spoken, strict=True):
        alone = RowKeeper(recognizer.metadata)
        own = recognizer.with_decoder(alone)
        _, state = own.step(samples, own.init_state())
        own.flush(state)
        worst = max(worst, float(np.abs(keeper.log_probs - alone.log_probs).max()))
    return worst, batch


def make_sounds(audio: Path | None, seconds: float, rate: int) -> list[Floats]:
    """Give some sounds, 16-bit samples `[n_samples]`: a recording from different places, repeated, or bursts of noise."""
    n_samples = round(seconds * rate)
    if audio is None:
        once = noise_bursts(seconds, rate)
    else:
        from edgeseq.sound.audio import read_blocks

        once = np.concatenate([*read_blocks(audio, rate), np.zeros(rate, dtype=np.float32)])
    found = [np.resize(np.roll(once, -n * len(once) // N_SOUNDS), n_samples) for n in range(N_SOUNDS)]
    return [np.clip(np.rint(sound * PCM16_SCALE), -32768, 32767).astype(np.int16) for sound in found]


def main(
    streams: Annotated[int, typer.Option(min=1, help="Live streams at once.")] = 150,
    shape: Annotated[
        str, typer.Option(metavar="CELL:LAYERSxSIZE", help="A model of this size, drawn at random.")
    ] = "gru:4x512",
    model: Annotated[str | None, typer.Option(help="This model instead.")] = None,
    bits: Annotated[int, typer.Option(help="Bits of a drawn model's weights: 4, 8, 32.")] = 8,
    audio: Annotated[Path | None, typer.Option(help="What is spoken.  [default: bursts of noise]")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of sound in each stream.")] = 30.0,
    message_ms: Annotated[float, typer.Option(min=10, help="Sound in a message.")] = 100.0,
    spread: Annotated[float, typer.Option(min=0, help="Seconds in which the streams begin, and end.")] = 5.0,
    protocols: Annotated[str, typer.Option(help="vosk, sherpa, or both.")] = "vosk,sherpa",
    processes: Annotated[int, typer.Option(min=1, help="Processes of clients.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Measure so often.")] = 1,
    check: Annotated[bool, typer.Option("--check", help="Compare log-probs with those alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Measure a server's live streams."""
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder:
        chosen: Path | str = model or _drawn(shape, bits, Path(folder))
        recognizer = load_recognizer(chosen)
        if check:
            sounds = make_sounds(audio, CHECK_SECONDS, recognizer.sample_rate)
            worst, batch = asyncio.run(largest_difference(recognizer, sounds, streams))
            typer.echo(f"{streams} streams, batches of {batch:.1f}: log-probs differ by at most {worst:.2g} from each alone")
            return
        sounds = make_sounds(audio, seconds, recognizer.sample_rate)
        for _ in range(repeats):
            load = measure(chosen, sounds, streams, protocols.split(","), message_ms / 1000, spread, processes)
            typer.echo(json.dumps(asdict(load)) if as_json else load.to_table() + "\n")


def _drawn(shape: str, bits: int, folder: Path) -> Path:
    from benchmarks.whole_model import write_model

    return write_model(parse_shape(shape), bits, folder)


if __name__ == "__main__":
    run(main)
