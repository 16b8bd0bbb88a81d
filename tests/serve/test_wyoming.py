"""Wyoming by the package's own client, against a real server at a real port."""

import asyncio
import json
import random

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("wyoming")
import tone_language as tones
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient, AsyncUnixClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info, SelectProgram
from wyoming.ping import Ping
from wyoming.vad import VoiceStarted, VoiceStopped
from wyoming.wake import Detect, Detection, NotDetected

from edgeseq.phrases.compiling import compile_phrases
from edgeseq.phrases.file import parse_phrases
from edgeseq.phrases.search import PhraseDecoder
from edgeseq.serve import wyoming_server
from edgeseq.serve.context import Context
from edgeseq.serve.hub import Hub
from edgeseq.serve.limits import Limits
from edgeseq.serve.wyoming_events import to_samples

RATE = tones.SAMPLE_RATE


def served(recognizers, use, limits=Limits(), uri="tcp://127.0.0.1:0"):  # noqa: B008
    """Run `use(port, hub)` beside a server."""
    recognizers = recognizers if isinstance(recognizers, dict) else {"tones": recognizers}

    async def run():
        async with Hub(recognizers, limits) as hub:
            listener = await wyoming_server.start(Context(hub), uri)
            try:
                return await asyncio.wait_for(use(listener.port, hub), 30)
            finally:
                await hub.drain(0.5, 0.5)
                await listener.close()
                assert len(hub) == 0, "a stream was left open"

    return asyncio.run(run())


def client(port):
    return AsyncTcpClient("127.0.0.1", port, read_timeout=10)


def pcm(samples, width=2, channels=1):
    """Write samples as PCM, the same in all channels."""
    scale = 2 ** (8 * width - 1) - 1
    integers = np.repeat(np.round(samples.astype(np.float64) * scale).astype(np.int64), channels)
    return b"".join(int(number).to_bytes(width, "little", signed=True) for number in integers)


async def speak(connection, samples, *, rate=RATE, width=2, channels=1, size=1000, stop=True):
    form = {"rate": rate, "width": width, "channels": channels}
    await connection.write_event(AudioStart(**form).event())
    for first in range(0, len(samples), size):
        await connection.write_event(AudioChunk(audio=pcm(samples[first : first + size], width, channels), **form).event())
    if stop:
        await connection.write_event(AudioStop().event())


async def told(connection, last):
    """Read events up to the type `last`, or the end."""
    events = []
    while (event := await connection.read_event()) is not None:
        events.append(event)
        if event.type == last:
            break
    return events


def chunks(events):
    return [TranscriptChunk.from_event(event).text for event in events if TranscriptChunk.is_type(event.type)]


def transcript(events):
    return next(Transcript.from_event(event).text for event in events if Transcript.is_type(event.type))


async def transcribed(port, samples, request=None, **form):
    async with client(port) as connection:
        await connection.write_event((request or Transcribe()).event())
        await speak(connection, samples, **form)
        return await told(connection, "transcript-stop")


def phrases(recognizer, **intents):
    text = json.dumps({"intents": {name: list(texts) for name, texts in intents.items()}})
    graph = compile_phrases(parse_phrases(text), recognizer.metadata.token_table)
    return recognizer.with_decoder(PhraseDecoder(graph, recognizer.metadata))


def test_what_there_is(tone_recognizer):
    async def use(port, hub):
        async with client(port) as connection:
            await connection.write_event(Ping("hello").event())
            pong = await connection.read_event()
            await connection.write_event(SelectProgram("edgeseq").event())
            await connection.write_event(Describe().event())
            return pong, Info.from_event(await connection.read_event())

    pong, info = served({"tones": tone_recognizer, "other": tone_recognizer}, use)
    assert (pong.type, pong.data["text"]) == ("pong", "hello")
    (program,) = info.asr
    assert program.name == "edgeseq" and program.supports_transcript_streaming and program.installed
    assert [(model.name, model.languages) for model in program.models] == [("tones", ["x-tones"]), ("other", ["x-tones"])]
    assert not info.wake


@pytest.mark.parametrize("size", [1000, 77, 20_000])
def test_text_comes_while_one_speaks_and_its_pieces_are_the_transcript(tone_recognizer, size):
    text = "hello abba zoo yes no"
    samples = np.concatenate([tones.say(text), tones.silence(1.2), tones.say("x y")])
    events = served(tone_recognizer, lambda port, hub: transcribed(port, samples, size=size))
    assert [event.type for event in events[:2]] == ["transcript-start", "transcript-chunk"]
    assert [event.type for event in events[-2:]] == ["transcript", "transcript-stop"]
    assert TranscriptStart.is_type(events[0].type) and TranscriptStop.is_type(events[-1].type)
    assert TranscriptStart.from_event(events[0]).language == "x-tones"
    assert transcript(events) == f"{text} x y" == "".join(chunks(events))
    assert len(chunks(events)) > 2, "not all at the end"


