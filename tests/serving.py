"""A server on free ports within the test, and clients of its protocols that only speak through sockets."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp
import numpy as np
import tone_language as tones
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient

from edgeseq.serve.context import Context
from edgeseq.serve.hub import Hub
from edgeseq.serve.limits import Limits
from edgeseq.serve.server import Security, Server

ALL = {
    "wyoming": "tcp://127.0.0.1:0",
    "http": "127.0.0.1:0",
    "vosk": "127.0.0.1:0",
    "sherpa": "127.0.0.1:0",
}

MUCH_MEMORY = 64 << 30


@asynccontextmanager
async def serving(recognizer, listen=("vosk", "sherpa"), security=None, drain_seconds=1.0, save_audio=None, **limits):
    """Serve a recognizer; gives the server."""
    recognizers = recognizer if isinstance(recognizer, dict) else {"tones": recognizer}
    limits = {"memory_bytes": MUCH_MEMORY, **limits}  # a test process holds torch and more
    context = Context(Hub(recognizers, Limits(**limits), save_audio=save_audio))
    wanted = {protocol: ALL[protocol] for protocol in listen}
    async with Server(context, wanted, security or Security(), drain_seconds=drain_seconds) as server:
        yield server


@asynccontextmanager
async def connected(server, protocol, query="", **options):
    """Open a WebSocket to a protocol."""
    url = f"ws://127.0.0.1:{server.ports[protocol]}/{query}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, **options) as ws:
        yield ws


def pcm16(samples):
    return np.round(np.asarray(samples) * 32767).astype("<i2").tobytes()


def pieces(samples, size):
    return (samples[first : first + size] for first in range(0, len(samples), size))


async def vosk_says(server, text, rate=tones.SAMPLE_RATE, size=1000, **config):
    """Speak as a Vosk client; gives all replies."""
    async with connected(server, "vosk") as ws:
        if rate != 8000 or config:
            await ws.send_json({"config": {"sample_rate": rate, **config}})
        replies = []
        for piece in pieces(tones.say(text, rate), size):
            await ws.send_bytes(pcm16(piece))
            replies.append(json.loads(await ws.receive_str()))
        await ws.send_str('{"eof" : 1}')
        replies.append(json.loads(await ws.receive_str()))
        assert (await ws.receive()).type is aiohttp.WSMsgType.CLOSE and ws.close_code == 1000
        return replies


async def sherpa_says(server, text, rate=16_000, size=1000):
    """Speak as a client of sherpa-onnx; gives all replies."""
    query = "" if rate == 16_000 else f"?sample_rate={rate}"
    async with connected(server, "sherpa", query) as ws:
        for piece in pieces(tones.say(text, rate), size):
            await ws.send_bytes(piece.astype("<f4").tobytes())
        await ws.send_str("Done")
        replies = []
        while (reply := await ws.receive_str()) != "Done!":
            replies.append(json.loads(reply))
        return replies


async def wyoming_says(server, text, size=1000):
    """Speak as a Wyoming client, by the package's own; gives the transcript."""
    form = {"rate": tones.SAMPLE_RATE, "width": 2, "channels": 1}
    async with AsyncTcpClient("127.0.0.1", server.ports["wyoming"]) as client:
        await client.write_event(Transcribe().event())
        await client.write_event(AudioStart(**form).event())
        for piece in pieces(tones.say(text), size):
            await client.write_event(AudioChunk(audio=pcm16(piece), **form).event())
        await client.write_event(AudioStop().event())
        while (event := await client.read_event()) is not None:
            if Transcript.is_type(event.type):
                return Transcript.from_event(event).text
    raise AssertionError("the server ended before the transcript")


async def page_says(server, text, size=1000):
    """Speak as the web page does; gives the finals' text."""
    async with connected(server, "http", "listen") as ws:
        await ws.send_json({"rate": tones.SAMPLE_RATE})
        for piece in pieces(tones.say(text), size):
            await ws.send_bytes(pcm16(piece))
        await ws.send_json({"type": "finish"})
        finals = []
        async for message in ws:
            told = json.loads(message.data)
            finals += [told["text"]] if told["type"] == "final" else []
            if told["type"] == "finished":
                break
        return " ".join(finals)


async def until(condition, seconds=5.0):
    """Wait until something holds; fails when it does not come true."""
    for _ in range(round(seconds / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it has not come true")
