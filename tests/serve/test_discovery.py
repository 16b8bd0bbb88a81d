"""A server that is announced is found by another participant of mDNS, here over the loopback's multicast."""

import asyncio

import pytest

pytest.importorskip("zeroconf")
from zeroconf import ServiceStateChange
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from edgeseq.serve import discovery

LOOPBACK = ["127.0.0.1"]


def test_an_announced_server_is_found_and_taken_back():
    async def run():
        changes = asyncio.Queue()
        browser = AsyncZeroconf(interfaces=LOOPBACK)

        def note(zeroconf, service_type, name, state_change):
            changes.put_nowait((state_change, name))

        AsyncServiceBrowser(browser.zeroconf, [discovery.SERVICE], handlers=[note])
        announcement = await discovery.announce("127.0.0.1", 10300, LOOPBACK)
        assert announcement is not None
        try:
            state, name = await asyncio.wait_for(changes.get(), 10)
            assert state is ServiceStateChange.Added and name == f"{announcement.name}.{discovery.SERVICE}"
            found = AsyncServiceInfo(discovery.SERVICE, name)
            assert await found.async_request(browser.zeroconf, 3000)
            await announcement.close()
            while (await asyncio.wait_for(changes.get(), 10))[0] is not ServiceStateChange.Removed:
                pass
            return found
        finally:
            await browser.async_close()

    found = asyncio.run(run())
    assert found.port == 10300 and found.parsed_addresses() == ["127.0.0.1"]
    assert found.name.startswith("edgeseq on ")


def test_where_others_find_a_server():
    assert discovery._addresses("127.0.0.1") == ["127.0.0.1"]
    everywhere = discovery._addresses("0.0.0.0")
    assert all(not address.startswith("127.") and address not in ("0.0.0.0", "::", "::1") for address in everywhere)
    assert not discovery.is_reachable("127.0.0.1") and not discovery.is_reachable("localhost")
    assert discovery.is_reachable("0.0.0.0") and discovery.is_reachable("::")


def test_a_network_that_does_not_work_is_told_in_the_log(caplog):
    with caplog.at_level("INFO"):
        assert asyncio.run(discovery.announce("127.0.0.1", 10300, ["203.0.113.7"])) is None
    assert "not announced" in caplog.text
