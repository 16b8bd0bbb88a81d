"""Mutated and random messages to `edgeseq serve`, by the hundred thousand, while good clients are served.

    python tests/fuzz.py --frames 100000 --protocol all

A visit is one connection: some messages that are right, or nearly, and a hostile one, or a lie in the handshake. The server
must end every visit that is over, go on serving, and hold nothing when all have left. A message counts when it was sent and
the conversation came to an end behind it.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import random
import struct
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import raw_clients
import soundfile
import speakers
import typer
from raw_clients import BINARY, CLOSE, PATHS, PING, TEXT, event, frame, request, sound, text, upload
from real_server import RealServer, real_server

CLIP = Path(__file__).parent.parent / "demo" / "number.flac"
WORDS = "zero four one three nine five two eight seven six"
TOKEN = "s3cret"
RATE = 16_000
VISITORS = 12
"""connections at once"""
END_SECONDS = 20.0
"""within which the server ends a visit that is over"""
LIMITS = {"idle_seconds": 10, "send_seconds": 5, "streams": 64}
MESSAGE_BYTES = 1 << 20
"""the server's limit"""
FLOOD = 1000
"""connects, within a second"""
WARM_UP = 0.2
"""share of the frames after which memory is noted"""
MOST_MB = 10.0
MOST_FILES = 8
DEEP = 100_000
TOKENS = (
    "null", "true", "false", "-1", "0", "1", "0.5", "-0.0", "16000", "1e9", "1e308", "1e400", "-1e400", "NaN", "Infinity",
    "9" * 30, "9" * 400, "9" * 6000, '""', '" "', '"16000"', '"\\ud800"', '"\\u0000"', '"\\u202e\\n\\r"',
    '"' + "x" * 10_000 + '"', "[]", "{}", "[1, 2]", '["a", 3]', '{"a": 1}', "[" * 50 + "]" * 50, "[" * DEEP + "]" * DEEP,
    '{"a":' * DEEP + "1" + "}" * DEEP,
)  # fmt: skip
"""JSON values that a field does not expect"""
KINDS = (
    b"multipart/form-data", b"multipart/form-data; boundary=", b"text/plain", b"multipart/mixed; boundary=x", b"\xff\xfe",
    b"multipart/form-data; boundary=" + b"x" * 300,
)  # fmt: skip
"""Content types of requests"""
HEADERS = (
    b"Authorization: Bearer x", b"Host: evil.example", b"Origin: null", b"X: " + b"y" * 20_000, b"Content-Encoding: gzip",
    b"Content-Encoding: x", b"Expect: 100-continue", b"Upgrade: websocket",
)  # fmt: skip
PAGES = (
    "/", "/listen/about", "/page/main.js", "/page/x", "/health", "/metrics", "/listen", "/../../etc/passwd",
    "/page/%2e%2e%2f__init__.py", "/page/%00", "//", "/?",
)  # fmt: skip
PLACE = "@@"


class Drawn(random.Random):
    """Draws what is sent."""

    def words(self) -> str:
        """Draw text of all kinds."""
        alphabet = self.choice(["abc ", "0123456789", "äß€😀\u202e", "[]|(){}<>*\"'\\", "\x00\r\n\t", "zero one two "])
        return "".join(self.choices(alphabet, k=self.choice([0, 1, 5, 40, 400])))

    def samples(self) -> np.ndarray:
        """Draw sound."""
        n = self.choice([0, 1, 2, 79, 160, 640, 1600])
        level = self.choice([0.0, 0.1, 1.0])
        return (
            np.random.default_rng(self.getrandbits(32)).uniform(-level, level, n).astype(np.float32) if n else speakers.NOTHING
        )

    def mutated(self, content: bytes) -> bytes:
        """Change some bytes, drop some, double some."""
        changed = bytearray(content)
        for _ in range(self.randint(1, 4)):
            at = self.randrange(len(changed) + 1)
            kind = self.randrange(4)
            if kind == 0 and at < len(changed):
                changed[at] ^= 1 << self.randrange(8)
            elif kind == 1:
                changed[at : at + self.choice([1, 4, 100])] = b""
            elif kind == 2:
                changed[at:at] = self.randbytes(self.choice([1, 4, 100]))
            else:
                changed[at:at] = changed[at : at + 50]
        return bytes(changed)

    def json(self, message: object) -> str:
        """Write a message with something wrong in it: another value in one place, a field too few or too many, a break."""
        message = json.loads(json.dumps(message))
        places = list(_places(message))
        kind = self.randrange(6)
        if kind <= 2 and places:
            holder, key = self.choice(places)
            holder[key] = PLACE
        elif kind == 3 and places:
            holder, key = self.choice(places)
            holder.pop(key)
        elif isinstance(message, dict):
            message[self.words()] = PLACE
        written = json.dumps(message).replace(f'"{PLACE}"', self.choice(TOKENS))
        return written[: self.randrange(len(written) + 1)] if kind == 5 else written


