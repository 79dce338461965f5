"""What the front door decides: which orders it accepts, and by which mode each of them goes."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Generic, Protocol, TypeVar

from mesh.errors import Refusal, not_found

View_co = TypeVar("View_co", covariant=True)


class Mode(Enum):
    """How the services work together on an order."""

    ORCHESTRATED = "ORCHESTRATED"
    CHOREOGRAPHED = "CHOREOGRAPHED"


@dataclass(frozen=True)
class Placed:
    """An order that was accepted. From here on it is our promise to hand it over."""

    order_id: str
    mode: Mode
    purchase: bytes
    """As the contract serialises it: the front door has no say in it."""
    trace: dict[str, str]
    """Headers of the trace that the order was placed in."""
    placed_at: datetime


class Fulfilment(Protocol, Generic[View_co]):
    """One mode: where an order is handed to, and where its story is read."""

    async def hand_over(self, placed: Placed) -> None:
        """Make sure that the order is being fulfilled, however often this is called. Raises Outage."""
        ...

    async def cancel(self, placed: Placed, request_id: str) -> None:
        """Ask for a cancel. Raises Refusal ORDER_COMPLETED, Outage."""
        ...

    async def look(self, placed: Placed) -> View_co:
        """The order as it is now. Raises Outage."""
        ...

    def follow(self, placed: Placed) -> AsyncGenerator[View_co]:
        """The order as it is now, and again after each change, until it is final."""
        ...


def unknown_order(order_id: str) -> Refusal:
    """No such order was ever placed here."""
    return not_found("ORDER_NOT_FOUND", f"there is no order {order_id}", order_id=order_id)
