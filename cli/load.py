"""Many orders at once: what each one asks for, and the count of what became of them. No I/O."""

from collections import Counter
from dataclasses import dataclass

from shop.customer.v1.customer_service_pb2 import Mode, PlaceOrderRequest
from shop.orders.v1.order_pb2 import CancelReason, OrderState
from shop.type.v1.purchase_pb2 import Address, Item, Purchase

from cli.follow import Order
from cli.stack.catalogue import LIMITED, LIMITED_PIECES

DECLINED_TOKEN = "tok_declined"  # noqa: S105 - the sandbox's word for a card that is declined


@dataclass(frozen=True)
class Load:
    """Orders numbered from 0. With two modes, each pair asks for the same in both."""

    request_id: str
    modes: tuple[Mode.ValueType, ...]
    count: int = 1
    sku: str = "KETTLE-1"
    quantity: int = 1
    token: str = "tok_visa"  # noqa: S105
    postcode: str = "10115"
    email: str = "ada@example.com"
    declined_every: int = 0
    """Each Nth pair has its card declined; 0 for none."""
    out_of_stock_every: int = 0
    """Each Nth pair asks for more than there is; 0 for none."""

    def request(self, number: int) -> PlaceOrderRequest:
        """The order of that number; always the same one."""
        pair = number // len(self.modes)
        declined = _falls_on(pair, self.declined_every)
        # Half a turn away from the declined ones, so that with equal numbers they never meet.
        too_many = _falls_on(pair + self.out_of_stock_every // 2, self.out_of_stock_every)
        item = (
            Item(sku=LIMITED, quantity=LIMITED_PIECES + 1) if too_many else Item(sku=self.sku, quantity=self.quantity)
        )
        return PlaceOrderRequest(
            request_id=self.request_id if self.count == 1 else f"{self.request_id}-{number}",
            mode=self.modes[number % len(self.modes)],
            purchase=Purchase(
                customer_id="ada",
                email=self.email,
                items=[item],
                payment_token=DECLINED_TOKEN if declined else self.token,
                ship_to=Address(
                    name="Ada Lovelace",
                    street="Invalidenstr. 1",
                    postcode=self.postcode,
                    city="Berlin",
                    country="DE",
                ),
            ),
        )


def _falls_on(number: int, every: int) -> bool:
    return every > 0 and number % every == every - 1


@dataclass(frozen=True, order=True)
class Outcome:
    """What became of an order."""

    mode: str
    state: str
    cancel_reason: str


class Tally:
    """How many orders came to which outcome."""

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()

    def add(self, order: Order) -> None:
        self.outcomes[
            Outcome(
                Mode.Name(order.mode).removeprefix("MODE_").lower(),
                OrderState.Name(order.state).removeprefix("ORDER_STATE_"),
                CancelReason.Name(order.cancel_reason).removeprefix("CANCEL_REASON_").removeprefix("UNSPECIFIED"),
            )
        ] += 1

    @property
    def orders(self) -> int:
        return self.outcomes.total()
