"""One server, real sockets: many protocols at once, who may connect, limits, clients that stall or flood, its end."""

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import aiohttp
import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("aiohttp")
pytest.importorskip("wyoming")
import tone_language as tones
from command_line import run as run_command
from command_line import start
from serving import ALL, connected, page_says, pcm16, serving, sherpa_says, until, vosk_says, wyoming_says

from edgeseq.errors import DeviceError, UsageError
from edgeseq.serve import connections
from edgeseq.serve.access import Access
from edgeseq.serve.context import Context
from edgeseq.serve.hub import Hub
from edgeseq.serve.server import Security, Server

TEXTS = ("hello abba zoo", "yes", "a b c", "zoo", "no no no")


def test_twenty_streams_of_four_protocols(tone_recognizer):
    async def vosk(server, text, size):
        return (await vosk_says(server, text, size=size))[-1]["text"]

    async def sherpa(server, text, size):
        return (await sherpa_says(server, text, size=2 * size))[-1]["text"]

    async def run():
        async with serving(tone_recognizer, ALL) as server:
            speakers = [vosk, sherpa, wyoming_says, page_says]
            said = await asyncio.gather(
                *(speak(server, text, 300 + 111 * n) for n, text in enumerate(TEXTS) for speak in speakers)
            )
            await until(lambda: len(server.context.hub) == 0)
            return said, server.context.hub.metrics

    said, metrics = asyncio.run(run())
    assert said == [text for text in TEXTS for _ in range(4)]
    assert dict(metrics.total) == {"vosk": 5, "sherpa": 5, "wyoming": 5, "page": 5}
    assert max(metrics.open.values()) == 0
    assert metrics.n_chunks > metrics.n_steps, "streams of different protocols were stepped together"


def test_health_and_metrics(tone_recognizer):
    parser = pytest.importorskip("prometheus_client.parser")

    async def run():
        async with serving(tone_recognizer, ["http", "vosk"], streams=7) as server, aiohttp.ClientSession() as session:
            await vosk_says(server, "yes")
            url = f"http://127.0.0.1:{server.ports['http']}"
            async with connected(server, "vosk") as ws:
                await ws.send_bytes(pcm16(tones.say("zoo")))
                await ws.receive()
                async with session.get(f"{url}/health") as health, session.get(f"{url}/metrics") as metrics:
                    return await health.json(), await metrics.text()

    health, text = asyncio.run(run())
    assert (health["status"], health["streams"], health["streams_limit"], health["models"]) == ("ok", 1, 7, ["tones"])
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["edgeseq_streams", "vosk"] == 1 and values["edgeseq_streams_opened_total", "vosk"] == 2
    assert values["edgeseq_sound_seconds_total",] == pytest.approx(len(tones.say("yeszoo")) / 8000 + 0.48, abs=0.3)
    assert 0 < values["edgeseq_real_time_factor",] < 1
    assert values["edgeseq_latency_seconds_count",] == values["edgeseq_latency_seconds_bucket", "+Inf"] > 5
    assert values["edgeseq_batch_streams_sum",] == values["edgeseq_chunks_total",]
    assert values["process_resident_memory_bytes",] > 1e6


