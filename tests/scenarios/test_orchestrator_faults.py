"""Replicas of the orchestrator are killed, frozen and cut off under load: no saga is lost, stuck or done twice.

Each fault comes once, in an order and to replicas that follow from CHAOS_SEED, and again until CHAOS_MINUTES are over.
"""

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
from shop.customer.v1.customer_service_pb2 import MODE_ORCHESTRATED
from shop.orders.v1.order_pb2 import ORDER_STATE_COMPLETED

from cli.books import settled
from cli.load import Load
from tests import cluster as cluster_
from tests.cluster import Cluster, Replica, cut
from tests.eventually import eventually
from tests.load import Customers
from tests.shop import state_of

MINUTES = float(os.environ.get("CHAOS_MINUTES", "0"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))

pytestmark = [pytest.mark.system, pytest.mark.own_shop, pytest.mark.timeout(240 + 120 * MINUTES)]

CUSTOMERS = 48
"""So many that some go on while others wait for a replica that does not answer."""

Fault = Callable[[Cluster, Replica, Customers], Awaitable[None]]


@pytest.fixture
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Cluster]:
    """Three replicas of the orchestrator, and one of everything else."""
    async with cluster_.opened(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


async def killed(cluster: Cluster, replica: Replica, customers: Customers) -> None:
    replica_id, pid = await replica.victim.replica_id(cluster.evidence), replica.victim.pid
    replica.victim.kill()
    await adopted(cluster, replica_id)
    await eventually(lambda: replica.victim.pid not in (None, pid))


async def frozen(cluster: Cluster, replica: Replica, customers: Customers) -> None:
    replica_id = await replica.victim.replica_id(cluster.evidence)
    with replica.victim.frozen():
        await adopted(cluster, replica_id)
        await customers.grown(10)


async def cut_off_from_the_database(cluster: Cluster, replica: Replica, customers: Customers) -> None:
    replica_id = await replica.victim.replica_id(cluster.evidence)
    with cut(replica.cables.database):
        await adopted(cluster, replica_id)
        await customers.grown(10)


async def cut_off_from_participants(cluster: Cluster, replica: Replica, customers: Customers) -> None:
    with cut(*replica.cables.participants):
        await customers.grown(20)


async def cut_off_from_everything(cluster: Cluster, replica: Replica, customers: Customers) -> None:
    replica_id = await replica.victim.replica_id(cluster.evidence)
    with cut(replica.cables.database, *replica.cables.participants):
        await adopted(cluster, replica_id)
        await customers.grown(10)


FAULTS: tuple[Fault, ...] = (
    killed,
    frozen,
    cut_off_from_the_database,
    cut_off_from_participants,
    cut_off_from_everything,
)


async def adopted(cluster: Cluster, replica_id: str) -> None:
    """Wait until nothing is the replica's any more."""

    async def owns_nothing() -> bool:
        return not await cluster.evidence.owned(replica_id)

    await eventually(owns_nothing)


async def tormented(cluster: Cluster, customers: Customers) -> None:
    """Let every fault happen, in rounds, until the time is over."""
    chance = random.Random(SEED)  # noqa: S311 - who is tormented is no secret
    clock = asyncio.get_running_loop().time
    end = clock() + MINUTES * 60
    while True:
        for fault in chance.sample(FAULTS, len(FAULTS)):
            replica = chance.choice(cluster.replicas)
            print(f"{fault.__name__}: replica {replica.victim.number}, {len(customers.orders)} orders so far")  # noqa: T201
            await fault(cluster, replica, customers)
            await customers.grown(20)
        if clock() >= end:
            return


async def test_replicas_are_killed_frozen_and_cut_off_and_nothing_is_lost_or_done_twice(cluster: Cluster) -> None:
    shop, evidence = cluster.shop, cluster.evidence
    before = await shop.books()
    wanted = Load("chaos", (MODE_ORCHESTRATED,), 10**9, declined_every=5, out_of_stock_every=5)
    customers = Customers(shop, wanted, CUSTOMERS)
    ordering = asyncio.ensure_future(customers.run())
    await customers.grown(20)
    await tormented(cluster, customers)
    customers.stop()
    await ordering

    async def all_ended() -> bool:
        return await evidence.open_sagas() == 0

    await eventually(all_ended)
    assert [line for line in await settled(before, shop.books) if not line.balances] == []
    assert await evidence.not_once() == {}
    assert await evidence.unsound() == []
    assert any(order.state == ORDER_STATE_COMPLETED for order in customers.orders)
    assert {state_of(order) for order in customers.orders} <= {
        ("COMPLETED", "UNSPECIFIED"),
        ("CANCELLED", "PAYMENT_DECLINED"),
        ("CANCELLED", "OUT_OF_STOCK"),
        ("CANCELLED", "TIMED_OUT"),
    }
