"""OpenAI's Realtime interface by the openai package's own client, every server event checked against its types."""

import asyncio
import base64
import json
import random

import aiohttp
import numpy as np
import pytest
import soundfile

pytest.importorskip("onnx")
pytest.importorskip("aiohttp")
pytest.importorskip("openai")
pytest.importorskip("websockets")
import openai
import tone_language as tones
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from web_server import served

from edgeseq.serve import realtime
from edgeseq.serve.access import Access
from edgeseq.serve.g711 import A_LAW, MU_LAW, from_g711
from edgeseq.serve.limits import Limits

RATE = 24_000
EVENTS = TypeAdapter(RealtimeServerEvent)
COMPLETED = "conversation.item.input_audio_transcription.completed"
DELTA = "conversation.item.input_audio_transcription.delta"


def pcm(samples):
    return np.round(samples * 32767).astype("<i2").tobytes()


def spoken(text, rate=RATE):
    """Words, `|` a second of silence, and the silence that ends the last of them."""
    return np.concatenate([part for words in text.split("|") for part in (tones.say(words, rate), tones.silence(1.0, rate))])


def session(**sound):
    return {"type": "transcription", "audio": {"input": sound}}


def conversed(recognizer, talk, limits=Limits(), query=None, **kwargs):  # noqa: B008
    """Let `talk(connection)` talk to a server through OpenAI's client."""

    async def use(port, hub):
        client = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="secret", max_retries=0)
        asked = {"intent": "transcription"} | (query or {})
        async with client, client.realtime.connect(extra_query=asked) as connection:
            return await talk(connection)

    return served(recognizer, [realtime], use, limits, **kwargs)


async def told(connection, last, n=1):
    """Receive events up to the n-th of the type `last`, each as the package's types want it."""
    events = []
    while n:
        event = await asyncio.wait_for(connection.recv(), 20)
        EVENTS.validate_python(json.loads(event.to_json()))
        events.append(event)
        n -= event.type == last
    return events


async def append(connection, content, size=4800):
    for first in range(0, len(content), size):
        await connection.input_audio_buffer.append(audio=base64.b64encode(content[first : first + size]).decode())


def test_the_server_tells_turns_and_text_while_one_speaks(tone_recognizer):
    async def talk(connection):
        (created,) = await told(connection, "session.created")
        await connection.session.update(session=session(transcription={"model": "tones"}))
        (updated,) = await told(connection, "session.updated")
        await append(connection, pcm(spoken("hello abba zoo|yes")))
        return created, updated, await told(connection, COMPLETED, 2)

    created, updated, events = conversed(tone_recognizer, talk)
    assert created.session.type == "transcription" and updated.session.audio.input.transcription.model == "tones"
    assert updated.session.audio.input.turn_detection.silence_duration_ms == 500
    kinds = [event.type for event in events]
    first = kinds[: kinds.index(COMPLETED) + 1]
    assert first[0] == "input_audio_buffer.speech_started" and first.count(DELTA) >= 2
    assert first[-5:] == [
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        COMPLETED,
    ]
    done = [event for event in events if event.type == COMPLETED]
    assert [event.transcript for event in done] == ["hello abba zoo", "yes"]
    for event in done:
        assert event.transcript == "".join(e.delta for e in events if e.type == DELTA and e.item_id == event.item_id)
    starts = [event.audio_start_ms for event in events if event.type == "input_audio_buffer.speech_started"]
    stops = [event.audio_end_ms for event in events if event.type == "input_audio_buffer.speech_stopped"]
    n_first = len(tones.say("hello abba zoo", RATE)) / RATE
    assert starts == pytest.approx([0, 1000 * (n_first + 1 + 0.16 - 0.3)], abs=120)
    assert stops[0] == pytest.approx(1000 * (n_first + 0.5), abs=120)
    commits = [event for event in events if event.type == "input_audio_buffer.committed"]
    assert [commit.previous_item_id for commit in commits] == [None, done[0].item_id]
    assert len({event.event_id for event in events}) == len(events)


