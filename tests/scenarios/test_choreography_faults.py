"""The choreography on three NATS servers and two replicas of each service: everything is killed with -9, in turn."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncGenerator

import nats.errors
import pytest
from nats.js.api import ClusterInfo
from shop.customer.v1.customer_service_pb2 import MODE_CHOREOGRAPHED
from shop.orders.v1.order_pb2 import ORDER_STATE_COMPLETED

from cli.books import settled
from cli.load import Load
from cli.stack.layout import NATS, REPLICA_STEP, Layout, label
from cli.stack.local import Plan
from cli.stack.ports import free_port_base
from cli.stack.streams import shop_streams
from mesh.events import dead_letters
from mesh.events.bus import Bus
from mesh.events.dead_letters import Which
from tests import shop as shop_
from tests.eventually import eventually
from tests.load import Customers
from tests.shop import OwnShop, state_of

MINUTES = float(os.environ.get("CHAOS_MINUTES", "0"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
"""How long, and in which order; without minutes, one round."""

pytestmark = [pytest.mark.system, pytest.mark.own_shop, pytest.mark.timeout(400 + 120 * MINUTES)]

SERVERS = 3
CUSTOMERS = 8
STREAM = "SHOP_EVENTS"
REPLICAS = dict.fromkeys(("orders", "inventory", "payment", "shipping", "notification"), 2)


@pytest.fixture
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[OwnShop]:
    """A shop of its own, on a cluster."""
    layout = Layout(free_port_base(span=SERVERS * REPLICA_STEP), REPLICAS, nats=SERVERS)
    async with shop_.opened(Plan(tmp_path_factory.mktemp("cluster"), layout)) as shop:
        yield shop


@pytest.fixture
async def operator(shop: OwnShop) -> AsyncGenerator[Bus]:
    async with Bus.open(shop.state.nats_url, "operator") as bus:
        await bus.connected.wait()
        yield bus


async def leader(operator: Bus) -> str:
    """The label of the server that leads the stream of the facts."""
    cluster = (await operator.client.jetstream().stream_info(STREAM)).cluster
    assert cluster is not None
    assert cluster.leader is not None
    return cluster.leader.replace("ensemble", NATS[0])


def is_whole(cluster: ClusterInfo | None) -> bool:
    """Whether something has a leader, and two followers that know all that it knows."""
    if cluster is None or not cluster.leader:
        return False
    return [each.current and not each.offline for each in cluster.replicas or []] == [True] * (SERVERS - 1)


async def has_joined(operator: Bus) -> bool:
    """Whether every stream and every consumer is on each of the servers."""
    jetstream = operator.client.jetstream()
    try:
        found = [(await jetstream.stream_info(stream.name)).cluster for stream in shop_streams()]
        for stream in shop_streams():
            found += [consumer.cluster for consumer in await jetstream.consumers_info(stream.name)]
    except (nats.errors.Error, TimeoutError):
        return False
    return all(is_whole(each) for each in found)


async def round_of_kills(shop: OwnShop, operator: Bus, customers: Customers, chance: random.Random) -> None:
    """The leader of the stream, each replica of each service, another server, and the database, in turn."""
    services = [label(name, number) for name, count in REPLICAS.items() for number in range(count)]
    for victim in [await leader(operator), *chance.sample(services, len(services)), "postgres"]:
        print(f"{victim} is killed, {len(customers.orders)} orders so far")  # noqa: T201
        await shop.end(victim, signal.SIGKILL)
        await customers.grown(5)
    await eventually(lambda: has_joined(operator))
    await shop.end(chance.choice([label(NATS[0], number) for number in range(SERVERS)]), signal.SIGKILL)
    await customers.grown(10)
    await eventually(lambda: has_joined(operator))


async def test_everything_is_killed_in_turn_and_nothing_is_lost_done_twice_or_left_unfinished(
    shop: OwnShop, operator: Bus
) -> None:
    before = await shop.books()
    wanted = Load("chaos", (MODE_CHOREOGRAPHED,), 10**9, declined_every=5, out_of_stock_every=5)
    customers = Customers(shop, wanted, CUSTOMERS)
    ordering = asyncio.ensure_future(customers.run())
    await customers.grown(20)
    chance, clock = random.Random(SEED), asyncio.get_running_loop().time  # noqa: S311
    end = clock() + MINUTES * 60
    await round_of_kills(shop, operator, customers, chance)
    while clock() < end:
        await round_of_kills(shop, operator, customers, chance)
    customers.stop()
    await ordering  # every order is final

    assert any(order.state == ORDER_STATE_COMPLETED for order in customers.orders)
    assert {state_of(order) for order in customers.orders} <= {
        ("COMPLETED", "UNSPECIFIED"),
        ("CANCELLED", "PAYMENT_DECLINED"),
        ("CANCELLED", "OUT_OF_STOCK"),
        ("CANCELLED", "TIMED_OUT"),
    }
    assert [line for line in await settled(before, shop.books) if not line.balances] == []
    assert [each async for each in dead_letters.letters(operator, Which())] == []
