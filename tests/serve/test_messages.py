"""Messages are not samples: however sound is cut into them, and however a client ends, no word is lost."""

import asyncio
import base64
import io
import json

import aiohttp
import numpy as np
import pytest
import soundfile

pytest.importorskip("onnx")
pytest.importorskip("aiohttp")
pytest.importorskip("wyoming")
import tone_language as tones
from serving import connected, pcm16, serving

from edgeseq.serve.pcm import Samples, as_text, from_pcm16, pcm16_samples

RATE = tones.SAMPLE_RATE
SAID = "hello abba zoo"
ODD = pcm16(tones.say(SAID)) + b"\x01"


def cut(content, size):
    return [content[first : first + size] for first in range(0, len(content), size)]


def wav(samples, rate=RATE, **options):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", **options)
    return file.getvalue()


def served(recognizer, protocols, use, **limits):
    async def run():
        async with serving(recognizer, protocols, **limits) as server:
            return await use(server)

    return asyncio.run(run())


# Bytes to samples


@pytest.mark.parametrize("size", [1, 2, 3, 43, 44, 45, 333, 100_000])
@pytest.mark.parametrize("options", [{}, {"subtype": "FLOAT"}, {"subtype": "PCM_24"}, {"n_channels": 2}])
def test_a_wav_is_its_samples_however_it_is_cut(size, options):
    samples = tones.say("a")
    content = np.stack([samples] * options.get("n_channels", 1), axis=1)
    note = b"LIST\x04\0\0\0note"
    sound = Samples(from_pcm16, 2)
    parts = [sound.take(piece) for piece in cut(wav(content, 16_000, subtype=options.get("subtype")) + note, size)]
    np.testing.assert_allclose(np.concatenate(parts), samples, atol=1e-4)
    assert sound.rate == 16_000


def test_a_second_wav_behind_the_first_is_heard_too():
    sound = pcm16_samples()
    samples = tones.say("a")
    parts = [sound.take(wav(samples)), sound.take(wav(samples))]
    np.testing.assert_allclose(np.concatenate(parts), np.concatenate([samples, samples]), atol=1e-4)


def test_samples_that_begin_like_a_wav_are_samples():
    sound = pcm16_samples()
    assert len(sound.take(b"RI")) + len(sound.take(b"XX" + bytes(100))) == 52


def test_text_in_binary_messages():
    assert as_text(b'{"eof" : 1}') == '{"eof" : 1}'
    for message in (b"{" + bytes(99), b"{}" * 3000, b"[1]", b"", b'{"a": \xff}'):
        assert as_text(message) is message
    assert as_text('{"eof" : 1}') == '{"eof" : 1}'


# Vosk


async def vosk(server, messages):
    """Send messages; gives the texts, the close code."""
    texts = []
    async with connected(server, "vosk") as ws:
        for message in messages:
            await (ws.send_bytes(message) if isinstance(message, bytes) else ws.send_str(message))
        async for reply in ws:
            texts.append(json.loads(reply.data).get("text", ""))
        return " ".join(filter(None, texts)), ws.close_code


@pytest.mark.parametrize("size", [1001, 4801, 100_000])
@pytest.mark.parametrize("end", ['{"eof" : 1}', b'{"eof" : 1}', b' {"eof" : 1}\n'.strip()])
def test_vosk_odd_bytes_wait_and_a_binary_eof_is_one(tone_recognizer, size, end):
    assert served(tone_recognizer, ["vosk"], lambda server: vosk(server, [*cut(ODD, size), end])) == (SAID, 1000)


@pytest.mark.parametrize("strange", ["bye", '{"end": 1}', '{"config": 5}', b"", '{"config": {"model": "none"}}'])
def test_vosk_words_come_before_a_refusal(tone_recognizer, strange):
    text, code = served(tone_recognizer, ["vosk"], lambda server: vosk(server, [*cut(ODD, 1000), strange, '{"eof" : 1}']))
    assert text == SAID and code == (1000 if strange == b"" else 1008)


@pytest.mark.parametrize("limits", [{"idle_seconds": 0.5}, {"stream_seconds": 2.0}])
def test_vosk_words_come_before_a_limit(tone_recognizer, limits):
    said = cut(pcm16(tones.say("yes")), 1000) + cut(pcm16(tones.silence(2)), 1000) * ("stream_seconds" in limits)
    assert served(tone_recognizer, ["vosk"], lambda server: vosk(server, said), **limits) == ("yes", 1008)


TOO_LARGE = bytes(3 << 20)
"""three times what a message may have: it is still coming when the words go back"""


def test_vosk_words_come_before_a_message_is_refused_that_is_too_large(tone_recognizer):
    said = [*cut(ODD[:-1], 1000), TOO_LARGE]
    assert served(tone_recognizer, ["vosk"], lambda server: vosk(server, said)) == (SAID, 1009)


