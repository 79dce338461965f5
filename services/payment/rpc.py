"""Payment's RPC door: a request becomes calls of core, their outcome the response."""

from typing import Any

import grpc
from shop.payment.v1 import payment_pb2, payment_service_pb2_grpc
from shop.payment.v1 import payment_service_pb2 as pb
from shop.type.v1 import money_pb2

from mesh.errors import not_found
from mesh.postgres.database import Database, Transaction
from services.payment import core, store
from services.payment.core import Gateway, Money, Payment, State

SERVICE = pb.DESCRIPTOR.services_by_name["PaymentService"]

Context = grpc.aio.ServicerContext[Any, Any]


class PaymentServicer(payment_service_pb2_grpc.PaymentServiceServicer):
    """Answers `shop.payment.v1.PaymentService`."""

    def __init__(self, database: Database, gateway: Gateway) -> None:
        self._database = database
        self._gateway = gateway

    async def ProcessPayment(self, request: pb.ProcessPaymentRequest, context: Context) -> pb.ProcessPaymentResponse:
        if (answer := await self._database.answered(request, pb.ProcessPaymentResponse)) is not None:
            return answer
        amount = Money(request.amount.currency, request.amount.amount_minor)
        wanted = Payment(request.payment_id, request.order_id, State.CHARGING, amount, request.payment_token)
        async with self._database.connection() as connection:  # one statement, which is a transaction of its own
            begun = await core.begin_charge(store.PostgresPayments(connection), wanted)
        verdict = await core.ask(self._gateway, begun)

        async def work(tx: Transaction) -> pb.ProcessPaymentResponse:
            # A declined payment is stored as such and refused: the refusal commits what was written before it.
            payment = await core.settle_charge(store.PostgresPayments(tx.connection), wanted, verdict)
            return pb.ProcessPaymentResponse(payment=_payment(payment))

        return await self._database.once(request, pb.ProcessPaymentResponse, work)

    async def RefundPayment(self, request: pb.RefundPaymentRequest, context: Context) -> pb.RefundPaymentResponse:
        if (answer := await self._database.answered(request, pb.RefundPaymentResponse)) is not None:
            return answer
        async with self._database.transaction() as connection:
            payments = store.PostgresPayments(connection)
            begun = await core.begin_refund(payments, request.payment_id, request.order_id)
        verdict = await core.ask(self._gateway, begun)

        async def work(tx: Transaction) -> pb.RefundPaymentResponse:
            payments = store.PostgresPayments(tx.connection)
            payment = await core.settle_refund(payments, request.payment_id, request.order_id, verdict)
            return pb.RefundPaymentResponse(payment=_payment(payment))

        return await self._database.once(request, pb.RefundPaymentResponse, work)

    async def GetPayment(self, request: pb.GetPaymentRequest, context: Context) -> pb.GetPaymentResponse:
        async with self._database.connection() as connection:
            payment = await store.payment(connection, request.payment_id)
        if payment is None:
            message = f"there is no payment {request.payment_id}"
            raise not_found("PAYMENT_NOT_FOUND", message, payment_id=request.payment_id)
        return pb.GetPaymentResponse(payment=_payment(payment))


def _payment(payment: Payment) -> payment_pb2.Payment:
    taken = payment.taken
    return payment_pb2.Payment(
        payment_id=payment.payment_id,
        order_id=payment.order_id,
        state=payment_pb2.PaymentState.Value(f"PAYMENT_STATE_{payment.state.value}"),
        amount=taken and money_pb2.Money(currency=taken.currency, amount_minor=taken.amount_minor),
    )
