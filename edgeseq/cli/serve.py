"""`edgeseq serve`: live words for browsers, and programs that speak the protocols of Wyoming, Vosk, sherpa-onnx, OpenAI."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer
from typer.core import TyperCommand

from edgeseq.cli.options import (
    BitsOption,
    CompleteOption,
    EndpointOption,
    LongestOption,
    PhrasesOption,
    RejectOption,
    ThresholdOption,
    phrase_decoder,
)
from edgeseq.cli.printing import say
from edgeseq.cli.progress import busy
from edgeseq.cli.search_options import Search, searches
from edgeseq.cli.stopping import stop_on_signals
from edgeseq.errors import UsageError
from edgeseq.model.default import DEFAULT_MODEL
from edgeseq.stream.endpoint import COMPLETE_SECONDS, ENDPOINT_SECONDS, LONGEST_SECONDS, endpoint_rules

if TYPE_CHECKING:
    from edgeseq.serve.limits import Limits
    from edgeseq.serve.server import Server
    from edgeseq.serve.tls import Certificate
    from edgeseq.stream.recognizer import Recognizer

DEFAULT_HTTP = "127.0.0.1:8080"
SELF_SIGNED = "self-signed"


class ServeCommand(TyperCommand):
    """Takes `--tls CERT KEY` besides `--tls self-signed`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read `--tls CERT KEY` as `--tls CERT --tls KEY`."""
        at = args.index("--tls") if "--tls" in args else len(args)
        if args[at + 1 : at + 2] != [SELF_SIGNED] and not any(word.startswith("-") for word in args[at + 1 : at + 3]):
            args = [*args[: at + 2], *(["--tls"] if args[at + 2 :] else []), *args[at + 2 :]]
        return super().parse_args(ctx, args)


@searches
def serve(
    wyoming: Annotated[
        str | None, typer.Option(metavar="URI", help="Speak Wyoming (Home Assistant) there: tcp://HOST:PORT.")
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help=f"Show the web page there, and speak OpenAI's protocols.  [default: {DEFAULT_HTTP}, if no address is given]",
        ),
    ] = None,
    vosk: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Speak vosk-server's WebSocket protocol there.")] = None,
    sherpa: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Speak sherpa-onnx's online WebSocket protocol there.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            help="A model's name, folder or file; may be repeated. Clients that name none get the first."
            f"  [default: {DEFAULT_MODEL}]",
        ),
    ] = None,
    bits: BitsOption = None,
    phrases: PhrasesOption = None,
    phrase_threshold: ThresholdOption = None,
    reject: RejectOption = True,
    endpoint_seconds: EndpointOption = ENDPOINT_SECONDS,
    complete_seconds: CompleteOption = COMPLETE_SECONDS,
    longest_seconds: LongestOption = LONGEST_SECONDS,
    gate: Annotated[bool, typer.Option("--gate", help="Stop the network for streams without sound.")] = False,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="EDGESEQ_TOKEN",
            metavar="TOKEN",
            help="Secret that clients must send (http, vosk); needed if other machines can connect.",
        ),
    ] = None,
    allow_unauthenticated: Annotated[
        bool,
        typer.Option(
            "--allow-unauthenticated", help="Let other machines use Wyoming and sherpa, whose protocols have no token."
        ),
    ] = False,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="Another name under which browsers reach this machine; may be repeated."),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Another web site whose pages may use this server; may be repeated."),
    ] = None,
    tls: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CERT KEY | self-signed", help="Speak https with this certificate, or with one that edgeseq makes once."
        ),
    ] = None,
    save_audio: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder to save what clients say, one WAV file per stream.")
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="Set a limit (names: docs/serving.md); may be repeated."),
    ] = None,
    drain_seconds: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Time for streams to end when the server stops.")
    ] = 5.0,
    *,
    search: Search,
) -> None:
    """Serve clients in the protocols that they already speak.

    Every client has a stream, phrases and settings of its own; their sound goes through one network together. Ctrl-C
    and SIGTERM let streams end, and end with exit code 0.

    By default it serves this machine alone; other machines need a token. What was said is never written to
    the log, and no sound is kept without --save-audio.

    \b
    Examples:
      edgeseq serve
      edgeseq serve --http 127.0.0.1:8080 --vosk 127.0.0.1:2700
      edgeseq serve --wyoming tcp://0.0.0.0:10300 --allow-unauthenticated
      EDGESEQ_TOKEN=secret edgeseq serve --http 0.0.0.0:8080 --tls self-signed
      edgeseq serve --vosk 127.0.0.1:2700 --phrases coffee.yaml --limit streams=8
    """
    import asyncio

    from edgeseq.serve.server import check_installed

    check_installed()
    from edgeseq.serve.access import Access
    from edgeseq.serve.context import Context
    from edgeseq.serve.hub import Hub
    from edgeseq.serve.memory import give_memory_back
    from edgeseq.serve.server import Security, Server
    from edgeseq.serve.service import renew_daily, run_until_signal
    from edgeseq.serve.service_log import log_to_stderr

    given = {"wyoming": wyoming, "http": http, "vosk": vosk, "sherpa": sherpa}
    listen = {protocol: text for protocol, text in given.items() if text is not None} or {"http": DEFAULT_HTTP}
    if token == "":
        raise UsageError("--token is empty; wanted some characters that nobody guesses: openssl rand -hex 16")
    limits = parse_limits(limit or [])
    certificate = _certificate(tls or [])
    access = Access(token, frozenset(map(str.lower, name or [])), frozenset(origin or []))
    security = Security(access, allow_unauthenticated, _tls_context(certificate))
    log_to_stderr()
    give_memory_back()
    rules = endpoint_rules(endpoint_seconds, complete_seconds, longest_seconds)

    def load(text: str) -> Recognizer:
        from edgeseq.models import load_recognizer
        from edgeseq.stream.gate import Gate

        recognizer = load_recognizer(text, bits).with_rules(rules)
        decoder = search.decoder(recognizer.metadata, phrases) or phrase_decoder(
            phrases, recognizer.metadata, phrase_threshold, reject
        )
        recognizer = recognizer if decoder is None else recognizer.with_decoder(decoder)
        return recognizer.with_gate(Gate(recognizer.sample_rate)) if gate else recognizer

    with stop_on_signals() as stop:
        folder = _folder(save_audio)
        recognizers: dict[str, Recognizer] = {}
        for text in model or [DEFAULT_MODEL]:
            with busy(f"loading {text}"):
                recognizer = load(text)
            called = recognizer.metadata.name
            if called in recognizers:
                raise UsageError(f"--model {text}: there is another model called '{called}'; wanted each name once.")
            recognizers[called] = recognizer
        made_here = certificate.fingerprint if certificate is not None and certificate.is_made_here else None

        async def run() -> None:
            context = Context(Hub(recognizers, limits, save_audio=folder), fingerprint=made_here)
            server = Server(context, listen, security, drain_seconds=drain_seconds)
            if certificate is not None and security.tls is not None:
                renewing = asyncio.create_task(renew_daily(security.tls, certificate))
            await run_until_signal(server, lambda: _show(server, certificate, token))
            if certificate is not None:
                renewing.cancel()

        if not stop.requested:
            asyncio.run(run())


def parse_limits(given: Sequence[str]) -> Limits:
    """Read `streams=8 idle_seconds=30`. Raises UsageError."""
    from edgeseq.serve.limits import Limits

    defaults = dataclasses.asdict(Limits())
    changes: dict[str, Any] = {}
    for text in given:
        name, _, number = text.partition("=")
        if name not in defaults:
            raise UsageError(f"--limit {text}: there is no limit '{name}'. There are: {', '.join(defaults)}.")
        kind = type(defaults[name])
        try:
            value = kind(float(number))
        except (ValueError, OverflowError):
            value = -1
        if not 0 < value < float("inf"):
            raise UsageError(f"--limit {text}: wanted {name}=NUMBER, more than 0, for instance {name}={defaults[name]}.")
        changes[name] = value
    return Limits(**changes)


def _certificate(choice: Sequence[str]) -> Certificate | None:
    if not choice:
        return None
    from edgeseq.serve.tls import find

    return find(choice)


def _tls_context(certificate: Certificate | None) -> Any:
    if certificate is None:
        return None
    from edgeseq.serve.tls import make_context

    return make_context(certificate)


def _folder(path: Path | None) -> Path | None:
    if path is not None:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise UsageError(f"--save-audio {path}: this user may not write there; wanted a folder that can be written.")
    return path


def _show(server: Server, certificate: Certificate | None, token: str | None) -> None:
    """Say what a person at the terminal wants to know: the certificate, and how a phone gets to the page."""
    if certificate is not None and certificate.is_made_here:
        say(f"certificate made here, SHA-256 {certificate.fingerprint}", err=True)
    if "http" in server.uris and sys.stderr.isatty():
        from edgeseq.serve.addresses import uri
        from edgeseq.serve.tls import outer_address, qr_code

        address = server.address("http")
        host = outer_address() if address.is_everywhere else address.host
        if host is not None and not address.is_loopback():
            page = f"{uri(address.scheme, host, server.ports['http'])}/" + ("" if token is None else f"?token={quote(token)}")
            say(f"{qr_code(page)}the page for a phone: {page}", err=True)
    say("Ctrl-C ends", err=True)
