"""Real replicas on a real PostgreSQL, tormented at random: what the simulation shows in memory must hold there, too."""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from shop.workflow.v1.place_order_pb2 import PlaceOrder

from mesh.errors import Outage
from mesh.postgres.database import Database
from orchestrator.blocks import AnyStep
from orchestrator.caller import Call, NoAnswer
from orchestrator.clock import MonotonicClock
from orchestrator.engine import Engine
from orchestrator.log import FINAL
from orchestrator.patience import Patience
from orchestrator.postgres import MIGRATIONS, PostgresStore
from orchestrator.postgres_lease import PostgresLease
from orchestrator.replica import Replica
from orchestrator.saga import AnySaga
from orchestrator.store import LEASE_S, Append
from tests.foundations import Foundations
from tests.simulation import verdict
from tests.simulation.participants import Service
from tests.simulation.workload import SERVICES, WORKFLOWS, refusable

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

REPLICAS, SAGAS, FAULTS = 3, 40, 25
PAUSE_S = 0.3
"""Between two faults."""
LIMIT_S = 60.0
"""After the last fault everything has ended within this time."""


STALE = """
CREATE TABLE stale (saga_id uuid, epoch bigint, newest bigint);
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stale SELECT saga_id, NEW.epoch, epoch FROM saga WHERE saga_id = NEW.saga_id AND epoch <> NEW.epoch;
    RETURN NULL;
END $$;
CREATE TRIGGER look AFTER INSERT ON saga_log FOR EACH ROW EXECUTE FUNCTION look();
"""
"""The database itself looks, at each entry, whether its writer owns the saga at that moment."""


@dataclass
class World:
    """What is true whatever a replica believes."""

    url: str
    chance: random.Random
    sagas: dict[str, AnySaga] = field(default_factory=dict[str, AnySaga])
    effects: dict[str, list[tuple[str, str]]] = field(default_factory=dict[str, list[tuple[str, str]]])
    refused: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    calm: bool = False

    def __post_init__(self) -> None:
        self.services = {name: Service(self, self.refused) for name in SERVICES}  # type: ignore[arg-type]

    def serves(self, call: Call) -> None:
        """Whoever it listens to."""

    def happens(self, verb: str, call: Call) -> None:
        effects = self.effects.setdefault(call.saga_id, [])
        assert (verb, call.path) not in effects, f"{verb} {call.saga_id}/{call.path} happens twice"
        effects.append((verb, call.path))

    async def call(self, call: Call) -> bytes:
        """A network that is slow, loses requests and answers, and delivers twice."""
        step: AnyStep = self.sagas[call.saga_id].leaves[call.path]  # type: ignore[assignment]
        await asyncio.sleep(self.chance.uniform(0, 0.05))
        bad = 0.0 if self.calm else self.chance.random()
        if bad > 0.95:
            raise NoAnswer("UNAVAILABLE", "the request is lost")
        answer = self.services[call.method.service].serve(step, call)
        if bad > 0.9:
            raise NoAnswer("UNAVAILABLE", "the answer is lost")
        return self.services[call.method.service].serve(step, call) if bad > 0.8 else answer


class Stalling(PostgresStore):
    """A store whose process may stand still between the decision to append and the statement."""

    running: asyncio.Event

    async def _write_appends(self, connection: Any, batch: Sequence[Append]) -> Any:
        await self.running.wait()
        return await super()._write_appends(connection, batch)


class StallingLease(PostgresLease):
    """The lease of a replica that may stand still: then it does not beat."""

    def __init__(self, url: str, replica_id: str, clock: MonotonicClock, running: asyncio.Event) -> None:
        super().__init__(url, replica_id, clock)
        self.running = running

    def beat(self) -> None:
        if self.running.is_set():
            super().beat()


