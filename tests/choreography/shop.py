"""The five services that react to each other's facts, with their databases, and the outside world."""

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

from google.protobuf import symbol_database
from google.protobuf.message import Message
from shop.orders.v1.orders_service_pb2 import RequestCancelRequest, SubmitOrderRequest
from shop.type.v1.purchase_pb2 import Purchase

from mesh.changes import Changes
from mesh.events.bus import Bus
from mesh.events.reaction import Reaction
from mesh.postgres.database import Database
from mesh.postgres.migrations.files import Migrations
from sandbox.ledger import Ledger
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
from tests.choreography.attempt import Stopping
from tests.foundations import Foundations
from tests.outside import CALL, Outside

SERVICES = ("orders", "inventory", "payment", "shipping", "notification")
PRICE_MINOR = 500
UNSAFE = "?synchronous_commit=off"
"""No power is cut here: a commit need not wait for the disk."""

TAKE = """
WITH taken AS (
    UPDATE outbox SET sent_at = now() WHERE key = $1 AND sent_at IS NULL RETURNING id, headers, payload
)
SELECT headers, payload FROM taken ORDER BY id
"""
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
ROWS = "SELECT '{table}: ' || (to_jsonb(it) - 'attempted_at')::text AS row FROM {table} AS it"
"""When the outside world was last to be asked is the one thing that a repeat may change."""
OVERDUE = "UPDATE orders SET due_at = now() - interval '1 second' WHERE order_id = $1"
AVAILABLE = "SELECT available FROM stock WHERE sku = $1"
FORGET = "DELETE FROM {table};"
"""To truncate would be to wait for the disk."""
LEDGER: tuple[Literal["payments", "shipments", "mails"], ...] = ("payments", "shipments", "mails")


@dataclass(frozen=True)
class Books:
    """What the world keeps of an order: money, parcels, distinct confirmations, and pieces gone from stock."""

    charged_minor: int = 0
    parcels: int = 0
    confirmations: int = 0
    sold: int = 0


@dataclass(frozen=True)
class Announced:
    """A fact that a service has announced, with its attributes."""

    fact: Message
    attributes: dict[str, str]


