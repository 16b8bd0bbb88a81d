"""One hostile client, or an address full of them: nothing holds the loop, nothing swells, every slot comes back."""

from __future__ import annotations

import asyncio
import errno
import gc
import gzip
import io
import json
import os
import signal
import ssl
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import numpy as np
import pytest
import soundfile

pytest.importorskip("onnx")
import raw_clients as raw
import tone_language as tones
from serving import connected, serving, until, vosk_says, wyoming_says

from edgeseq.errors import AudioError
from edgeseq.serve import connections, kept_sound
from edgeseq.serve.kept_sound import SoundKeeper
from edgeseq.serve.limits import Limits
from edgeseq.serve.multipart import FormReader
from edgeseq.serve.pace import Bucket, Paces
from edgeseq.serve.server import Security, most_connections
from edgeseq.serve.spool import Spool, in_memory
from edgeseq.serve.vosk import with_alternatives
from edgeseq.serve.watchdog import Watchdog, culprit
from edgeseq.serve.wyoming_info import info
from edgeseq.sound.audio import read_blocks

TRANSCRIPTIONS = "v1/audio/transcriptions"
FORM = "multipart/form-data; boundary=b"


async def post(server, content, kind=FORM, **headers):
    """Send a body; gives status and text."""
    url = f"http://127.0.0.1:{server.ports['http']}/{TRANSCRIPTIONS}"
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.post(url, data=content, headers={"Content-Type": kind, **headers}) as answer,
    ):
        return answer.status, await answer.text()


def form(file, boundary=b"b", disposition=b'form-data; name="file"; filename="a.wav"'):
    return b"--%b\r\nContent-Disposition: %b\r\n\r\n%b\r\n--%b--\r\n" % (boundary, disposition, file, boundary)


def wav(samples, rate=tones.SAMPLE_RATE, form_="WAV"):
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=form_)
    return out.getvalue()


# Nothing holds the loop


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (gzip.compress(b"\r\n" * 2_000_000), {"Content-Encoding": "gzip"}, 415),
        (b"\r\n" * 500_000, {}, 400),
        (b"x" * 2000 + b"\r\n" + form(b"a"), {}, 400),
        (b"--b\r\n" + b"X: y\r\n" * 100_000, {}, 400),
        (b"--b\r\n" + b"X: y\r\n" * 20 + form(b"a")[5:], {}, 400),
        (b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n' * 2000 + form(b"a"), {}, 400),
        (form(b"a", disposition=b'form-data; name="file"\r\nContent-Transfer-Encoding: base64'), {}, 400),
        (form(b"a", boundary=b"c"), {}, 400),
    ],
    ids=["gzip", "preamble", "long preamble", "header bytes", "headers", "parts", "base64", "boundary"],
)
def test_forms_are_bounded(tone_recognizer, content, headers, status):
    async def run():
        async with serving(tone_recognizer, ["http"]) as server:
            began = time.process_time()
            answer = await asyncio.wait_for(post(server, content, **headers), 20)
            return answer, time.process_time() - began, server.context.hub.metrics.longest_work

    (seen, text), _, work = asyncio.run(run())
    assert seen == status and json.loads(text)["error"]["message"]
    assert work < 0.3


def test_forms_without_a_length_are_bounded_too(tone_recognizer):
    async def endless():
        yield b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
        while True:
            yield bytes(50_000)

    async def run():
        async with serving(tone_recognizer, ["http"], upload_bytes=400_000) as server:
            return await post(server, endless())

    try:
        status, _ = asyncio.run(asyncio.wait_for(run(), 30))
    except aiohttp.ClientError:
        return  # cut while it was sending
    assert status == 413


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
def test_forms_are_read_in_any_pieces(size):
    fields = [("file", bytes(range(256)) * 3), ("model", b"x"), ("empty", b""), ("crlf", b"\r\n--c is not\r\n"), ("b", b"-b")]
    body = b"".join(
        b'--b \r\nContent-Disposition: form-data; name="%b"\r\nX: y\r\n\r\n%b\r\n' % (name.encode(), content)
        for name, content in fields
    )
    body = b"before\r\n" + body + b"--b--\r\nafter"
    pieces = iter([body[first : first + size] for first in range(0, len(body), size)])

    async def read():
        async def more():
            return next(pieces, b"")

        reader, found = FormReader(more, "b", 10_000), []
        while (part := await reader.next_part()) is not None:
            content = b""
            while piece := await reader.read_piece():
                content += piece
            found.append((part.name, content))
        return found

    assert asyncio.run(read()) == fields