def _places(message: object):
    """List where values stand: what holds them, and by which key."""
    pairs = message.items() if isinstance(message, dict) else enumerate(message) if isinstance(message, list) else ()
    for key, value in pairs:
        yield message, key
        yield from _places(value)


@dataclass
class Visit:
    """One connection's bytes."""

    messages: list[bytes] = field(default_factory=list)
    upgrade: bytes = b""
    """request that makes it a WebSocket, or something like it"""
    is_open: bool = False
    """the server may wait for more when all has been sent"""


VOSK = (
    {"config": {"sample_rate": 16000, "words": True, "max_alternatives": 3}},
    {"config": {"sample_rate": 8000, "phrase_list": ["one two", "three", "[unk]"]}},
    {"config": {"model": "digits-en"}},
    {"reset": 1},
    {"eof": 1},
)
PAGE = ({"rate": 16000}, {"rate": 48000, "model": "digits-en"}, {"rate": 8000, "phrases": "- one\n- two\n"}, {"type": "finish"})
FORMAT = {"type": "audio/pcm", "rate": 24000}
TRANSCRIPTION = {"model": "digits-en", "language": "en", "prompt": "one two", "keywords": ["three"]}
TURNS = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 200}
REALTIME = (
    {
        "type": "session.update",
        "event_id": "e1",
        "session": {
            "type": "transcription",
            "audio": {"input": {"format": FORMAT, "transcription": TRANSCRIPTION, "turn_detection": TURNS}},
        },
    },
    {
        "type": "transcription_session.update",
        "session": {
            "input_audio_format": "g711_ulaw",
            "input_audio_transcription": TRANSCRIPTION,
            "turn_detection": TURNS,
        },
    },
    {"type": "input_audio_buffer.append", "audio": "AAAA"},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
)
FORM = {"rate": 16000, "width": 2, "channels": 1}
WYOMING = (
    ("transcribe", {"name": "digits-en", "language": "en"}),
    ("transcribe", {"transcript_names": ["one", "two"], "transcript_terms": ["three four"]}),
    ("detect", {"names": ["one", "nine"]}),
    ("audio-start", {**FORM, "timestamp": 0}),
    ("audio-chunk", {**FORM, "timestamp": 20}),
    ("audio-stop", {"timestamp": 40}),
    ("describe", {}),
    ("ping", {"text": "hello"}),
    ("select-program", {"name": "edgeseq"}),
)
FIELDS = {
    "model": b"digits-en", "language": b"en", "prompt": b"one two", "response_format": b"verbose_json", "stream": b"true",
    "temperature": b"0", "timestamp_granularities[]": b"word", "keywords[]": b"three",
}  # fmt: skip