class Shop:
    """The services at their doors, and what can be seen of them."""

    def __init__(self, databases: dict[str, Database], listeners: dict[str, Any], ledger: Path, book: Ledger) -> None:
        self.databases = databases
        self.listeners = listeners
        self._ledger = ledger
        self._book = book
        self._orders = OrderServicer(databases["orders"], Bus(), Changes(), fulfilment_seconds=300)
        self._numbers = itertools.count(1)
        self._watchdog = asyncio.Lock()
        self._tables: dict[str, list[str]] = {}

    @property
    def reactions(self) -> list[tuple[str, Reaction[Any]]]:
        """Who reacts to what."""
        return [(service, each) for service in SERVICES for each in self.listeners[service].reactions()]

    def new_order_id(self) -> str:
        return f"0193a8b0-0000-7000-8000-{next(self._numbers):012}"

    async def stock(self, sku: str, pieces: int) -> None:
        async with self.databases["inventory"].transaction() as connection:
            await inventory.adjust_stock(PostgresShelf(connection), sku, pieces, "Mug", ("EUR", PRICE_MINOR))

    async def submit(self, order_id: str, purchase: Purchase) -> None:
        request = SubmitOrderRequest(request_id=f"{order_id}.submit", order_id=order_id, purchase=purchase)
        await self._orders.SubmitOrder(request, CALL)

    async def request_cancel(self, order_id: str, request_id: str) -> None:
        """Raises the Refusal of an order that is completed."""
        await self._orders.RequestCancel(RequestCancelRequest(request_id=request_id, order_id=order_id), CALL)

    async def time_out(self, order_id: str) -> None:
        """Have the watchdog find that this order, if it is still pending, takes too long."""
        async with self._watchdog:  # for another order's might find this one, at another time in each replay
            await self.databases["orders"].pool.execute(OVERDUE, order_id)
            await cancel_overdue(self.databases["orders"])

    async def announced(self, service: str, order_id: str) -> list[Announced]:
        """Take over what a service has announced about an order, in order."""
        symbols = symbol_database.Default()
        rows = await self.databases[service].pool.fetch(TAKE, order_id)
        return [
            Announced(symbols.GetSymbol(row["headers"]["ce-type"]).FromString(row["payload"]), row["headers"])
            for row in rows
        ]

    async def order(self, order_id: str) -> Order | None:
        async with self.databases["orders"].connection() as connection:
            story = await orders.story(connection, order_id)
        return story and story.order

    async def books(self, order_id: str, sku: str, stocked: int) -> Books:
        return Books(
            charged_minor=sum(row["amount_minor"] for row in self.payments(order_id) if row["state"] == "charged"),
            parcels=sum(row["state"] == "booked" for row in self.shipments(order_id)),
            confirmations=len({row["message_id"] for row in self._of(order_id, "mails", "message_id")}),
            sold=stocked - await self.databases["inventory"].pool.fetchval(AVAILABLE, sku),
        )

    def payments(self, order_id: str) -> list[dict[str, Any]]:
        """What the gateway has in its books about an order."""
        return self._of(order_id, "payments", "key")

    def shipments(self, order_id: str) -> list[dict[str, Any]]:
        """What the carrier has in its books about an order."""
        return self._of(order_id, "shipments", "key")

    def _of(self, order_id: str, table: Literal["payments", "shipments", "mails"], column: str) -> list[dict[str, Any]]:
        return [row for row in self._book.rows(table) if order_id in row[column]]

    async def rows(self) -> set[str]:
        """Every row of every database and of the ledger."""
        rows = {f"{table}: {row}" for table in LEDGER for row in self._book.rows(table)}
        for service, database in self.databases.items():
            query = " UNION ALL ".join(ROWS.format(table=table) for table in await self._tables_of(service))
            rows |= {f"{service}.{row}" for (row,) in await database.pool.fetch(query)}
        return rows

    async def forget(self) -> None:
        """Begin anew."""
        with closing(sqlite3.connect(self._ledger, isolation_level=None)) as ledger:
            ledger.executescript("".join(FORGET.format(table=table) for table in LEDGER))
        for service, database in self.databases.items():
            tables = await self._tables_of(service)
            await database.pool.execute("".join(FORGET.format(table=table) for table in tables))

    async def _tables_of(self, service: str) -> list[str]:
        if service not in self._tables:
            self._tables[service] = [row[0] for row in await self.databases[service].pool.fetch(TABLES)]
        return self._tables[service]


@asynccontextmanager
async def opened(foundations: Foundations, ledger: Path) -> AsyncGenerator[Shop]:
    """A shop, while open, in which no fact waits for company."""
    async with AsyncExitStack() as stack:
        stack.enter_context(patch("mesh.postgres.once.LEISURE", 0))
        outside = Outside(ledger)
        await outside.begin()
        stack.push_async_callback(outside.end)
        databases: dict[str, Database] = {}
        for service in SERVICES:
            migrations = Migrations.of(f"services.{service}")
            opening = Database.open(await foundations.database() + UNSAFE, service, migrations)
            databases[service] = await stack.enter_async_context(opening)
        gateway: Any = Stopping(await stack.enter_async_context(HttpGateway.open(outside.http_url)))
        carrier: Any = Stopping(await stack.enter_async_context(HttpCarrier.open(outside.http_url)))
        mailer: Any = Stopping(await stack.enter_async_context(SmtpMailer.open(outside.smtp_url)))
        listeners = {
            "orders": OrderListener(Changes()),
            "inventory": InventoryListener(),
            "payment": PaymentListener(databases["payment"], gateway),
            "shipping": ShippingListener(databases["shipping"], carrier),
            "notification": NotificationListener(databases["notification"], mailer),
        }
        yield Shop(databases, listeners, ledger, outside.book)