class Incarnation:
    """One replica, alive."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._gone = asyncio.Event()
        self._crashed = False
        self.running = asyncio.Event()
        self.running.set()
        self.replica: Replica | None = None
        self.life = asyncio.ensure_future(self._live())

    async def freeze(self) -> None:
        """Stand still for longer than the lease, and go on as if nothing had been."""
        self.running.clear()
        await asyncio.sleep(LEASE_S * 1.5)
        self.running.set()

    def crash(self) -> None:
        """Hand over nothing: the connections close, and that is all that anybody sees."""
        self._crashed = True
        self._gone.set()

    def leave(self) -> None:
        self._gone.set()

    async def _live(self) -> None:
        world, clock, replica_id = self._world, MonotonicClock(), str(uuid.uuid4())
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(Database.open(world.url, "test", MIGRATIONS))
            versions = [saga.fingerprint for saga in WORKFLOWS]
            store = await stack.enter_async_context(Stalling(database, replica_id, versions).writing())
            lease = await stack.enter_async_context(StallingLease(world.url, replica_id, clock, self.running).kept())
            store.running = self.running
            patience = Patience(budget_s=5.0, limited_cap_s=0.5, endless_cap_s=1.0, chance=world.chance)
            engine = Engine(store, self, clock, lease, patience=patience)
            self.replica = await stack.enter_async_context(Replica(store, engine, lease, WORKFLOWS, clock))
            await self._gone.wait()
            self.replica = None
            if self._crashed:
                database.pool.terminate()  # nothing of the clean-up reaches the store

    async def call(self, call: Call) -> bytes:
        """See Caller. A replica that stands still makes its calls later."""
        await self.running.wait()
        answer = await self._world.call(call)
        await self.running.wait()
        return answer


async def hang_up(world: World) -> None:
    """The database drops some of all connections."""
    connection = await asyncpg.connect(world.url)
    try:
        pids = await connection.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        for row in pids:
            if world.chance.random() < 0.5:
                await connection.execute("SELECT pg_terminate_backend($1)", row["pid"])
    finally:
        await connection.close()


async def torment(world: World, replicas: list[Incarnation]) -> None:
    """Some faults at random, one after the other; at the end everybody is well."""
    frozen: list[asyncio.Future[None]] = []
    for _ in range(FAULTS):
        await asyncio.sleep(world.chance.uniform(0, 2 * PAUSE_S))
        number = world.chance.randrange(REPLICAS)
        victim = replicas[number]
        match world.chance.choice(("crash", "leave", "freeze", "freeze", "hang up")):
            case "hang up":
                await hang_up(world)
            case "freeze" if victim.running.is_set():
                frozen.append(asyncio.ensure_future(victim.freeze()))
            case end if victim.replica is not None and victim.running.is_set():
                (victim.crash if end == "crash" else victim.leave)()
                replicas[number] = Incarnation(world)
    await asyncio.gather(*frozen)
    world.calm = True


async def persistently(world: World, replicas: list[Incarnation], ask: Callable[[Replica], Awaitable[Any]]) -> None:
    while True:
        replica = world.chance.choice(replicas).replica
        try:
            if replica is not None:
                await ask(replica)
                return
        except (Outage, asyncio.CancelledError):
            pass
        await asyncio.sleep(0.05)


async def place(world: World, replicas: list[Incarnation], saga_id: str) -> None:
    """A client: starts a saga, some time, and sometimes cancels it."""
    saga = world.sagas[saga_id]
    await asyncio.sleep(world.chance.uniform(0, FAULTS * PAUSE_S))
    await persistently(world, replicas, lambda each: each.start(saga, saga_id, PlaceOrder(order_id=saga_id)))
    if world.chance.random() < 0.2:
        await persistently(world, replicas, lambda each: each.cancel(saga_id, "CUSTOMER_REQUEST"))


@pytest.mark.parametrize("seed", [1, 2])
async def test_random_faults_end_every_saga_in_all_or_nothing(foundations: Foundations, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - it is to be foreseen
    world = World(await foundations.database(), chance)
    for _ in range(SAGAS):
        saga, saga_id = chance.choice(WORKFLOWS), str(uuid.UUID(int=chance.getrandbits(128), version=4))
        world.sagas[saga_id] = saga
        world.refused |= {(saga_id, path) for path in refusable(saga) if chance.random() < 0.05}
    async with Database.open(world.url, "test", MIGRATIONS) as database, database.connection() as connection:
        await connection.execute(STALE)
    replicas = [Incarnation(world) for _ in range(REPLICAS)]
    lives = [each.life for each in replicas]

    clients = [asyncio.ensure_future(place(world, replicas, saga_id)) for saga_id in world.sagas]
    await torment(world, replicas)
    await asyncio.gather(*clients)

    async with Database.open(world.url, "test", MIGRATIONS) as database:
        store = PostgresStore(database, str(uuid.uuid4()), [])
        async with asyncio.timeout(LIMIT_S):
            for saga_id in world.sagas:
                while (record := await store.get(saga_id)) is None or record.state not in FINAL:
                    await asyncio.sleep(0.1)
        for each in replicas:
            each.leave()
        await asyncio.gather(*lives, *(each.life for each in replicas))
        assert await database.pool.fetch("SELECT * FROM stale") == []
        for saga_id, saga in world.sagas.items():
            record = await store.get(saga_id)
            assert record is not None
            assert list(verdict.faults(saga, record, world.effects.get(saga_id, []), must_unwind=False)) == []