def websocket_frame(drawn: Drawn, content: bytes, opcode: int) -> tuple[bytes, bool]:
    """Write a message as no client should; and whether the server may wait for more behind it."""
    kind = drawn.randrange(12)
    if kind == 0:
        return frame(content, opcode, masked=False), False
    if kind == 1:
        return frame(content, opcode, bits=0x80 | drawn.choice([0x10, 0x20, 0x40, 0x70])), False
    if kind == 2:
        return frame(content, drawn.choice([0, 3, 5, 7, 11, 15])), False
    if kind == 3:
        return frame(content, opcode, length=drawn.choice([len(content) + 1, MESSAGE_BYTES, 2**31, 2**62, 2**64 - 1])), True
    if kind == 4:
        return frame(content[:50], PING, bits=0) + frame(drawn.randbytes(drawn.choice([0, 125, 126])), PING), False
    if kind == 5:
        return frame(content, opcode, bits=0) + frame(content, opcode), False
    if kind == 6:
        parts = [frame(content[:3], opcode, bits=0), *[frame(b"", 0, bits=0)] * drawn.choice([1, 100]), frame(content[3:], 0)]
        return b"".join(parts), False
    if kind == 7:
        return frame(struct.pack(">H", drawn.choice([0, 999, 1000, 1005, 4000, 65_535])) + drawn.randbytes(5), CLOSE), False
    if kind == 8:
        return frame(drawn.choice([b"\xff", b"\x03", b"\x03\xe8\xff\xfe"]), CLOSE), False
    if kind == 9:
        return drawn.mutated(frame(content, opcode)), True
    if kind == 10:
        return drawn.randbytes(drawn.choice([1, 2, 14, 300])), True
    if drawn.random() < 0.05:
        return frame(bytes(drawn.choice([MESSAGE_BYTES, MESSAGE_BYTES + 2, 3 * MESSAGE_BYTES])), opcode), False
    return frame(drawn.choice([b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88"]) + content, TEXT), False


def upgrade(drawn: Drawn, server: RealServer, protocol: str) -> tuple[bytes, bool]:
    """Write the request for a WebSocket; and whether it is a lie."""
    path = PATHS[protocol]
    if protocol == "sherpa" and drawn.random() < 0.1:
        path += f"?sample_rate={drawn.choice(['8000', '16000', '0', '-1', '1e9', '9' * 50, '%00', 'x', '١٦٠٠٠'])}"
        return request(server, protocol, path, **raw_clients.UPGRADE), True
    if drawn.random() > 0.1:
        return request(server, protocol), False
    kind = drawn.randrange(8)
    if kind == 0:
        return drawn.mutated(request(server, protocol)), True
    if kind == 1:
        return request(
            server, protocol, Authorization=drawn.choice(["", "Bearer", "Bearer x", "Basic é", "Bearer " + "x" * 9000])
        ), True
    if kind == 2:
        return request(server, protocol, Origin=drawn.choice(["http://evil.example", "null", "http://[", ""])), True
    if kind == 3:
        return request(server, protocol, Host=drawn.choice(["", "evil.example", "[::1", "a" * 9000, "\udcff"])), True
    if kind == 4:
        return request(server, protocol, Sec_WebSocket_Key=drawn.choice(["", "x", "x" * 9000])), True
    if kind == 5:
        return request(server, protocol, Sec_WebSocket_Version=drawn.choice(["", "0", "99", "x"])), True
    if kind == 6:
        hint = drawn.choice(["permessage-deflate", "permessage-deflate; server_max_window_bits=999", ", ;;=", "x" * 5000])
        return request(server, protocol, Sec_WebSocket_Extensions=hint), True
    return request(server, protocol, method=drawn.choice(["POST", "HEAD", "OPTIONS", "BREW", "get"])), True


def websocket_visit(drawn: Drawn, server: RealServer, protocol: str, templates: tuple, ending: bytes) -> Visit:
    """Speak to a WebSocket protocol."""
    opened, is_lie = upgrade(drawn, server, protocol)
    visit = Visit([], opened, is_lie)
    if protocol in ("vosk", "page") and drawn.random() < 0.8:
        visit.messages.append(raw_clients.opening(protocol, drawn.choice([8000, 16_000, 22_050, 48_000])))
    for _ in range(drawn.randrange(6)):
        visit.messages.append(sound(protocol, drawn.samples()))
    kind = drawn.randrange(8)
    template = drawn.choice(templates) if templates else drawn.words()
    if kind <= 2:
        visit.messages.append(text(drawn.json(template)))
    elif kind == 3:
        visit.messages.append(text(template) if drawn.random() < 0.5 else text(drawn.words()))
    elif kind == 4:
        visit.messages.append(frame(drawn.randbytes(drawn.choice([0, 1, 3, 5, 7, 321, 5000])), BINARY))
    elif kind == 5:
        extremes = np.array(drawn.choices([np.nan, np.inf, -np.inf, 3e38, -1e30, 1e-45, 65.0], k=4), dtype="<f4")
        visit.messages.append(frame(extremes.tobytes()))
    else:
        content = drawn.choice([sound(protocol, drawn.samples())[6:], json.dumps(template).encode()])
        hostile, waits = websocket_frame(drawn, content, drawn.choice([TEXT, BINARY]))
        visit.messages.append(hostile)
        visit.is_open |= waits
    for _ in range(drawn.randrange(3)):
        visit.messages.append(sound(protocol, drawn.samples()))
    visit.messages += [ending] if ending else []
    visit.messages.append(frame(struct.pack(">H", 1000), CLOSE))
    return visit


def vosk_visit(drawn: Drawn, server: RealServer) -> Visit:
    return websocket_visit(drawn, server, "vosk", VOSK, text({"eof": 1}))


def sherpa_visit(drawn: Drawn, server: RealServer) -> Visit:
    return websocket_visit(drawn, server, "sherpa", (), text("Done"))


def realtime_visit(drawn: Drawn, server: RealServer) -> Visit:
    visit = websocket_visit(drawn, server, "realtime", REALTIME, b"")
    closing = visit.messages.pop()
    for _ in range(drawn.choice([0, 3, 10, 120])):  # faults that do not end a conversation, up to a number
        visit.messages.append(text(drawn.json(drawn.choice(REALTIME))))
    visit.messages.append(closing)
    return visit


def page_visit(drawn: Drawn, server: RealServer) -> Visit:
    if drawn.random() < 0.8:
        return websocket_visit(drawn, server, "page", PAGE, text({"type": "finish"}))
    path = drawn.choice(PAGES) + drawn.choice(["", "?token=x", "?a=%ff", "/" * 500])
    return _http_visit(drawn, [request(server, "page", path)])


def openai_visit(drawn: Drawn, server: RealServer) -> Visit:
    requests = []
    for _ in range(drawn.randint(1, 8)):
        path = drawn.choice(["/v1/audio/transcriptions"] * 6 + ["/v1/models", "/v1/models/digits-en", "/v1/models/%ff%00"])
        fields = {name: value for name, value in FIELDS.items() if drawn.random() < 0.3}
        if fields and drawn.random() < 0.7:
            fields[drawn.choice(list(fields))] = drawn.choice([drawn.words().encode(), drawn.randbytes(50), b"x" * 5000])
        pairs = [*fields.items()] * (200 if drawn.random() < 0.01 else 1)
        if drawn.random() < 0.3:
            pairs.append(("file", _file(drawn)))
        requests.append(upload(server, pairs, path) if "audio" in path else request(server, "openai", path))
    return _http_visit(drawn, requests)


def _http_visit(drawn: Drawn, requests: list[bytes]) -> Visit:
    """Requests one after another, the last one with something wrong; the connection is closed behind it."""
    last = requests[-1]
    kind = drawn.randrange(7)
    if kind == 0:
        requests[-1] = drawn.mutated(last)
    elif kind == 1:
        requests[-1] = last[: drawn.randrange(1, len(last))]
    elif kind == 2:
        lie = drawn.choice(["-1", "0", "99999999999999999999", "1e3", "x", "10"])
        requests[-1] = last.replace(b"\r\n", f"\r\nContent-Length: {lie}\r\n".encode(), 1)
    elif kind == 3:
        requests[-1] = last.replace(b"\r\n", b"\r\nTransfer-Encoding: chunked\r\n", 1)
    elif kind == 4:
        requests[-1] = last.replace(b"\r\n", b"\r\nContent-Type: " + drawn.choice(KINDS) + b"\r\n", 1)
    elif kind == 5:
        requests[-1] = last.replace(b"\r\n", b"\r\n" + drawn.choice(HEADERS) + b"\r\n", 1)
    else:
        lie = drawn.choice([b"form-data; nam", b"attachment; name", b"form-data; name*=x''%ff; a"])
        requests[-1] = last.replace(b"form-data; name", lie, 1)
    return Visit(requests, b"", True)


def _file(drawn: Drawn) -> bytes:
    """Draw a file: sound, or nearly; rarely what only ffmpeg could read, which takes a process."""
    out = io.BytesIO()
    rate = drawn.choice([8000, 16_000, 44_100])
    soundfile.write(out, drawn.samples(), rate, format="WAV", subtype=drawn.choice(["PCM_16", "FLOAT", "PCM_U8"]))
    content = out.getvalue()
    if drawn.random() < 0.1:
        return content[: drawn.randrange(len(content))]
    if drawn.random() < 0.02:
        return drawn.choice(
            [drawn.mutated(content), drawn.randbytes(1000), b"", b"OggS" + drawn.randbytes(60), b"#EXTM3U\nfile:///etc/passwd"]
        )
    return content


def wyoming_visit(drawn: Drawn, server: RealServer) -> Visit:
    visit = Visit()
    for _ in range(drawn.randrange(6)):
        kind, data = drawn.choice(WYOMING)
        visit.messages.append(event(kind, data, speakers.pcm16(drawn.samples()) if kind == "audio-chunk" else b""))
    kind, data = drawn.choice(WYOMING)
    payload = speakers.pcm16(drawn.samples())
    wrong = drawn.randrange(7)
    if wrong <= 2:
        header = drawn.json({"type": kind, "version": "1.10.0", "data": data, "data_length": 0, "payload_length": len(payload)})
        hostile = header.encode("utf-8", "replace") + b"\n" + payload
    elif wrong == 3:
        hostile = event(
            kind,
            data,
            payload,
            **{drawn.choice(["data_length", "payload_length"]): drawn.choice([-1, 10, 2**20, 2**20 + 1, 10**30])},
        )
    elif wrong == 4:
        hostile = drawn.mutated(event(kind, data, payload))
    elif wrong == 5:
        hostile = drawn.choice([b"\n", b"\xff\xfe\n", b"x" * 70_000 + b"\n", b"null\n", b"[]\n", b"{}\n", drawn.randbytes(300)])
    else:
        extra = json.dumps(drawn.words()).encode() if drawn.random() < 0.5 else drawn.json(data).encode()
        hostile = event(kind, {}, data_length=len(extra)) + extra
    visit.messages += [hostile, *[event("audio-stop")] * drawn.randrange(2)]
    return visit


VISITS: dict[str, Callable[[Drawn, RealServer], Visit]] = {
    "vosk": vosk_visit,
    "sherpa": sherpa_visit,
    "wyoming": wyoming_visit,
    "openai": openai_visit,
    "realtime": realtime_visit,
    "page": page_visit,
}


@dataclass
class Result:
    """What came of the visits to one protocol."""

    protocol: str
    n_frames: int = 0
    n_visits: int = 0
    n_right: int = 0
    """recordings of good clients whose words were right"""
    worst_seconds: float = 0.0
    """that a good client took for one"""
    seconds: float = 0.0
    mb: tuple[float, float] = (0.0, 0.0)
    """memory after the warm-up, and at the end"""
    files: tuple[int, int] = (0, 0)
    """open files before, and at the end"""
    streams: float = 0.0
    """open at the end"""
    n_refused: float = 0.0
    """clients, by the server's own count"""
    faults: list[str] = field(default_factory=list)

    def line(self) -> str:
        return (
            f"{self.protocol:9} {self.n_frames} frames in {self.n_visits} visits, {self.seconds:.0f} s; "
            f"refused {self.n_refused:.0f}; good clients {self.n_right}, slowest {self.worst_seconds:.2f} s; "
            f"memory {self.mb[0]:.1f} -> {self.mb[1]:.1f} MB, files {self.files[0]} -> {self.files[1]}, "
            f"streams {self.streams:.0f}; faults {len(self.faults)}"
        )


async def make(visit: Visit, server: RealServer, protocol: str, drawn: Drawn) -> None:
    """Connect and send all; wait until the server closes, or be gone where it waits for more. Raises TimeoutError."""
    async with raw_clients.connected(server, protocol, upgrade=False) as raw:
        with suppress(ConnectionError):
            reading = asyncio.create_task(raw.until_closed(END_SECONDS))
            try:
                await raw.send(visit.upgrade + b"".join(visit.messages))
                if protocol == "wyoming":
                    raw.end_sending()
                elif visit.is_open:
                    await asyncio.wait({reading}, timeout=drawn.choice([0.002, 0.02]))
                    if drawn.random() < 0.5:
                        return
                    raw.end_sending()
                await reading
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


async def visit_often(result: Result, server: RealServer, n_frames: int, seed: int, numbers: itertools.count) -> None:
    """One visitor: visits until so many messages were sent by all."""
    while result.n_frames < n_frames:
        number = next(numbers)
        drawn = Drawn(f"{seed} {result.protocol} {number}")
        visit = VISITS[result.protocol](drawn, server)
        try:
            await make(visit, server, result.protocol, drawn)
        except TimeoutError:
            result.faults.append(f"visit {number} did not end: {(visit.upgrade[:20], visit.messages)!r:.600}")
        except OSError as fault:
            server.check()
            result.faults.append(f"visit {number}: {fault!r}")
        result.n_visits += 1
        result.n_frames += len(visit.messages) + bool(visit.upgrade)


async def be_served(result: Result, server: RealServer, clip: np.ndarray, ended: asyncio.Event) -> None:
    """Good clients, one after another, of the protocol that is fuzzed, until it has ended."""
    while not ended.is_set():
        await served_once(result, server, clip)
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), 0.5)


async def served_once(result: Result, server: RealServer, clip: np.ndarray, speed: float | None = None) -> None:
    began = time.monotonic()
    try:
        said = await speakers.words(result.protocol, server, clip, RATE, speed=speed)
    except Exception as fault:
        result.faults.append(f"a good client was not served: {fault!r}")
        return
    result.worst_seconds = max(result.worst_seconds, time.monotonic() - began - (len(clip) / RATE / speed if speed else 0.0))
    if said == WORDS:
        result.n_right += 1
    else:
        result.faults.append(f"a good client heard '{said}'")


async def flood(result: Result, server: RealServer, clip: np.ndarray, n_connects: int) -> None:
    """Connect so often in a second, and stay, while somebody speaks who was there before."""
    speaking = asyncio.create_task(served_once(result, server, clip, speed=4.0))
    await asyncio.sleep(0.5)
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        for number in range(n_connects):
            await stack.enter_async_context(raw_clients.connected(server, result.protocol, upgrade=False))
            await asyncio.sleep(began + number / n_connects - time.monotonic())
        await speaking
    await asyncio.sleep(0.5)  # the server notices that they are gone


async def fuzz(
    protocol: str,
    n_frames: int,
    seed: int = 0,
    model: str = "digits-en",
    n_visitors: int = VISITORS,
    n_connects: int = FLOOD,
) -> Result:
    """Send so many messages to a server of its own, behind so many connects within a second."""
    result, clip = Result(protocol), speakers.read_clip(CLIP, RATE)
    limits = [word for name, value in LIMITS.items() for word in ("--limit", f"{name}={value}")]
    async with real_server(*limits, token=TOKEN, model=model) as server:
        await served_once(result, server, clip)
        before = await server.open()
        if n_connects:
            await flood(result, server, clip, n_connects)
        began, ended, numbers = time.monotonic(), asyncio.Event(), itertools.count()
        serving = asyncio.create_task(be_served(result, server, clip, ended))
        for limit in (round(WARM_UP * n_frames), n_frames):
            first, result.mb = result.mb[1], (0.0, 0.0)
            await asyncio.gather(*(visit_often(result, server, limit, seed, numbers) for _ in range(n_visitors)))
            result.mb = (first, server.rss_mb())
        ended.set()
        await serving
        result.seconds = time.monotonic() - began
        left = await server.until_no_streams(2 * END_SECONDS)
        await served_once(result, server, clip)
        result.streams, result.files = left.streams, (before.files, left.files)
        values = await server.metrics()
        result.n_refused = sum(value for name, value in values.items() if name.startswith("edgeseq_refusals_total{"))
        result.faults += [f"the log: {line}" for line in server.failures()]
        result.faults += ["the token is in the log"] if TOKEN in server.log() else []
    _judge(result)
    return result


def _judge(result: Result) -> None:
    """Say what was not given back."""
    if result.streams:
        result.faults.append(f"{result.streams:.0f} streams are still open")
    if result.files[1] > result.files[0] + MOST_FILES:
        result.faults.append(f"{result.files[1]} files are open; before it were {result.files[0]}")
    if result.mb[1] > result.mb[0] + MOST_MB:
        result.faults.append(f"memory grew from {result.mb[0]:.1f} to {result.mb[1]:.1f} MB")


def main(
    frames: Annotated[int, typer.Option(help="Messages to send, for each protocol.")] = 100_000,
    protocol: Annotated[str, typer.Option(help=f"{', '.join(VISITS)}, or all.")] = "all",
    model: Annotated[str, typer.Option(help="A model that hears digits.")] = "digits-en",
    seed: Annotated[int, typer.Option(help="Of what is sent.")] = 0,
) -> None:
    """Fuzz a server; ends with 1 where it failed."""
    failed = False
    for name in VISITS if protocol == "all" else [protocol]:
        result = asyncio.run(fuzz(name, frames, seed, model))
        typer.echo(result.line())
        for fault in result.faults[:20]:
            typer.echo(f"  {fault}")
        failed |= bool(result.faults)
    sys.exit(failed)


if __name__ == "__main__":
    typer.run(main)