def test_the_client_commits(tone_recognizer):
    async def talk(connection):
        await connection.session.update(session=session(turn_detection=None))
        await told(connection, "session.updated")
        answers = []
        for text in ("hello|abba", "zoo"):
            await append(connection, pcm(spoken(text)))
            await connection.input_audio_buffer.commit()
            answers.append(await told(connection, COMPLETED))
        await append(connection, pcm(spoken("yes")))
        await connection.input_audio_buffer.clear()
        await told(connection, "input_audio_buffer.cleared")
        await append(connection, pcm(tones.silence(0.5, RATE)))
        await connection.input_audio_buffer.commit()
        answers.append(await told(connection, COMPLETED))
        await connection.input_audio_buffer.commit()
        return answers, (await told(connection, "error"))[-1].error

    answers, error = conversed(tone_recognizer, talk)
    assert [events[-1].transcript for events in answers] == ["hello abba", "zoo", ""]
    assert not any("speech" in event.type for events in answers for event in events)
    assert [events[-1].usage.seconds for events in answers][1:] == pytest.approx(
        [len(spoken("zoo")) / RATE - 0.2, 0.5], abs=0.15
    )
    assert error.code == "input_audio_buffer_commit_empty"


def test_turns_and_commits_together(tone_recognizer):
    async def talk(connection):
        await append(connection, pcm(tones.say("hello", RATE)))
        await connection.input_audio_buffer.commit()
        return await told(connection, COMPLETED)

    events = conversed(tone_recognizer, talk)
    assert events[-1].transcript == "hello"
    assert [event.type for event in events].count("input_audio_buffer.committed") == 1


def test_a_shorter_silence_ends_a_turn(tone_recognizer):
    samples = np.concatenate([tones.say("hello", RATE), tones.silence(0.5, RATE), tones.say("zoo", RATE)])

    async def talk(connection, silence_ms):
        turns = {"type": "server_vad", "silence_duration_ms": silence_ms, "threshold": 0.3, "prefix_padding_ms": 0}
        await connection.session.update(session=session(turn_detection=turns))
        await append(connection, pcm(samples))
        await connection.input_audio_buffer.commit()
        return [event.transcript for event in await told(connection, COMPLETED) if event.type == COMPLETED]

    assert conversed(tone_recognizer, lambda connection: talk(connection, 300)) == ["hello"]
    assert conversed(tone_recognizer, lambda connection: talk(connection, 1500)) == ["hello zoo"]


@pytest.mark.parametrize(("kind", "law"), [("audio/pcmu", "ULAW"), ("audio/pcma", "ALAW")])
def test_telephone_sound(tone_recognizer, kind, law, tmp_path):
    path = tmp_path / "a.raw"
    soundfile.write(path, spoken("hello zoo", 8000), 8000, format="RAW", subtype=law)
    content = path.read_bytes()
    decoded, _ = soundfile.read(path, dtype="float32", format="RAW", subtype=law, channels=1, samplerate=8000)
    assert np.array_equal(from_g711(content, MU_LAW if law == "ULAW" else A_LAW), decoded)

    async def talk(connection):
        await connection.session.update(session=session(format={"type": kind}))
        await append(connection, content)
        return (await told(connection, COMPLETED))[-1].transcript

    assert conversed(tone_recognizer, talk) == "hello zoo"


def test_keywords_are_heard_more_readily(tone_recognizer):
    time = np.arange(round(tones.TONE_SECONDS * RATE)) / RATE
    samples = tones.say("zoo", RATE)
    both = [np.sin(2 * np.pi * tones.FREQUENCIES[tones.LETTERS.index(letter)] * time) for letter in "oe"]
    samples[-len(time) :] = 0.25 * sum(both)

    async def talk(connection):
        await connection.session.update(session=session(transcription={"model": "tones", "keywords": ["Zoe"]}))
        await append(connection, pcm(samples))
        await connection.input_audio_buffer.commit()
        return (await told(connection, COMPLETED))[-1].transcript

    assert conversed(tone_recognizer, talk) == "zoe"