def test_text_comes_before_the_sound_ends(tone_recognizer):
    async def use(port, hub):
        async with client(port) as connection:
            await connection.write_event(Transcribe().event())
            await speak(connection, tones.say("hello abba zoo"), stop=False)
            heard = ""
            while heard != "hello abba":
                heard += "".join(chunks([await connection.read_event()]))
            await connection.write_event(AudioStop().event())
            return heard + "".join(chunks(await told(connection, "transcript-stop")))

    assert served(tone_recognizer, use) == "hello abba zoo"


@pytest.mark.parametrize(("rate", "width", "channels"), [(16_000, 2, 1), (44_100, 3, 2), (48_000, 4, 1), (8000, 1, 3)])
def test_any_rate_width_and_channels(tone_recognizer, rate, width, channels):
    samples = tones.say("hello zoo", rate)
    events = served(tone_recognizer, lambda port, hub: transcribed(port, samples, rate=rate, width=width, channels=channels))
    assert transcript(events) == "hello zoo"


def test_samples_are_what_their_bytes_say():
    samples = np.array([0.5, -0.5, 0.0, -1.0, 0.25], np.float32)
    for width in (1, 2, 3, 4):
        for channels in (1, 2, 5):
            assert to_samples(pcm(samples, width, channels), width, channels) == pytest.approx(
                samples, abs=2.0 ** (1 - 8 * width) * 1.5
            )


def test_two_at_once_and_one_after_another(tone_recognizer):
    async def use(port, hub):
        both = await asyncio.gather(
            transcribed(port, tones.say("hello abba")), transcribed(port, tones.say("zoo yes", 16_000), rate=16_000)
        )
        async with client(port) as connection:
            after = []
            for text in ("no", "abba"):
                await connection.write_event(Transcribe(name="tones", language="x-tones").event())
                await speak(connection, tones.say(text))
                after.append(await told(connection, "transcript-stop"))
        assert hub.metrics.open["wyoming"] == 0 and hub.metrics.total["wyoming"] == 4
        return [transcript(events) for events in (*both, *after)]

    assert served(tone_recognizer, use) == ["hello abba", "zoo yes", "no", "abba"]


def test_silence_and_nothing_at_all(tone_recognizer):
    for samples in (tones.silence(2), tones.silence(0)):
        events = served(tone_recognizer, lambda port, hub, samples=samples: transcribed(port, samples))
        assert [event.type for event in events] == ["transcript-start", "transcript", "transcript-stop"]
        assert transcript(events) == ""


def test_names_and_terms_are_heard_more_readily(tone_recognizer):
    """The last letter is two tones at once: which of them is meant, a name that is given decides."""
    samples, time = tones.say("zoo"), np.arange(round(tones.TONE_SECONDS * RATE)) / RATE
    both = [np.sin(2 * np.pi * tones.FREQUENCIES[tones.LETTERS.index(letter)] * time) for letter in "oe"]
    samples[-len(time) :] = 0.25 * sum(both)

    def heard(**lists):
        return transcript(served(tone_recognizer, lambda port, hub: transcribed(port, samples, Transcribe(**lists))))

    assert heard(transcript_names=["Zoe", "R2D2"]) == "zoe"
    assert heard(transcript_names=["Zoo"], transcript_terms=["zoe"]) == "zoo"
    assert heard(transcript_terms=["zoe"]) == "zoe"
    assert heard(transcript_terms=["yes"]) == heard() == "zo"


def test_wake_words_that_a_client_names(tone_recognizer):
    samples = np.concatenate(
        [tones.say("zoo"), tones.silence(1.5), tones.say("hello_abba".replace("_", " ")), tones.silence(1)]
    )

    async def use(port, hub, names):
        async with client(port) as connection:
            await connection.write_event(Detect(names).event())
            await speak(connection, samples)
            await connection.write_event(Ping("end").event())
            return await told(connection, "pong")

    events = served(tone_recognizer, lambda port, hub: use(port, hub, ["hello_abba"]))
    (hit,) = [Detection.from_event(event) for event in events if Detection.is_type(event.type)]
    assert hit.name == "hello_abba" and hit.timestamp == pytest.approx(1000 * (len(samples) / RATE - 1), abs=150)
    events = served(tone_recognizer, lambda port, hub: use(port, hub, ["yes"]))
    assert [event.type for event in events] == ["not-detected", "pong"] and NotDetected.is_type(events[0].type)
    events = served(tone_recognizer, lambda port, hub: use(port, hub, None))
    assert [event.type for event in events] == ["error"] and "--phrases" in Error.from_event(events[0]).text
    events = served(tone_recognizer, lambda port, hub: use(port, hub, ["R2D2"]))
    assert "cannot spell the wake words R2D2" in Error.from_event(events[0]).text


