"""All that a shop told of a day with a customer whom one would recognise: spans, points of metrics, lines of logs."""

import json
import signal
import uuid
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import grpc
import nats
from shop.customer.v1 import customer_service_pb2 as pb
from shop.orders.v1.order_pb2 import ORDER_STATE_CANCELLED
from shop.orders.v1.orders_facts_pb2 import OrderCreated
from shop.type.v1.purchase_pb2 import Address, Item, Purchase

from cli.stack.layout import CUSTOMER
from mesh.events.dead_letters import STREAM as DEAD_LETTERS
from mesh.identity import new_id
from tests import shop as shop_
from tests.eventually import eventually
from tests.points import Point
from tests.shop import FINAL, OwnShop, Shop
from tests.spans import Collector, Span, collecting, reported_to

PLACE_ORDER = f"/{CUSTOMER}.CustomerService/PlaceOrder"
MODES = {pb.MODE_ORCHESTRATED: "orchestrated", pb.MODE_CHOREOGRAPHED: "choreographed"}
FOREIGN = {"nats", "postgres"}
"""Programs that are not ours, with logs in their own format."""

PERSON = {
    "customer": "Customer-Hopper-1906",
    "name": "Grace Brewster Hopper",
    "street": "7 Compiler Crescent",
    "city": "Flowmatic Falls",
    "postcode": "QX-73907",
    "email": "amazing.grace@cobol.example",
    "bouncing": "bounce@cobol.example",
    "token": "tok_Nanosecond_4242424242424242",
    "tokens": "tok_",
}
"""What must not be found anywhere. Each is long enough not to occur by chance."""


@dataclass(frozen=True)
class Told:
    """What came in, and of which orders it must be."""

    orders: dict[str, str]
    """Their modes, by id."""
    spans: list[Span]
    points: list[Point]
    logs: dict[str, list[str]]
    """The lines of each process."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Those of our own processes."""
        return [json.loads(line) for name, lines in self.logs.items() if name not in FOREIGN for line in lines]

    def lines_of(self, order_id: str) -> list[dict[str, Any]]:
        """Those that bear an order's id."""
        return [line for line in self.lines if line.get("order.id") == order_id]


def wanted(sku: str, **differently: str) -> Purchase:
    """What the customer asks for."""
    told = {**PERSON, "token": "tok_visa", **differently}
    where = Address(
        name=told["name"], street=told["street"], postcode=told["postcode"], city=told["city"], country="US"
    )
    return Purchase(
        customer_id=told["customer"],
        email=told["email"],
        items=[Item(sku=sku, quantity=1)],
        payment_token=told["token"],
        ship_to=where,
    )


@asynccontextmanager
async def told(data: Path) -> AsyncGenerator[Told]:
    """Run a shop below `data`, have the day, and end it: so that everything is told."""
    async with collecting() as collector:
        orders = await _lived(data, collector)
        logs = {path.stem: path.read_text().splitlines() for path in (data / "logs").iterdir()}
        yield Told(orders, collector.spans, collector.points, logs)


async def _lived(data: Path, collector: Collector) -> dict[str, str]:
    async with shop_.opened(shop_.planned(data, reported_to(collector))) as shop:
        orders = {order_id: name for mode, name in MODES.items() for order_id in await _bought(shop, mode)}
        await _misused(shop)
        return orders | {await _bought_in_trouble(shop, mode): name for mode, name in MODES.items()}


async def _bought(shop: Shop, mode: pb.Mode.ValueType) -> list[str]:
    """All that can become of an order; returns their ids."""
    sku = await shop.stocked(100)
    purchases = [
        wanted(sku),
        wanted(sku, token="tok_declined"),
        wanted(sku, token=PERSON["token"]),
        wanted(sku, token="tok_flaky"),
        wanted(sku, postcode="00000"),
        wanted(sku, email=PERSON["bouncing"]),
        wanted("NO-SUCH-THING"),
    ]
    orders = [await _placed(shop, mode, purchase) for purchase in purchases]
    slow = await _placed(shop, mode, wanted(sku, token="tok_slow"))
    await shop.cancel(slow)
    await _refused_at_the_door(shop, mode, sku)
    ended = [await shop.outcome(order) for order in (*orders, slow)]
    assert ended[-1].state == ORDER_STATE_CANCELLED
    return [order.order_id for order in ended]