def test_the_form_before_todays(tone_recognizer):
    async def use(port, hub):
        async with aiohttp.ClientSession() as http:
            url, protocols = (
                f"ws://127.0.0.1:{port}/v1/realtime?intent=transcription",
                ["realtime", "openai-insecure-api-key.secret"],
            )
            async with http.ws_connect(url, headers={"OpenAI-Beta": "realtime=v1"}, protocols=protocols) as ws:
                assert ws.protocol == "realtime"
                created = await ws.receive_json()
                sound = {"input_audio_format": "pcm16", "input_audio_transcription": {"model": "tones", "language": "x-tones"}}
                await ws.send_json({"type": "transcription_session.update", "session": sound})
                updated = await ws.receive_json()
                audio = base64.b64encode(pcm(spoken("zoo"))).decode()
                await ws.send_json({"type": "input_audio_buffer.append", "audio": audio})
                kinds = []
                while not kinds or kinds[-1] != COMPLETED:
                    event = await ws.receive_json(timeout=20)
                    kinds.append(event["type"])
                return created, updated, kinds, event["transcript"]

    created, updated, kinds, text = served(tone_recognizer, [realtime], use, access=Access("secret"))
    assert created["type"] == "transcription_session.created" and created["session"]["input_audio_format"] == "pcm16"
    assert updated["type"] == "transcription_session.updated" and "conversation.item.created" in kinds and text == "zoo"


def test_a_wrong_token_is_refused(tone_recognizer):
    async def talk(connection):
        return None

    with pytest.raises(Exception, match="401"):
        conversed(tone_recognizer, talk, access=Access("another"))
    assert conversed(tone_recognizer, talk, access=Access("secret")) is None


FAULTY = [
    ("no json", "invalid_json"),
    (b"\0\1", "invalid_json"),
    ("[1]", "invalid_json"),
    ("[" * 50_000, "invalid_json"),
    ({"type": "response.create"}, "unknown_event"),
    ({"type": ["?"]}, "unknown_event"),
    ({"type": "input_audio_buffer.append"}, "invalid_value"),
    ({"type": "input_audio_buffer.append", "audio": "?"}, "invalid_base64"),
    ({"type": "input_audio_buffer.append", "audio": base64.b64encode(b"fLaC" + bytes(20)).decode()}, "invalid_value"),
    ({"type": "session.update"}, "invalid_value"),
    ({"type": "session.update", "session": {"type": "realtime"}}, "invalid_value"),
    ({"type": "session.update", "session": session(format={"type": "mp3"})}, "invalid_value"),
    ({"type": "session.update", "session": session(format={"type": "audio/pcm", "rate": 1})}, "invalid_value"),
    ({"type": "session.update", "session": session(turn_detection={"type": "semantic_vad"})}, "invalid_value"),
    ({"type": "session.update", "session": session(turn_detection={"silence_duration_ms": 0})}, "invalid_value"),
    ({"type": "session.update", "session": session(transcription={"model": "whisper-1"})}, "invalid_value"),
    ({"type": "session.update", "session": session(transcription={"model": "tones", "language": "fr"})}, "invalid_value"),
    ({"type": "transcription_session.update", "session": {"input_audio_format": ["mp3"]}}, "invalid_value"),
]


