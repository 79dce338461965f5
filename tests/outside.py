"""The outside world that can go down, and the services that deal with it, at their doors."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from google.protobuf import symbol_database
from google.protobuf.message import Message
from shop.notification.v1 import notification_service_pb2 as notification_pb
from shop.payment.v1 import payment_service_pb2 as payment_pb
from shop.payment.v1.payment_pb2 import Payment
from shop.shipping.v1 import shipping_service_pb2 as shipping_pb
from shop.shipping.v1.shipment_pb2 import Shipment
from shop.type.v1.money_pb2 import Money

from cli.stack.ports import free_port_base
from mesh.postgres.database import Database
from mesh.postgres.migrations.files import Migrations
from sandbox import ledger, mail, server
from services.notification import outside as mail_server
from services.notification.events import NotificationListener
from services.notification.rpc import NotificationServicer
from services.payment import outside as gateway
from services.payment.events import PaymentListener
from services.payment.rpc import PaymentServicer
from services.shipping import outside as carrier
from services.shipping.events import ShippingListener
from services.shipping.rpc import ShippingServicer
from tests.foundations import Foundations
from tests.purchases import purchase

ORDER = "0193a8b0-0000-7000-8000-000000000001"
TOTAL = Money(currency="EUR", amount_minor=1999)
CALL: Any = None
"""The context of a call, which no method looks at."""

C = TypeVar("C")
S = TypeVar("S", bound="Service[Any]")


class Outside:
    """The outside world at fixed addresses, with a ledger that outlives its outages."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._http_port = free_port_base()  # nobody is given such a port while this is down
        self._smtp_port = self._http_port + 1
        self._open = AsyncExitStack()
        self.book: ledger.Ledger

    async def begin(self) -> None:
        self.book = self._open.enter_context(ledger.opened(self._path))
        await self._open.enter_async_context(mail.served(self.book, _listener(self._smtp_port), 1))
        await self._open.enter_async_context(server.served(self.book, _listener(self._http_port), 1))

    async def end(self) -> None:
        await self._open.aclose()

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self._http_port}"

    @property
    def smtp_url(self) -> str:
        return f"smtp://127.0.0.1:{self._smtp_port}"

    def rows(self, table: Literal["payments", "shipments", "mails"], column: str) -> list[Any]:
        """One column of a book, in the order of arrival."""
        return [row[column] for row in self.book.rows(table)]


class Service(Generic[C]):
    """One service with its own database, at its doors."""

    name: ClassVar[str]
    table: ClassVar[str]
    events: Any
    """The event door."""

    def __init__(self, database: Database, client: C) -> None:
        self.database = database
        self._client = client

    async def hear(self, fact: Message, event_id: str = "e-1") -> None:
        """Have the event door react to a fact."""
        (reaction,) = (each for each in self.events.reactions() if isinstance(fact, each.fact))
        now, durable = datetime.now(UTC), type(fact).__name__
        await reaction.react(fact, self.database.once_per_event(durable, event_id, now, reaction.leads_to))

    async def facts(self) -> list[Any]:
        """Everything announced so far, in order."""
        rows = await self.database.pool.fetch("SELECT headers, payload FROM outbox ORDER BY id")
        symbols = symbol_database.Default()
        return [symbols.GetSymbol(row["headers"]["ce-type"]).FromString(row["payload"]) for row in rows]

    async def let_a_minute_pass(self) -> None:
        """Make every intent look as if it had been left alone for a minute."""
        minute = f"UPDATE {self.table} SET attempted_at = attempted_at - interval '61 seconds'"  # noqa: S608
        await self.database.pool.execute(minute)


class PaymentService(Service[gateway.HttpGateway]):
    """Payment."""

    name = table = "payment"

    def __init__(self, database: Database, client: gateway.HttpGateway) -> None:
        super().__init__(database, client)
        self._rpc = PaymentServicer(database, client)
        self.events = PaymentListener(database, client)

    async def charge(self, token: str = "tok_visa", request_id: str = "do", **changes: Any) -> Payment:
        request = payment_pb.ProcessPaymentRequest(
            request_id=request_id, payment_id="p-1", order_id=ORDER, amount=TOTAL, payment_token=token
        )
        request.MergeFrom(payment_pb.ProcessPaymentRequest(**changes))
        return (await self._rpc.ProcessPayment(request, CALL)).payment

    async def refund(self, request_id: str = "undo") -> Payment:
        request = payment_pb.RefundPaymentRequest(request_id=request_id, payment_id="p-1", order_id=ORDER)
        return (await self._rpc.RefundPayment(request, CALL)).payment

    async def now(self) -> Payment:
        return (await self._rpc.GetPayment(payment_pb.GetPaymentRequest(payment_id="p-1"), CALL)).payment

    async def sweep(self) -> None:
        await gateway.settle_orphans(self.database, self._client)


class ShippingService(Service[carrier.HttpCarrier]):
    """Shipping."""

    name, table = "shipping", "shipment"

    def __init__(self, database: Database, client: carrier.HttpCarrier) -> None:
        super().__init__(database, client)
        self._rpc = ShippingServicer(database, client)
        self.events = ShippingListener(database, client)

    async def ship(self, postcode: str = "10115", request_id: str = "do", quantity: int = 1) -> Shipment:
        wanted = purchase(quantity=quantity, postcode=postcode)
        request = shipping_pb.CreateShipmentRequest(
            request_id=request_id, shipment_id="s-1", order_id=ORDER, items=wanted.items, ship_to=wanted.ship_to
        )
        return (await self._rpc.CreateShipment(request, CALL)).shipment

    async def cancel(self, request_id: str = "undo") -> Shipment:
        request = shipping_pb.CancelShipmentRequest(request_id=request_id, shipment_id="s-1", order_id=ORDER)
        return (await self._rpc.CancelShipment(request, CALL)).shipment

    async def now(self) -> Shipment:
        return (await self._rpc.GetShipment(shipping_pb.GetShipmentRequest(shipment_id="s-1"), CALL)).shipment

    async def sweep(self) -> None:
        await carrier.settle_orphans(self.database, self._client)


class NotificationService(Service[mail_server.SmtpMailer]):
    """Notification."""

    name = table = "notification"

    def __init__(self, database: Database, client: mail_server.SmtpMailer) -> None:
        super().__init__(database, client)
        self._rpc = NotificationServicer(database, client)
        self.events = NotificationListener(database, client)

    async def send(self, number: int = 1, email: str = "ada@example.com", order_id: str = ORDER) -> int:
        """Send, and return the state."""
        request = notification_pb.SendNotificationRequest(
            request_id=f"do-{number}",
            notification_id=f"n-{number}",
            order_id=order_id,
            email=email,
            total=TOTAL,
            tracking="trk_1",
        )
        return (await self._rpc.SendNotification(request, CALL)).notification.state

    async def list(self, **request: Any) -> notification_pb.ListNotificationsResponse:
        return await self._rpc.ListNotifications(notification_pb.ListNotificationsRequest(**request), CALL)

    async def sweep(self) -> None:
        await mail_server.settle_orphans(self.database, self._client)


@asynccontextmanager
async def a_service(
    service: type[S], client: AbstractAsyncContextManager[Any], foundations: Foundations
) -> AsyncGenerator[S]:
    """A service with an empty database, and the client by which it reaches the outside world."""
    migrations = Migrations.of(f"services.{service.name}")
    async with Database.open(await foundations.database(), service.name, migrations) as database, client as connected:
        yield service(database, connected)


async def give_up(call: "asyncio.Task[Any]") -> None:
    """What gRPC does to a call when its client has gone away."""
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call


def _listener(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))
