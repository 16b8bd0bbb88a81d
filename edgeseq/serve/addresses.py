"""Addresses that a server listens at, as they are typed: 127.0.0.1:8080, [::1]:2700, tcp://0.0.0.0:10300, unix:///run/asr."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from edgeseq.errors import UsageError

SCHEMES = {"wyoming": ("tcp", "unix"), "http": ("http", "https"), "vosk": ("ws", "wss"), "sherpa": ("ws", "wss")}
"""protocol -> what may precede ://"""
EXAMPLES = {
    "wyoming": "tcp://127.0.0.1:10300",
    "http": "127.0.0.1:8080",
    "vosk": "127.0.0.1:2700",
    "sherpa": "127.0.0.1:6006",
}
HIGHEST_PORT = 65535


@dataclass(frozen=True)
class Address:
    """Where a protocol is spoken."""

    protocol: str
    scheme: str
    host: str
    """name or number; empty for a unix socket"""
    port: int
    """0 takes a free one"""
    path: str = ""
    """of a unix socket"""

    def __str__(self) -> str:
        """Write it as a URI."""
        return uri(self.scheme, self.host, self.port) if not self.path else f"{self.scheme}://{self.path}"

    @property
    def is_encrypted(self) -> bool:
        """Whether it is spoken through TLS."""
        return self.scheme in ("https", "wss")

    @property
    def is_everywhere(self) -> bool:
        """Whether it is all addresses of this machine, and none that can be typed elsewhere."""
        return self.host in ("0.0.0.0", "::")

    def is_loopback(self) -> bool:
        """Whether only programs of this machine can reach it. Raises UsageError for a name that nobody knows."""
        if self.path:
            return True
        try:
            found = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
        except OSError as fault:
            raise UsageError(
                f"--{self.protocol} {self}: the name '{self.host}' is not known ({fault.strerror or fault}). "
                f"Wanted an address of this machine: {EXAMPLES[self.protocol]}."
            ) from fault
        return all(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_loopback for entry in found)


def uri(scheme: str, host: str, port: int) -> str:
    """Write an address as people type it."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def parse_address(protocol: str, text: str) -> Address:
    """Read an address that was typed for a protocol. Raises UsageError.

    >>> print(parse_address("vosk", "127.0.0.1:2700"))
    ws://127.0.0.1:2700
    """
    schemes = SCHEMES[protocol]
    try:
        parts = urlsplit(text if "://" in text else f"{schemes[0]}://{text}")
        port = parts.port
    except ValueError:
        raise _wrong(protocol, text, f"the port is not a number from 0 to {HIGHEST_PORT}") from None
    if parts.scheme not in schemes:
        raise _wrong(protocol, text, f"'{parts.scheme}://' is not spoken here")
    if parts.scheme == "unix":
        if not parts.path:
            raise _wrong(protocol, text, "the path of the socket is missing")
        return Address(protocol, "unix", "", 0, parts.path)
    if parts.path not in ("", "/") or parts.query or parts.username:
        raise _wrong(protocol, text, "there is something besides host and port")
    if not parts.hostname:
        raise _wrong(protocol, text, "the host is missing (0.0.0.0 is all of this machine's addresses)")
    if port is None:
        raise _wrong(protocol, text, "the port is missing")
    return Address(protocol, parts.scheme, parts.hostname, port)


def _wrong(protocol: str, text: str, why: str) -> UsageError:
    return UsageError(f"--{protocol} {text}: {why}. Wanted HOST:PORT, for instance {EXAMPLES[protocol]}.")
