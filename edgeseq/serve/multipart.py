"""Forms with files (RFC 7578), read as they come, within bounds on what precedes the first part, on headers and parts.

Whatever a client says of lengths, no more is looked at than these bounds allow, and no more is kept than one piece.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp.multipart import parse_content_disposition

from edgeseq.errors import UsageError
from edgeseq.serve.limits import LimitError

MOST_PREAMBLE = 1024
"""bytes before the first part"""
MOST_HEADER_BYTES, MOST_HEADERS = 8192, 16
"""of a part"""
LONGEST_BOUNDARY = 70
"""RFC 2046, section 5.1.1"""
PLAIN = ("", "7bit", "8bit", "binary")
"""How the bytes of a part may be written: as they are."""


@dataclass(frozen=True)
class Part:
    """One field of a form."""

    name: str


class FormReader:
    """Reads a form's parts one after another."""

    def __init__(self, read: Callable[[], Awaitable[bytes]], boundary: str, most_bytes: int) -> None:
        """Take pieces of the body from `read` (empty at its end), at most `most_bytes` in all. Raises UsageError."""
        if not 0 < len(boundary) <= LONGEST_BOUNDARY or not boundary.isascii() or not boundary.isprintable():
            raise UsageError("a multipart form without a boundary of 1 to 70 letters.")
        self._read, self._most_bytes, self._n_read = read, most_bytes, 0
        self._delimiter = b"\r\n--" + boundary.encode()
        self._buffer = bytearray(b"\r\n")  # the first boundary may stand at the very beginning
        self._is_within = False

    async def next_part(self) -> Part | None:
        """Give the next part, None behind the last; what is left of the one before is ignored.

        Raises UsageError for what is not a form, LimitError for one that is too large.
        """
        if self._n_read == 0:
            await self._find_first()
        while self._is_within and await self.read_piece():
            pass
        await self._need(len(self._delimiter) + 2)
        del self._buffer[: len(self._delimiter)]
        if self._buffer.startswith(b"--"):
            return None
        await self._end_line()
        headers = await self._headers()
        self._is_within = True
        return _part_of(headers)

    async def read_piece(self) -> bytes:
        """Give what has come of the part, empty at its end."""
        while self._is_within:
            end = self._buffer.find(self._delimiter)
            if end >= 0:
                self._is_within = False
                return self._take(end)
            n_sure = len(self._buffer) - len(self._delimiter) + 1
            if n_sure > 0:
                return self._take(n_sure)
            await self._more()
        return b""

    async def _find_first(self) -> None:
        while (at := self._buffer.find(self._delimiter)) < 0:
            if len(self._buffer) > MOST_PREAMBLE:
                raise UsageError(f"more than {MOST_PREAMBLE} bytes before the first part of the form.")
            await self._more()
        if at > MOST_PREAMBLE:
            raise UsageError(f"more than {MOST_PREAMBLE} bytes before the first part of the form.")
        del self._buffer[:at]

    async def _end_line(self) -> None:
        """Skip what may follow a boundary: spaces, then the end of the line."""
        while (end := self._buffer.find(b"\r\n")) < 0 and len(self._buffer) < MOST_PREAMBLE:
            await self._more()
        if end < 0 or self._buffer[:end].strip(b" \t"):
            raise UsageError("something follows a boundary of the form.")
        del self._buffer[:end]

    async def _headers(self) -> dict[str, str]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MOST_HEADER_BYTES:
                raise UsageError(f"a part of the form with more than {MOST_HEADER_BYTES:,} bytes of headers.")
            await self._more()
        lines = bytes(self._buffer[:end]).decode("utf-8", "replace").split("\r\n")[1:]
        del self._buffer[: end + 2]  # the empty line's own end may begin a boundary
        if len(lines) > MOST_HEADERS or end > MOST_HEADER_BYTES:
            raise UsageError(f"a part of the form with more than {MOST_HEADERS} headers.")
        if not self._buffer.startswith(self._delimiter):
            await self._need(len(self._delimiter))
            if not self._buffer.startswith(self._delimiter):
                del self._buffer[:2]
        pairs = (line.partition(":") for line in lines)
        return {name.strip().lower(): value.strip() for name, _, value in pairs}

    async def _need(self, n_bytes: int) -> None:
        while len(self._buffer) < n_bytes:
            await self._more()

    async def _more(self) -> None:
        piece = await self._read()
        if not piece:
            raise UsageError("the form breaks off; wanted multipart/form-data to its last boundary.")
        self._n_read += len(piece)
        if self._n_read > self._most_bytes:
            raise LimitError(f"the form is larger than {self._most_bytes:,} bytes, which is the most that this server takes.")
        self._buffer += piece

    def _take(self, n_bytes: int) -> bytes:
        taken = bytes(self._buffer[:n_bytes])
        del self._buffer[:n_bytes]
        return taken


def _part_of(headers: dict[str, str]) -> Part:
    if headers.get("content-type", "").lower().startswith("multipart/"):
        raise UsageError("a form with parts in parts.")
    if headers.get("content-transfer-encoding", "").lower() not in PLAIN or "content-encoding" in headers:
        raise UsageError("a part of the form that is encoded; wanted its bytes as they are.")
    kind, parameters = parse_content_disposition(headers.get("content-disposition"))
    name = parameters.get("name")
    if kind != "form-data" or not name:
        raise UsageError("a part of the form without a name.")
    return Part(name)
