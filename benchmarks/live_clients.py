"""Live clients of a server, in a process of their own, that note when answers come.

    python -m benchmarks.live_clients < plan.json > timings.json

Answers are parsed only at the end, because parsing would disturb what is measured.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp
import numpy as np

from edgeseq.sound.blocks import Floats

CONNECT_SECONDS = 60.0
"""for all streams to be opened"""
LAST_SECONDS = 60.0
"""for the last answers"""
PCM16_SCALE = 32768.0


@dataclass(frozen=True)
class Plan:
    """What the clients do."""

    urls: list[str]
    """one for each stream, ws://..., by which it is opened"""
    sounds: list[str]
    """.npy files, 16-bit samples `[n_samples]`; a stream speaks one of them"""
    rate: int
    """Hz"""
    message_seconds: float
    spread_seconds: float
    """in which the streams begin, and end"""
    seed: int = 0

    def sound_of(self, stream: int) -> int:
        """Choose the sound that a stream speaks."""
        return stream % len(self.sounds)


@dataclass(frozen=True)
class StreamTimes:
    """What came of one stream; times in seconds of the machine's steady clock."""

    due: list[float]
    """of each message: when its last sample was said"""
    sent: list[float]
    answers: list[tuple[float, str]]
    """when they came, and what they were"""


def is_vosk(url: str) -> bool:
    """Tell the protocols apart: Vosk's answers each message, sherpa-onnx's tells what has changed."""
    return "vosk" in url


async def speak_all(plan: Plan) -> list[StreamTimes]:
    """Open all streams, begin at random within `spread_seconds`, and speak in real time."""
    drawn = random.Random(plan.seed)
    sounds = [np.load(path) for path in plan.sounds]
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        async with asyncio.timeout(CONNECT_SECONDS):
            sockets = await asyncio.gather(*(session.ws_connect(url, max_msg_size=0) for url in plan.urls))
        for url, ws in zip(plan.urls, sockets, strict=True):
            if is_vosk(url):
                await ws.send_json({"config": {"sample_rate": plan.rate}})
        gc.disable()
        first = time.monotonic() + 1.0
        streams = [
            _speak(ws, is_vosk(url), sounds[plan.sound_of(n)], plan, first + drawn.uniform(0, plan.spread_seconds))
            for n, (url, ws) in enumerate(zip(plan.urls, sockets, strict=True))
        ]
        return await asyncio.gather(*streams)


async def _speak(ws: aiohttp.ClientWebSocketResponse, vosk: bool, samples: Floats, plan: Plan, began: float) -> StreamTimes:
    content = samples.astype("<i2").tobytes() if vosk else (samples / np.float32(PCM16_SCALE)).astype("<f4").tobytes()
    n_message = round(plan.message_seconds * plan.rate)
    n_bytes = n_message * (2 if vosk else 4)
    messages = [content[at : at + n_bytes] for at in range(0, len(content), n_bytes)]
    spoken = StreamTimes([began + n * n_message / plan.rate for n in range(1, len(messages) + 1)], [], [])
    reading = asyncio.create_task(_read(ws, spoken))
    for due, message in zip(spoken.due, messages, strict=True):
        await asyncio.sleep(due - time.monotonic())
        spoken.sent.append(time.monotonic())
        await ws.send_bytes(message)
    await ws.send_str('{"eof" : 1}' if vosk else "Done")
    async with asyncio.timeout(LAST_SECONDS):
        await reading
    return spoken


async def _read(ws: aiohttp.ClientWebSocketResponse, spoken: StreamTimes) -> None:
    while (message := await ws.receive()).type is aiohttp.WSMsgType.TEXT:
        spoken.answers.append((time.monotonic(), message.data))
    if ws.close_code != aiohttp.WSCloseCode.OK:
        spoken.answers.append((time.monotonic(), f"closed: {ws.close_code} {message.extra}"))


def main() -> None:
    """Do what the plan on standard input says; write what came of it to standard output."""
    given: dict[str, Any] = json.load(sys.stdin)
    spoken = asyncio.run(speak_all(Plan(**given)))
    times = time.process_time()
    json.dump({"processor_seconds": times, "spoken": [asdict(stream) for stream in spoken]}, sys.stdout)


if __name__ == "__main__":
    main()
