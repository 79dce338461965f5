"""Three replicas of the orchestrator, each on cables of its own that can be cut."""

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.evidence import Evidence
from benchmarks.victim import Victim
from cli.stack.layout import Layout
from cli.stack.local import Plan
from cli.stack.ports import free_port_base
from cli.stack.program import Program
from tests import shop as shop_
from tests.relay import Relay
from tests.shop import OwnShop

REPLICAS = 3
PARTICIPANTS = ("orders", "inventory", "payment", "shipping", "notification")


@dataclass(frozen=True)
class Cables:
    """What one replica reaches others by."""

    database: Relay
    participants: tuple[Relay, ...]

    def on(self, program: Program) -> Program:
        """The program, told the near ends of the cables in place of the far ones."""
        settings = dict(program.settings)
        for relay in (self.database, *self.participants):
            for name in ("ENSEMBLE_DATABASE_URL", "ENSEMBLE_PEERS"):
                settings[name] = settings[name].replace(relay.target, relay.address)
        return replace(program, settings=settings)


@contextmanager
def cut(*relays: Relay) -> Generator[None]:
    """Cut while open, healed then."""
    for relay in relays:
        relay.cut()
    try:
        yield
    finally:
        for relay in relays:
            relay.heal()


@dataclass(frozen=True)
class Replica:
    """One of them: itself, and its cables."""

    victim: Victim
    cables: Cables


@dataclass(frozen=True)
class Cluster:
    """The shop around them, and who can be asked what they did."""

    shop: OwnShop
    evidence: Evidence
    replicas: tuple[Replica, ...]


@asynccontextmanager
async def opened(data: Path) -> AsyncGenerator[Cluster]:
    """Run everything below `data` while open."""
    layout = Layout(free_port_base(span=100 * REPLICAS), {"orchestrator": REPLICAS})
    async with AsyncExitStack() as stack:
        cables = {
            layout.address("orchestrator", number): await stack.enter_async_context(_laid(layout))
            for number in range(REPLICAS)
        }
        plan = Plan(data, layout, adjusted=lambda program: _connected(program, cables))
        shop = await stack.enter_async_context(shop_.opened(plan))
        victims = [Victim(shop.stack, number) for number in range(REPLICAS)]
        evidence = await stack.enter_async_context(Evidence.open(shop.state))
        yield Cluster(shop, evidence, tuple(Replica(victim, cables[victim.address]) for victim in victims))


@asynccontextmanager
async def _laid(layout: Layout) -> AsyncGenerator[Cables]:
    async with AsyncExitStack() as stack:
        database, *participants = [
            await stack.enter_async_context(Relay.open(layout.address(name))) for name in ("postgres", *PARTICIPANTS)
        ]
        yield Cables(database, tuple(participants))


def _connected(program: Program, cables: Mapping[str, Cables]) -> Program:
    return cables[program.address].on(program) if program.address in cables else program
