"""The cluster's DNS: a Service's name stands for its pods that are ready, a pod of a StatefulSet has its own."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager

from dns import flags, message, rcode, rdatatype, rrset

from tests.k8s.manifests import Manifest, Render
from tests.kubelet.network import DOMAIN
from tests.kubelet.pod import Pod

PORT = 53
SUFFIX = f".{DOMAIN}"
TTL = 5
"""Seconds, as CoreDNS has it in a cluster."""


class Zone:
    """Names and their addresses. All Services are as if headless: a port is the same at a Service and its pods."""

    def __init__(self, render: Render, pods: Callable[[], Iterable[Pod]]) -> None:
        self._services = {each.name: each.spec for each in render.of("Service")}
        self._pods = pods

    def addresses(self, name: str) -> list[str] | None:
        """In any order; None if there is no such name."""
        pod, _, service = name.removesuffix(SUFFIX).rpartition(".")
        if not name.endswith(SUFFIX) or service not in self._services:
            return None
        found = [each for each in endpoints(self._services[service], self._pods()) if pod in ("", each.name)]
        return [each.address for each in random.sample(found, len(found))] or (None if pod else [])


def endpoints(service: Manifest, pods: Iterable[Pod]) -> list[Pod]:
    """The pods that a Service sends its callers to."""
    chosen = [pod for pod in pods if service["selector"].items() <= pod.labels.items()]
    if service.get("publishNotReadyAddresses", False):
        return [pod for pod in chosen if pod.address]
    return [pod for pod in chosen if pod.ready and not pod.ending]


class _Server(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = message.from_wire(data)
        answer = message.make_response(query)
        answer.flags |= flags.AA | flags.RA
        (question,) = query.question
        addresses = self._zone.addresses(question.name.to_text(omit_final_dot=True).lower())
        if addresses is None:
            answer.set_rcode(rcode.NXDOMAIN)
        elif addresses and question.rdtype == rdatatype.A:
            answer.answer.append(rrset.from_text_list(question.name, TTL, "IN", "A", addresses))
        self._transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def serving(zone: Zone, address: str) -> AsyncGenerator[None]:
    """Answer at this address while open."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Server(zone), (address, PORT))
    try:
        yield
    finally:
        transport.close()
