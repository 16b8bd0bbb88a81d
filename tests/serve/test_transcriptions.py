"""OpenAI's REST interface by the openai package's own client, against a real server."""

import asyncio
import io
import random
import shutil
import subprocess
import tempfile

import aiohttp
import numpy as np
import pytest
import soundfile

pytest.importorskip("onnx")
pytest.importorskip("aiohttp")
pytest.importorskip("openai")
import openai
import srt
import tone_language as tones
import webvtt
from web_server import served

from edgeseq.errors import AudioError
from edgeseq.serve import transcriptions, uploads
from edgeseq.serve.access import Access
from edgeseq.serve.limits import Limits
from edgeseq.serve.uploads import read_upload

RATE = tones.SAMPLE_RATE
HAS_FFMPEG = shutil.which("ffmpeg") is not None


def recording(text="hello zoo", form="WAV", rate=RATE, **how):
    """Write spoken words as a file's bytes; `|` is a second of silence."""
    parts = [part for words in text.split("|") for part in (tones.say(words, rate), tones.silence(1.2, rate))]
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(parts[:-1]), rate, format=form, **how)
    return file.getvalue()


def answered(recognizer, ask, limits=Limits(), **kwargs):  # noqa: B008
    """Let `ask(client)` ask a server through OpenAI's client."""

    async def use(port, hub):
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="secret", max_retries=0) as client:
            return await ask(client)

    return served(recognizer, [transcriptions], use, limits, **kwargs)


def transcribed(recognizer, content, name="a.wav", limits=Limits(), **fields):  # noqa: B008
    def ask(client):
        return client.audio.transcriptions.create(file=(name, content), **{"model": "tones", **fields})

    return answered(recognizer, ask, limits)


@pytest.mark.parametrize(
    ("form", "rate", "how"),
    [("WAV", 8000, {}), ("WAV", 44_100, {"subtype": "FLOAT"}), ("FLAC", 16_000, {}), ("MP3", 16_000, {}), ("OGG", 48_000, {})],
)
def test_files_of_many_kinds(tone_recognizer, form, rate, how):
    answer = transcribed(tone_recognizer, recording("hello zoo", form, rate, **how))
    assert answer.text == "hello zoo"
    assert answer.usage.seconds == pytest.approx(len(tones.say("hello zoo")) / RATE, abs=0.15)


@pytest.mark.skipif(not HAS_FFMPEG, reason="ffmpeg is not installed")
@pytest.mark.parametrize("kind", ["m4a", "webm"])
def test_files_that_ffmpeg_reads(tone_recognizer, kind, tmp_path):
    (tmp_path / "a.wav").write_bytes(recording("hello zoo"))
    path = tmp_path / f"a.{kind}"
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", path], check=True)
    content = path.read_bytes()
    if kind == "m4a":
        assert content.find(b"moov") > content.find(b"mdat"), "its table of contents stands at its end"
    assert transcribed(tone_recognizer, content, name="a.bin").text == "hello zoo"


def test_text_and_subtitles(tone_recognizer):
    content = recording("hello abba|zoo")
    assert transcribed(tone_recognizer, content, response_format="text") == "hello abba zoo\n"
    cues = list(srt.parse(transcribed(tone_recognizer, content, response_format="srt")))
    captions = list(webvtt.from_string(transcribed(tone_recognizer, content, response_format="vtt")))
    assert [cue.content for cue in cues] == [caption.text for caption in captions] == ["hello abba", "zoo"]
    start = (len(tones.say("hello abba")) + 1.2 * RATE) / RATE
    assert cues[1].start.total_seconds() == pytest.approx(start + tones.GAP_SECONDS, abs=0.15)


def test_verbose_json_lists_segments_and_words(tone_recognizer):
    content = recording("hello abba|zoo")
    answer = transcribed(tone_recognizer, content, response_format="verbose_json")
    assert (answer.text, answer.language) == ("hello abba zoo", "x-tones") and answer.words is None
    assert [segment.text for segment in answer.segments] == ["hello abba", "zoo"]
    assert all(segment.avg_logprob <= 0 and segment.end > segment.start for segment in answer.segments)
    answer = transcribed(
        tone_recognizer, content, response_format="verbose_json", timestamp_granularities=["word"], temperature=0.3
    )
    assert [word.word for word in answer.words] == ["hello", "abba", "zoo"] and answer.segments is None
    alone = tone_recognizer.transcribe(next(read_upload_of(content)))
    assert [word.start for word in answer.words][:2] == pytest.approx([word.start for word in alone.words], abs=0.002)


