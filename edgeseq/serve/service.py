"""A server as a service: until a signal, with signs of life for systemd."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import ssl
from collections.abc import Callable

from edgeseq.output.notify import notify, watchdog_seconds
from edgeseq.serve.server import Server
from edgeseq.serve.tls import Certificate, refresh

log = logging.getLogger(__name__)

DAY_SECONDS = 24 * 3600.0
OPEN_FILES = 8192
"""wanted for connections; a shell's limit is often 1024"""


async def run_until_signal(server: Server, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM or Ctrl-C, then stop gracefully; a second one ends the program at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def request(signum: int) -> None:
        log.info("stopping: %s", signal.Signals(signum).name)
        stop.set()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, request, each)
    _allow_open_files()
    async with server:
        gc.collect()
        gc.freeze()  # what has been loaded stays; to look through it again and again would take 50 ms each time
        ready()
        notify("READY=1", f"STATUS=listening: {', '.join(server.uris.values())}")
        signs = asyncio.create_task(_give_signs_of_life(server))
        await stop.wait()
        notify("STOPPING=1")
    signs.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await signs


async def renew_daily(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Take a certificate that was replaced on disk, or make a new one in time, as long as the server runs."""
    while True:
        await asyncio.sleep(DAY_SECONDS)
        certificate = await asyncio.to_thread(refresh, context, certificate)


async def _give_signs_of_life(server: Server) -> None:
    """Tell the watchdog now and then that event loop and worker are at work; it hears nothing of a worker that hangs."""
    every = watchdog_seconds()
    while True:
        if await server.context.hub.is_alive(every):
            notify("WATCHDOG=1")
        await asyncio.sleep(every)


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