def asked(server, path="/metrics", method="GET", **headers):
    """Status of a request by http.client's own means, with any Host."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.ports['http']}{path}",
        method=method,
        headers={k.replace("_", "-"): v for k, v in headers.items()},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status
    except urllib.error.HTTPError as refusal:
        assert refusal.code < 400 or refusal.code == 404 or json.load(refusal)["error"]["message"]
        return refusal.code


def test_pages_of_elsewhere_and_names_of_elsewhere_are_refused(tone_recognizer):
    access = Access(names=frozenset({"asr.example"}), origins=frozenset({"https://app.example"}))

    async def run():
        async with serving(tone_recognizer, ["http", "vosk", "sherpa"], Security(access)) as server:
            port = server.ports["http"]

            def ask(**headers):
                return asyncio.to_thread(asked, server, **headers)

            assert await ask() == 200
            assert await ask(Host=f"localhost:{port}") == await ask(Host="192.168.1.7") == await ask(Host="[::1]:80") == 200
            assert await ask(Host=f"{socket.gethostname()}:{port}") == await ask(Host="ASR.example:8443") == 200
            for name in (
                "evil.example",
                "127.0.0.1.evil.example",
                "localhost.evil.example",
                "",
                "[::1",
                "1.2.3.4@evil.example",
            ):
                assert await ask(Host=name) == 403, name
            same = f"http://127.0.0.1:{port}"
            assert await ask(Origin=same) == await ask(Origin="https://app.example") == 200
            for origin in (
                f"http://127.0.0.1:{port + 1}",
                "http://evil.example",
                "null",
                "http://127.0.0.1.evil:1",
                "http://[",
                "",
            ):
                assert await ask(Origin=origin) == 403, origin
            for protocol in ("vosk", "sherpa", "http"):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                    async with connected(server, protocol, "listen", origin="http://evil.example"):
                        pass
                assert refusal.value.status == 403
            refusals = server.context.hub.metrics.refusals
            assert refusals["vosk", "origin"] == refusals["sherpa", "origin"] == 1 and refusals["http", "host"] == 6

    asyncio.run(run())


def test_a_page_that_may_is_answered_what_browsers_ask_first(tone_recognizer):
    access = Access("secret", origins=frozenset({"https://app.example"}))

    async def run():
        async with serving(tone_recognizer, ["http"], Security(access)) as server, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{server.ports['http']}/metrics"
            async with session.options(url, headers={"Origin": "https://app.example"}) as answer:
                return answer.status, answer.headers

    status, headers = asyncio.run(run())
    assert status == 204 and headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "Authorization" in headers["Access-Control-Allow-Headers"]


def test_tokens(tone_recognizer):
    async def run():
        async with serving(tone_recognizer, ALL, Security(Access("s3crét"))) as server:

            def ask(path="/metrics", **headers):
                return asyncio.to_thread(asked, server, path, **headers)

            assert await ask() == await ask(Authorization="Bearer wrong") == await ask("/metrics?token=") == 401
            assert await ask(Authorization="Basic s3cr") == await ask("/metrics?token=s3cr%C3%A9t0") == 401
            assert await ask("/metrics?token=s3cr%C3%A9t") == 200
            assert await ask("/health") == await ask("/") == 200, "hold nothing of anybody"
            assert await ask("/", method="POST") == 401
            with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
                await vosk_says(server, "yes")
            async with connected(server, "vosk", "?token=s3cr%C3%A9t") as ws:
                await ws.send_str('{"eof": 1}')
                assert json.loads(await ws.receive_str())["text"] == ""
            assert (await sherpa_says(server, "yes"))[-1]["text"] == "yes", "has no place for a token"
            assert await wyoming_says(server, "yes") == "yes"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("listen", "options", "said"),
    [
        ({"http": "0.0.0.0:0"}, {}, "there is no token"),
        ({"vosk": "[::]:0"}, {"allow_unauthenticated": True}, "there is no token"),
        ({"sherpa": "0.0.0.0:0"}, {"access": Access("x")}, "sherpa has no place for a token"),
        ({"wyoming": "tcp://0.0.0.0:0"}, {"access": Access("x")}, "wyoming has no place for a token"),
        ({"vosk": "wss://127.0.0.1:0"}, {}, "wanted --tls CERT KEY"),
        ({"vosk": "127.0.0.1"}, {}, "the port is missing. Wanted HOST:PORT, for instance 127.0.0.1:2700"),
        ({"vosk": "127.0.0.1:99999"}, {}, "the port is not a number from 0 to 65535"),
        ({"vosk": ":2700"}, {}, "the host is missing"),
        ({"vosk": "tcp://127.0.0.1:1"}, {}, "'tcp://' is not spoken here"),
        ({"vosk": "127.0.0.1:2700/x"}, {}, "something besides host and port"),
        ({"wyoming": "unix://"}, {}, "the path of the socket is missing"),
        ({"http": "no.such.host.invalid:80"}, {}, "the name 'no.such.host.invalid' is not known"),
    ],
)
def test_addresses_that_are_none_or_open_to_everybody(tone_recognizer, listen, options, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        Server(Context(Hub({"tones": tone_recognizer})), listen, Security(**options))


def test_addresses_beyond_loopback(tone_recognizer):
    async def run():
        security = Security(Access("secret"), allow_unauthenticated=True)
        listen = {protocol: text.replace("127.0.0.1", "0.0.0.0") for protocol, text in ALL.items() if protocol != "wyoming"}
        async with Server(Context(Hub({"tones": tone_recognizer})), listen, security, drain_seconds=0) as server:
            return [(await asyncio.to_thread(asked, server)), (await sherpa_says(server, "no"))[-1]["text"]]

    assert asyncio.run(run()) == [401, "no"]


def test_a_port_that_is_taken(tone_recognizer):
    async def run():
        async with serving(tone_recognizer, ["vosk"]) as server:
            taken = {"sherpa": "127.0.0.1:0", "http": f"127.0.0.1:{server.ports['vosk']}"}
            with pytest.raises(DeviceError, match=r"cannot listen there .*in use"):
                async with Server(Context(Hub({"tones": tone_recognizer})), taken):
                    pass
            assert (await vosk_says(server, "yes"))[-1]["text"] == "yes"

    asyncio.run(run())


def test_https_and_wss(tone_recognizer, tmp_path):
    pytest.importorskip("cryptography")
    from edgeseq.serve.tls import make_context, self_signed

    certificate = self_signed(tmp_path)
    security = Security(tls=make_context(certificate))
    client = ssl.create_default_context(cafile=str(certificate.path))

    async def run():
        context = Context(Hub({"tones": tone_recognizer}))
        listen = {"http": "127.0.0.1:0", "vosk": "wss://127.0.0.1:0"}
        async with Server(context, listen, security, drain_seconds=0) as server, aiohttp.ClientSession() as session:
            async with session.get(f"{server.uris['http']}/health", ssl=client) as health:
                assert (await health.json())["status"] == "ok"
            async with session.ws_connect(server.uris["vosk"], ssl=client) as ws:
                await ws.send_bytes(pcm16(tones.say("yes")))
                await ws.receive()
                await ws.send_str('{"eof" : 1}')
                return server.uris, json.loads(await ws.receive_str())["text"]

    uris, text = asyncio.run(run())
    assert uris["http"].startswith("https://127.0.0.1:") and uris["vosk"].startswith("wss://") and text == "yes"


async def refused(server, protocol, *messages, query="", timeout=5):
    """Send messages; gives code and reason with which the server ends."""
    async with connected(server, protocol, query) as ws:
        for message in messages:
            await (ws.send_bytes(message) if isinstance(message, bytes) else ws.send_str(message))
        while (message := await ws.receive(timeout=timeout)).type is aiohttp.WSMsgType.TEXT:
            pass
        return message.data, message.extra


def test_limits_are_told_in_the_protocols_words(tone_recognizer):
    half = tones.silence(0.5)

    async def run():
        limits = {"streams": 2, "stream_seconds": 2.0, "silence_seconds": 1.0, "idle_seconds": 0.3, "message_bytes": 16_000}
        async with serving(tone_recognizer, ["vosk", "sherpa"], **limits) as server:
            idle = await refused(server, "sherpa")
            big = await refused(server, "vosk", b"\0" * 16_002)
            silent = await refused(server, "vosk", *[pcm16(half)] * 3)
            spoken = [pcm16(piece) for piece in (tones.say("zoo"), half[:80], tones.say("zoo"), tones.say("zoo"))]
            long = await refused(server, "vosk", *spoken)
            async with connected(server, "sherpa"), connected(server, "sherpa"):
                await until(lambda: len(server.context.hub) == 2)
                busy = await refused(server, "vosk", pcm16(half))
            await until(lambda: len(server.context.hub) == 0)
            return idle, big, silent, long, busy, server.context.hub.metrics.refusals

    idle, big, silent, long, busy, refusals = asyncio.run(run())
    assert idle == (1008, "nothing came for 0.3 s.")
    assert big[0] == 1009
    assert silent == (1008, "nothing was said for 1 s.")
    assert long == (1008, "this stream is longer than the 2 s of sound that this server hears.")
    assert busy == (1013, "this server has 2 streams open and takes no more; try again later.")
    assert refusals["vosk", "busy"] == 1 and refusals["vosk", "limit"] == 3 and refusals["sherpa", "limit"] >= 1


def test_no_stream_is_opened_where_memory_is_short(tone_recognizer):
    async def run():
        async with serving(tone_recognizer, ["sherpa"], memory_bytes=1) as server:
            return await refused(server, "sherpa")

    assert asyncio.run(run()) == (1013, "this server has no memory for another stream; try again later.")


def raw_websocket(port, path="/"):
    """Connect by hand; gives a blocking socket that has been told 101."""
    out = socket.create_connection(("127.0.0.1", port), timeout=5)
    out.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += out.recv(1000)
    assert answer.startswith(b"HTTP/1.1 101")
    return out


def frame(content, opcode=2):
    """Write a client's frame, masked with zeros."""
    length = struct.pack(">B", 0x80 | len(content)) if len(content) < 126 else struct.pack(">BH", 0xFE, len(content))
    return bytes([0x80 | opcode]) + length + bytes(4) + content


