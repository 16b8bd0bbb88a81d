"""Clients of all protocols by hand, byte for byte, so that they can do what no library lets them do."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
from contextlib import asynccontextmanager, suppress

from speakers import pcm16

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
PATHS = {"vosk": "/", "sherpa": "/", "page": "/listen", "realtime": "/v1/realtime?intent=transcription"}
"""of protocols that are WebSockets"""
PORTS = {"page": "http", "realtime": "http", "openai": "http"}
"""protocol -> that of the listener, where it has another name"""
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
}
BOUNDARY = "----------------edgeseq"


def port_of(server, protocol):
    return server.ports[PORTS.get(protocol, protocol)]


def frame(content, opcode=BINARY, *, bits=0x80, length=None, masked=True):
    """Write a WebSocket frame; `bits` are those of the first byte besides the opcode, `length` what it says of its length."""
    n = len(content) if length is None else length
    head = bytes([bits | opcode])
    mark = 0x80 if masked else 0
    if n < 126:
        head += struct.pack(">B", mark | n)
    elif n < 1 << 16:
        head += struct.pack(">BH", mark | 126, n)
    else:
        head += struct.pack(">BQ", mark | 127, n)
    return head + (bytes(4) + content if masked else content)


def text(message, **options):
    """Write a text frame, of JSON unless it is bytes or text already."""
    if not isinstance(message, bytes):
        message = (message if isinstance(message, str) else json.dumps(message)).encode("utf-8", "surrogatepass")
    return frame(message, TEXT, **options)


def request(server, protocol, path=None, *, method="GET", content=b"", **headers):
    """Write an HTTP request; WebSockets' upgrade where the protocol is one and no path is given."""
    lines = {"Host": f"127.0.0.1:{port_of(server, protocol)}", **server.headers}
    lines |= UPGRADE if path is None else {}
    if content:
        lines["Content-Length"] = str(len(content))
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = [f"{method} {path or PATHS[protocol]} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items())]
    return "\r\n".join([*head, "", ""]).encode("utf-8", "surrogateescape") + content


def upload(server, fields, path="/v1/audio/transcriptions"):
    """Write an upload: name -> content."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        + (b'; filename="said.wav"' if name == "file" else b"")
        + b"\r\n\r\n"
        + content
        + b"\r\n"
        for name, content in fields
    ]
    content = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return request(server, "openai", path, method="POST", content=content, Content_Type=kind)


def event(kind, data=None, payload=b"", **changes):
    """Write a Wyoming event; `changes` are fields of its first line that lie."""
    header = {"type": kind, "version": "1.10.0", "data": data or {}}
    if payload:
        header["payload_length"] = len(payload)
    return json.dumps(header | changes).encode() + b"\n" + payload


def opening(protocol, rate=16_000):
    """What a client says before it sends sound."""
    if protocol == "vosk":
        return text({"config": {"sample_rate": rate}})
    if protocol == "page":
        return text({"rate": rate})
    if protocol == "wyoming":
        return event("transcribe") + event("audio-start", {"rate": rate, "width": 2, "channels": 1})
    return b""


def sound(protocol, samples, rate=16_000):
    """Write a message of sound."""
    if protocol == "sherpa":
        return frame(samples.astype("<f4").tobytes())
    if protocol == "realtime":
        return text({"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm16(samples)).decode()})
    if protocol == "wyoming":
        return event("audio-chunk", {"rate": rate, "width": 2, "channels": 1}, pcm16(samples))
    return frame(pcm16(samples))


class Raw:
    """A connection."""

    def __init__(self, reader, writer):
        self.reader, self._writer = reader, writer

    async def send(self, content):
        """Write, and wait while the server takes nothing. Raises ConnectionError."""
        self._writer.write(content)
        await self._writer.drain()

    async def upgrade(self, server, protocol):
        """Make it a WebSocket."""
        await self.send(request(server, protocol))
        head = await self.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionError(head.decode(errors="replace").splitlines()[0])

    def end_sending(self):
        """Half-close it."""
        with suppress(OSError):  # the server may have closed it
            self._writer.write_eof()

    def pause_reading(self):
        """Read nothing more."""
        self._writer.transport.pause_reading()

    def cut(self):
        """Reset it."""
        sock = self._writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def until_closed(self, seconds):
        """Read until the server closes; gives the bytes. Raises TimeoutError."""
        said = bytearray()
        async with asyncio.timeout(seconds):
            while piece := await self.reader.read(65_536):
                said += piece
        return bytes(said)


@asynccontextmanager
async def connected(server, protocol, upgrade=True):
    """Connect to a protocol, as a WebSocket where it is one."""
    local = getattr(server, "local_address", None)
    options = {} if local is None else {"local_addr": (local, 0)}
    raw = Raw(*await asyncio.open_connection("127.0.0.1", port_of(server, protocol), limit=1 << 20, **options))
    try:
        if upgrade and protocol in PATHS:
            await raw.upgrade(server, protocol)
        yield raw
    finally:
        raw.cut()
