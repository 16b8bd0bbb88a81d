"""vosk-server's protocol: the vosk package's own client, and messages by hand."""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

pytest.importorskip("onnx")
pytest.importorskip("aiohttp")
pytest.importorskip("wyoming")
import tone_language as tones
from serving import connected, pcm16, serving, until, vosk_says

import edgeseq
from edgeseq.stream.recognizer import Recognizer

ROOT = Path(__file__).parent.parent.parent
DIGITS = "zero four one three nine five two eight seven six"
VOSKS_PORT = 2700
"""The only one that vosk-transcriber connects to."""
TRANSCRIBER = """
import vosk.transcriber.transcriber as transcriber
transcriber.Model = lambda **_: None  # it loads a model of Vosk's before it asks the server, and makes no use of it
from vosk.transcriber.cli import main
main()
"""


def test_every_message_is_answered(tone_recognizer):
    async def run():
        async with serving(tone_recognizer, ["vosk"]) as server:
            return await vosk_says(server, "hello abba zoo")

    replies = asyncio.run(run())
    partials = [reply["partial"] for reply in replies[:-1]]
    assert partials[0] == "" and "hello abba" in partials
    assert replies[-1]["text"] == "hello abba zoo"
    words = replies[-1]["result"]
    assert [word["word"] for word in words] == ["hello", "abba", "zoo"]
    assert all(0 <= word["start"] < word["end"] and 0 < word["conf"] <= 1 for word in words)


def test_utterances_end_by_the_rules_and_times_go_on(tone_recognizer):
    async def run():
        async with serving(tone_recognizer, ["vosk"]) as server, connected(server, "vosk") as ws:
            replies = []
            for samples in (tones.say("yes"), tones.silence(1.5), tones.say("no")):
                await ws.send_bytes(pcm16(samples))
                replies.append(json.loads(await ws.receive_str()))
            for text in ('{"reset":1}', '{"eof": 1.0, "more": []}'):
                await ws.send_str(text)
                replies.append(json.loads(await ws.receive_str()))
                if "reset" in text:
                    await ws.send_bytes(pcm16(tones.say("zoo")))
                    replies.append(json.loads(await ws.receive_str()))
            return replies

    yes, ended, no, reset, zoo, eof = asyncio.run(run())
    assert (yes["partial"], ended["text"], reset["text"], eof["text"]) == ("ye", "yes", "no", "zoo")
    assert "partial" in no and "partial" in zoo
    starts = [reply["result"][0]["start"] for reply in (ended, reset, eof)]
    spoken = [len(tones.say(text)) / tones.SAMPLE_RATE for text in ("yes", "no")]
    assert starts[1] == pytest.approx(spoken[0] + 1.5 + starts[0], abs=0.1)
    assert starts[2] == pytest.approx(spoken[0] + 1.5 + spoken[1] + starts[0], abs=0.1)


def test_settings(tone_recognizer):
    async def run():
        async with serving({"tones": tone_recognizer, "more": Recognizer(tone_recognizer.network)}, ["vosk"]) as server:
            return await asyncio.gather(
                vosk_says(server, "hello zoo", 16_000, words=False),
                vosk_says(server, "hello zoo", 44_100.0, max_alternatives=2, model="more"),
                vosk_says(server, "yes no yes", phrase_list=["yes", "no", "[unk]", "3€"]),
                vosk_says(server, "hello", phrase_list=["yes", "no", "[unk]"]),
                vosk_says(server, "hallo", phrase_list=["hello", "zoo"]),
                vosk_says(server, "zoo two", phrases="intents: {go: ['zoo {n}']}\nslots: {n: [{say: two, mean: 2}]}"),
            )

    plain, several, listed, other, nearest, meant = (replies[-1] for replies in asyncio.run(run()))
    assert plain == {"text": "hello zoo"}
    assert several["alternatives"][0]["text"] == "hello zoo" and several["alternatives"][0]["confidence"] > 0.5
    assert [len(one["result"]) for one in several["alternatives"][:1]] == [2]
    assert listed["text"] == "yes no yes"
    assert other == {"text": ""}, "what is not in the list is rejected"
    assert nearest["text"] == "hello", "without [unk] the nearest is given out"
    assert (meant["text"], meant["slots"]) == ("zoo two", {"n": 2})


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"ID3" + bytes(100), "this looks like MP3; wanted samples"),
        ("hello", 'text is wanted as {"config"'),
        ("[1, 2", "text is wanted as"),
        ("[" * 100_000, "text is wanted as"),
        ('{"config": 5}', "wanted settings"),
        ('{"config": {"model": "../../etc/passwd"}}', "there is no model '../../etc/passwd' here. There are: tones"),
        ('{"config": {"sample_rate": "fast"}}', "sample_rate is 'fast'; wanted a number"),
        ('{"config": {"sample_rate": NaN}}', "sample_rate is 'nan'"),
        ('{"config": {"phrase_list": {"a": 1}}}', "phrase_list is not a list"),
        ('{"config": {"phrase_list": ["123"]}}', "the phrase list holds nothing"),
        ('{"config": {"phrases": "intents: {a: [(b]}"}}', "1 fault in phrases"),
    ],
)
def test_what_is_no_message_is_refused_with_the_reason(tone_recognizer, sent, reason, caplog):
    async def run():
        async with serving(tone_recognizer, ["vosk"]) as server:
            async with connected(server, "vosk") as ws:
                await (ws.send_bytes(sent) if isinstance(sent, bytes) else ws.send_str(sent))
                message = await ws.receive()
                assert message.type is aiohttp.WSMsgType.CLOSE
            assert (await vosk_says(server, "yes"))[-1]["text"] == "yes", "others are served"
            await until(lambda: len(server.context.hub) == 0)
            return message

    caplog.set_level("INFO")
    message = asyncio.run(run())
    assert message.data == 1008 and reason in message.extra
    assert len([line for line in caplog.messages if "refused" in line]) == 1


def test_a_rate_that_cannot_be_is_refused(tone_recognizer):
    async def run():
        async with serving(tone_recognizer, ["vosk"]) as server, connected(server, "vosk") as ws:
            await ws.send_str('{"config": {"sample_rate": 12}}')
            await ws.send_bytes(b"\0\0")
            return await ws.receive()

    message = asyncio.run(run())
    assert (message.data, message.extra) == (1008, "sound at 12 Hz; wanted 1000 to 384000.")


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.skipif(not (ROOT / "models/digits-en/model.int8.onnx").is_file(), reason="models/digits-en is not there")
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="vosk-transcriber reads files by ffmpeg, which is not installed")
def test_vosks_own_client():
    pytest.importorskip("vosk", reason="the package vosk is not installed")
    if not is_free(VOSKS_PORT):
        pytest.skip(f"vosk-transcriber speaks to port {VOSKS_PORT} alone, and somebody else has it")

    async def run():
        from edgeseq.serve.context import Context
        from edgeseq.serve.hub import Hub
        from edgeseq.serve.server import Server

        context = Context(Hub({"digits-en": edgeseq.load("digits-en")}))
        async with Server(context, {"vosk": f"127.0.0.1:{VOSKS_PORT}"}):
            command = [sys.executable, "-c", TRANSCRIBER, "--server", "-i", str(ROOT / "demo/number.flac"), "-t"]
            return [
                await asyncio.to_thread(subprocess.run, [*command, form], capture_output=True, text=True, timeout=60)
                for form in ("txt", "srt")
            ]

    text, subtitles = asyncio.run(run())
    assert " ".join(text.stdout.split()) == DIGITS, text.stderr
    assert subtitles.stdout.count("-->") == 3 and "three nine five" in subtitles.stdout
