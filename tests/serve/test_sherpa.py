"""sherpa-onnx's online protocol: the package's own client, and messages by hand."""

import asyncio
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import aiohttp
import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("aiohttp")
pytest.importorskip("wyoming")
import tone_language as tones
from serving import connected, serving, sherpa_says, until

import edgeseq

ROOT = Path(__file__).parent.parent.parent
DIGITS = "zero four one three nine five two eight seven six"
FIELDS = ["text", "tokens", "timestamps", "ys_probs", "lm_probs", "context_scores", "segment", "words", "start_time",
          "is_final", "is_eof"]  # fmt: skip
CLIENT = shutil.which("sherpa-onnx-online-websocket-client", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")


def test_words_come_as_they_are_said(tone_recognizer):
    async def run():
        async with serving(tone_recognizer, ["sherpa"]) as server:
            return await asyncio.gather(sherpa_says(server, "hello abba"), sherpa_says(server, "zoo", 8000))

    replies, others = asyncio.run(run())
    assert all(list(reply) == FIELDS for reply in replies)
    assert len(replies) > 3 and not any(reply["is_eof"] for reply in replies[:-1])
    last = replies[-1]
    assert (last["text"], last["is_final"], last["is_eof"], last["segment"]) == ("hello abba", True, True, 0)
    assert "".join(last["tokens"]).strip() == last["text"] and len(last["timestamps"]) == len(last["ys_probs"]) == 2
    assert others[-1]["text"] == "zoo"


def test_segments_follow_each_other(tone_recognizer):
    async def run():
        async with serving(tone_recognizer, ["sherpa"]) as server, connected(server, "sherpa", "?sample_rate=8000") as ws:
            for samples in (tones.say("yes"), tones.silence(1.5), tones.say("no"), tones.silence(1.5)):
                await ws.send_bytes(samples.astype("<f4").tobytes())
            await ws.send_str("Done")
            return [message.json() async for message in ws if message.data != "Done!"]

    replies = asyncio.run(run())
    finals = [reply for reply in replies if reply["is_final"]]
    assert [(reply["text"], reply["segment"], reply["is_eof"]) for reply in finals] == [
        ("yes", 0, False), ("no", 1, False), ("", 2, True),
    ]  # fmt: skip
    starts = [reply["start_time"] + reply["timestamps"][0] for reply in finals[:2]]
    assert starts[1] - starts[0] == pytest.approx(1.5 + len(tones.say("yes")) / tones.SAMPLE_RATE, abs=0.1)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"fLaC" + bytes(100), "this looks like FLAC; wanted samples"),
        (np.array([math.nan], dtype="<f4").tobytes(), "the loudest of 1 float samples is nan"),
        (np.array([math.inf], dtype="<f4").tobytes(), "the loudest of 1 float samples is inf"),
        (np.array([20_000], dtype="<f4").tobytes(), "the loudest of 1 float samples is 20000; wanted numbers in [-1, 1]"),
        ("done?", "the text 'done?' came"),
    ],
)
def test_what_is_no_message_is_refused_with_the_reason(tone_recognizer, sent, reason):
    async def run():
        async with serving(tone_recognizer, ["sherpa"]) as server:
            async with connected(server, "sherpa") as ws:
                await (ws.send_bytes(sent) if isinstance(sent, bytes) else ws.send_str(sent))
                message = await ws.receive()
                assert message.type is aiohttp.WSMsgType.CLOSE
            await until(lambda: len(server.context.hub) == 0)
            return message

    message = asyncio.run(run())
    assert message.data == 1008 and reason in message.extra


@pytest.mark.parametrize("query", ["?sample_rate=fast", "?sample_rate=1", "?model=nobody"])
def test_settings_that_cannot_be_are_refused(tone_recognizer, query):
    async def run():
        async with serving(tone_recognizer, ["sherpa"]) as server, connected(server, "sherpa", query) as ws:
            return (await ws.receive()).data

    assert asyncio.run(run()) == 1008


@pytest.mark.skipif(CLIENT is None, reason="sherpa-onnx's client is not installed (package sherpa-onnx-bin)")
@pytest.mark.skipif(not (ROOT / "models/digits-en/model.int8.onnx").is_file(), reason="models/digits-en is not there")
def test_sherpa_onnx_own_client(tmp_path):
    import soundfile
    import soxr

    samples, rate = soundfile.read(ROOT / "demo/number.flac", dtype="float32")
    wav = tmp_path / "number.wav"
    soundfile.write(wav, soxr.resample(samples, rate, 16_000), 16_000, "PCM_16")

    async def run():
        async with serving({"digits-en": edgeseq.load("digits-en")}, ["sherpa"]) as server:
            where = ["--server-ip=127.0.0.1", f"--server-port={server.ports['sherpa']}", "--seconds-per-message=0.5"]
            return await asyncio.to_thread(
                subprocess.run, [CLIENT, *where, str(wav)], capture_output=True, text=True, timeout=60
            )

    said = asyncio.run(run()).stderr
    finals = re.findall(r'"text": "([^"]*)"[^\n]*"is_final": true', said)
    assert " ".join(finals).split() == DIGITS.split()
    assert "Done!" in said