@pytest.mark.parametrize(("rate", "options"), [(8000, {}), (16_000, {}), (48_000, {"subtype": "FLOAT"})])
def test_vosk_understands_a_wav_by_its_header(tone_recognizer, rate, options):
    content = wav(tones.say(SAID, rate), rate, **options)
    assert served(tone_recognizer, ["vosk"], lambda server: vosk(server, [*cut(content, 4000), '{"eof":1}'])) == (SAID, 1000)


# sherpa


async def sherpa(server, messages, query="?sample_rate=8000"):
    texts = []
    async with connected(server, "sherpa", query) as ws:
        for message in messages:
            await (ws.send_bytes(message) if isinstance(message, bytes) else ws.send_str(message))
        async for reply in ws:
            if reply.data != "Done!" and (told := json.loads(reply.data))["is_final"]:
                texts.append(told["text"])
        return " ".join(filter(None, texts)), ws.close_code


@pytest.mark.parametrize("end", ["Done", b"Done"])
def test_sherpa_parts_of_samples_wait(tone_recognizer, end):
    content = tones.say(SAID).astype("<f4").tobytes() + b"\0\0\0"
    for size in (1001, 4803, 1 << 19):
        assert (
            served(tone_recognizer, ["sherpa"], lambda server, size=size: sherpa(server, [*cut(content, size), end]))[0] == SAID
        )


@pytest.mark.parametrize("strange", ["bye", np.array([np.nan], "<f4").tobytes()])
def test_sherpa_words_come_before_a_refusal(tone_recognizer, strange):
    content = tones.say(SAID).astype("<f4").tobytes()
    assert served(tone_recognizer, ["sherpa"], lambda server: sherpa(server, [*cut(content, 4000), strange])) == (SAID, 1008)


def test_sherpa_words_come_before_a_message_is_refused_that_is_too_large(tone_recognizer):
    said = [*cut(tones.say(SAID).astype("<f4").tobytes(), 4000), TOO_LARGE]
    assert served(tone_recognizer, ["sherpa"], lambda server: sherpa(server, said)) == (SAID, 1009)


def test_sherpa_understands_a_wav_by_its_header(tone_recognizer):
    content = wav(tones.say(SAID, 16_000), 16_000)
    assert served(tone_recognizer, ["sherpa"], lambda server: sherpa(server, [*cut(content, 4000), "Done"]))[0] == SAID


@pytest.mark.parametrize("protocol", ["vosk", "sherpa"])
@pytest.mark.parametrize("kind", ["FLAC", "OGG", "AIFF", "AU", "CAF", "MP3"])
def test_other_kinds_of_files_are_refused_by_name(tone_recognizer, protocol, kind):
    file = io.BytesIO()
    soundfile.write(file, tones.say(SAID, 16_000), 16_000, format=kind)

    async def use(server):
        async with connected(server, protocol) as ws:
            await ws.send_bytes(file.getvalue())
            return await ws.receive()

    message = served(tone_recognizer, [protocol], use)
    assert message.type is aiohttp.WSMsgType.CLOSE and "looks like" in message.extra


# The page and Realtime


@pytest.mark.parametrize("end", ['{"type": "finish"}', b'{"type": "finish"}', "strange", TOO_LARGE])
def test_the_page_keeps_odd_bytes_and_tells_words_before_it_refuses(tone_recognizer, end):
    async def use(server):
        async with connected(server, "http", "listen") as ws:
            await ws.send_json({"rate": RATE})
            for piece in cut(ODD, 1001):
                await ws.send_bytes(piece)
            await (ws.send_bytes(end) if isinstance(end, bytes) else ws.send_str(end))
            finals = []
            async for message in ws:
                told = json.loads(message.data)
                finals += [told["text"]] if told["type"] == "final" else []
                if told["type"] in ("finished", "error"):
                    break
            return " ".join(finals)

    assert served(tone_recognizer, ["http"], use) == SAID


@pytest.mark.parametrize(("content", "rate"), [(ODD, RATE), (wav(tones.say(SAID, 16_000), 16_000), RATE)], ids=["odd", "wav"])
def test_realtime_keeps_odd_bytes(tone_recognizer, content, rate):
    sound = {"format": {"type": "audio/pcm", "rate": rate}, "turn_detection": None}

    async def use(server):
        async with connected(server, "http", "v1/realtime?intent=transcription") as ws:
            await ws.send_json({"type": "session.update", "session": {"type": "transcription", "audio": {"input": sound}}})
            for piece in cut(content, 4801):
                event = {"type": "input_audio_buffer.append", "audio": base64.b64encode(piece).decode()}
                await ws.send_bytes(json.dumps(event).encode()) if len(piece) % 2 else await ws.send_json(event)
            await ws.send_json({"type": "input_audio_buffer.commit"})
            async for message in ws:
                told = json.loads(message.data)
                assert told["type"] != "error", told
                if told["type"].endswith("completed"):
                    break
            return told["transcript"]

    assert served(tone_recognizer, ["http"], use) == SAID


# Wyoming

FORM = {"rate": RATE, "width": 2, "channels": 1}


