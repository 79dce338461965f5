"""The overlay `local` as a cluster would run it: it comes up, is rolled out anew and loses pods, all under load."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from shop.customer.v1.customer_service_pb2 import MODE_CHOREOGRAPHED, MODE_ORCHESTRATED
from shop.orders.v1.order_pb2 import ORDER_STATE_COMPLETED

from cli import follow
from cli.books import settled
from cli.load import Load
from cli.stack.layout import SERVICES
from tests import shop as shop_
from tests.k8s.render import rendered
from tests.kubelet import images, tools
from tests.kubelet.cluster import Cluster, played
from tests.kubelet.pod import Pod
from tests.load import Customers
from tests.shop import Shop, state_of

pytestmark = [
    pytest.mark.system,
    pytest.mark.own_shop,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(tools.missing()), reason=tools.missing()),
]

CUSTOMERS = 4
ENOUGH = 10
"""Orders that are final before something happens, and after."""
NAMES = [service.name for service in SERVICES]
LISTENERS = {name: (name, 50051) for name in NAMES} | {
    "nats": ("nats", 4222),
    "postgres": ("postgres", 5432),
    "jaeger": ("jaeger", 4317),
    "http": ("sandbox", 8080),
    "smtp": ("sandbox", 2525),
}
KNOCK = """
import concurrent.futures, json, socket, sys
def opens(where):
    try:
        socket.create_connection(where, timeout=2).close()
    except OSError:
        return False
    return True
others = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(len(others)) as threads:
    answers = threads.map(opens, others.values())
print(*(name for name, answer in zip(others, answers) if answer))
"""


class Strict(Customers):
    """They repeat nothing: a call that fails after the retries of its contract ends them, and the test.

    A stream that breaks is opened anew, as everybody does who follows an order.
    """

    async def _customer(self) -> None:
        while not self._enough.is_set():
            placed = await self._shop.customers.PlaceOrder(self._wanted.request(next(self._orders)))
            self.orders.append(await follow.final(self._shop.customers, placed.order.order_id))


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Cluster]:
    """Everything that the overlay has, ready."""
    async with played(rendered("local"), tmp_path_factory.mktemp("cluster") / "node") as cluster:
        await cluster.done()
        cluster.tell()
        yield cluster
        outstayed = [name for workload in cluster.workloads.values() for name in workload.killed]
        assert outstayed == [], "pods that took longer to end than their grace"


@pytest.fixture(scope="module")
async def shop(cluster: Cluster) -> AsyncGenerator[Shop]:
    async with shop_.found(cluster.folder) as shop:
        yield shop


@asynccontextmanager
async def custom(shop: Shop) -> AsyncGenerator[Customers]:
    """Customers who order while this is open; then every order has come to a right end, and the books balance."""
    sku = await shop.stocked(10_000)
    before = await shop.books()
    modes = (MODE_CHOREOGRAPHED, MODE_ORCHESTRATED)
    customers = Strict(shop, Load(sku, modes, 10**9, sku, declined_every=5, out_of_stock_every=5), CUSTOMERS)
    async with asyncio.TaskGroup() as group:
        group.create_task(customers.run())
        await customers.grown(ENOUGH)
        yield customers
        await customers.grown(ENOUGH)
        customers.stop()
    assert {state_of(order) for order in customers.orders} == {
        ("COMPLETED", "UNSPECIFIED"),
        ("CANCELLED", "PAYMENT_DECLINED"),
        ("CANCELLED", "OUT_OF_STOCK"),
    }
    assert {order.mode for order in customers.orders if order.state == ORDER_STATE_COMPLETED} == set(modes)
    assert [line for line in await settled(before, shop.books) if not line.balances] == []


def pods(cluster: Cluster) -> list[Pod]:
    """Of our services."""
    return [pod for name in NAMES for pod in cluster.workloads[name].pods]


async def reach(cluster: Cluster, service: str) -> set[str]:
    """The listeners, but for itself, that one of its pods gets a connection to."""
    others = {name: where for name, where in LISTENERS.items() if name != service and where[0] in cluster.workloads}
    words = [*images.image("ensemble").entrypoint, "-c", KNOCK, json.dumps(others)]
    return set((await cluster.workloads[service].pods[0].execute(words)).split())


async def lose(cluster: Cluster, victims: list[Pod]) -> None:
    """Kill them all at once, and wait until others have taken their place."""
    await asyncio.gather(*(pod.lose() for pod in victims))
    await cluster.done()


async def test_network_policies_let_a_pod_reach_whom_it_calls_and_nobody_else(cluster: Cluster) -> None:
    names = {service.package: service.name for service in SERVICES}
    reached = await asyncio.gather(*(reach(cluster, service.name) for service in SERVICES))
    for service, found in zip(SERVICES, reached, strict=True):
        called = {"postgres", *service.outside.values(), *(names[peer] for peer in service.peers)}
        called |= {"jaeger"} & cluster.workloads.keys()
        assert found == called | ({"nats"} if service.events else set()), service.name


async def test_a_rolling_update_of_every_service_fails_no_order_and_no_call(cluster: Cluster, shop: Shop) -> None:
    before = pods(cluster)
    async with custom(shop):
        for name in NAMES:
            cluster.workloads[name].restart()
        await cluster.done()
    assert set(pods(cluster)).isdisjoint(before)


async def test_the_loss_of_a_third_of_all_pods_fails_no_order_and_no_call(cluster: Cluster, shop: Shop) -> None:
    async with custom(shop):
        await lose(cluster, pods(cluster)[::3])  # as one zone of three holds them: no two of a kind


async def test_the_loss_of_one_of_everything_fails_no_order_and_no_call(cluster: Cluster, shop: Shop) -> None:
    async with custom(shop):
        await lose(cluster, [cluster.workloads[name].pods[0] for name in (*NAMES, "nats")])
