"""The pods' network: a bridge, and a network namespace for each pod with one interface at it."""

import random
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from itertools import count
from pathlib import Path

from tests.kubelet import command

NAMESPACE = "ensemble"
DOMAIN = f"{NAMESPACE}.svc.cluster.local"
"""Where the names of its Services are found."""


@dataclass(frozen=True)
class Link:
    """A namespace with an address."""

    name: str
    address: str

    @property
    def namespace(self) -> Path:
        return Path("/run/netns", self.name)


class Network:
    """Addresses are given once: a late call to a pod that is gone must not reach another."""

    def __init__(self, name: str, subnet: IPv4Network) -> None:
        self.name = name
        self._subnet = subnet
        self._numbers = count(2)
        self._links: set[Link] = set()
        self.node = str(subnet[1])
        """The address of this machine."""

    @classmethod
    @asynccontextmanager
    async def open(cls) -> "AsyncGenerator[Network]":
        """A network that exists while open, besides others of its kind."""
        network = cls(f"ens{uuid.uuid4().hex[:5]}", await _free_subnet())
        name, mask = network.name, network._subnet.prefixlen
        await _ip(f"link add {name} type bridge", f"addr add {network.node}/{mask} dev {name}", f"link set {name} up")
        try:
            yield network
        finally:
            for link in list(network._links):
                await network.leave(link)
            await _ip(f"link del {name}")

    async def join(self) -> Link:
        """A new namespace, with an address that nobody had before."""
        number = next(self._numbers)
        link = Link(f"{self.name}-{number}", str(self._subnet[number]))
        self._links.add(link)
        await _ip(
            f"netns add {link.name}",
            f"link add {link.name} type veth peer name eth0 netns {link.name}",
            f"link set {link.name} master {self.name} up",
        )
        address = f"addr add {link.address}/{self._subnet.prefixlen} dev eth0"
        await _ip(address, "link set lo up", "link set eth0 up", namespace=link.name)
        return link

    async def leave(self, link: Link) -> None:
        """Nothing is left of it."""
        self._links.discard(link)
        await _ip(f"link del {link.name}", f"netns del {link.name}")


async def _free_subnet() -> IPv4Network:
    routes = await command.run("ip", "-4", "route")
    prefixes = [f"10.{number}." for number in range(64, 128)]
    return IPv4Network(f"{random.choice([each for each in prefixes if each not in routes])}0.0/16")  # noqa: S311


async def _ip(*commands: str, namespace: str = "") -> None:
    where = ("-n", namespace) if namespace else ()
    await command.run("ip", *where, "-batch", "-", told="\n".join(commands))
