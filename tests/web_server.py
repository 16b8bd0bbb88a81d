"""A real aiohttp server around a hub, with the routes of some modules."""

import asyncio

from aiohttp import web

from edgeseq.serve.access import Access, middleware
from edgeseq.serve.context import Context
from edgeseq.serve.hub import Hub
from edgeseq.serve.limits import Limits


def served(recognizers, modules, use, limits=Limits(memory_bytes=64 << 30), access=Access()):  # noqa: B008
    """Run `use(port, hub)` beside a server with the routes of `modules`; gives what it gives."""
    recognizers = recognizers if isinstance(recognizers, dict) else {"tones": recognizers}

    async def run():
        async with Hub(recognizers, limits) as hub:
            app = web.Application(middlewares=[middleware(access)])
            for module in modules:
                app.add_routes(module.routes(Context(hub)))
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            try:
                return await asyncio.wait_for(use(runner.addresses[0][1], hub), 60)
            finally:
                await hub.drain(0.5, 0.5)
                await runner.cleanup()
                assert len(hub) == 0, "a stream was left open"

    return asyncio.run(run())