@asynccontextmanager
async def longest_turn():
    """Note how many seconds the loop's thread computes, clients included, until others have their turn; waits do not count.

    Nor does the garbage of the tests before this one.
    """
    noted = [0.0]

    async def watch():
        began = time.thread_time()
        while True:
            await asyncio.sleep(0.001)
            now = time.thread_time()
            noted[0], began = max(noted[0], now - began), now

    gc.disable()
    task = asyncio.create_task(watch())
    try:
        yield noted
    finally:
        task.cancel()
        gc.enable()


def flood(server, protocol, content, seconds=1.0):
    async def send():
        async with raw.connected(server, protocol) as client:
            sending = asyncio.ensure_future(client.send(content))
            try:
                async with asyncio.timeout(seconds):
                    while await client.reader.read(65_536):
                        pass
            except (TimeoutError, ConnectionError):
                pass
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    return send()


TRANSCRIPTION = {"prompt": "a," * 400_000}
FLOODS = {
    "describe": ("wyoming", lambda: b'{"type":"describe"}\n' * 5000),
    "empty phrases": ("vosk", lambda: raw.text({"config": {"phrase_list": ["one"] + [""] * 340_000}}) * 3),
    "fewer empty phrases": ("vosk", lambda: raw.text({"config": {"phrase_list": ["a"] + [""] * 50_000}}) * 20),
    "pings": ("vosk", lambda: raw.frame(b"", raw.PING) * 40_000),
    "nothing": ("vosk", lambda: raw.frame(b"") * 40_000),
    "rates": ("vosk", lambda: b"".join(map(rate_and_sound, range(383_000, 384_000, 16)))),
    "lists": ("wyoming", lambda: b'{"type":"x","data":{"x":[' + b"[]," * 20_000 + b"[]]}}\n"),
    "prompt": ("realtime", lambda: raw.text({"type": "session.update", "session": session_of(TRANSCRIPTION)}) * 5),
}


def rate_and_sound(rate):
    return raw.text({"config": {"sample_rate": rate}}) + raw.frame(bytes(64))


def session_of(transcription):
    return {"audio": {"input": {"transcription": transcription}}}


@pytest.mark.parametrize("kind", FLOODS)
def test_one_client_does_not_hold_the_loop(tone_recognizer, kind):
    protocol, make = FLOODS[kind]
    content = make()

    async def run():
        async with serving(tone_recognizer, ["http", "vosk", "wyoming"]) as server:
            server.headers = {}
            await vosk_says(server, "a")
            async with longest_turn() as noted:
                attack = asyncio.create_task(flood(server, protocol, content))
                await asyncio.sleep(0.2)
                said = await asyncio.wait_for(vosk_says(server, "hello abba"), 20)
                await attack
            return said[-1]["text"], noted[0]

    said, longest = asyncio.run(run())
    assert said == "hello abba"
    assert longest < 0.1, "seconds of computing, 0.01 as it is; without paces 0.15 to 1"


def test_settings_with_too_much_are_refused(tone_recognizer):
    async def run(**config):
        async with serving(tone_recognizer, ["vosk"]) as server, connected(server, "vosk") as ws:
            await ws.send_json({"config": config})
            await ws.send_bytes(bytes(100))
            await asyncio.wait_for(ws.receive(), 10)
            return ws.close_code

    assert asyncio.run(run(phrase_list=["a"] + [""] * 340_000)) in (1008, 1009)
    assert asyncio.run(run(phrase_list=["a"] + [""] * 64_000)) == 1008


