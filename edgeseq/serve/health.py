"""/health for those who watch over a server, /metrics for Prometheus."""

from __future__ import annotations

import time

from aiohttp import web

from edgeseq.serve.context import Context

KEPT_SECONDS = 0.2
"""Metrics are not counted together more often."""
ALIVE_SECONDS = 5.0
"""within which the worker answers, or the server is not well"""


def routes(context: Context) -> list[web.RouteDef]:
    """List the routes."""
    from edgeseq.serve.exposition import CONTENT_TYPE, exposition  # now: importing takes long

    hub = context.hub

    async def health(request: web.Request) -> web.Response:
        alive = await hub.is_alive(ALIVE_SECONDS)
        status = "stopping" if hub.is_stopping else "ok" if alive else "stuck"
        about = {
            "status": status,
            "models": list(hub.recognizers),
            "streams": len(hub),
            "streams_limit": hub.limits.streams,
            "uptime_seconds": round(time.time() - hub.metrics.started_at, 1),
        }
        return web.json_response(about, status=200 if status == "ok" else 503)

    kept: list[tuple[float, bytes]] = [(0.0, b"")]

    async def metrics(request: web.Request) -> web.Response:
        if time.monotonic() - kept[0][0] > KEPT_SECONDS:
            kept[0] = (time.monotonic(), exposition(hub))
        return web.Response(body=kept[0][1], headers={"Content-Type": CONTENT_TYPE})

    return [web.get("/health", health), web.get("/metrics", metrics)]