def test_a_client_that_does_not_read_is_left_and_takes_no_memory(tone_recognizer):
    """It sends what makes answers without end; its own sound stops being taken, and the others' goes on."""

    async def run():
        async with serving(tone_recognizer, ["vosk"], send_seconds=0.5, idle_seconds=30) as server:
            hub = server.context.hub
            greedy = await asyncio.to_thread(raw_websocket, server.ports["vosk"])
            greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            greedy.setblocking(False)
            flood, n_sent = frame(b"\0\0" * 50) * 1000, 0
            began = time.monotonic()
            while len(hub) or time.monotonic() - began < 0.5:
                try:
                    n_sent += greedy.send(flood[n_sent % len(flood) :])
                except BlockingIOError:
                    await asyncio.sleep(0.01)
                except (ConnectionResetError, BrokenPipeError):
                    break
                await asyncio.sleep(0)
                assert time.monotonic() - began < 60
            other = (await vosk_says(server, "yes"))[-1]["text"]
            await until(lambda: len(hub) == 0)
            await until(lambda: hub.metrics.refusals["vosk", "limit"] > 0)
            greedy.close()
            return n_sent, other, hub.metrics.refusals["vosk", "limit"]

    n_sent, other, n_refused = asyncio.run(run())
    assert other == "yes" and n_refused == 1
    assert n_sent < 300e6


