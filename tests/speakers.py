"""Well-behaved clients of all protocols: they speak a recording, live or as fast as they are heard, and give the words."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time

import aiohttp
import numpy as np
import soundfile
import soxr
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient

PATIENCE_SECONDS = 60.0
"""A server that answers later hangs."""
NOTHING = np.zeros(0, dtype=np.float32)


def pcm16(samples):
    return np.clip(np.rint(np.asarray(samples) * 32767), -32768, 32767).astype("<i2").tobytes()


class Pace:
    """Times at which messages are due: `speed` times real time; without a speed at once."""

    def __init__(self, speed: float | None) -> None:
        self._speed, self._began, self._seconds = speed, time.monotonic(), 0.0

    async def after(self, seconds: float) -> None:
        """Wait until so many more seconds of sound have been said."""
        self._seconds += seconds
        if self._speed is not None:
            await asyncio.sleep(self._began + self._seconds / self._speed - time.monotonic())


async def pieces(samples, rate, size, pace):
    """Cut sound to messages of `size` samples, each given when its last sample has been said."""
    for first in range(0, len(samples), size):
        piece = samples[first : first + size]
        await pace.after(len(piece) / rate)
        yield piece


async def vosk(server, samples, rate, size, speed=None):
    async with (
        aiohttp.ClientSession(headers=server.headers) as session,
        session.ws_connect(f"ws://127.0.0.1:{server.ports['vosk']}") as ws,
    ):
        await ws.send_json({"config": {"sample_rate": rate}})
        said = []
        async for piece in pieces(samples, rate, size, Pace(speed)):
            await ws.send_bytes(pcm16(piece))
            said.append(json.loads(await ws.receive_str()).get("text", ""))
        await ws.send_str('{"eof" : 1}')
        said.append(json.loads(await ws.receive_str())["text"])
        return " ".join(text for text in said if text)


async def sherpa(server, samples, rate, size, speed=None):
    url = f"ws://127.0.0.1:{server.ports['sherpa']}/?sample_rate={rate}"
    async with aiohttp.ClientSession(headers=server.headers) as session, session.ws_connect(url) as ws:

        async def speak():
            async for piece in pieces(samples, rate, size, Pace(speed)):
                await ws.send_bytes(piece.astype("<f4").tobytes())
            await ws.send_str("Done")

        speaking = asyncio.create_task(speak())
        said = []
        while (reply := await ws.receive_str()) != "Done!":
            told = json.loads(reply)
            said += [told["text"]] if told["is_final"] and told["text"] else []
        await speaking
        return " ".join(said)


async def wyoming(server, samples, rate, size, speed=None):
    form = {"rate": rate, "width": 2, "channels": 1}
    async with AsyncTcpClient("127.0.0.1", server.ports["wyoming"]) as client:
        await client.write_event(Transcribe().event())
        await client.write_event(AudioStart(**form).event())

        async def speak():
            async for piece in pieces(samples, rate, size, Pace(speed)):
                await client.write_event(AudioChunk(audio=pcm16(piece), **form).event())
            await client.write_event(AudioStop().event())

        speaking = asyncio.create_task(speak())
        while (event := await client.read_event()) is not None:
            if Transcript.is_type(event.type):
                await speaking
                return Transcript.from_event(event).text
    raise AssertionError("wyoming: the server ended before the transcript")


async def page(server, samples, rate, size, speed=None):
    async with aiohttp.ClientSession(headers=server.headers) as session, session.ws_connect(server.url("listen")) as ws:
        await ws.send_json({"rate": rate})

        async def speak():
            async for piece in pieces(samples, rate, size, Pace(speed)):
                await ws.send_bytes(pcm16(piece))
            await ws.send_json({"type": "finish"})

        speaking = asyncio.create_task(speak())
        said = []
        while (told := json.loads(await ws.receive_str()))["type"] != "finished":
            said += [told["text"]] if told["type"] == "final" else []
        await speaking
        return " ".join(said)


async def realtime(server, samples, rate, size, speed=None):
    url = server.url("v1/realtime?intent=transcription")
    async with aiohttp.ClientSession(headers=server.headers) as session, session.ws_connect(url) as ws:
        form = {"type": "audio/pcm", "rate": rate}
        sound = {"input": {"format": form, "turn_detection": None}}
        await ws.send_json({"type": "session.update", "session": {"type": "transcription", "audio": sound}})

        async def speak():
            async for piece in pieces(samples, rate, size, Pace(speed)):
                audio = base64.b64encode(pcm16(piece)).decode()
                await ws.send_json({"type": "input_audio_buffer.append", "audio": audio})
            await ws.send_json({"type": "input_audio_buffer.commit"})

        speaking = asyncio.create_task(speak())
        while True:
            told = json.loads(await ws.receive_str())
            assert told["type"] != "error", told
            if told["type"].endswith("transcription.completed"):
                await speaking
                return told["transcript"]


async def openai(server, samples, rate, size, speed=None):
    """A file has no pace: it is sent at once."""
    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples), rate, format="WAV", subtype="PCM_16")
    form = aiohttp.FormData()
    form.add_field("file", file.getvalue(), filename="said.wav")
    form.add_field("response_format", "text")
    url = server.url("v1/audio/transcriptions")
    async with aiohttp.ClientSession(headers=server.headers) as session, session.post(url, data=form) as answer:
        said = await answer.text()
        assert answer.status == 200, said
        return said.strip()


SPEAKERS = {"vosk": vosk, "sherpa": sherpa, "wyoming": wyoming, "openai": openai, "realtime": realtime, "page": page}


async def words(protocol, server, samples, rate, size=None, speed=None):
    """Speak through a protocol; fails when the server takes too long."""
    seconds = PATIENCE_SECONDS + (len(samples) / rate / speed if speed else 0.0)
    async with asyncio.timeout(seconds):
        return await SPEAKERS[protocol](server, samples, rate, size or rate // 10, speed)


def read_clip(path, rate):
    """Read a recording at a rate, `[n_samples]`."""
    samples, own = soundfile.read(path, dtype="float32")
    return samples if own == rate else soxr.resample(samples, own, rate).astype(np.float32)