def event(kind, data=None, payload=b""):
    return json.dumps({"type": kind, "data": data or {}, "payload_length": len(payload)}).encode() + b"\n" + payload


async def wyoming(server, content, last=("transcript-stop", "not-detected")):
    """Send bytes, end, and read all that comes: (type, data) of each event."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["wyoming"])
    writer.write(content)
    await writer.drain()
    told = []
    async with asyncio.timeout(10):
        while line := await reader.readline():
            header = json.loads(line)
            data = await reader.readexactly(header.get("data_length") or 0)
            told.append((header["type"], json.loads(data) if data else {}))
            if header["type"] in last:
                break
    writer.close()
    return told


def transcript(told):
    (text,) = [data["text"] for kind, data in told if kind == "transcript"]
    return text


@pytest.mark.parametrize("size", [1001, 2049])
@pytest.mark.parametrize("channels", [1, 2])
def test_wyoming_parts_of_samples_wait(tone_recognizer, size, channels):
    form = FORM | {"channels": channels}
    content = pcm16(np.repeat(tones.say(SAID), channels)) + b"\1"
    sent = event("transcribe") + event("audio-start", form)
    sent += b"".join(event("audio-chunk", form, piece) for piece in cut(content, size)) + event("audio-stop")
    assert transcript(served(tone_recognizer, ["wyoming"], lambda server: wyoming(server, sent))) == SAID


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (event("transcribe"), ["transcript-start", "transcript", "transcript-stop"]),
        (event("transcribe", {"language": "x-tones"}), ["transcript-start", "transcript", "transcript-stop"]),
        (event("detect", {"names": ["hello"]}), ["not-detected"]),
        (b"", ["transcript-start", "transcript", "transcript-stop"]),
    ],
)
def test_wyoming_a_stop_without_sound_is_answered_at_once(tone_recognizer, asked, answer):
    told = served(tone_recognizer, ["wyoming"], lambda server: wyoming(server, asked + event("audio-stop")))
    assert [kind for kind, _ in told] == answer
    assert all(data.get("text", "") == "" for _, data in told)


def test_wyoming_a_second_stop_is_no_request(tone_recognizer):
    chunk = event("audio-chunk", FORM, pcm16(tones.say("yes")))
    sent = event("transcribe") + chunk + event("audio-stop") * 2 + event("ping")
    told = served(tone_recognizer, ["wyoming"], lambda server: wyoming(server, sent, last=("pong",)))
    assert [kind for kind, _ in told].count("transcript") == 1 and transcript(told) == "yes"


@pytest.mark.parametrize(
    "last",
    [
        event("audio-chunk", FORM | {"rate": 16_000}, b"\0\0"),
        b"no json\n",
        event("select-program", {"name": "other"}),
        event("audio-chunk", {"width": 2}),
    ],
)
def test_wyoming_words_come_before_a_refusal(tone_recognizer, last):
    chunks = b"".join(event("audio-chunk", FORM, piece) for piece in cut(ODD, 2000))
    told = served(tone_recognizer, ["wyoming"], lambda server: wyoming(server, chunks + last, last=("error",)))
    assert transcript(told) == SAID and told[-1][0] == "error"


def test_wyoming_a_client_that_only_stops_sending_gets_its_words(tone_recognizer):
    chunks = b"".join(event("audio-chunk", FORM, piece) for piece in cut(ODD, 2000))

    async def use(server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["wyoming"])
        writer.write(event("transcribe") + chunks)
        writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()

    assert SAID.encode() in served(tone_recognizer, ["wyoming"], use)


# OpenAI's forms


@pytest.mark.parametrize("name", ["timestamp_granularities", "timestamp_granularities[]", "timestamp_granularities[0]"])
@pytest.mark.parametrize("language", ["auto", "AUTO", "", "x-tones"])
def test_lists_are_numbered_or_not_and_languages_may_be_any(tone_recognizer, name, language):
    async def use(server):
        form = aiohttp.FormData()
        form.add_field("file", wav(tones.say("yes no")), filename="x.wav")
        for field, value in (("response_format", "verbose_json"), (name, "word"), ("language", language)):
            form.add_field(field, value)
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{server.ports['http']}/v1/audio/transcriptions"
            async with session.post(url, data=form) as answer:
                return answer.status, await answer.json()

    status, answer = served(tone_recognizer, ["http"], use)
    assert status == 200 and [word["word"] for word in answer["words"]] == ["yes", "no"]


def test_an_unfinished_upload_is_heard_to_its_end(tone_recognizer):
    content = bytearray(wav(tones.say("yes no")))
    content[40:44] = bytes(4)

    async def use(server):
        form = aiohttp.FormData()
        form.add_field("file", bytes(content), filename="x.wav")
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{server.ports['http']}/v1/audio/transcriptions"
            async with session.post(url, data=form) as answer:
                return (await answer.json())["text"]

    assert served(tone_recognizer, ["http"], use) == "yes no"
