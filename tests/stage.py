"""A shop whose orders' traces are looked at, and what can be brought about on it."""

import os
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from shop.customer.v1 import customer_service_pb2 as pb
from shop.customer.v1.customer_service_pb2 import MODE_CHOREOGRAPHED, MODE_ORCHESTRATED

from cli.stack.local import Plan
from mesh.events.bus import Bus
from tests import shop as shop_
from tests.eventually import eventually
from tests.expected_traces import Traces
from tests.lost import Lost
from tests.quiet import is_quiet
from tests.read_back import kept
from tests.shop import OwnShop
from tests.spans import Collector, collecting, reported_to

FAIL_ONCE = """
CREATE SEQUENCE written;
CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF nextval('written') = 1 THEN RAISE 'out of order'; END IF; RETURN new; END $$;
CREATE TRIGGER fail_once BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION fail_once();
"""
FAIL_NO_MORE = "DROP FUNCTION fail_once CASCADE; DROP SEQUENCE written;"
"""A sequence counts on when a transaction is rolled back."""

MODES = {MODE_ORCHESTRATED: "orchestrated", MODE_CHOREOGRAPHED: "choreographed"}


@dataclass(frozen=True)
class Stage:
    """The shop, and where it reports to."""

    shop: OwnShop
    collector: Collector
    traces: Traces

    @classmethod
    @asynccontextmanager
    async def open(cls, plan: Plan) -> "AsyncGenerator[Stage]":
        """A running shop. Once it is at rest and down, every trace must still be what it was."""
        async with collecting() as collector, kept(collector, plan.data) as keepers:
            traces = Traces(collector)
            async with shop_.opened(replace(plan, traces=reported_to(collector))) as shop:
                yield cls(shop, collector, traces)
                await _at_rest(shop)
            await traces.check(keepers)

    async def expect(self, scenario: str, order: pb.Order, *lost: Lost) -> None:
        """The order's trace becomes the tree that is drawn for the scenario in the order's mode."""
        await self.traces.expect(f"{scenario}.{MODES[order.mode]}", order.order_id, lost)

    async def reported(self, order: pb.Order, name: str, count: int = 1) -> None:
        """Wait until so many spans of that name have arrived."""
        await eventually(lambda: [span.name for span in self.collector.of_order(order.order_id)].count(name) >= count)

    async def learned(self, order: pb.Order, fact: str) -> None:
        """Wait until the Order service has heard of a fact."""
        await self.shop.seen(order, lambda current: fact in [entry.event for entry in current.timeline])

    async def charged(self, order: pb.Order) -> None:
        """Wait until the gateway has an order's payment, whether it has said so or not."""
        await eventually(lambda: self._is_booked("payments", order))

    async def shipped(self, order: pb.Order) -> None:
        """The same for its shipment, and the carrier."""
        await eventually(lambda: self._is_booked("shipments", order))

    async def _is_booked(self, book: str, order: pb.Order) -> bool:
        return any(order.order_id in each["key"] for each in (await self.shop.ledger())[book])

    async def query(self, service: str, statement: str, *values: Any) -> Any:
        """One value of a service's database; or change something there behind the service's back."""
        async with self.shop.database(service) as database:
            return await database.fetchval(statement, *values)

    @asynccontextmanager
    async def failing_once(self, service: str, table: str) -> AsyncGenerator[None]:
        """The next that writes a new row fails, and whoever comes after it does not."""
        async with self.shop.database(service) as database:
            await database.execute(FAIL_ONCE.format(table=table))
            try:
                yield
            finally:
                await database.execute(FAIL_NO_MORE)

    @contextmanager
    def frozen(self, name: str) -> Generator[None]:
        """A process that neither answers nor ends, while open."""
        (pid,) = (process.pid for process in self.shop.state.processes if process.name == name)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


async def _at_rest(shop: OwnShop) -> None:
    """Wait until every fact has been sent, and everybody has reacted."""
    async with Bus.open(shop.state.nats_url, "operator") as bus:
        await bus.connected.wait()
        await eventually(lambda: is_quiet(shop, bus))