async def _bought_in_trouble(shop: OwnShop, mode: pb.Mode.ValueType) -> str:
    """An order while others die around it, so that all say what they miss; returns its id."""
    order = await _placed(shop, mode, wanted(await shop.stocked(1), token="tok_slow"))
    for victim in ("payment", "nats", "postgres"):
        await shop.end(victim, signal.SIGKILL)

    async def ended() -> bool:
        with suppress(grpc.aio.AioRpcError):  # whoever is asked may miss the dead, too
            found = await shop.customers.GetOrder(pb.GetOrderRequest(order_id=order.order_id))
            return found.order.state in FINAL
        return False

    await eventually(ended)
    return order.order_id


async def _placed(shop: Shop, mode: pb.Mode.ValueType, purchase: Purchase, request_id: str = "") -> pb.Order:
    """With baggage that a client may send along for reasons of its own."""
    request = pb.PlaceOrderRequest(request_id=request_id or uuid.uuid4().hex, mode=mode, purchase=purchase)
    baggage = (("baggage", f"user.email={PERSON['email']},order.id=forged"),)
    return (await shop.customers.PlaceOrder(request, metadata=baggage)).order


async def _refused_at_the_door(shop: Shop, mode: pb.Mode.ValueType, sku: str) -> None:
    """What breaks the contract, in each field."""
    for bad in (
        wanted(sku, email="amazing.grace at cobol.example"),
        wanted(sku, email=PERSON["email"] * 20),
        wanted(sku, name=PERSON["name"] * 20),
        wanted(sku, street=f"{PERSON['street']}\0"),
        wanted(sku, city=PERSON["city"] * 20),
        wanted(sku, postcode=PERSON["postcode"] + "!"),
        wanted(sku, token=PERSON["token"] + " "),
        wanted(PERSON["name"]),
    ):
        await _refused(_placed(shop, mode, bad))
    again = uuid.uuid4().hex
    await _placed(shop, mode, wanted(sku), again)
    await _refused(_placed(shop, mode, wanted(sku, street="7, Compiler Crescent"), again))


async def _misused(shop: Shop) -> None:
    """Bytes that are no request, a fact that is none, a charge that the gateway does not understand, a bad row."""
    whole = pb.PlaceOrderRequest(request_id="r", purchase=wanted("X")).SerializeToString()
    async with grpc.aio.insecure_channel(shop.state.services[CUSTOMER]) as channel:
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PLACE_ORDER)
        await _refused(ask(whole[:-5]))
    for order_id in (new_id(), PERSON["name"]):
        await _buried(shop, OrderCreated(order_id=order_id, purchase=wanted("X")).SerializeToString())
    await _buried(shop, OrderCreated(order_id=new_id(), purchase=wanted("X")).SerializeToString()[:-5])
    async with aiohttp.ClientSession(shop.state.sandbox_url) as session:
        await session.put("/v1/payments/p", json={"token": PERSON["token"], PERSON["name"]: 1})
        await session.put("/v1/shipments/s", data=PERSON["street"].encode())
    await _violated(shop.state.postgres["orders"])


async def _buried(shop: Shop, payload: bytes) -> None:
    """Announce it by a subject that is not its own, until it is among the dead letters."""
    kind, key = OrderCreated.DESCRIPTOR.full_name, new_id()
    client = await nats.connect(shop.state.nats_url)
    stream = client.jetstream()
    headers = {"ce-id": uuid.uuid4().hex, "ce-type": kind, "ce-time": "2026-01-01T00:00:00Z"}
    await stream.publish(f"{kind}.{key}", payload, headers=headers)

    async def buried() -> bool:
        found = await stream.stream_info(DEAD_LETTERS.name, subjects_filter=f"dead.*.{kind}.{key}")
        return bool(found.state.subjects)

    await eventually(buried)
    await client.close()


async def _violated(database_url: str) -> None:
    """Have PostgreSQL refuse a row."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TEMPORARY TABLE guest (name text, age int CHECK (age > 0))")
    with suppress(asyncpg.CheckViolationError):
        await connection.execute("INSERT INTO guest VALUES ($1, 0)", PERSON["name"])
    await connection.close()


async def _refused(call: Awaitable[object]) -> None:
    with suppress(grpc.aio.AioRpcError):
        await call
        raise AssertionError("it was accepted")