def test_the_watchdog_names_who_holds_the_loop(tone_recognizer, monkeypatch, caplog):
    from edgeseq.serve import vosk

    def slow(message):
        time.sleep(0.4)
        return {"config": {}}

    monkeypatch.setattr(vosk, "_read", slow)

    async def run():
        async with serving(tone_recognizer, ["vosk", "http"]) as server, connected(server, "vosk") as ws:
            await ws.send_str("{}")
            await asyncio.sleep(0.8)
            url = f"http://127.0.0.1:{server.ports['http']}/metrics"
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                return await answer.text()

    with caplog.at_level("WARNING", "edgeseq.serve.watchdog"):
        metrics = asyncio.run(run())
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line.startswith("edgeseq_loop"))
    assert float(values["edgeseq_loop_stall_seconds"]) > 0.25
    assert float(values["edgeseq_loop_longest_stall_seconds"]) > 0.25
    assert float(values['edgeseq_loop_stalls_total{protocol="vosk"}']) >= 1
    assert "stood still" in caplog.text and "in vosk" in caplog.text


def test_a_quiet_loop_is_not_blamed():
    class Counts:
        def __init__(self):
            self.seen = []

        def pulse(self, stalled, computed, protocol):
            self.seen.append(protocol)

    async def run(counts):
        watchdog = Watchdog(counts)
        watchdog.start()
        await asyncio.sleep(0.2)
        watchdog.stop()

    counts = Counts()
    asyncio.run(run(counts))
    assert counts.seen and culprit(None) == ("other", "")


def test_paces_let_bursts_pass_and_slow_down_floods():
    bucket = Bucket(10.0)
    waits = [bucket.take() for _ in range(60)]
    assert waits[:35] == [0.0] * 35 and waits[-1] == pytest.approx(2.0, abs=0.5)
    paces = Paces(Limits(events_per_second=10.0))
    mine, other = paces.of("10.0.0.1"), paces.of("10.0.0.2")

    async def run():
        for _ in range(30):
            await mine.event()
        began = time.monotonic()
        await other.event()
        return time.monotonic() - began

    assert asyncio.run(run()) < 0.5


def test_beam_searches_are_made_once(tone_recognizer):
    first, second = with_alternatives(tone_recognizer, 3), with_alternatives(tone_recognizer, 3)
    assert first.decoder is second.decoder
    assert with_alternatives(tone_recognizer, 4).decoder is not first.decoder


UNREAD = {
    "pongs": ("vosk", lambda: raw.frame(bytes(125), raw.PING) * 6000),
    "partials": ("vosk", lambda: raw.frame(bytes(2)) * 60_000),
    "infos": ("wyoming", lambda: b'{"type":"describe"}\n' * 3000),
}
"""what a client asks for and does not read: more than the system and the server keep for it"""


@pytest.mark.parametrize("kind", UNREAD)
@pytest.mark.parametrize("goes_on", [True, False])
def test_a_client_that_does_not_read_is_left_for_that(tone_recognizer, kind, goes_on, caplog):
    """Whether it goes on asking or not: what it has not read is waited for so long, not what it may say next."""
    protocol, make = UNREAD[kind]
    content = make()

    async def run():
        limits = {"send_seconds": 0.5, "idle_seconds": 300, "events_per_second": 1e6}
        async with serving(tone_recognizer, ["vosk", "wyoming"], **limits) as server:
            server.headers = {}
            async with raw.connected(server, protocol) as client:
                client.pause_reading()
                asking = asyncio.create_task(ask(client))
                await until(lambda: server.context.hub.metrics.refusals[protocol, "limit"], 120)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

    async def ask(client):
        await client.send(content)
        while goes_on:
            await client.send(content)

    with caplog.at_level("INFO", "edgeseq.serve"):
        asyncio.run(run())
    assert "has not read what was sent for 0.5 s" in caplog.text


def test_a_client_that_only_pings_is_left(tone_recognizer):
    async def run():
        async with serving(tone_recognizer, ["vosk"], idle_seconds=1.0) as server, connected(server, "vosk") as ws:
            async with asyncio.timeout(20):
                with suppress(ConnectionError):
                    while not ws.closed:
                        await ws.ping()
                        await asyncio.sleep(0.02)
                        with suppress(TimeoutError):
                            await ws.receive(0.01)
            return ws.close_code

    assert asyncio.run(run()) == 1008


# Nothing swells


