"""Payment, shipping and notification: both doors, over a real database, against a real outside world."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AsyncExitStack, suppress
from email import message_from_string
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from google.protobuf import symbol_database
from google.protobuf.message import Message
from shop.inventory.v1.inventory_facts_pb2 import InventoryReserved
from shop.notification.v1 import notification_service_pb2 as notifications
from shop.notification.v1.notification_facts_pb2 import NotificationSent
from shop.notification.v1.notification_pb2 import NOTIFICATION_STATE_REFUSED, NOTIFICATION_STATE_SENT
from shop.orders.v1.orders_facts_pb2 import OrderCancelRequested
from shop.payment.v1 import payment_pb2
from shop.payment.v1 import payment_service_pb2 as payments
from shop.payment.v1.payment_facts_pb2 import PaymentFailed, PaymentProcessed, PaymentRefunded
from shop.shipping.v1 import shipment_pb2
from shop.shipping.v1 import shipping_service_pb2 as shipments
from shop.shipping.v1.shipping_facts_pb2 import (
    OrderShipped,
    ShipmentCancelled,
    ShipmentCancelRefused,
    ShippingFailed,
)
from shop.type.v1.money_pb2 import Money

from mesh.database import Database
from mesh.errors import Outage, Refusal
from sandbox import ledger, mail, server
from services.notification.events import NotificationListener
from services.notification.outside import SmtpMailer
from services.notification.outside import settle_orphans as settle_notifications
from services.notification.rpc import NotificationServicer
from services.payment.events import PaymentListener
from services.payment.outside import HttpGateway
from services.payment.outside import settle_orphans as settle_payments
from services.payment.rpc import PaymentServicer
from services.shipping.events import ShippingListener
from services.shipping.outside import HttpCarrier
from services.shipping.outside import settle_orphans as settle_shipments
from services.shipping.rpc import ShippingServicer
from tests.eventually import eventually
from tests.foundations import Foundations
from tests.purchases import purchase

pytestmark = pytest.mark.integration

ORDER = "0193a8b0-0000-7000-8000-000000000001"
OTHER_ORDER = "0193a8b0-0000-7000-8000-000000000002"
TOTAL = Money(currency="EUR", amount_minor=1999)
CALL: Any = None
"""The context of a call, which no method looks at."""

R = TypeVar("R")


class Outside:
    """The outside world at fixed addresses, with a ledger that outlives its outages."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ports = [_free_port(), _free_port()]
        self._open = AsyncExitStack()
        self.book: ledger.Ledger

    async def begin(self) -> None:
        http, smtp = (socket.create_server(("127.0.0.1", port)) for port in self._ports)
        self.book = self._open.enter_context(ledger.opened(self._path))
        await self._open.enter_async_context(mail.served(self.book, smtp, 1))
        await self._open.enter_async_context(server.served(self.book, http, 1))

    async def end(self) -> None:
        await self._open.aclose()

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def smtp_url(self) -> str:
        return f"smtp://127.0.0.1:{self._ports[1]}"

    def states(self, table: Any) -> list[str]:
        """What became of each payment or shipment."""
        return [row["state"] for row in self.book.rows(table)]


