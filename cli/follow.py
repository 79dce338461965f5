"""An order, followed from change to change until it is final."""

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc
from shop.customer.v1 import customer_service_pb2
from shop.customer.v1.customer_service_pb2 import WatchOrderRequest
from shop.customer.v1.customer_service_pb2_grpc import CustomerServiceStub
from shop.orders.v1.order_pb2 import ORDER_STATE_CANCELLED, ORDER_STATE_COMPLETED, TimelineEntry

from cli.client import RETRY_SECONDS, is_answer

FINAL = (ORDER_STATE_COMPLETED, ORDER_STATE_CANCELLED)

Order = customer_service_pb2.Order


async def follow(customer: CustomerServiceStub, order_id: str) -> AsyncIterator[Order]:
    """The order as it is now and after each change, final at last.

    An outage is waited out, as long as the caller likes. Raises AioRpcError when the front door says no.
    """
    while True:
        try:
            async for change in customer.WatchOrder(WatchOrderRequest(order_id=order_id)):
                yield change.order
                if change.order.state in FINAL:
                    return
        except grpc.aio.AioRpcError as error:
            if is_answer(error):
                raise
        await asyncio.sleep(RETRY_SECONDS)


class Unseen:
    """Tells what is new in a timeline, where a late entry may stand between older ones."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def of(self, order: Order) -> list[TimelineEntry]:
        """The entries that were not there when it was asked before."""
        keyed = {entry.SerializeToString(deterministic=True): entry for entry in order.timeline}
        new = [entry for key, entry in keyed.items() if key not in self._seen]
        self._seen.update(keyed)
        return new


async def final(
    customer: CustomerServiceStub, order_id: str, show: Callable[[Order], object] = lambda _: None
) -> Order:
    """The order once it is final; each change on the way there is shown. Raises as `follow` does."""
    changes: list[Order] = []
    async for order in follow(customer, order_id):
        show(order)
        changes.append(order)
    return changes[-1]