def test_many_channels_are_refused_or_read_in_bounded_pieces(tmp_path):
    import tracemalloc

    path = tmp_path / "many.wav"
    soundfile.write(path, np.zeros((3000, 64), np.float32), 1_000_000)
    tracemalloc.start()
    blocks = list(read_blocks(path, 8000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(map(len, blocks)) == pytest.approx(24, abs=2) and peak < 20e6
    soundfile.write(path, np.zeros((300, 255), np.float32), 48_000)
    with pytest.raises(AudioError, match="255 channels"):
        list(read_blocks(path, 8000))


def test_hostile_files_are_answered_and_cost_the_server_little(tone_recognizer):
    many = io.BytesIO()
    soundfile.write(many, np.zeros((4000, 255), np.float32), 48_000, format="WAV")
    contents = [many.getvalue(), b"RIFF" + bytes(5000), bytes(5000), wav(tones.say("hello abba"))[:-3000]]

    async def run():
        async with serving(tone_recognizer, ["http"]) as server:
            bad = [(await post(server, form(content)))[0] for content in contents[:3]]
            _, said = await post(server, form(wav(tones.say("hello abba"))))
            return bad, json.loads(said)["text"]

    bad, said = asyncio.run(run())
    assert bad == [400, 400, 400] and said == "hello abba"


def test_a_decoder_that_dies_is_one_answer(tone_recognizer, monkeypatch):
    from edgeseq.serve import decoding

    monkeypatch.setattr(decoding, "environment", lambda: {"PYTHONHOME": "/nonexistent"})

    async def run():
        async with serving(tone_recognizer, ["http"]) as server:
            return await post(server, form(wav(tones.say("a"))))

    status, text = asyncio.run(run())
    assert status == 400 and "memory or time" in text


def test_a_decoder_that_is_killed_takes_its_ffmpeg_along(tone_recognizer, tmp_path, monkeypatch):
    program, noted = tmp_path / "ffmpeg", tmp_path / "pids"
    program.write_text(f"#!/bin/sh\necho $PPID $$ > {noted}.new\nmv {noted}.new {noted}\nexec sleep 1000\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    async def run():
        async with serving(tone_recognizer, ["http"]) as server:
            answer = asyncio.create_task(post(server, form(b"no sound" * 1000)))
            await until(noted.exists, 60)
            decoder, ffmpeg = map(int, noted.read_text().split())
            os.kill(decoder, signal.SIGKILL)
            status, _ = await asyncio.wait_for(answer, 20)
            await until(lambda: not is_running(ffmpeg))
            return status

    assert asyncio.run(run()) == 400


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_processes_for_strangers_bytes_know_no_token(monkeypatch):
    from edgeseq.serve.children import environment

    monkeypatch.setenv("EDGESEQ_TOKEN", "s3cret")
    assert "s3cret" not in environment().values() and environment()["PATH"]


def test_a_full_disk_is_507_and_one_line(tone_recognizer, monkeypatch, caplog):
    from edgeseq.serve.spool import SpoolFile

    async def write(self, piece):
        def fail():
            raise OSError(errno.ENOSPC, "No space left on device")

        await self._spool.call(fail)

    monkeypatch.setattr(SpoolFile, "write", write)

    async def run():
        async with serving(tone_recognizer, ["http"]) as server:
            return await post(server, form(wav(tones.say("a"))))

    with caplog.at_level("INFO"):
        status, text = asyncio.run(run())
    assert status == 507 and "no room on its disk" in json.loads(text)["error"]["message"]
    assert [record.exc_info for record in caplog.records if record.levelname == "ERROR"] == [None]


def test_files_in_memory_are_counted(monkeypatch):
    spool = Spool(Limits(upload_bytes=1000, memory_bytes=16_000))
    monkeypatch.setattr(spool, "is_memory", True)

    async def run():
        async with spool.open() as one, spool.open() as other:
            await one.write(bytes(900))
            with pytest.raises(Exception, match="no memory for another file"):
                await other.write(bytes(200))
        return spool.n_bytes

    assert asyncio.run(run()) == 0
    assert in_memory(type(spool.folder)("/dev/shm")) or not in_memory(type(spool.folder)("/proc"))


# Every slot comes back


def test_broken_handshakes_give_their_slots_back(tone_recognizer, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    pytest.importorskip("cryptography")
    from edgeseq.serve.access import Access
    from edgeseq.serve.tls import find, make_context

    anything = ssl.create_default_context()
    anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE

    async def run():
        security = Security(Access("t"), tls=make_context(find(["self-signed"])))
        async with serving(tone_recognizer, ["http"], security, connections=20) as server:
            port = server.ports["http"]
            for _ in range(3):
                opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(15)]
                for _, writer in opened:
                    writer.write(b"\x16\x03\x01\x02\x00\x01")
                await asyncio.sleep(0.1)
                for _, writer in opened:
                    writer.transport.abort()
                await asyncio.sleep(0.1)
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"https://127.0.0.1:{port}/health", ssl=anything) as answer,
            ):
                return answer.status

    assert asyncio.run(run()) == 200


@pytest.mark.parametrize("protocol", ["vosk", "wyoming"])
def test_silent_connections_lock_nobody_out(tone_recognizer, protocol, monkeypatch):
    monkeypatch.setattr(connections, "GRACE_SECONDS", 0.3)
    says = vosk_says if protocol == "vosk" else wyoming_says

    async def run():
        async with serving(tone_recognizer, [protocol], connections=8) as server:
            server.headers = {}
            talking = asyncio.create_task(says(server, "hello abba zoo", size=100))
            await until(lambda: len(server.context.hub) == 1)
            silent = [await asyncio.open_connection("127.0.0.1", server.ports[protocol]) for _ in range(12)]
            await asyncio.sleep(0.5)
            again = await says(server, "yes")
            said = await talking
            for _, writer in silent:
                writer.transport.abort()
            return said, again

    said, again = asyncio.run(asyncio.wait_for(run(), 30))
    assert "hello abba zoo" in str(said) and "yes" in str(again)


def test_one_address_has_a_share(tone_recognizer):
    async def run():
        async with serving(tone_recognizer, ["vosk"], connections=8) as server:
            server.headers = {}
            silent = [await asyncio.open_connection("127.0.0.1", server.ports["vosk"]) for _ in range(8)]
            await asyncio.sleep(0.1)
            server.local_address = "127.0.0.2"
            async with raw.connected(server, "vosk") as client:
                await client.send(raw.text('{"eof" : 1}'))
                answer = await asyncio.wait_for(client.reader.read(100), 5)
            for _, writer in silent:
                writer.transport.abort()
            return answer

    assert b"text" in asyncio.run(run())


def test_connections_stay_below_the_limit_of_open_files(monkeypatch):
    from edgeseq.serve import server

    monkeypatch.setattr(server.resource, "getrlimit", lambda _: (1024, 1024))
    assert 4 * most_connections(Limits(), 4) + 4 * 32 < 1024
    monkeypatch.setattr(server.resource, "getrlimit", lambda _: (65_536, 65_536))
    assert most_connections(Limits(), 4) == Limits().connections


def test_a_stuck_disk_does_not_hold_the_end_up(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_sound, "MOST_WAITING", 2)
    monkeypatch.setattr(kept_sound, "STOP_SECONDS", 0.3)
    keeper = SoundKeeper(tmp_path)
    stuck = __import__("threading").Event()
    sound = keeper.open("vosk", 8000)
    sound.write = lambda content: stuck.wait(20)
    keeper.start()
    for _ in range(5):
        sound.hear(np.zeros(10, np.float32))
    began = time.monotonic()
    keeper.stop()
    assert time.monotonic() - began < 2
    stuck.set()


# What it says of itself


def test_phrases_are_wake_words_that_are_advertised(tone_recognizer):
    from types import SimpleNamespace

    from edgeseq.phrases.compiling import compile_phrases
    from edgeseq.phrases.file import parse_phrases
    from edgeseq.phrases.search import PhraseDecoder

    graph = compile_phrases(
        parse_phrases("intents: {ok_nabu: ['ok nabu'], stop: ['stop']}"), tone_recognizer.metadata.token_table
    )
    phrases = tone_recognizer.with_decoder(PhraseDecoder(graph, tone_recognizer.metadata, threshold=None))

    def told(recognizer):
        return info(SimpleNamespace(recognizers={"tones": recognizer}, find=lambda name: recognizer))

    assert told(tone_recognizer).wake == []
    (program,) = told(phrases).wake
    assert [(model.name, model.phrase) for model in program.models] == [("ok_nabu", "ok nabu"), ("stop", "stop")]