def test_clients_that_break_off_leave_nothing_behind(tone_recognizer):
    async def run():
        async with serving(tone_recognizer, ALL, idle_seconds=1.0, streams=100, connections=300) as server:
            hub = server.context.hub
            n_before = len(asyncio.all_tasks())
            ports = [server.ports[protocol] for protocol in ("vosk", "sherpa")]
            for n in range(40):
                broken = await asyncio.to_thread(raw_websocket, ports[n % 2])
                broken.sendall(frame(b"\0\0\0\0" * 100)[: None if n % 4 else 50])
                if n % 3 == 0:  # reset instead of a close
                    broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if n % 5 == 0:  # a half-closed socket is noticed when nothing comes for long
                    broken.shutdown(socket.SHUT_WR)
                    await asyncio.sleep(0.01)
                broken.close()
            talking = [asyncio.create_task(vosk_says(server, "hello abba")) for _ in range(10)]
            await asyncio.sleep(0.05)
            for task in talking:
                task.cancel()
            assert (await vosk_says(server, "yes"))[-1]["text"] == "yes"
            await until(lambda: len(hub) == 0, 10)
            await until(lambda: len(asyncio.all_tasks()) <= n_before, 10)
            assert set(hub.metrics.open.values()) == {0}
            assert not hub._worker.waiting

    asyncio.run(run())


def test_garbage_is_refused_and_disturbs_nobody(tone_recognizer):
    random = np.random.default_rng(0)

    async def throw(server, protocol, content):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports[protocol])
        writer.write(content)
        writer.write_eof()
        try:
            await asyncio.wait_for(reader.read(), 5)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def run():
        async with serving(tone_recognizer, ALL, idle_seconds=5.0) as server:
            contents = [random.bytes(int(random.integers(1, 3000))) for _ in range(100)]
            contents += [
                b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 1000,
                b"GET " + b"/" * 20_000,
                b'{"type": "x", "data_length": 1e9}\n',
            ]
            thrown = [throw(server, protocol, content) for content in contents for protocol in ALL]
            said = await asyncio.gather(vosk_says(server, "hello abba zoo"), wyoming_says(server, "a b c"), *thrown)
            await until(lambda: len(server.context.hub) == 0, 15)
            return said[0][-1]["text"], said[1]

    assert asyncio.run(run()) == ("hello abba zoo", "a b c")


