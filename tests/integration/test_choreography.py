"""The whole choreography: however its facts arrive, an order ends, and everybody agrees on how.

Everything about an order follows from its scenario and its seed. A failure names both; to replay it, narrow SEEDS.
"""

from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

import pytest
from google.protobuf.message import Message
from shop.orders.v1.order_pb2 import CancelReason
from shop.orders.v1.orders_facts_pb2 import OrderCancelled, OrderCompleted
from shop.payment.v1.payment_facts_pb2 import PaymentRefunded

from mesh.errors import Refusal
from services.orders.core import Reason, State
from tests import choreography
from tests.choreography import PRICE_MINOR, Books, Bus, Shop
from tests.foundations import Foundations
from tests.outside import Outside
from tests.purchases import purchase

pytestmark = pytest.mark.integration

SEEDS = range(80)
CANCELS = (None, Reason.CUSTOMER_REQUEST, Reason.TIMED_OUT)


@dataclass(frozen=True)
class Scenario:
    """What comes of an order that nobody cancels, None being its completion, and why."""

    end: Reason | None
    stocked: int = 5
    tokens: tuple[str, ...] = ("tok_visa", "tok_flaky")
    postcodes: tuple[str, ...] = ("10115", "44444")


SCENARIOS = {
    "all is well": Scenario(None),
    "out of stock": Scenario(Reason.OUT_OF_STOCK, stocked=0),
    "card declined": Scenario(Reason.PAYMENT_DECLINED, tokens=("tok_declined", "tok_insufficient_funds")),
    "carrier refuses": Scenario(Reason.SHIPPING_REFUSED, postcodes=("00000", "99999")),
}


class Case:
    """One order, and all that is drawn for it."""

    def __init__(self, name: str, seed: int) -> None:
        self.scenario = SCENARIOS[name]
        self.name = f"{name!r}, seed {seed}"
        self.draw = Random(self.name)  # noqa: S311
        self.order_id = f"0193a8b0-0000-7000-8{list(SCENARIOS).index(name):03}-{seed:012}"
        self.sku = f"MUG-{self.order_id}"
        self.quantity = self.draw.randint(1, 3)
        self.purchase = purchase(
            self.sku, self.quantity, self.draw.choice(self.scenario.tokens), self.draw.choice(self.scenario.postcodes)
        )
        self.cancel = self.draw.choice(CANCELS)
        self.cancel_after = self.draw.choice((0, self.draw.randrange(30)))
        """So many deliveries."""

    @property
    def ends(self) -> set[Reason | None]:
        """How it may end: by itself, or by its cancel, whichever comes first."""
        return {self.scenario.end, self.cancel} if self.cancel else {self.scenario.end}

    @property
    def fulfilled(self) -> Books:
        return Books(PRICE_MINOR * self.quantity, parcels=1, confirmations=1, sold=self.quantity)


class Outcome:
    """What is announced to have become of an order."""

    def __init__(self, shop: Shop, case: Case) -> None:
        self._shop = shop
        self._case = case
        self.announced: list[Message] = []

    async def witness(self, fact: Message) -> None:
        """Nothing is said to be undone before it is."""
        if isinstance(fact, OrderCompleted | OrderCancelled):
            self.announced.append(fact)
        if isinstance(fact, PaymentRefunded):
            assert fact.amount.amount_minor == self._shop.given_back(self._case.order_id)
        if isinstance(fact, OrderCancelled):
            assert await self._shop.books(self._case.order_id, self._case.sku, self._case.scenario.stocked) == Books()


@pytest.fixture(scope="module")
async def shop(foundations: Foundations, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Shop]:
    outside = Outside(tmp_path_factory.mktemp("outside") / "ledger.db")
    await outside.begin()
    async with choreography.opened(foundations, outside) as shop:
        yield shop
    await outside.end()


@contextmanager
def naming(case: Case) -> Generator[None]:
    """Failures say what to replay."""
    try:
        yield
    except Exception as error:
        error.add_note(f"of the order with {case.name}")
        raise


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_an_order_ends_well_however_its_facts_arrive(shop: Shop, scenario: str) -> None:
    cases = [Case(scenario, seed) for seed in SEEDS]
    ends: set[Reason | None] = set()
    buses: list[Bus] = []
    for case in cases:
        with naming(case):
            outcome = Outcome(shop, case)
            bus = Bus(shop, case.order_id, case.draw, outcome.witness)
            await live(shop, case, bus)
            ends.add(await the_end(shop, case, outcome.announced))
            buses.append(bus)

    assert ends == set().union(*(case.ends for case in cases)), "too few seeds to meet every end"
    await nothing_changes_when_all_is_delivered_again(shop, buses)


async def live(shop: Shop, case: Case, bus: Bus) -> None:
    """From the order's submission until nobody has anything left to say about it."""
    await shop.stock(case.sku, case.scenario.stocked)
    await shop.submit(case.order_id, case.purchase)
    await bus.take("orders")
    for _ in range(case.cancel_after):
        await bus.deliver()
    await cancel(shop, case)
    await bus.take("orders")
    while not bus.is_idle:
        await bus.deliver()


async def cancel(shop: Shop, case: Case) -> None:
    if case.cancel is Reason.TIMED_OUT:
        await shop.time_out(case.order_id)
    elif case.cancel is Reason.CUSTOMER_REQUEST:
        try:
            await shop.request_cancel(case.order_id)
        except Refusal as refusal:
            assert refusal.reason == "ORDER_COMPLETED"  # noqa: PT017 - most are granted


async def the_end(shop: Shop, case: Case, announced: list[Message]) -> Reason | None:
    """How the order ended, which everybody agrees on."""
    order = await shop.order(case.order_id)
    assert order is not None
    books = await shop.books(case.order_id, case.sku, case.scenario.stocked)

    assert order.reason in case.ends
    if order.reason is None:
        assert (order.state, books) == (State.COMPLETED, case.fulfilled)
        assert [type(fact) for fact in announced] == [OrderCompleted]
    else:
        assert (order.state, books) == (State.CANCELLED, Books())
        reason = CancelReason.Value(f"CANCEL_REASON_{order.reason.value}")
        assert announced == [OrderCancelled(order_id=case.order_id, reason=reason)]
    return order.reason


async def nothing_changes_when_all_is_delivered_again(shop: Shop, buses: list[Bus]) -> None:
    before = await shop.rows()
    for bus in buses:
        await bus.deliver_all_again()
    assert await shop.rows() ^ before == set()