@pytest.mark.parametrize(("names", "hits"), [(None, ["computer", "light"]), (["light"], ["light"]), (["yes no"], ["light"])])
def test_wake_words_that_are_the_servers_phrases(tone_recognizer, names, hits):
    recognizer = phrases(tone_recognizer, computer=["hello"], light=["yes no", "no yes"])
    samples = np.concatenate([tones.say("hello"), tones.silence(1), tones.say("yes no"), tones.silence(1), tones.say("zoo")])

    async def use(port, hub):
        async with client(port) as connection:
            await connection.write_event(Detect(names).event())
            await speak(connection, samples)
            await connection.write_event(Ping().event())
            return await told(connection, "pong")

    found = [Detection.from_event(event).name for event in served(recognizer, use) if Detection.is_type(event.type)]
    assert found == (["yes no"] if names == ["yes no"] else hits)


def test_sound_without_a_request_tells_when_voice_starts_and_stops(tone_recognizer):
    samples = np.concatenate([tones.silence(1), tones.say("hello"), tones.silence(2), tones.say("zoo")])

    async def use(port, hub):
        async with client(port) as connection:
            await speak(connection, samples)
            return await told(connection, "transcript-stop")

    events = served(tone_recognizer, use)
    starts = [VoiceStarted.from_event(event).timestamp for event in events if VoiceStarted.is_type(event.type)]
    stops = [VoiceStopped.from_event(event).timestamp for event in events if VoiceStopped.is_type(event.type)]
    seconds = len(tones.say("hello")) / RATE
    assert starts == pytest.approx([1160, 1000 * (3.16 + seconds)], abs=60)
    assert stops == pytest.approx([1000 * (1 + seconds), 1000 * len(samples) / RATE], abs=60)
    assert transcript(events) == "hello zoo"


