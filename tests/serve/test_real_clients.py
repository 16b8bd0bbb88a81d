"""Wyoming's and OpenAI's own clients, the whole server, the released model and a recorded number."""

import asyncio
import base64
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

pytest.importorskip("aiohttp")
pytest.importorskip("wyoming")
pytest.importorskip("openai")
pytest.importorskip("websockets")
import openai
from wyoming.asr import Transcribe, Transcript, TranscriptChunk
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.info import Describe, Info

import edgeseq
from edgeseq.serve.access import Access
from edgeseq.serve.context import Context
from edgeseq.serve.hub import Hub
from edgeseq.serve.server import Security, Server

ROOT = Path(__file__).parent.parent.parent
NUMBER = ROOT / "demo" / "number.flac"
DIGITS = "zero four one three nine five two eight seven six"
TOKEN = "a token of this test"

pytestmark = pytest.mark.skipif(
    not (ROOT / "models/digits-en/model.int8.onnx").is_file(), reason="models/digits-en is not there"
)


def number(rate):
    samples, own = soundfile.read(NUMBER, dtype="float32")
    return np.round(32767 * soxr.resample(samples, own, rate)).astype("<i2").tobytes()


async def by_wyoming(port):
    async with AsyncTcpClient("127.0.0.1", port, read_timeout=20) as client:
        await client.write_event(Describe().event())
        (program,) = Info.from_event(await client.read_event()).asr
        await client.write_event(Transcribe(name=program.models[0].name, language="en-GB").event())
        form, content = {"rate": 22_050, "width": 2, "channels": 1}, number(22_050)
        await client.write_event(AudioStart(**form).event())
        for first in range(0, len(content), 2048):
            await client.write_event(AudioChunk(audio=content[first : first + 2048], **form).event())
        await client.write_event(AudioStop().event())
        pieces = ""
        while not Transcript.is_type((event := await client.read_event()).type):
            pieces += TranscriptChunk.from_event(event).text if TranscriptChunk.is_type(event.type) else ""
        return pieces, Transcript.from_event(event).text


async def by_upload(client, model):
    with NUMBER.open("rb") as file:
        return (await client.audio.transcriptions.create(file=file, model=model)).text


async def by_realtime(client, model):
    """The pauses between the three groups of figures end turns."""
    async with client.realtime.connect(model=model) as connection:
        sound = {"transcription": {"model": model}, "turn_detection": {"type": "server_vad", "silence_duration_ms": 800}}
        await connection.session.update(session={"type": "transcription", "audio": {"input": sound}})
        content, said = number(24_000) + bytes(2 * 24_000 * 2), []
        for first in range(0, len(content), 9600):
            await connection.input_audio_buffer.append(audio=base64.b64encode(content[first : first + 9600]).decode())
        while len(said) < 3:
            event = await asyncio.wait_for(connection.recv(), 20)
            assert event.type != "error", event
            if event.type == "conversation.item.input_audio_transcription.completed":
                said.append(event.transcript)
        return " ".join(said)


def test_all_at_once_hear_the_number(caplog):
    async def run():
        context = Context(Hub({"digits-en": edgeseq.load(ROOT / "models/digits-en")}))
        listen = {"wyoming": "tcp://127.0.0.1:0", "http": "127.0.0.1:0"}
        async with Server(context, listen, Security(Access(TOKEN))) as server:
            base = f"http://127.0.0.1:{server.ports['http']}/v1"
            async with openai.AsyncOpenAI(base_url=base, api_key=TOKEN, max_retries=0) as client:
                model = (await client.models.list()).data[0].id
                return await asyncio.gather(
                    by_wyoming(server.ports["wyoming"]), by_upload(client, model), by_realtime(client, model)
                )

    with caplog.at_level(logging.DEBUG, logger="edgeseq"):
        told = asyncio.run(run())
    assert told == [(DIGITS, DIGITS), DIGITS, DIGITS]
    assert "zero" not in caplog.text, "the log holds no words"
