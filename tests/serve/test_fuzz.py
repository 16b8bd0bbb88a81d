"""Frames that no client would send, thousands of them: nothing fails, nothing is left open, others are served."""

import asyncio
import contextlib
import random
import struct

import pytest

pytest.importorskip("onnx")
pytest.importorskip("aiohttp")
pytest.importorskip("wyoming")
from serving import serving, sherpa_says, until, vosk_says

N_FRAMES = 4000
TEXTS = (
    '{"eof" : 1}', '{"reset":1}', '{"config":{"sample_rate":16000}}', '{"config":{"sample_rate":-1}}', '{"config":null}',
    '{"config":{"words":[],"max_alternatives":3}}', '{"config":{"model":"tones"}}', '{"config":{"model":["x"]}}',
    '{"config":{"max_alternatives":1e400}}', '{"config":{"sample_rate":1e308}}', '{"config":{"sample_rate":true}}',
    '{"config":{"sample_rate":"\\ud800"}}', '{"config":{"model":"\\ud800\\n"}}', '{"config":{"phrase_list":["\\ud800"]}}',
    '{"config":{"phrase_list":"[1"}}', '{"reset":null}', '{"eof":0}', "{}", "[]", "null", '""', "\0", "Done", "Done!", "done",
)  # fmt: skip


def frame(content, opcode=2, is_last=True, is_masked=True, length=None):
    n = len(content) if length is None else length
    mask = 0x80 if is_masked else 0
    if n < 126:
        size = struct.pack(">B", mask | n)
    else:
        size = struct.pack(">BH", mask | 126, n) if n < 65536 else struct.pack(">BQ", mask | 127, n)
    return bytes([(0x80 if is_last else 0) | opcode]) + size + (bytes(4) if is_masked else b"") + content


def any_frame(chance):
    """Draw a frame: sound, text, control frames, fragments, frames that lie about their length, noise."""
    samples = struct.pack("<f", chance.choice([0, 1, -1, 1e9, float("nan"), float("inf"), 0.1])) * chance.randint(1, 400)
    kinds = (
        (40, lambda: frame(chance.randbytes(chance.choice([0, 1, 2, 3, 4, 64, 640, 1280, 1281, 4000])))),
        (15, lambda: frame(samples)),
        (25, lambda: frame(chance.choice(TEXTS).encode(), 1)),
        (2, lambda: frame(chance.randbytes(chance.randint(0, 300)), 1)),
        (4, lambda: frame(chance.randbytes(chance.randint(0, 130)), chance.choice([8, 9, 10]))),
        (2, lambda: frame(chance.randbytes(20), chance.randint(0, 15), chance.random() < 0.5, chance.random() < 0.5)),
        (2, lambda: frame(b"x", length=chance.choice([2**62, 2**31, 10**6, 200]))),
        (4, lambda: frame(chance.randbytes(10), is_last=False) + frame(chance.randbytes(10), 0)),
        (2, lambda: chance.randbytes(chance.randint(1, 200))),
    )
    return chance.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])[0]()


async def throw(port, chance, n_frames):
    """Connect, send frames, and leave in one way or another."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    path = chance.choice(["", "?sample_rate=8000", "?model=nobody", "a/b", "?sample_rate=%00"])
    request = f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    try:
        writer.write(f"{request}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        for _ in range(n_frames):
            writer.write(any_frame(chance))
            await writer.drain()
            await asyncio.sleep(0)
        if chance.random() < 0.5:
            writer.write_eof()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader.read(100_000), chance.choice([0.001, 0.01, 0.1]))
    except OSError:
        pass
    finally:
        if chance.random() < 0.5:
            writer.transport.abort()
        writer.close()


@pytest.mark.parametrize(("protocol", "says"), [("vosk", vosk_says), ("sherpa", sherpa_says)])
def test_frames_that_no_client_would_send(tone_recognizer, protocol, says, caplog):
    chance = random.Random(5)

    async def throw_many(server):
        n_left = N_FRAMES // 8
        while n_left > 0:
            n = chance.randint(1, 60)
            await throw(server.ports[protocol], chance, n)
            n_left -= n

    async def run():
        async with serving(tone_recognizer, [protocol], idle_seconds=1.0) as server:
            throwing = asyncio.gather(*(throw_many(server) for _ in range(8)))
            said = [(await says(server, text))[-1]["text"] for text in ("hello abba", "zoo", "a b c")]
            await throwing
            said.append((await says(server, "yes"))[-1]["text"])
            await until(lambda: len(server.context.hub) == 0)
            await until(lambda: len(asyncio.all_tasks()) <= 3)
            return said, server.context.hub.metrics.refusals

    said, refusals = asyncio.run(run())
    assert said == ["hello abba", "zoo", "a b c", "yes"]
    assert refusals[protocol, "usage"] > 5 and (protocol == "vosk" or refusals[protocol, "audio"] > 5)  # odd bytes wait
    assert [record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []
