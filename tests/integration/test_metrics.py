"""Metrics, as an OTLP endpoint gets them from a service that runs; and what the gauges show."""

import asyncio
import os
import signal
import sys
import time
import uuid
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from shop.inventory.v1.inventory_facts_pb2 import InventoryReserved
from shop.orders.v1 import orders_service_pb2 as pb
from shop.orders.v1.orders_facts_pb2 import OrderCreated
from shop.orders.v1.orders_service_pb2_grpc import OrderServiceStub

from cli.stack.ports import HOST, free_port_base
from mesh import contract
from mesh.cloudevents import announce
from mesh.events import lag
from mesh.events.bus import Bus
from mesh.events.durable import Durable, of_fact
from mesh.events.lag import DEAD, IN_FLIGHT, LAG, REDELIVERED
from mesh.postgres.database import Database
from mesh.postgres.migrations.files import Migrations
from mesh.service import ServiceSettings
from mesh.telemetry.metrics import BUCKETS, Gauge
from services.orders import store
from services.orders.core import State
from tests.eventually import eventually
from tests.foundations import Foundations
from tests.points import Point
from tests.purchases import purchase
from tests.relay import Relay
from tests.spans import Collector, collecting

pytestmark = pytest.mark.integration

FACT = contract.fact(OrderCreated)
OUTBOX_MAX = 40
MIGRATIONS = Migrations.of("services.orders")


@pytest.fixture
async def bus(foundations: Foundations) -> AsyncGenerator[Bus]:
    async with Bus.open(foundations.nats_url, "test") as bus:
        await bus.connected.wait()
        yield bus


@pytest.fixture
async def database(foundations: Foundations) -> AsyncGenerator[Database]:
    async with Database.open(await foundations.database(), "orders", MIGRATIONS) as database:
        yield database


async def publish(bus: Bus, subject: str, times: int) -> None:
    for _ in range(times):
        await bus.publish(FACT.stream, subject, b"", {})


async def shown(bus: Bus, durable: Durable) -> dict[Gauge, float]:
    return {reading.gauge: reading.value for reading in await lag.read(bus, [durable])}


async def test_a_durable_shows_what_waits_what_is_in_flight_and_what_comes_again(bus: Bus) -> None:
    subject = FACT.subject(str(uuid.uuid4()))
    durable = Durable(FACT.stream, f"test{uuid.uuid4().hex[:8]}_OrderCreated", subject)
    await bus.consume(durable.stream, durable.config())
    pull = await bus.client.jetstream().pull_subscribe_bind(durable.name, durable.stream)
    await publish(bus, subject, times=2)
    first, _second = await pull.fetch(2)
    await first.nak()
    await pull.fetch(1)
    await publish(bus, subject, times=3)

    assert await shown(bus, durable) == {LAG: 3, IN_FLIGHT: 2, REDELIVERED: 1, DEAD: 0}
    await bus.client.jetstream().delete_consumer(durable.stream, durable.name)


async def test_a_durable_shows_how_many_facts_it_has_buried(bus: Bus) -> None:
    service = f"test{uuid.uuid4().hex[:8]}"
    durable = of_fact(service, FACT)
    for number in (1, 2, 3, 3):
        await bus.publish("DEAD_LETTERS", f"dead.{durable.name}.{FACT.subject(str(number))}", b"", {})
    await bus.publish("DEAD_LETTERS", f"dead.{service}_OrderCancelled.{FACT.subject('1')}", b"", {})

    assert await shown(bus, durable) == {DEAD: 3}


async def test_open_orders_are_counted_by_state_with_the_age_of_the_oldest(database: Database) -> None:
    await lay(database, State.PENDING, count=3, minutes=2)
    await lay(database, State.PENDING, count=4, minutes=60, choreographed=False)
    await lay(database, State.CANCELLED, count=5, minutes=60)

    async with database.connection() as connection:
        found = {each.state: each for each in await store.open_orders(connection)}

    assert {state: each.count for state, each in found.items()} == {State.PENDING: 3, State.CANCELLING: 0}
    assert found[State.PENDING].oldest_s == pytest.approx(120, abs=30)
    assert found[State.CANCELLING].oldest_s == 0


@pytest.mark.parametrize("analyzed", [False, True])
async def test_counting_open_orders_reads_only_those(database: Database, analyzed: bool) -> None:
    await lay(database, State.COMPLETED, count=20_000, minutes=60)
    await lay(database, State.CANCELLED, count=20_000, minutes=60, choreographed=False)
    await lay(database, State.PENDING, count=20, minutes=1)
    await lay(database, State.CANCELLING, count=20, minutes=1)
    if analyzed:
        await database.pool.execute("ANALYZE orders")

    rows = await database.pool.fetch(f"EXPLAIN (ANALYZE, COSTS OFF) {store.OPEN}")

    plan = "\n".join(row[0] for row in rows)
    assert "Seq Scan" not in plan
    assert "Rows Removed by Filter" not in plan


LAY = """
INSERT INTO orders (order_id, state, learned, choreographed, customer_id, skus, quantities, trace, due_at, created_at)
SELECT gen_random_uuid(), $1, '{}', $2, 'ada', '{}', '{}', '{}',
       CASE WHEN $2 THEN now() + '1 hour'::interval END, now() - make_interval(mins => $4)
FROM generate_series(1, $3)
"""


async def lay(database: Database, state: State, count: int, minutes: int, *, choreographed: bool = True) -> None:
    await database.pool.execute(LAY, state.value, choreographed, count, minutes)


@dataclass(frozen=True)
class Running:
    """The Order service as a process."""

    process: Process
    orders: OrderServiceStub
    health: Any

    async def serves(self, door: str) -> bool:
        return await self._status(door) == health_pb2.HealthCheckResponse.SERVING

    async def refuses(self, door: str) -> bool:
        return await self._status(door) == health_pb2.HealthCheckResponse.NOT_SERVING

    async def _status(self, door: str) -> int:
        request = health_pb2.HealthCheckRequest(service=door)
        return (await self.health.Check(request, wait_for_ready=True)).status

    async def submit(self) -> str:
        order_id = str(uuid.uuid4())
        await self.orders.SubmitOrder(
            pb.SubmitOrderRequest(request_id=uuid.uuid4().hex, order_id=order_id, purchase=purchase())
        )
        return order_id


@asynccontextmanager
async def running(foundations: Foundations, url: str, endpoint: str) -> AsyncGenerator[Running]:
    """Run `python -m services.orders` while open, exporting to `endpoint`."""
    address = f"{HOST}:{free_port_base()}"
    environment = {
        **os.environ,
        "ENSEMBLE_LISTEN": address,
        "ENSEMBLE_DATABASE_URL": url,
        "ENSEMBLE_NATS_URL": foundations.nats_url,
        "ENSEMBLE_OUTBOX_MAX": str(OUTBOX_MAX),
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
    }
    async with AsyncExitStack() as stack:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.orders", env=environment)
        stack.push_async_callback(process.wait)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        running = Running(process, OrderServiceStub(channel), health_pb2_grpc.HealthStub(channel))
        try:
            await eventually(lambda: running.serves(""))
            yield running
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
async def collector() -> AsyncGenerator[Collector]:
    async with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
async def service(foundations: Foundations, collector: Collector) -> AsyncGenerator[Running]:
    async with running(foundations, await foundations.database(), collector.endpoint) as service:
        yield service


def newest(collector: Collector, metric: str, **attributes: str) -> Point | None:
    """The last point of a metric with these attributes (`__` stands for `.`)."""
    wanted = {name.replace("__", "."): value for name, value in attributes.items()}
    matching = [point for point in collector.points if point.metric == metric]
    return next((point for point in reversed(matching) if wanted.items() <= point.attributes.items()), None)


def shows(collector: Collector, metric: str, value: float, **attributes: str) -> bool:
    point = newest(collector, metric, **attributes)
    return point is not None and point.value == value


async def test_a_service_reports_what_it_sends_what_it_handles_and_how_long_both_take(
    service: Running, collector: Collector, bus: Bus
) -> None:
    order_id = await service.submit()
    template = "shop.orders.v1.OrderCreated.*"
    await eventually(
        lambda: shows(collector, "messaging.client.sent.messages", 1, messaging__destination__template=template)
    )

    event = announce(InventoryReserved(order_id=order_id), "test", "cause")
    await bus.publish(event.stream, event.subject, event.payload, event.headers)
    handled = {"messaging__consumer__group__name": "orders_InventoryReserved", "ensemble__outcome": "done"}
    await eventually(lambda: shows(collector, "messaging.process.duration", 1, **handled))

    for metric in ("messaging.process.duration", "messaging.client.operation.duration"):
        point = newest(collector, metric)
        assert point is not None
        assert (point.kind, point.unit, point.bounds) == ("histogram", "s", BUCKETS)
    assert order_id not in str([point.attributes for point in collector.points])


async def test_a_service_reports_its_gauges_each_with_its_unit(service: Running, collector: Collector) -> None:
    reacts_to = {"messaging__consumer__group__name": "orders_PaymentFailed"}
    await eventually(lambda: shows(collector, "ensemble.consumer.lag", 0, **reacts_to))
    await eventually(lambda: newest(collector, "shop.orders.open", shop__order__state="CANCELLING") is not None)

    assert shows(collector, "ensemble.outbox.limit", OUTBOX_MAX)
    units = {gauge.name: gauge.unit for gauge in lag.GAUGES}
    units |= {"shop.orders.open": "{order}", "shop.orders.oldest.age": "s", "ensemble.outbox.oldest.age": "s"}
    for name, unit in units.items():
        point = newest(collector, name)
        assert point is not None
        assert (point.kind, point.unit) == ("gauge", unit)
    assert len({point.instance for point in collector.points}) == 1


async def test_a_full_outbox_closes_the_event_door_refuses_what_announces_and_opens_again(
    foundations: Foundations, collector: Collector
) -> None:
    url = await foundations.database()
    async with Database.open(url, "orders", MIGRATIONS) as database:
        await database.pool.execute(UNSENDABLE, OUTBOX_MAX)
        async with running(foundations, url, collector.endpoint) as service:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await service.submit()
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            await service.orders.CreateOrder(
                pb.CreateOrderRequest(request_id=uuid.uuid4().hex, order_id=str(uuid.uuid4()), purchase=purchase())
            )
            assert await service.refuses("events")
            await eventually(lambda: shows(collector, "ensemble.outbox.unsent", OUTBOX_MAX))

            await database.pool.execute("DELETE FROM outbox")
            await eventually(lambda: service.serves("events"))
            await service.submit()


UNSENDABLE = """
INSERT INTO outbox (key, stream, subject, headers, payload)
SELECT 'k', 'NOWHERE', 'nowhere', '{}', '' FROM generate_series(1, $1)
"""


async def test_a_service_ends_in_time_although_its_collector_does_not_answer(foundations: Foundations) -> None:
    async with (
        Relay.open(f"{HOST}:1") as collector,
        running(foundations, await foundations.database(), f"http://{collector.address}") as service,
    ):
        collector.cut()
        began = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        await service.process.wait()
        took = time.monotonic() - began
    assert service.process.returncode == 0
    assert took < ServiceSettings.model_fields["drain_seconds"].default