class Service:
    """The database of one service, and what it has announced."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def facts(self) -> list[Message]:
        """Everything announced so far, in order."""
        rows = await self.database.pool.fetch("SELECT headers, payload FROM outbox ORDER BY id")
        symbols = symbol_database.Default()
        return [symbols.GetSymbol(row["headers"]["ce-type"]).FromString(row["payload"]) for row in rows]

    async def hear(self, handler: "Handler", fact: Message, event_id: str = "event-1") -> None:
        """Have the event door handle a fact."""
        await handler(fact, self.database.once_per_event(type(fact).__name__, event_id))

    async def let_a_minute_pass(self) -> None:
        """Make everything look as if it had been asked for a good minute earlier."""
        table = self.database.source
        await self.database.pool.execute(f"UPDATE {table} SET attempted_at = attempted_at - interval '61 seconds'")  # noqa: S608


class Handler(Protocol):
    """A reaction of an event door."""

    def __call__(self, fact: Any, once: Any, /) -> Awaitable[None]: ...


class Payment(Service):
    def __init__(self, database: Database, gateway: HttpGateway) -> None:
        super().__init__(database)
        self.gateway = gateway
        self.rpc = PaymentServicer(database, gateway)
        self.events = PaymentListener(database, gateway)

    async def charge(self, token: str = "tok_visa", request_id: str = "do", **changes: Any) -> payment_pb2.Payment:
        request = payments.ProcessPaymentRequest(
            request_id=request_id, payment_id="p-1", order_id=ORDER, amount=TOTAL, payment_token=token
        )
        request.MergeFrom(payments.ProcessPaymentRequest(**changes))
        return (await self.rpc.ProcessPayment(request, CALL)).payment

    async def refund(self, request_id: str = "undo") -> payment_pb2.Payment:
        request = payments.RefundPaymentRequest(request_id=request_id, payment_id="p-1", order_id=ORDER)
        return (await self.rpc.RefundPayment(request, CALL)).payment

    async def now(self, payment_id: str = "p-1") -> payment_pb2.Payment:
        return (await self.rpc.GetPayment(payments.GetPaymentRequest(payment_id=payment_id), CALL)).payment


class Shipping(Service):
    def __init__(self, database: Database, carrier: HttpCarrier) -> None:
        super().__init__(database)
        self.carrier = carrier
        self.rpc = ShippingServicer(database, carrier)
        self.events = ShippingListener(database, carrier)

    async def ship(self, postcode: str = "10115", request_id: str = "do", quantity: int = 1) -> shipment_pb2.Shipment:
        wanted = purchase(quantity=quantity, postcode=postcode)
        request = shipments.CreateShipmentRequest(
            request_id=request_id, shipment_id="s-1", order_id=ORDER, items=wanted.items, ship_to=wanted.ship_to
        )
        return (await self.rpc.CreateShipment(request, CALL)).shipment

    async def cancel(self, request_id: str = "undo") -> shipment_pb2.Shipment:
        request = shipments.CancelShipmentRequest(request_id=request_id, shipment_id="s-1", order_id=ORDER)
        return (await self.rpc.CancelShipment(request, CALL)).shipment

    async def now(self) -> shipment_pb2.Shipment:
        return (await self.rpc.GetShipment(shipments.GetShipmentRequest(shipment_id="s-1"), CALL)).shipment


class Notification(Service):
    def __init__(self, database: Database, mailer: SmtpMailer) -> None:
        super().__init__(database)
        self.mailer = mailer
        self.rpc = NotificationServicer(database, mailer)
        self.events = NotificationListener(database, mailer)

    async def send(self, number: int = 1, email: str = "ada@example.com", order_id: str = ORDER) -> int:
        request = notifications.SendNotificationRequest(
            request_id=f"do-{number}",
            notification_id=f"n-{number}",
            order_id=order_id,
            email=email,
            total=TOTAL,
            tracking="trk_1",
        )
        return (await self.rpc.SendNotification(request, CALL)).notification.state

    async def list(self, **request: Any) -> notifications.ListNotificationsResponse:
        return await self.rpc.ListNotifications(notifications.ListNotificationsRequest(**request), CALL)


@pytest.fixture
async def outside(tmp_path: Path) -> AsyncGenerator[Outside]:
    outside = Outside(tmp_path / "ledger.db")
    await outside.begin()
    yield outside
    await outside.end()


@pytest.fixture
async def stack() -> AsyncGenerator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def payment(foundations: Foundations, outside: Outside, stack: AsyncExitStack) -> Payment:
    database = await _database("payment", foundations, stack)
    return Payment(database, await stack.enter_async_context(HttpGateway.open(outside.http_url)))


@pytest.fixture
async def shipping(foundations: Foundations, outside: Outside, stack: AsyncExitStack) -> Shipping:
    database = await _database("shipping", foundations, stack)
    database.source = "shipment"
    return Shipping(database, await stack.enter_async_context(HttpCarrier.open(outside.http_url)))


@pytest.fixture
async def notification(foundations: Foundations, outside: Outside, stack: AsyncExitStack) -> Notification:
    database = await _database("notification", foundations, stack)
    return Notification(database, await stack.enter_async_context(SmtpMailer.open(outside.smtp_url)))


async def _database(service: str, foundations: Foundations, stack: AsyncExitStack) -> Database:
    schema = resources.files(f"services.{service}").joinpath("schema.sql").read_text()
    return await stack.enter_async_context(Database.open(await foundations.database(), service, schema))