def read_upload_of(content):
    with tempfile.TemporaryFile() as file:
        file.write(content)
        yield np.concatenate(list(read_upload(file, RATE)))[: len(tones.say("hello abba")) + 2000]


def test_text_comes_in_pieces_that_are_the_text(tone_recognizer):
    async def ask(client):
        stream = await client.audio.transcriptions.create(
            file=("a.flac", recording("hello abba|zoo yes", "FLAC")), model="tones", stream=True, response_format="json"
        )
        return [event async for event in stream]

    *deltas, done = answered(tone_recognizer, ask)
    assert {delta.type for delta in deltas} == {"transcript.text.delta"} and len(deltas) > 1
    assert done.type == "transcript.text.done" and done.text == "hello abba zoo yes" == "".join(d.delta for d in deltas)


def test_models(tone_recognizer):
    async def ask(client):
        found = [model.id async for model in client.models.list()]
        with pytest.raises(openai.NotFoundError, match="no model 'whisper-1'"):
            await client.models.retrieve("whisper-1")
        return found, (await client.models.retrieve("other")).id

    assert answered({"tones": tone_recognizer, "other": tone_recognizer}, ask) == (["tones", "other"], "other")


def test_keywords_and_a_prompt_are_heard_more_readily(tone_recognizer):
    samples, time = tones.say("zoo"), np.arange(round(tones.TONE_SECONDS * RATE)) / RATE
    both = [np.sin(2 * np.pi * tones.FREQUENCIES[tones.LETTERS.index(letter)] * time) for letter in "oe"]
    samples[-len(time) :] = 0.25 * sum(both)
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV")
    assert transcribed(tone_recognizer, file.getvalue()).text == "zo"
    assert transcribed(tone_recognizer, file.getvalue(), keywords=["Zoe", "Zola"]).text == "zoe"
    assert transcribed(tone_recognizer, file.getvalue(), prompt="Names: Zoo, Abba.").text == "zoo"


def test_several_at_once(tone_recognizer):
    async def ask(client):
        texts = ["hello", "abba zoo", "yes no", "x y"]
        answers = [client.audio.transcriptions.create(file=("a.wav", recording(text)), model="tones") for text in texts]
        return texts, [answer.text for answer in await asyncio.gather(*answers)]

    texts, heard = answered(tone_recognizer, ask)
    assert heard == texts


