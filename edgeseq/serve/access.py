"""Who may talk to a server: the token, and whether a browser's page is one that may.

Any web page can open a connection to a port of the machine its reader sits at, so a browser's requests count only when they
come from a page of this very server (Origin) that was reached by a name of this machine (Host: another name may be an
attacker's, pointed here after its page was loaded). Programs send no Origin and are asked for the token alone.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edgeseq.serve.connections import current

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.typedefs import Handler, Middleware

log = logging.getLogger(__name__)

OPEN_PATHS = ("/", "/health", "/favicon.ico")
"""Read without a token: they hold nothing of anybody."""
OPEN_FOLDER = "/page/"
"""Files of the web page, the same."""
SUBPROTOCOL_TOKEN = "openai-insecure-api-key."
"""Before the token among the WebSocket's subprotocols: browsers' clients of OpenAI can send it nowhere else."""


@dataclass(frozen=True)
class Refusal:
    """Why somebody may not."""

    status: int
    """of HTTP"""
    reason: str
    """one word, for counting"""
    message: str


@dataclass(frozen=True)
class Access:
    """What a server asks of those who talk to it."""

    token: str | None = None
    """None asks for none"""
    names: frozenset[str] = frozenset()
    """of this machine, besides its addresses, localhost and its host name"""
    origins: frozenset[str] = frozenset()
    """of other web sites whose pages may talk to this server, as browsers write them: https://example.org"""

    has_page: bool = False
    """the web page's files, and /health, are read without a token"""

    def refusal(self, request: web.BaseRequest) -> Refusal | None:
        """Say why a request is refused; None if it is not."""
        if not self._knows(request.headers.get("Host", "")):
            return Refusal(
                403,
                "host",
                "this server is not called by the name in the Host header. Use its address, or start it with --name.",
            )
        origin = request.headers.get("Origin")
        if origin is not None and origin not in self.origins and not _is_same(origin, request.headers.get("Host", "")):
            return Refusal(
                403, "origin", "pages of other web sites may not use this server. If this one may, start it with --origin."
            )
        if not self._is_open(request) and not self._has_token(request):
            return Refusal(
                401, "token", "the token is missing or wrong. Send it as 'Authorization: Bearer TOKEN' or as ?token=TOKEN."
            )
        return None

    def _knows(self, host: str) -> bool:
        name = _host_name(host)
        return name in self._own_names or name in self.names or _is_address(name)

    @cached_property
    def _own_names(self) -> frozenset[str]:
        name = socket.gethostname().lower()
        return frozenset({"localhost", name, name.partition(".")[0], name.partition(".")[0] + ".local"})

    def _is_open(self, request: web.BaseRequest) -> bool:
        if request.method == "OPTIONS":  # a browser's question, to which it adds no token
            return True
        is_read = self.has_page and request.method in ("GET", "HEAD")
        return is_read and (request.path in OPEN_PATHS or request.path.startswith(OPEN_FOLDER))

    def _has_token(self, request: web.BaseRequest) -> bool:
        if self.token is None:
            return True
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        given = [bearer.strip()] if scheme.lower() == "bearer" else []
        offered = (text.strip() for text in request.headers.get("Sec-WebSocket-Protocol", "").split(","))
        given += [text.removeprefix(SUBPROTOCOL_TOKEN) for text in offered if text.startswith(SUBPROTOCOL_TOKEN)]
        return any(self.is_token(text) for text in (*given, *request.query.getall("token", [])))

    def is_token(self, given: str) -> bool:
        """Compare a token in a time that does not tell how much of it is right."""
        wanted = (self.token or "").encode()
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted) and bool(wanted)


def middleware(access: Access, refused: Callable[[str], None] = lambda reason: None) -> Middleware:
    """Make the aiohttp middleware that lets requests through, or refuses them; `refused` hears why."""
    from aiohttp import web

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        slot = current.get()
        if slot is None:
            return await answer(request, handler)
        with slot.held():
            await slot.pace.event()
            return await answer(request, handler)

    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        encoding = request.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            refused("encoding")
            return error_response(415, "a body with Content-Encoding is not read; send it as it is.")
        refusal = access.refusal(request)
        if refusal is not None:
            refused(refusal.reason)
            log.warning("refused %s: wrong %s", request.remote, refusal.reason)
            return error_response(refusal.status, refusal.message)
        origin = request.headers.get("Origin", "")
        if origin not in access.origins:
            return await handler(request)
        if request.method == "OPTIONS":
            response: web.StreamResponse = web.Response(status=204)
        else:
            response = await handler(request)
        if not response.prepared:
            response.headers.update(
                {
                    "Access-Control-Allow-Origin": origin,
                    "Access-Control-Allow-Headers": "Authorization, Content-Type",
                    "Vary": "Origin",
                }
            )
        return response

    return check


def error_response(status: int, message: str, code: str | None = None) -> web.Response:
    """Refuse in the form that OpenAI's clients read: `{"error": {"message", "type", "param", "code"}}`."""
    from aiohttp import web

    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    text = json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return web.Response(status=status, text=text, content_type="application/json", headers=headers)


def _host_name(host: str) -> str:
    """Take the port off a Host header."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_same(origin: str, host: str) -> bool:
    """Whether a page was loaded from the server that it now talks to."""
    try:
        page, server = urlsplit(origin), urlsplit(f"{urlsplit(origin).scheme}://{host}")
        default = {"http": 80, "https": 443}.get(page.scheme)
        return bool(page.hostname) and page.hostname == server.hostname and (page.port or default) == (server.port or default)
    except ValueError:
        return False