def test_faulty_events_are_told_and_the_conversation_goes_on(tone_recognizer, caplog):
    async def use(port, hub):
        async with aiohttp.ClientSession() as http, http.ws_connect(f"ws://127.0.0.1:{port}/v1/realtime") as ws:
            assert (await ws.receive_json())["type"] == "session.created"
            codes = []
            for content, _ in FAULTY:
                if isinstance(content, bytes):
                    await ws.send_bytes(content)
                else:
                    await ws.send_str(content if isinstance(content, str) else json.dumps(content | {"event_id": "mine"}))
                event = await ws.receive_json(timeout=10)
                EVENTS.validate_python(event)
                assert event["type"] == "error" and event["error"]["message"]
                assert event["error"]["event_id"] == ("mine" if isinstance(content, dict) else None)
                codes.append(event["error"]["code"])
            await ws.send_json({"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm(spoken("zoo"))).decode()})
            while (event := await ws.receive_json(timeout=10))["type"] != COMPLETED:
                pass
            return codes, event["transcript"]

    with caplog.at_level("INFO"):
        codes, text = served(tone_recognizer, [realtime], use)
    assert codes == [code for _, code in FAULTY] and text == "zoo"
    assert sum("refused" in record.message for record in caplog.records) == 1 and "zoo" not in caplog.text


@pytest.mark.parametrize(
    ("limits", "query", "code", "message"),
    [
        (Limits(streams=0), {}, 1013, "takes no more"),
        (Limits(idle_seconds=0.2), {}, 1008, "nothing came"),
        (Limits(stream_seconds=1.0), {}, 1008, "longer than the 1 s"),
        (Limits(message_bytes=5000), {}, 1009, ""),
        (Limits(), {"model": "whisper-1"}, 1008, "no model 'whisper-1'"),
    ],
)
def test_what_ends_a_conversation_is_said(tone_recognizer, limits, query, code, message):
    async def use(port, hub):
        url = f"ws://127.0.0.1:{port}/v1/realtime"
        async with aiohttp.ClientSession() as http, http.ws_connect(url, params=query) as ws:
            if not query and limits.streams and limits.idle_seconds > 1:
                audio = base64.b64encode(pcm(tones.silence(2, RATE))).decode()
                await ws.send_json({"type": "input_audio_buffer.append", "audio": audio})
            events = [json.loads(message.data) async for message in ws]
            return events, ws.close_code

    events, closed = served(tone_recognizer, [realtime], use, limits)
    assert closed == code
    if message:
        assert events[-1]["type"] == "error" and message in events[-1]["error"]["message"]


def test_a_client_that_only_sends_faults_is_left(tone_recognizer):
    async def use(port, hub):
        async with aiohttp.ClientSession() as http, http.ws_connect(f"ws://127.0.0.1:{port}/v1/realtime") as ws:
            for _ in range(realtime.MOST_FAULTS + 1):
                await ws.send_str("?")
            return [message.type async for message in ws], ws.close_code

    received, code = served(tone_recognizer, [realtime], use)
    assert code == 1008 and len(received) == 1 + realtime.MOST_FAULTS + 1


def test_random_events_end_in_answers_or_a_close(tone_recognizer, caplog):
    """Three thousand events of forty clients whose fields are anything, beside one that speaks."""
    dice = random.Random(11)
    values = [
        None,
        -1,
        0,
        1,
        500,
        2.5,
        10**30,
        "x",
        "",
        "server_vad",
        "audio/pcm",
        "tones",
        [],
        {},
        [[]],
        True,
        "\ud800",
        "AAAA",
    ]
    kinds = [
        "input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear",
        "session.update", "transcription_session.update", "?",
    ]  # fmt: skip
    names = ["type", "rate", "model", "language", "prompt", "keywords", "silence_duration_ms", "threshold", "prefix_padding_ms"]

    def thing(depth=0):
        if depth > 3 or dice.random() < 0.4:
            return dice.choice(values)
        keys = dice.sample([*names, "audio", "input", "format", "transcription", "turn_detection"], 4)
        return {key: thing(depth + 1) for key in keys}

    def event():
        draw = dice.random()
        if draw < 0.1:
            return dice.randbytes(dice.randrange(50)).decode("latin-1")
        if draw < 0.4:
            audio = base64.b64encode(dice.randbytes(dice.randrange(3000))).decode()
            return json.dumps({"type": "input_audio_buffer.append", "audio": audio})
        sound = {name: thing(2) for name in dice.sample(["format", "transcription", "turn_detection"], 2)}
        content = {
            "type": dice.choice(kinds),
            "session": session(**sound) if dice.random() < 0.6 else thing(),
            "audio": thing(3),
        }
        return json.dumps(content)

    async def attack(http, port):
        async with http.ws_connect(f"ws://127.0.0.1:{port}/v1/realtime") as ws:
            for _ in range(75):
                if ws.closed:
                    return
                await ws.send_str(event())
            if dice.random() < 0.5:
                await ws.close()

    async def speak(http, port):
        async with http.ws_connect(f"ws://127.0.0.1:{port}/v1/realtime") as ws:
            content = pcm(spoken("hello abba zoo"))
            for first in range(0, len(content), 1600):
                audio = base64.b64encode(content[first : first + 1600]).decode()
                await ws.send_json({"type": "input_audio_buffer.append", "audio": audio})
                await asyncio.sleep(0.005)
            while (event := await ws.receive_json(timeout=20))["type"] != COMPLETED:
                pass
            return event["transcript"]

    async def use(port, hub):
        async with aiohttp.ClientSession() as http:
            speaking = asyncio.create_task(speak(http, port))
            for _ in range(4):
                await asyncio.gather(*(attack(http, port) for _ in range(10)))
            return await speaking

    with caplog.at_level("INFO"):
        assert served(tone_recognizer, [realtime], use) == "hello abba zoo"
    assert not [record.exc_text or record.message for record in caplog.records if record.levelname == "ERROR"]
