"""How well and how quickly `edgeseq listen` hears a microphone: words, latency, cost of silence, recovery.

    python -m benchmarks.live words --manifest $EDGESEQ_DATA/fsdd/test.jsonl
    python -m benchmarks.live latency --manifest $EDGESEQ_DATA/fsdd/test.jsonl
    python -m benchmarks.live idle
    python -m benchmarks.live recovery

Whole programs are measured: a private PulseAudio, its null sink as the microphone, PortAudio, `edgeseq listen`. A second
recording of the same microphone, by the machine's steady clock, says when each sample was played.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import typer

from benchmarks.virtual_microphone import SoundServer, missing, sound_server
from edgeseq.cli.faults import run
from edgeseq.data.connected import connect
from edgeseq.data.manifest import Recording, read_manifest
from edgeseq.errors import EdgeseqError
from edgeseq.events import Final
from edgeseq.sound.blocks import Floats, Lost
from edgeseq.stream.endpoint import ENDPOINT_SECONDS

SINKS = ((16_000, 1), (16_000, 2), (44_100, 1), (44_100, 2), (48_000, 1), (48_000, 2))
"""Rates in Hz and numbers of channels of the virtual microphone"""
PAUSE_SECONDS = 2.0
"""between two strings of words: an utterance ends within"""
LEAD_SECONDS = 1.0
"""of silence before the first"""
SETTLE_SECONDS = 8.0
"""before the cost of silence is measured: start-up is over, the gate closed"""


@dataclass(frozen=True)
class Line:
    """What a program wrote, and when, by the steady clock."""

    seconds: float
    text: str


class ListenProcess:
    """`edgeseq listen` as a program; its lines are kept with their times."""

    def __init__(self, server: SoundServer, *options: str) -> None:
        """Start it, and wait until it listens."""
        self.events: list[Line] = []
        self.said: list[Line] = []
        command = [sys.executable, "-c", "from edgeseq.cli import main; main()", "listen", "--format", "jsonl", *options]
        self.process = subprocess.Popen(
            command, env=server.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )
        for stream, lines in ((self.process.stdout, self.events), (self.process.stderr, self.said)):
            threading.Thread(target=self._read, args=(stream, lines), daemon=True).start()
        self.wait_for("listening on", 30.0)

    def wait_for(self, text: str, seconds: float, since: float = 0.0) -> float:
        """Wait until it says something on standard error; returns when. Raises EdgeseqError if it does not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in list(self.said):
                if text in line.text and line.seconds >= since:
                    return line.seconds
            time.sleep(0.002)
        raise EdgeseqError(f"edgeseq listen has not said '{text}' within {seconds:.0f} s: {[line.text for line in self.said]}")

    def stop(self) -> float:
        """End it as Ctrl-C does; returns how long that took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        return time.monotonic() - began

    def finals(self) -> list[str]:
        """Texts of the utterances."""
        return [event["text"] for _, event in self.told() if event["type"] == "final"]

    def told(self) -> list[tuple[float, dict[str, Any]]]:
        """Events with their times."""
        return [(line.seconds, json.loads(line.text)) for line in list(self.events)]

    @staticmethod
    def _read(stream: Any, lines: list[Line]) -> None:
        for text in stream:
            lines.append(Line(time.monotonic(), text.rstrip("\n")))


@dataclass(frozen=True)
class TestSound:
    """Strings of words in one long sound."""

    samples: Floats
    rate: int
    texts: tuple[str, ...]
    word_ends: tuple[tuple[float, ...], ...]
    """seconds from the start of the sound, for each word of each string"""
    starts: tuple[float, ...]
    """seconds, of each string"""


def spoken_strings(recordings: Sequence[Recording], n_words: int, rate: int, seed: int = 0) -> TestSound:
    """Join `n_words` words to strings with pauses between them."""
    strings = connect(recordings, seed)
    order = np.random.default_rng(seed).permutation(len(strings))
    pieces: list[Floats] = [np.zeros(round(LEAD_SECONDS * rate), np.float32)]
    texts, ends, starts, n_samples, n_taken = [], [], [], len(pieces[0]), 0
    for i in order:
        if n_taken >= n_words:
            break
        string, samples = strings[i], strings[i].read(rate)
        starts.append(n_samples / rate)
        texts.append(string.text)
        ends.append(tuple(n_samples / rate + end for end in _word_ends(string, rate)))
        pieces += [samples, np.zeros(round(PAUSE_SECONDS * rate), np.float32)]
        n_samples += len(samples) + len(pieces[-1])
        n_taken += len(string.recordings)
    return TestSound(np.concatenate(pieces), rate, tuple(texts), tuple(ends), tuple(starts))


def _word_ends(string: Any, rate: int) -> Iterator[float]:
    from edgeseq.data.clips import read_clip

    at = 0.0
    for recording, gap in zip(string.recordings, (*string.gaps, 0.0), strict=True):
        at += len(read_clip(recording, rate)) / rate
        yield at
        at += round(gap * rate) / rate


@contextmanager
def _said_at(server: SoundServer) -> Iterator[Callable[[], float]]:
    """Record the same microphone; the function given tells when its first sample that is not zero was recorded."""
    from edgeseq.sound.microphone import Microphone

    before = {name: os.environ.get(name) for name in server.environment}
    os.environ.update(server.environment)
    try:
        microphone = Microphone(None, 48_000)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
    first: list[float] = []

    def watch() -> None:
        for block in microphone.raw_blocks():
            if first or isinstance(block, Lost) or not block.any():
                continue
            heard_until = microphone.heard_until or 0.0
            first.append(heard_until - (len(block) - int(np.flatnonzero(block.any(axis=1))[0])) / microphone.rate)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: first[0]
    finally:
        microphone.stop()
        thread.join()
        microphone.close()


def hear_file(samples: Floats, rate: int) -> list[str]:
    """Give the utterances that are heard in the sound itself, without any microphone."""
    from edgeseq.models import load_recognizer
    from edgeseq.sound.blocks import resample

    recognizer = load_recognizer()
    events = recognizer.follow(resample([samples], rate, recognizer.sample_rate))
    return [event.text for event in events if isinstance(event, Final)]


def words(samples: Floats, rate: int, sink: tuple[int, int]) -> tuple[int, int, list[str], list[str]]:
    """Hear a sound through a microphone of the rate and channels of `sink`, and as a file.

    Returns how many words differ, of how many, and both lists of utterances.
    """
    import jiwer

    wanted = hear_file(samples, rate)
    with tempfile.TemporaryDirectory() as folder, sound_server(*sink) as server:
        path = Path(folder) / "spoken.wav"
        soundfile.write(path, samples, rate)
        listener = ListenProcess(server)
        time.sleep(0.5)
        server.speak(path)
        time.sleep(1.0)
        listener.stop()
        heard = listener.finals()
    found = jiwer.process_words(" ".join(wanted), " ".join(heard))
    return found.substitutions + found.deletions + found.insertions, len(" ".join(wanted).split()), wanted, heard


@dataclass(frozen=True)
class Latencies:
    """In seconds, sorted."""

    to_final: tuple[float, ...]
    """from the last sample of a string to its final"""
    to_partial: tuple[float, ...]
    """from the end of a word to the first event that shows it"""


def latencies(spoken: TestSound, *options: str) -> Latencies:
    """Speak strings into the microphone, and see when words are reported."""
    with tempfile.TemporaryDirectory() as folder, sound_server() as server:
        path = Path(folder) / "spoken.wav"
        soundfile.write(path, spoken.samples, spoken.rate)
        listener = ListenProcess(server, *options)
        with _said_at(server) as first_heard:
            time.sleep(0.5)
            server.speak(path)
            time.sleep(1.5)
            first = int(np.flatnonzero(spoken.samples)[0]) / spoken.rate
            began = first_heard() - first
        listener.stop()
    return _judge(spoken, [(at - began, event) for at, event in listener.told()])


def _judge(spoken: TestSound, told: Sequence[tuple[float, dict[str, Any]]]) -> Latencies:
    to_final, to_partial = [], []
    limits = (*spoken.starts[1:], float("inf"))
    for text, ends, start, limit in zip(spoken.texts, spoken.word_ends, spoken.starts, limits, strict=True):
        own = [(at, event) for at, event in told if start <= at < limit and event["type"] in ("partial", "final")]
        finals = [(at, event) for at, event in own if event["type"] == "final"]
        if not finals or finals[-1][1]["text"] != text:
            continue  # misheard, or split in two: nobody can say which word came when
        to_final.append(finals[-1][0] - ends[-1])
        for i, (word, end) in enumerate(zip(text.split(), ends, strict=True)):
            shown = [at for at, event in own if event["text"].split()[i : i + 1] == [word]]
            to_partial.append(shown[0] - end)
    return Latencies(tuple(sorted(to_final)), tuple(sorted(to_partial)))


def idle(seconds: float, *options: str) -> dict[str, float]:
    """Listen to silence; returns the share of one core that each process takes, and its memory in MB, by name."""
    with sound_server() as server:
        listener = ListenProcess(server, *options)
        time.sleep(SETTLE_SECONDS)
        pids = {"listen": listener.process.pid, "recorder": _child(listener.process.pid)}
        before, began = {name: _processor_seconds(pid) for name, pid in pids.items()}, time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        shares = {name: (_processor_seconds(pid) - before[name]) / took for name, pid in pids.items()}
        memory = {f"{name} MB": _memory_mb(pid) for name, pid in pids.items()}
        listener.stop()
    return {**shares, "both": sum(shares.values()), **memory}


def recovery(sent: signal.Signals, away_seconds: float) -> tuple[float, float, float]:
    """End or freeze the sound server, and let it come back.

    Returns seconds until that was noticed, from its return until sound is heard again, and until Ctrl-C ended it.
    """
    with sound_server() as server:
        listener = ListenProcess(server)
        time.sleep(1.0)
        began = time.monotonic()
        server.process.send_signal(sent)
        noticed = listener.wait_for("has gone", 10.0) - began
        time.sleep(max(0.0, away_seconds - noticed))
        if sent is signal.SIGSTOP:
            server.process.send_signal(signal.SIGCONT)
        else:
            server.process.wait()
            server.restart()
        back = time.monotonic()
        heard = listener.wait_for("is back after", 20.0) - back
        return noticed, heard, listener.stop()


def _child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> float:
    """Its share of memory: what it shares with others counts in part."""
    lines = dict(line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(lines["Pss"].split()[0]) * 1024 / 1e6


def _quantiles(values: Sequence[float]) -> str:
    if not values:
        return "none"
    median, most = np.quantile(values, [0.5, 0.95])
    return f"median {1000 * median:.0f} ms, 95 % {1000 * most:.0f} ms, most {1000 * max(values):.0f} ms (n {len(values)})"


def _print_words(spoken: TestSound | None, clip: Path) -> None:
    sounds = [(clip.name, *soundfile.read(clip, dtype="float32"))]
    if spoken is not None:
        sounds.append(("strings", spoken.samples, spoken.rate))
    for name, samples, rate in sounds:
        # Each has a sound server of its own, and takes as long as the sound lasts.
        with ThreadPoolExecutor(len(SINKS)) as pool:
            results = list(pool.map(partial(words, samples, rate), SINKS))
        for sink, (n_differ, n_words, _, _) in zip(SINKS, results, strict=True):
            share = 100 * n_differ / n_words
            typer.echo(f"{name}, {sink[0]} Hz x {sink[1]}: {n_differ} of {n_words} words differ ({share:.2f} %)")


def _print_latency(spoken: TestSound) -> None:
    for options in ((), ("--no-gate",)):
        found = latencies(spoken, *options)
        name = " ".join(options) or "default"
        typer.echo(f"{name}: last sample to final (rule {ENDPOINT_SECONDS} s): {_quantiles(found.to_final)}")
        typer.echo(f"{name}: end of a word to its partial: {_quantiles(found.to_partial)}")


def _print_idle(seconds: float) -> None:
    for options in ((), ("--chunk-ms", "160"), ("--no-gate",)):
        found = idle(seconds, *options)
        shares = ", ".join(f"{name} {100 * found[name]:.2f} %" for name in ("listen", "recorder", "both"))
        memory = ", ".join(f"{name} {found[f'{name} MB']:.0f} MB" for name in ("listen", "recorder"))
        typer.echo(f"silence, {' '.join(options) or 'default'}: {shares} of a core; {memory}; load {os.getloadavg()[0]:.2f}")


def _print_recovery(n_times: int) -> None:
    for sent in (signal.SIGKILL, signal.SIGSTOP):
        found = [recovery(sent, 2.0 + 0.7 * i) for i in range(n_times)]
        noticed, heard, ended = (max(values) for values in zip(*found, strict=True))
        typer.echo(
            f"{sent.name} of the sound server, {n_times} times: noticed within {noticed:.2f} s, "
            f"heard again at most {heard:.2f} s after its return, ended within {ended:.2f} s"
        )


def main(
    what: Annotated[list[str], typer.Argument(help="words, latency, idle, recovery")],
    manifest: Annotated[Path | None, typer.Option(help="Recordings of single words.")] = None,
    n_words: Annotated[int, typer.Option(help="How many of them.")] = 300,
    clip: Annotated[Path, typer.Option(help="A recording whose words are compared.")] = Path("demo/number.flac"),
    seconds: Annotated[float, typer.Option(help="Length of silence.")] = 60.0,
    times: Annotated[int, typer.Option(help="The sound server is ended.")] = 5,
) -> None:
    """Measure `edgeseq listen` with a virtual microphone."""
    if missing() is not None:
        raise SystemExit(f"edgeseq: {missing()}")
    spoken = None if manifest is None else spoken_strings(list(read_manifest(manifest)), n_words, 8000)
    if "words" in what:
        _print_words(spoken, clip)
    if "latency" in what:
        if spoken is None:
            raise SystemExit("edgeseq: latency needs --manifest with recordings of single words.")
        _print_latency(spoken)
    if "idle" in what:
        _print_idle(seconds)
    if "recovery" in what:
        _print_recovery(times)


if __name__ == "__main__":
    run(main)
