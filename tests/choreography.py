"""Five services that react to each other's facts, and a bus that delivers late, often and in any order."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from random import Random
from typing import Any

from google.protobuf import symbol_database
from google.protobuf.message import Message
from shop.orders.v1.orders_service_pb2 import RequestCancelRequest, SubmitOrderRequest
from shop.type.v1.purchase_pb2 import Purchase

from mesh.changes import Changes
from mesh.consumer import Reaction
from mesh.database import Database, Once, Transaction
from mesh.errors import Outage
from services.inventory import core as inventory
from services.inventory.events import InventoryListener
from services.inventory.store import PostgresShelf
from services.notification.events import NotificationListener
from services.notification.outside import SmtpMailer
from services.orders import store as orders
from services.orders.core import Order
from services.orders.events import OrderListener
from services.orders.rpc import OrderServicer, cancel_overdue
from services.payment.events import PaymentListener
from services.payment.outside import HttpGateway
from services.shipping.events import ShippingListener
from services.shipping.outside import HttpCarrier
from tests.foundations import Foundations
from tests.outside import CALL, Outside

SERVICES = ("orders", "inventory", "payment", "shipping", "notification")
PRICE_MINOR = 500
FATES = (4, 3, 3)
"""How many of ten deliveries commit at once, die before they commit, and are overtaken before they do."""

TAKE = """
WITH taken AS (
    UPDATE outbox SET sent_at = now() WHERE key = $1 AND sent_at IS NULL RETURNING id, headers, payload
)
SELECT headers, payload FROM taken ORDER BY id
"""
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
ROWS = "SELECT (to_jsonb(it) - 'attempted_at')::text FROM {table} AS it"
"""When the outside world was last to be asked is the one thing that a repeat may change."""
OVERDUE = "UPDATE orders SET due_at = now() - interval '1 second' WHERE order_id = $1"
AVAILABLE = "SELECT available FROM stock WHERE sku = $1"


@dataclass(frozen=True)
class Books:
    """What the world keeps of an order: money, parcels, distinct confirmations, and pieces gone from stock."""

    charged_minor: int = 0
    parcels: int = 0
    confirmations: int = 0
    sold: int = 0


class Shop:
    """The five services, each with its own database, and the outside world."""

    def __init__(self, databases: dict[str, Database], listeners: dict[str, Any], outside: Outside) -> None:
        self.databases = databases
        self._outside = outside
        self._orders = OrderServicer(databases["orders"], Changes(), fulfilment_seconds=300)
        self.reactions: list[tuple[str, Reaction[Any]]] = [
            (service, reaction) for service in SERVICES for reaction in listeners[service].reactions()
        ]

    async def stock(self, sku: str, pieces: int) -> None:
        async with self.databases["inventory"].transaction() as connection:
            await inventory.adjust_stock(PostgresShelf(connection), sku, pieces, "Mug", ("EUR", PRICE_MINOR))

    async def submit(self, order_id: str, purchase: Purchase) -> None:
        request = SubmitOrderRequest(request_id=f"{order_id}.submit", order_id=order_id, purchase=purchase)
        await self._orders.SubmitOrder(request, CALL)

    async def request_cancel(self, order_id: str) -> None:
        """Raises the Refusal of an order that is completed."""
        request = RequestCancelRequest(request_id=f"{order_id}.cancel", order_id=order_id)
        await self._orders.RequestCancel(request, CALL)

    async def time_out(self, order_id: str) -> None:
        """Have the watchdog find that this order, if it is still pending, takes too long."""
        await self.databases["orders"].pool.execute(OVERDUE, order_id)
        await cancel_overdue(self.databases["orders"])

    async def order(self, order_id: str) -> Order | None:
        async with self.databases["orders"].connection() as connection:
            story = await orders.story(connection, order_id)
        return story and story.order

    async def books(self, order_id: str, sku: str, stocked: int) -> Books:
        ledger = self._outside.book
        payments = [row for row in ledger.rows("payments") if row["key"].startswith(order_id)]
        shipments = [row for row in ledger.rows("shipments") if row["key"].startswith(order_id)]
        return Books(
            charged_minor=sum(row["amount_minor"] for row in payments if row["state"] == "charged"),
            parcels=sum(row["state"] == "booked" for row in shipments),
            confirmations=len({each for each in self._outside.rows("mails", "message_id") if order_id in each}),
            sold=stocked - await self.databases["inventory"].pool.fetchval(AVAILABLE, sku),
        )

    def given_back(self, order_id: str) -> int:
        """Minor units that the gateway has given back."""
        payments = [row for row in self._outside.book.rows("payments") if row["key"].startswith(order_id)]
        return sum(row["amount_minor"] for row in payments if row["state"] == "refunded")

    async def rows(self) -> set[str]:
        """Every row of every database and of the ledger."""
        rows = {repr(row) for table in ("payments", "shipments", "mails") for row in self._outside.book.rows(table)}
        for service, database in self.databases.items():
            for (table,) in await database.pool.fetch(TABLES):
                found = await database.pool.fetch(ROWS.format(table=table))
                rows |= {f"{service}.{table}: {row}" for (row,) in found}
        return rows


@asynccontextmanager
async def opened(foundations: Foundations, outside: Outside) -> AsyncGenerator[Shop]:
    """A shop with empty databases, while open."""
    async with AsyncExitStack() as stack:
        databases: dict[str, Database] = {}
        for service in SERVICES:
            schema = resources.files(f"services.{service}").joinpath("schema.sql").read_text()
            opening = Database.open(await foundations.database(), service, schema)
            databases[service] = await stack.enter_async_context(opening)
        gateway = await stack.enter_async_context(HttpGateway.open(outside.http_url))
        carrier = await stack.enter_async_context(HttpCarrier.open(outside.http_url))
        mailer = await stack.enter_async_context(SmtpMailer.open(outside.smtp_url))
        listeners = {
            "orders": OrderListener(Changes()),
            "inventory": InventoryListener(),
            "payment": PaymentListener(databases["payment"], gateway),
            "shipping": ShippingListener(databases["shipping"], carrier),
            "notification": NotificationListener(databases["notification"], mailer),
        }
        yield Shop(databases, listeners, outside)


@dataclass(frozen=True)
class Interrupted(Once):
    """Once, with something that happens between what was asked of the outside world and the commit."""

    meanwhile: Callable[[], Awaitable[None]]

    async def __call__(self, work: Callable[[Transaction], Awaitable[None]]) -> None:
        await self.meanwhile()
        await super().__call__(work)


@dataclass(frozen=True)
class Delivery:
    """One fact for one durable."""

    service: str
    reaction: Reaction[Any]
    fact: Message
    event_id: str
    announced_at: datetime

    @property
    def durable(self) -> str:
        return f"{self.service}_{type(self.fact).__name__}"


class Bus:
    """Hands each fact about one order to each who reacts to it; when, and how often, follows from `draw`.

    Deliveries overlap and fail, too: some are slow, so that others are made before they commit, and some are killed
    before they do, and come again.
    """

    def __init__(self, shop: Shop, order_id: str, draw: Random, witness: Callable[[Message], Awaitable[None]]) -> None:
        """`witness` is told of each fact as soon as it is announced."""
        self._shop = shop
        self._order_id = order_id
        self._draw = draw
        self._witness = witness
        self._haste = {(service, reaction.fact): draw.random() ** 3 for service, reaction in shop.reactions}
        """A few listeners are so slow that they hear of nothing until the others are done."""
        self._on_the_way: list[Delivery] = []
        self._all: list[Delivery] = []

    @property
    def is_idle(self) -> bool:
        return not self._on_the_way

    async def take(self, service: str) -> None:
        """Take over what a service has announced."""
        for row in await self._shop.databases[service].pool.fetch(TAKE, self._order_id):
            fact = self._post(row["headers"], row["payload"])
            await self._witness(fact)

    async def deliver(self) -> None:
        """Make one delivery, if one is on its way."""
        if self.is_idle:
            return
        (delivery,) = self._draw.choices(self._on_the_way, [self._weight(each) for each in self._on_the_way])
        self._on_the_way.remove(delivery)
        (fate,) = self._draw.choices((_nothing, _death, self._others), FATES)
        try:
            await self._attempt(delivery, fate)
        except Outage:
            self._on_the_way.append(delivery)
        await self.take(delivery.service)

    async def deliver_all_again(self) -> None:
        """Deliver everything once more, in any order."""
        for delivery in self._draw.sample(self._all, len(self._all)):
            await self._attempt(delivery, _nothing)
            await self.take(delivery.service)

    async def _others(self) -> None:
        for _ in range(self._draw.randint(1, 4)):
            await self.deliver()

    async def _attempt(self, delivery: Delivery, meanwhile: Callable[[], Awaitable[None]]) -> None:
        database = self._shop.databases[delivery.service]
        once = Interrupted(
            database, delivery.durable, delivery.event_id, delivery.announced_at, delivery.reaction.leads_to, meanwhile
        )
        await delivery.reaction.react(delivery.fact, once)

    def _weight(self, delivery: Delivery) -> float:
        return self._haste[delivery.service, delivery.reaction.fact]

    def _post(self, headers: dict[str, str], payload: bytes) -> Message:
        kind = symbol_database.Default().GetSymbol(headers["ce-type"])
        fact = kind.FromString(payload)
        at = datetime.fromisoformat(headers["ce-time"])
        reached = [each for each in self._shop.reactions if each[1].fact is kind]
        posted = [Delivery(service, reaction, fact, headers["ce-id"], at) for service, reaction in reached]
        self._all += posted
        self._on_the_way += [delivery for delivery in posted for _ in range(self._draw.randint(1, 3))]
        return fact


async def _nothing() -> None:
    pass


async def _death() -> None:
    raise Outage("killed")