REFUSED = {
    "no rate": (Event("audio-start", {"width": 2, "channels": 1}), "with rate None"),
    "rate of text": (Event("audio-start", {"rate": "fast", "width": 2, "channels": 1}), "with rate fast"),
    "wrong rate": (AudioStart(rate=7, width=2, channels=1).event(), "with rate 7"),
    "wrong width": (AudioChunk(rate=8000, width=9, channels=1, audio=b"").event(), "with width 9"),
    "many channels": (AudioStart(rate=8000, width=2, channels=10_000).event(), "with channels 10000"),
    "giant": (AudioChunk(rate=8000, width=2, channels=1, audio=bytes(3 << 20)).event(), "at most 1,048,576 bytes"),
    "many names": (Detect(names=["w"] * 60_000).event(), "data_length 300,011; this server takes at most 272,384 bytes"),
    "many commas": (Detect(names=["w"] * 20_000).event(), "not a JSON object"),
    "many wake words": (Event("detect", {"names": ["zoo"] * 9_000}), "9000 wake words; this server listens for at most 20"),
    "wrong model": (Transcribe(name="/etc/passwd").event(), "no model '/etc/passwd' here"),
    "wrong language": (Transcribe(language="fr").event(), "no model here understands 'fr'"),
    "wrong program": (SelectProgram("whisper").event(), "no program 'whisper' here"),
    "name of numbers": (Event("transcribe", {"name": [1]}), "wanted a text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_said_and_nobody_else_is_disturbed(tone_recognizer, case, caplog):
    event, message = REFUSED[case]

    async def use(port, hub):
        other = asyncio.create_task(transcribed(port, tones.say("hello abba zoo")))
        async with client(port) as connection:
            try:
                await connection.write_event(event)
                if event.type in ("transcribe", "detect"):
                    await connection.write_event(AudioStart(rate=8000, width=2, channels=1).event())
            except ConnectionError:
                pass
            events = await told(connection, "error")
            assert await connection.read_event() is None, "the connection is closed"
        return events, transcript(await other)

    with caplog.at_level("INFO"):
        events, heard = served(tone_recognizer, use)
    assert events[-1].type == "error" and message in Error.from_event(events[-1]).text
    assert heard == "hello abba zoo"
    assert sum("refused" in record.message for record in caplog.records) == 1
    assert "hello abba" not in caplog.text


def test_a_rate_that_changes_within_sound_is_refused(tone_recognizer):
    async def use(port, hub):
        async with client(port) as connection:
            await speak(connection, tones.say("no"), stop=False)
            await connection.write_event(AudioChunk(rate=16_000, width=2, channels=1, audio=b"").event())
            return await told(connection, "error")

    assert "16000 Hz within sound at 8000 Hz" in served(tone_recognizer, use)[-1].data["text"]


def test_more_streams_than_there_is_room_for(tone_recognizer):
    async def use(port, hub):
        async with client(port) as first, client(port) as second:
            await speak(first, tones.say("zoo"), stop=False)
            while not len(hub):
                await asyncio.sleep(0.01)
            await speak(second, tones.say("no"))
            refused = await told(second, "error")
            await first.write_event(AudioStop().event())
            return refused, transcript(await told(first, "transcript-stop"))

    refused, heard = served(tone_recognizer, use, Limits(streams=1))
    assert refused[-1].data["code"] == "busy" and heard == "zoo"


def test_clients_that_say_nothing_or_leave(tone_recognizer):
    async def use(port, hub):
        async with client(port) as silent, client(port) as leaving:
            await speak(leaving, tones.say("hello"), stop=False)
            leaving._writer.transport.abort()
            events = await told(silent, "error")
        half_open, half = await asyncio.open_connection("127.0.0.1", port)
        half.write(b'{"type": "audio-chunk", "payload_length": 1000}\nabc')
        half.write_eof()
        assert await half_open.read() == b""
        half.close()
        while len(hub):
            await asyncio.sleep(0.01)
        return events, transcript(await transcribed(port, tones.say("yes")))

    events, heard = served(tone_recognizer, use, Limits(idle_seconds=0.3))
    assert events[-1].data["code"] == "limit" and heard == "yes"


def test_the_last_words_come_when_the_server_is_stopped(tone_recognizer):
    async def use(port, hub):
        async with client(port) as connection:
            await connection.write_event(Transcribe().event())
            await speak(connection, tones.say("hello zoo"), stop=False)
            while hub.metrics.sound_seconds < len(tones.say("hello zoo")) / RATE - 0.1:
                await asyncio.sleep(0.01)
            stopping = asyncio.create_task(hub.drain(0.1, 5))
            events = await told(connection, "error")
            await stopping
            return events

    events = served(tone_recognizer, use)
    assert transcript(events) == "hello zoo" and events[-1].data["code"] == "stopping"


def test_a_unix_socket(tone_recognizer, tmp_path):
    path = tmp_path / "asr"

    async def use(port, hub):
        async with AsyncUnixClient(path, read_timeout=10) as connection:
            await speak(connection, tones.say("abba"))
            return transcript(await told(connection, "transcript-stop"))

    assert served(tone_recognizer, use, uri=f"unix://{path}") == "abba"
    assert not path.exists()


def test_garbage_of_any_kind_ends_in_an_answer_or_a_close(tone_recognizer, caplog):
    """Two thousand frames: random bytes, events cut, events whose fields are anything."""
    dice = random.Random(7)
    values = [None, -1, 0, 1, 2, 2.5, 8000, 10**30, "x", "", [], {}, [[]], True, {"a": 1}, "\ud800", "é" * 50]
    types = ["audio-start", "audio-chunk", "audio-stop", "transcribe", "detect", "describe", "ping", "select-program", "", "?"]
    names = ["rate", "width", "channels", "timestamp", "name", "names", "language", "text", "transcript_names"]

    def frame():
        kind = dice.random()
        if kind < 0.2:
            return dice.randbytes(dice.randrange(200)) + b"\n"
        data = {name: dice.choice(values) for name in dice.sample(names, dice.randrange(len(names)))}
        payload = dice.randbytes(dice.choice([0, 1, 2, 320]))
        if kind < 0.8:
            data |= {"rate": dice.choice([8000, 16_000]), "width": 2, "channels": 1}
            payload = payload[: len(payload) // 2 * 2]
        body = json.dumps(data).encode()
        header = {"type": dice.choice(types), "data_length": len(body), "payload_length": len(payload)}
        if kind > 0.95:
            header[dice.choice(list(header))] = dice.choice(values)
        line = json.dumps(header).encode() + b"\n" + body + payload
        return line[: dice.randrange(len(line))] if kind > 0.97 else line

    async def attack(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for _ in range(20):
                writer.write(frame())
                await writer.drain()
            writer.write_eof()
            await asyncio.wait_for(reader.read(), 20)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def use(port, hub):
        for _ in range(10):
            await asyncio.gather(*(attack(port) for _ in range(10)))
        return transcript(await transcribed(port, tones.say("hello zoo")))

    with caplog.at_level("INFO"):
        assert served(tone_recognizer, use) == "hello zoo"
    assert not [record.exc_text or record.message for record in caplog.records if record.levelname == "ERROR"]
