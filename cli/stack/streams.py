"""The operator's step that makes the streams, before anybody announces anything."""

import asyncio

from catalogue import model as catalogue
from mesh.contract import Fact
from mesh.errors import Outage
from mesh.events import streams
from mesh.events.bus import Bus
from mesh.events.streams import KIT, Stream

CONNECT_SECONDS = 30.0


def shop_streams() -> list[Stream]:
    """Those that the contracts of the facts name, and those that the kit needs."""
    facts = [Fact(fact.name, fact.stream, fact.key) for fact in catalogue.read().facts]
    subjects: dict[str, set[str]] = {}
    for fact in facts:
        subjects.setdefault(fact.stream, set()).add(fact.stream_subjects)
    return [*(Stream(name, tuple(sorted(each))) for name, each in subjects.items()), *KIT]


async def provision(url: str, replicas: int) -> None:
    """Make them, or bring them up to date. Raises Outage when the brokers at the URL cannot do it, or not in time."""
    async with Bus.open(url, "operator") as bus:
        try:
            await asyncio.wait_for(bus.connected.wait(), CONNECT_SECONDS)
        except TimeoutError:
            raise Outage(f"NATS did not let us in within {CONNECT_SECONDS:.0f} s") from None
        await streams.provision(bus.client.jetstream(), shop_streams(), replicas)
