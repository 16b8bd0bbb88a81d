"""Hours of sound through `edgeseq serve`, among clients that come, stall, cut off and send garbage.

    python tests/soak.py --hours 8 --speed 20
    python tests/soak.py --minutes-of-wall 2

One stream is heard from the beginning to the end. Other clients speak through all protocols, one recording after another.
Between them clients misbehave. Words must be those that were heard when nobody else was there, and the server's memory must
stay what it was after a warm-up.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import statistics
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import aiohttp
import numpy as np
import raw_clients
import speakers
import typer
from real_server import RealServer, real_server

CLIP = Path(__file__).parent.parent / "demo" / "number.flac"
WORDS = "zero four one three nine five two eight seven six"
RATES = (8000, 16_000)
RATE = 16_000
PERIOD_SECONDS = 11.04
"""of the long stream: the clip and silence; a whole number of the network's chunks"""
MESSAGE_SECONDS = 0.48
LONG = "the long stream"
IDLE_SECONDS, SEND_SECONDS = 4.0, 3.0
"""after which the server leaves clients that say nothing, or read nothing"""
LIMITS = {"idle_seconds": IDLE_SECONDS, "send_seconds": SEND_SECONDS, "stream_seconds": 1e6, "streams": 64}
PAUSE_SECONDS = 4.0
"""a client is away so long, on average, before it comes again"""
BAD_CLIENTS = 3
SAMPLE_SECONDS = 1.0
"""between two looks at the memory"""
WARM_UP = 0.2
"""Share of the time after which memory is to be flat."""
MOST_MB = 5.0
MOST_DRIFT_SECONDS = 0.1
"""of the long stream's word times"""


