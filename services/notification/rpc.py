"""Notification's RPC door: a request becomes calls of core, their outcome the response."""

from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from shop.notification.v1 import notification_pb2, notification_service_pb2_grpc
from shop.notification.v1 import notification_service_pb2 as pb

from mesh.postgres.database import Database, Transaction
from mesh.rpc.paging import page_of
from services.notification import core, store
from services.notification.core import Confirmation, Mailer, Money, Notification, State

SERVICE = pb.DESCRIPTOR.services_by_name["NotificationService"]

Context = grpc.aio.ServicerContext[Any, Any]


class NotificationServicer(notification_service_pb2_grpc.NotificationServiceServicer):
    """Answers `shop.notification.v1.NotificationService`."""

    def __init__(self, database: Database, mailer: Mailer) -> None:
        self._database = database
        self._mailer = mailer

    async def SendNotification(
        self, request: pb.SendNotificationRequest, context: Context
    ) -> pb.SendNotificationResponse:
        if (answer := await self._database.answered(request, pb.SendNotificationResponse)) is not None:
            return answer
        total = Money(request.total.currency, request.total.amount_minor)
        confirmation = Confirmation(request.email, total, request.tracking)
        wanted = Notification(request.notification_id, request.order_id, State.SENDING, confirmation)
        async with self._database.connection() as connection:  # one statement, which is a transaction of its own
            begun = await core.begin_sending(store.PostgresNotifications(connection), wanted)
        verdict = await core.ask(self._mailer, begun)

        async def work(tx: Transaction) -> pb.SendNotificationResponse:
            # A refused notification is stored as such and refused: the refusal commits what was written before it.
            notification = await core.settle_sending(store.PostgresNotifications(tx.connection), wanted, verdict)
            return pb.SendNotificationResponse(notification=_notification(notification))

        return await self._database.once(request, pb.SendNotificationResponse, work)

    async def ListNotifications(
        self, request: pb.ListNotificationsRequest, context: Context
    ) -> pb.ListNotificationsResponse:
        page = page_of(request)
        async with self._database.connection() as connection:
            found = await store.page(connection, request.order_id, page.after, page.size)
        return pb.ListNotificationsResponse(
            notifications=[_notification(each) for each in found],
            next_page_token=page.next_token([each.notification_id for each in found]),
        )


def _notification(notification: Notification) -> notification_pb2.Notification:
    sent_at = None
    if notification.sent_at is not None:
        sent_at = Timestamp()
        sent_at.FromDatetime(notification.sent_at)
    return notification_pb2.Notification(
        notification_id=notification.notification_id,
        order_id=notification.order_id,
        state=notification_pb2.NotificationState.Value(f"NOTIFICATION_STATE_{notification.state.value}"),
        sent_at=sent_at,
    )