BAD = {
    "unknown model": (404, {"model": "../etc"}, None, "There are: tones"),
    "unknown language": (400, {"language": "fr"}, None, "There is: x-tones"),
    "unknown form": (400, {"response_format": "diarized_json"}, None, "wanted json, text"),
    "no sound": (400, {}, b"no sound at all" * 100, "cannot be read"),
    "nothing": (400, {}, b"", "an empty file"),
    "too large": (413, {}, bytes(200_000), "larger than 100,000 bytes"),
    "too long": (413, {}, recording("a|b|c|d"), "longer than the 3 s"),
    "long prompt": (413, {"prompt": "x" * 70_000}, None, "larger than 65,5"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said(tone_recognizer, case, caplog):
    status, fields, content, message = BAD[case]
    limits = Limits(upload_bytes=100_000, stream_seconds=3.0)
    with caplog.at_level("INFO"), pytest.raises(openai.APIStatusError) as raised:
        transcribed(tone_recognizer, recording("a") if content is None else content, limits=limits, **fields)
    assert raised.value.status_code == status and message in raised.value.message
    assert raised.value.body["type"] == "invalid_request_error" and raised.value.body["code"]
    assert sum("refused" in record.message for record in caplog.records) == 1


def test_a_stream_that_becomes_too_long_ends_with_the_reason(tone_recognizer):
    async def ask(client):
        stream = await client.audio.transcriptions.create(file=("a.wav", recording("a|b|c|d")), model="tones", stream=True)
        return [event async for event in stream]

    with pytest.raises(openai.APIError, match="longer than the 3 s"):
        answered(tone_recognizer, ask, Limits(stream_seconds=3.0))


def test_busy_and_unauthorized(tone_recognizer):
    with pytest.raises(openai.RateLimitError, match="takes no more"):
        transcribed(tone_recognizer, recording(), limits=Limits(streams=0))

    async def ask(client):
        return [model.id async for model in client.models.list()]

    assert answered(tone_recognizer, ask, access=Access("secret")) == ["tones"]
    with pytest.raises(openai.AuthenticationError):
        answered(tone_recognizer, ask, access=Access("another"))


def test_forms_that_are_none(tone_recognizer):
    content = recording()
    bodies = [
        ({}, b"text"),
        ({"Content-Type": "multipart/form-data"}, b"x"),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"no boundary at all"),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"--b\r\n\r\nnameless\r\n--b--\r\n"),
        (
            {"Content-Type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nx\r\n--b--\r\n',
        ),
        (
            {"Content-Type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="file"\r\nContent-Type: multipart/mixed; '
            b"boundary=c\r\n\r\n--c\r\n--b--\r\n",
        ),
    ]
    dice = random.Random(3)
    whole = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + content[:2000] + b"\r\n--b--\r\n"
    for _ in range(150):
        broken = bytearray(whole[: dice.randrange(len(whole))])
        for _ in range(dice.randrange(8)):
            broken[dice.randrange(len(broken)) : dice.randrange(len(broken))] = dice.randbytes(dice.randrange(9))
            broken = broken or bytearray(b"-")
        bodies.append(({"Content-Type": "multipart/form-data; boundary=b"}, bytes(broken)))

    async def use(port, hub):
        statuses = []
        async with aiohttp.ClientSession() as session:
            for headers, body in bodies:
                url = f"http://127.0.0.1:{port}/v1/audio/transcriptions"
                async with session.post(url, data=body, headers=headers) as response:
                    statuses.append(response.status)
                    if response.status != 200:
                        assert (await response.json())["error"]["message"]
        return statuses

    statuses = served(tone_recognizer, [transcriptions], use)
    assert statuses[:6] == [400] * 6 and set(statuses) <= {200, 400}


@pytest.mark.skipif(not HAS_FFMPEG, reason="ffmpeg is not installed")
def test_play_lists_open_nothing(tmp_path):
    secret = tmp_path / "secret.mp3"
    secret.write_bytes(recording("hello", "MP3", 16_000))
    lists = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{secret}'\n",
        f"#EXTM3U\n{secret}\n",
    )
    for content in lists:
        with tempfile.TemporaryFile() as file:
            file.write(content.encode())
            with pytest.raises(AudioError, match="cannot be read"):
                list(read_upload(file, RATE))


@pytest.mark.parametrize(
    ("command", "message"), [(["sleep", "60"], "takes too long"), (["sh", "-c", "while :; do :; done"], "cannot be read")]
)
def test_a_program_that_hangs_or_burns_is_ended(command, message, monkeypatch):
    monkeypatch.setattr(uploads, "SILENT_SECONDS", 0.3 if command[0] == "sleep" else 20.0)
    monkeypatch.setattr(uploads, "PROCESSOR_SECONDS", 1)
    with tempfile.TemporaryFile() as file, pytest.raises(AudioError, match=message):
        list(uploads._decode(command, file, RATE, "no sound"))


def test_clients_that_leave_while_they_are_heard_free_their_places(tone_recognizer):
    """More of them than files are decoded at once, each with an hour of sound, most of it waiting in pipes."""
    content = io.BytesIO()
    soundfile.write(content, np.zeros(3600 * 8000, np.int16), 8000, format="FLAC")
    head = '--b\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n'
    body = f"{head.format('model', '')}tones\r\n{head.format('file', '; filename=a')}".encode()
    body += content.getvalue() + b"\r\n--b--\r\n"
    about = f"Content-Length: {len(body)}\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n".encode()

    async def use(port, hub):
        for _ in range(6):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: 127.0.0.1\r\n" + about + body)
            while not len(hub):
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.7)
            writer.transport.abort()
            while len(hub):
                await asyncio.sleep(0.02)
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="x", max_retries=0) as client:
            return (await client.audio.transcriptions.create(file=("a.wav", recording("abba")), model="tones")).text

    assert served(tone_recognizer, [transcriptions], use) == "abba"


def test_a_client_that_leaves_frees_its_place(tone_recognizer):
    async def use(port, hub):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        head = b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n"
        writer.write(head + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.transport.abort()
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="x", max_retries=0) as client:
            while True:
                try:
                    return (await client.audio.transcriptions.create(file=("a.wav", recording("abba")), model="tones")).text
                except openai.RateLimitError:
                    await asyncio.sleep(0.02)

    assert served(tone_recognizer, [transcriptions], use, Limits(streams=1)) == "abba"