async def knock(port):
    """All that a server at a port says, until it closes, to a client that says nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await reader.read()
    finally:
        writer.transport.abort()


async def take_all_slots(port):
    """Connect silent clients, each answered once, until there is room for no more; they stay until their writers are closed."""
    writers = []
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        writer.write(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 503"):
            return writers


def test_a_thousand_connections_at_once(tone_recognizer, monkeypatch):
    """More than the server takes: each of the rest gets 503 and is closed, and those who are served are served."""
    monkeypatch.setattr(connections, "GRACE_SECONDS", 600.0)  # no silent client gives way

    async def run():
        async with serving(tone_recognizer, ["vosk"], connections=50) as server:
            port, refusals = server.ports["vosk"], server.context.hub.metrics.refusals
            async with connected(server, "vosk") as ws:
                silent = await take_all_slots(port)
                n_before, answers = refusals["vosk", "connections"], []
                for piece in np.array_split(tones.say("hello abba zoo"), 5):
                    *answered, _ = await asyncio.gather(*(knock(port) for _ in range(200)), ws.send_bytes(pcm16(piece)))
                    answers += answered
                    await ws.receive_str()
                await ws.send_str('{"eof" : 1}')
                said = json.loads(await ws.receive_str())["text"]
            for writer in silent:
                writer.transport.abort()
            again = (await vosk_says(server, "yes"))[-1]["text"]
            return said, again, answers, refusals["vosk", "connections"] - n_before

    said, again, answers, n_refused = asyncio.run(run())
    assert (said, again) == ("hello abba zoo", "yes")
    assert set(answers) == {connections.BUSY} and n_refused == len(answers) == 1000


def test_who_is_turned_away_hears_why_though_it_has_sent_more(tone_recognizer, monkeypatch):
    """Closing a connection while something of it is unread resets it."""
    monkeypatch.setattr(connections, "GRACE_SECONDS", 600.0)
    monkeypatch.setattr(connections, "LINGER_SECONDS", 60.0)
    upload = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n"

    def heard(client):
        with client, client.makefile("rb") as answer:
            client.sendall(bytes(50_000))
            return answer.read()

    async def run():
        async with serving(tone_recognizer, ["http"], connections=4) as server:
            port = server.ports["http"]
            silent = await take_all_slots(port)
            clients = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(connections.LINGERING - 1)]
            for client in clients:
                client.sendall(upload)  # before the server, which runs in this thread, takes the connection
            answers = await asyncio.gather(*(asyncio.to_thread(heard, client) for client in clients))
            return answers, silent

    answers, _ = asyncio.run(run())
    assert set(answers) == {connections.BUSY}


def test_who_lingers_is_left_in_the_end(tone_recognizer, monkeypatch):
    """A client that neither sends nor closes costs a file for a moment."""
    monkeypatch.setattr(connections, "GRACE_SECONDS", 600.0)
    monkeypatch.setattr(connections, "LINGER_SECONDS", 0.2)

    def n_open():
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    async def run():
        async with serving(tone_recognizer, ["http"], connections=4) as server:
            port, refusals = server.ports["http"], server.context.hub.metrics.refusals
            silent = await take_all_slots(port)
            n_clients, n_before = 3 * connections.LINGERING, n_open()
            clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(n_clients)]
            await until(lambda: refusals["http", "connections"] == n_clients + 1 and n_open() <= n_before + n_clients)
            heard = {one.recv(1000, socket.MSG_DONTWAIT) for one in clients}
            for one in [*clients, *(writer.transport for writer in silent)]:
                one.close()
            return heard

    assert asyncio.run(run()) == {connections.BUSY}


def test_streams_in_progress_are_finished_within_the_deadline(tone_recognizer):
    async def run():
        context = Context(Hub({"tones": tone_recognizer}))
        listen = {protocol: ALL[protocol] for protocol in ("vosk", "sherpa")}
        async with Server(context, listen, drain_seconds=0.5) as server, aiohttp.ClientSession() as session:
            uris = server.uris
            live = await session.ws_connect(uris["vosk"])
            await live.send_bytes(pcm16(tones.say("hello")))
            await live.receive()
            ending = await session.ws_connect(uris["vosk"])
            await ending.send_bytes(pcm16(tones.say("zoo")))
            await ending.receive()
            idle = await session.ws_connect(uris["sherpa"])
            await until(lambda: len(context.hub) == 3)
            stopping = asyncio.create_task(server.__aexit__(None, None, None))
            await asyncio.sleep(0.1)
            await ending.send_str('{"eof" : 1}')
            ended = json.loads(await ending.receive_str())["text"]
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.ws_connect(uris["vosk"])
            cut = json.loads(await live.receive_str())["text"]
            close = await live.receive()
            told = [await idle.receive() for _ in range(3)]
            await stopping
            server._listeners = {}
            return ended, cut, close, told

    ended, cut, close, told = asyncio.run(asyncio.wait_for(run(), 20))
    assert (ended, cut) == ("zoo", "hello")
    assert (close.data, close.extra) == (1001, "this server is being stopped; connect again later.")
    assert [json.loads(told[0].data)["is_eof"], told[1].data, told[2].data] == [True, "Done!", 1001]


def test_sound_is_kept_only_where_asked(tone_recognizer, tmp_path):
    import soundfile

    async def run():
        async with serving(tone_recognizer, ["vosk", "sherpa"], save_audio=tmp_path) as server:
            await vosk_says(server, "hello zoo")
            await sherpa_says(server, "yes")
            async with connected(server, "vosk") as ws:
                await ws.send_bytes(pcm16(tones.say("no")))
                await ws.receive()
                await ws.send_json({"config": {"sample_rate": 16_000}})
                await ws.send_bytes(pcm16(tones.say("no", 16_000)))
                await ws.receive()

    asyncio.run(run())
    files = sorted(tmp_path.iterdir(), key=lambda path: path.name[-10:])
    assert all(re.fullmatch(r"\d{8}T\d{6}Z-(vosk|sherpa)-\d{6}\.wav", path.name) for path in files)
    sounds = [soundfile.read(path, dtype="float32") for path in files]
    assert [rate for _, rate in sounds] == [8000, 16_000, 8000, 16_000]
    assert np.abs(sounds[0][0] - tones.say("hello zoo")).max() < 1e-4
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_costs_the_file_and_not_the_stream(tone_recognizer, tmp_path, monkeypatch, caplog):
    from edgeseq.serve import kept_sound

    opened = os.open
    monkeypatch.setattr(kept_sound.os, "open", lambda path, flags, mode: opened("/dev/full", os.O_WRONLY))

    async def run():
        async with serving(tone_recognizer, ["vosk"], save_audio=tmp_path) as server:
            return (await vosk_says(server, "hello abba zoo " * 3, size=8000))[-1]["text"]

    assert asyncio.run(run()).split() == ["hello", "abba", "zoo"] * 3
    assert len([line for line in caplog.messages if "No space left on device" in line]) == 1


def test_words_are_not_logged(tone_recognizer, caplog):
    caplog.set_level("DEBUG", "edgeseq")

    async def run():
        async with serving(tone_recognizer, ALL) as server:
            await asyncio.gather(
                *(says(server, "hello abba zoo") for says in (vosk_says, sherpa_says, wyoming_says, page_says))
            )

    asyncio.run(run())
    assert caplog.messages and not any(word in line for word in ("hello", "abba", "zoo") for line in caplog.messages)


def test_a_stream_whose_decoder_fails_is_ended_alone(tone_recognizer, caplog):
    class Broken(type(tone_recognizer.decoder)):
        def step(self, log_probs, state):
            if self.n_steps(state) > 10:
                raise ZeroDivisionError("broken")
            return super().step(log_probs, state)

    broken = tone_recognizer.with_decoder(Broken(tone_recognizer.metadata))

    async def run():
        async with serving({"tones": tone_recognizer, "broken": broken}, ["vosk"]) as server:
            others = [asyncio.create_task(vosk_says(server, text, size=400)) for text in TEXTS]
            async with connected(server, "vosk") as ws:
                await ws.send_json({"config": {"model": "broken"}})
                for _ in range(5):
                    await ws.send_bytes(pcm16(tones.silence(0.2)))
                while (message := await ws.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
            return message, [(await other)[-1]["text"] for other in others]

    message, others = asyncio.run(run())
    assert message.data == 1011 and "broken" not in message.extra
    assert others == list(TEXTS)


@pytest.fixture
def served(tone_model):
    """`edgeseq serve` as a program; gives its process and its address."""
    process = start(
        "serve", "--vosk", "127.0.0.1:0", "-m", tone_model, "--drain-seconds", "0.5", env={"EDGESEQ_TOKEN": "secret"}
    )
    lines = []
    while not (found := re.search(r"ws://127\.0\.0\.1:\d+", lines[-1] if lines else "")):
        line = process.stderr.readline()
        assert line, lines
        lines.append(line)
    yield process, found.group()
    process.kill()
    process.communicate()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_the_program_stops_at_signals(served, sign):
    process, uri = served

    async def run():
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{uri}/?token=secret") as ws:
            await ws.send_bytes(pcm16(tones.say("hello zoo")))
            await ws.receive()
            process.send_signal(sign)
            return json.loads(await ws.receive_str()), (await ws.receive()).data

    last, code = asyncio.run(run())
    assert (last["text"], code) == ("hello zoo", 1001)
    assert process.wait(60) == 0
    log = process.stderr.read()
    assert sign.name in log and "hello" not in log and "secret" not in log and "Traceback" not in log


def test_a_service_gives_signs_of_life(tone_model, tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(60)
        environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}
        process = start("serve", "--vosk", "127.0.0.1:0", "-m", tone_model, env=environment)
        try:
            said = [listener.recv(1000).decode() for _ in range(3)]
            process.send_signal(signal.SIGTERM)
            while "STOPPING=1" not in said:
                said.append(listener.recv(1000).decode())
        finally:
            process.communicate(timeout=60)
    assert said[0].startswith("READY=1\nSTATUS=listening: ws://127.0.0.1:") and said[1:3] == ["WATCHDOG=1"] * 2
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--http", "0.0.0.0:0"], 2, "and there is no token"),
        (["--sherpa", "0.0.0.0:0"], 2, "--allow-unauthenticated"),
        (["--vosk", "here"], 2, "the port is missing"),
        (["--limit", "stream=3"], 2, "there is no limit 'stream'. There are: streams, "),
        (["--limit", "streams=many"], 2, "wanted streams=NUMBER, more than 0, for instance streams=32"),
        (["--limit", "streams=0"], 2, "more than 0"),
        (["--tls", "nowhere.pem"], 2, "wanted a certificate and its key"),
        (["--tls", "nowhere.pem", "key.pem", "--vosk", "127.0.0.1:0"], 2, "nowhere.pem: No such file"),
        (["--token", ""], 2, "--token is empty"),
        (["-m", "nobody"], 2, "no model 'nobody'"),
        (["--save-audio", "/dev/null/x"], 1, "Not a directory"),
    ],
)
def test_what_the_command_line_refuses(tone_model, words, code, said):
    model = [] if "-m" in words else ["-m", tone_model]
    done = run_command("serve", *model, *words)
    assert done.returncode == code and said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_the_extra_that_is_missing_is_named():
    """The packages of the extra are hidden, so that the command finds none of them."""
    hide = "import sys; sys.modules['prometheus_client'] = None; from edgeseq.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", hide, "serve"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "pip install 'edgeseq[serve]'" in done.stderr and "Traceback" not in done.stderr


def test_a_port_that_is_taken_ends_the_program(tone_model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_command("serve", "-m", tone_model, "--vosk", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 1 and "cannot listen there" in done.stderr and "Choose another port" in done.stderr


def test_a_client_that_is_gone_when_it_is_turned_away_is_let_go():
    from edgeseq.serve import connections

    class Gone:
        """A transport whose client has reset the connection."""

        is_aborted = False

        def write_eof(self):
            raise OSError(107, "Transport endpoint is not connected")

        def abort(self):
            self.is_aborted = True

        def set_protocol(self, protocol): ...

        def write(self, data): ...

        def get_extra_info(self, name):
            return None

    gone, lingering = Gone(), set()
    turned_away = connections._TurnedAway(gone, lingering)
    assert gone.is_aborted
    turned_away.connection_lost(None)
    assert not lingering
