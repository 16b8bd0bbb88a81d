"""A Wyoming server makes itself known on the local network (mDNS), so that Home Assistant offers it by itself.

Only a server that can be reached from there does; see `is_reachable`. The package is `zeroconf`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

log = logging.getLogger(__name__)

SERVICE = "_wyoming._tcp.local."
LABEL_BYTES = 60
"""of a name; DNS allows 63"""
ANNOUNCE_SECONDS = 10.0
"""for the network to be asked whether the name is free"""


class Announcement:
    """What others see of this server, until it is closed."""

    def __init__(self, zeroconf: AsyncZeroconf, service: AsyncServiceInfo) -> None:
        """Hold on to what was announced."""
        self._zeroconf, self._service = zeroconf, service

    @property
    def name(self) -> str:
        """Under which others find it."""
        return self._service.name.removesuffix(f".{SERVICE}")

    async def close(self) -> None:
        """Take it back."""
        await (await self._zeroconf.async_unregister_service(self._service))
        await self._zeroconf.async_close()


async def announce(host: str, port: int, interfaces: list[str] | None = None) -> Announcement | None:
    """Make a server at `host` known; None, and a line in the log, where that is not possible.

    interfaces: addresses of this machine on whose networks it is announced; None: all.
    """
    try:
        from zeroconf import Error, InterfaceChoice
        from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf
    except ImportError:
        log.info("wyoming: not announced on the network; for that: pip install zeroconf")
        return None
    addresses = await asyncio.to_thread(_addresses, host)
    name = f"edgeseq on {socket.gethostname().partition('.')[0]} {port}".encode()[:LABEL_BYTES].decode(errors="ignore")
    service = AsyncServiceInfo(SERVICE, f"{name}.{SERVICE}", port=port, parsed_addresses=addresses)
    zeroconf = None
    try:
        zeroconf = AsyncZeroconf(interfaces=interfaces or InterfaceChoice.All)
        async with asyncio.timeout(ANNOUNCE_SECONDS):
            await (await zeroconf.async_register_service(service, allow_name_change=True))
    except (OSError, Error, TimeoutError) as fault:
        log.warning("wyoming: not announced on the network (%s)", fault or "no answer")
        if zeroconf is not None:
            await zeroconf.async_close()
        return None
    log.info("wyoming: announced on the network as '%s'", name)
    return Announcement(zeroconf, service)


def is_reachable(host: str) -> bool:
    """Whether other machines may reach a server that listens at `host`.

    >>> is_reachable("127.0.0.1"), is_reachable("::1"), is_reachable("0.0.0.0"), is_reachable("192.168.1.5")
    (False, False, True, True)
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return not all(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_loopback for entry in found)


def _addresses(host: str) -> list[str]:
    """Give the numbers at which others find `host`; of a machine's every address all but its loopback's."""
    found = {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    if not any(ipaddress.ip_address(address).is_unspecified for address in found):
        return sorted(found)
    import ifaddr

    numbers = [ip.ip if isinstance(ip.ip, str) else ip.ip[0] for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    usable = [ipaddress.ip_address(number.partition("%")[0]) for number in numbers]
    return sorted({str(address) for address in usable if not address.is_loopback and not address.is_link_local})