@dataclass
class Tally:
    """What happened."""

    clips: Counter[str] = field(default_factory=Counter)
    """protocol -> recordings whose words were right"""
    bad: Counter[str] = field(default_factory=Counter)
    """kind -> visits of clients that misbehaved"""
    faults: list[str] = field(default_factory=list)
    """wrong words, lost streams"""
    memory: list[tuple[float, float]] = field(default_factory=list)
    """seconds since the beginning, server's memory in 10^6 bytes"""
    sound_seconds: float = 0.0
    processor_seconds: float = 0.0
    seconds: float = 0.0

    def steady(self) -> list[float]:
        """Give the memory after the warm-up."""
        return [mb for seconds, mb in self.memory if seconds >= WARM_UP * self.seconds] or [mb for _, mb in self.memory]

    @property
    def range_mb(self) -> float:
        """Largest less smallest memory after the warm-up."""
        return max(self.steady()) - min(self.steady())

    @property
    def growth_mb(self) -> float:
        """By which the median of the last tenth is above that of the first after the warm-up."""
        steady = self.steady()
        n = max(1, len(steady) // 10)
        return statistics.median(steady[-n:]) - statistics.median(steady[:n])

    def summary(self) -> str:
        steady = self.steady()
        lines = [
            f"sound       {self.sound_seconds / 3600:.2f} h in {self.seconds / 60:.1f} min, "
            f"{self.clips[LONG] * PERIOD_SECONDS / 3600:.2f} h of it in one stream, "
            f"{self.processor_seconds / self.seconds:.2f} cores for the server",
            f"right       {sum(self.clips.values())} recordings: {dict(sorted(self.clips.items()))}",
            f"misbehaved  {sum(self.bad.values())} clients: {dict(sorted(self.bad.items()))}",
            f"memory      {steady[0]:.1f} MB after the warm-up, {min(steady):.1f} to {max(steady):.1f} MB "
            f"(range {self.range_mb:.1f}), growth {self.growth_mb:+.1f} MB",
            f"faults      {len(self.faults)}",
        ]
        return "\n".join([*lines, *(f"  {fault}" for fault in self.faults[:20])])

    @property
    def is_good(self) -> bool:
        return not self.faults and self.range_mb <= MOST_MB


@dataclass(frozen=True)
class Sound:
    """A recording and what is heard of it when nobody else is there."""

    protocol: str
    samples: np.ndarray
    rate: int
    words: str


async def sounds_alone(server: RealServer) -> list[Sound]:
    """Hear each recording alone, through each protocol."""
    found = []
    for protocol in speakers.SPEAKERS:
        for rate in RATES:
            clip = speakers.read_clip(CLIP, rate)
            for samples in (clip, clip[: len(clip) // 2], clip[len(clip) // 3 :]):
                found.append(Sound(protocol, samples, rate, await speakers.words(protocol, server, samples, rate)))
            assert found[-3].words == WORDS, found[-3].words
    return found


async def speak_for_ever(server: RealServer, speed: float, tally: Tally, until: float) -> None:
    """One stream from the beginning to the end: the clip again and again, its words each time, at the right times."""
    clip = speakers.read_clip(CLIP, RATE)
    period = np.zeros(round(PERIOD_SECONDS * RATE), dtype=np.float32)
    period[: len(clip)] = clip
    n_messages = round(PERIOD_SECONDS / MESSAGE_SECONDS)
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://127.0.0.1:{server.ports['vosk']}") as ws,
        ):
            await ws.send_json({"config": {"sample_rate": RATE}})

            async def speak() -> None:
                pace = speakers.Pace(speed)
                while time.monotonic() < until:
                    async for piece in speakers.pieces(period, RATE, round(MESSAGE_SECONDS * RATE), pace):
                        await ws.send_bytes(speakers.pcm16(piece))
                await ws.send_str('{"eof" : 1}')

            speaking = asyncio.create_task(speak())
            first_began = None
            for n in itertools.count():
                heard = []
                for _ in range(n_messages):
                    message = await ws.receive()
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        break
                    heard += json.loads(message.data).get("result", [])
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                said = " ".join(word["word"] for word in heard)
                began = heard[0]["start"] - n * PERIOD_SECONDS if heard else 0.0
                first_began = began if first_began is None else first_began
                if said == WORDS and abs(began - first_began) < MOST_DRIFT_SECONDS:
                    tally.clips[LONG] += 1
                else:
                    tally.faults.append(f"{LONG}, {n} times the clip: '{said}' at {began:.2f} s")
            if not speaking.done():
                tally.faults.append(f"{LONG} was closed: {ws.close_code}")
            await speaking
    except Exception as fault:
        tally.faults.append(f"{LONG} was lost: {fault!r}")


async def come_and_go(
    server: RealServer, sounds: list[Sound], speed: float, pause_seconds: float, tally: Tally, until: float, seed: int
) -> None:
    """A client that speaks, waits, and comes again."""
    drawn = random.Random(seed)
    while time.monotonic() < until:
        await asyncio.sleep(drawn.expovariate(1 / pause_seconds))
        sound = drawn.choice(sounds)
        size = max(1, round(drawn.uniform(0.05, 0.5) * sound.rate))
        try:
            said = await speakers.words(sound.protocol, server, sound.samples, sound.rate, size, speed)
        except Exception as fault:
            tally.faults.append(f"{sound.protocol}: a stream was lost: {fault!r}")
            continue
        if said == sound.words:
            tally.clips[sound.protocol] += 1
        else:
            tally.faults.append(f"{sound.protocol}: '{said}' instead of '{sound.words}'")


async def misbehave(server: RealServer, tally: Tally, until: float, seed: int) -> None:
    """A client that never does what it should."""
    drawn = random.Random(seed)
    clip = speakers.read_clip(CLIP, RATE)
    while time.monotonic() < until:
        protocol = drawn.choice([*raw_clients.PATHS, "wyoming"])
        name, visit = drawn.choice(list(BAD.items()))
        with suppress(OSError, asyncio.IncompleteReadError):  # the server may turn it away at any moment
            async with raw_clients.connected(server, protocol) as raw:
                await raw.send(raw_clients.opening(protocol))
                await raw.send(raw_clients.sound(protocol, clip[: drawn.randrange(1, len(clip))]))
                try:
                    await visit(raw, protocol, clip, drawn)
                except TimeoutError:
                    tally.faults.append(f"{protocol}: a client that {name} is still connected")
        tally.bad[f"{protocol} {name}"] += 1


async def _stalls(raw, protocol, clip, drawn):
    """Nothing comes any more: it is told to go, and gone from the server without an answer to that."""
    await raw.until_closed(3 * IDLE_SECONDS + 10)


async def _cuts_off(raw, protocol, clip, drawn):
    """In the middle of a message, sometimes in the middle of an answer."""
    message = raw_clients.sound(protocol, clip)
    await raw.send(message[: drawn.randrange(1, len(message))])
    await asyncio.sleep(drawn.choice([0.0, 0.01, 0.1]))
    raw.cut()


async def _half_closes(raw, protocol, clip, drawn):
    """No more is sent, but everything is read."""
    raw.end_sending()
    await raw.until_closed(3 * IDLE_SECONDS + 10)


async def _does_not_read(raw, protocol, clip, drawn):
    """It speaks until the server takes no more, and is left."""
    raw.pause_reading()
    message = raw_clients.sound(protocol, clip[:1600])
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(SEND_SECONDS):
            while True:
                await raw.send(message)
                await asyncio.sleep(0.005)  # 20 times real time


async def _sends_garbage(raw, protocol, clip, drawn):
    """Bytes of all kinds."""
    for _ in range(drawn.randrange(1, 20)):
        content = drawn.randbytes(drawn.choice([0, 1, 7, 100, 5000, 200_000]))
        kind = drawn.randrange(4)
        if kind == 0:
            await raw.send(content)
        elif kind == 1:
            await raw.send(raw_clients.text(content))
        elif kind == 2:
            await raw.send(raw_clients.frame(content, bits=drawn.randrange(256) & 0xF0, opcode=drawn.randrange(16)))
        else:
            await raw.send(raw_clients.event("audio-chunk", {"rate": 16_000, "width": 2, "channels": 1}, content))
    raw.end_sending()
    await raw.until_closed(3 * IDLE_SECONDS + 10)


BAD = {
    "stalls": _stalls,
    "cuts off": _cuts_off,
    "half-closes": _half_closes,
    "does not read": _does_not_read,
    "sends garbage": _sends_garbage,
}


async def look(server: RealServer, tally: Tally, began: float, until: float) -> None:
    """Note the server's memory now and then; fail when it is gone."""
    while time.monotonic() < until:
        server.check()
        tally.memory.append((time.monotonic() - began, server.rss_mb()))
        await asyncio.sleep(SAMPLE_SECONDS)


async def soak(
    wall_seconds: float, speed: float, model: str = "digits-en", seed: int = 0, pause_seconds: float = PAUSE_SECONDS
) -> Tally:
    """Let clients of all kinds come for so long."""
    tally = Tally()
    limits = [word for name, value in LIMITS.items() for word in ("--limit", f"{name}={value}")]
    async with real_server(*limits, model=model) as server:
        sounds = await sounds_alone(server)
        began, used = time.monotonic(), server.processor_seconds()
        until = began + wall_seconds
        async with asyncio.TaskGroup() as group:
            group.create_task(look(server, tally, began, until))
            group.create_task(speak_for_ever(server, speed, tally, until))
            for n, protocol in enumerate(speakers.SPEAKERS):
                own = [sound for sound in sounds if sound.protocol == protocol]
                group.create_task(come_and_go(server, own, speed, pause_seconds, tally, until, seed + n))
            for n in range(BAD_CLIENTS):
                group.create_task(misbehave(server, tally, until, seed + 100 + n))
        tally.seconds = time.monotonic() - began
        tally.processor_seconds = server.processor_seconds() - used
        tally.sound_seconds = (await server.metrics())["edgeseq_sound_seconds_total"]
        left = await server.until_no_streams(3 * IDLE_SECONDS)
        if left.streams:
            tally.faults.append(f"{left.streams:g} streams are still open")
        tally.faults += [f"the server's log: {line}" for line in server.failures()]
    return tally


def main(
    hours: Annotated[float, typer.Option(help="Of sound in the long stream.")] = 8.0,
    speed: Annotated[float, typer.Option(help="Times real time.")] = 20.0,
    minutes_of_wall: Annotated[float | None, typer.Option(help="End after so long.  [default: hours / speed]")] = None,
    model: Annotated[str, typer.Option(help="A model that hears digits.")] = "digits-en",
    seed: Annotated[int, typer.Option(help="Of what clients do.")] = 0,
    memory: Annotated[Path | None, typer.Option(help="Write the memory there, a JSON list.")] = None,
) -> None:
    """Soak a server; ends with 1 where anything was wrong."""
    wall = 3600 * hours / speed if minutes_of_wall is None else 60 * minutes_of_wall
    tally = asyncio.run(soak(wall, speed, model, seed))
    typer.echo(tally.summary())
    if memory is not None:
        memory.write_text(json.dumps(tally.memory))
    sys.exit(0 if tally.is_good else 1)


if __name__ == "__main__":
    typer.run(main)
