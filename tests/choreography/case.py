"""One order, from its submission until nobody has anything left to say about it."""

import itertools
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from mesh.errors import Outage, Refusal
from mesh.events.reaction import Reaction
from services.orders.core import Reason
from tests.choreography.attempt import Attempt, Delivery
from tests.choreography.plans import SCENARIOS, Act, Plan
from tests.choreography.shop import Announced, Shop
from tests.choreography.verdict import Ordered, Verdict, Violation
from tests.purchases import purchase

ATTEMPTS_MAX = 500


class Case:
    """Does to an order what its plan says, and nothing else: it replays exactly, whatever happens beside it."""

    def __init__(self, shop: Shop, reactions: Sequence[tuple[str, Reaction[Any]]], plan: Plan) -> None:
        self.plan = plan
        self.led_to: set[tuple[str, str]] = set()
        """Each durable, with the full name of a fact that its reaction announced."""
        order_id = shop.new_order_id()
        self._ordered = Ordered(order_id, f"MUG-{order_id}", plan.quantity, SCENARIOS[plan.scenario])
        self._verdict = Verdict(shop, self._ordered)
        self._shop = shop
        self._reactions = reactions
        self._posted: list[Delivery] = []
        self._on_the_way: list[Delivery] = []
        self._under_way: list[Attempt] = []
        self._buried: list[Delivery] = []
        self._attempts = itertools.count(1)
        self._requests = itertools.count(1)
        self._acts: dict[Act, Callable[[int], Awaitable[None]]] = {
            Act.DELIVER: self._deliver,
            Act.BEGIN: self._begin,
            Act.GO_ON: self._go_on,
            Act.DIE: self._die,
            Act.COME_AGAIN: self._come_again,
            Act.BURY: self._bury,
            Act.CANCEL: self._cancel,
            Act.TIME_OUT: self._time_out,
        }

    async def live(self) -> Reason | None:
        """Returns how the order ended, None being its completion. Raises Violation."""
        it = self._ordered
        try:
            await self._shop.stock(it.sku, it.scenario.stocked)
            await self._shop.submit(it.order_id, purchase(it.sku, it.quantity, it.scenario.token, it.scenario.postcode))
            await self._take("orders")
            for step in self.plan.steps:
                await self._acts[step.act](step.which)
            await self._come_to_rest()
            return await self._verdict.end()
        finally:
            for attempt in self._under_way:
                await attempt.die()

    async def deliver_all_again(self) -> None:
        """As a stream does that is read from its beginning, only backwards."""
        for delivery in reversed(self._posted):
            await _finished(Attempt(delivery, self._shop.databases[delivery.service]))

    async def _come_to_rest(self) -> None:
        while self._under_way or self._on_the_way or self._buried:
            if self._under_way:
                await self._go_on(0)
            elif self._on_the_way:
                await self._deliver(0)
            else:
                self._on_the_way, self._buried = self._buried, []

    async def _deliver(self, which: int) -> None:
        if attempt := self._attempt(which):
            await self._react(attempt, _finished)

    async def _begin(self, which: int) -> None:
        if attempt := self._attempt(which):
            await self._react(attempt, Attempt.go_on)

    async def _go_on(self, which: int) -> None:
        if self._under_way:
            await self._react(self._under_way.pop(which % len(self._under_way)), Attempt.go_on)

    async def _die(self, which: int) -> None:
        if self._under_way:
            attempt = self._under_way.pop(which % len(self._under_way))
            await attempt.die()
            self._on_the_way.append(attempt.delivery)

    async def _come_again(self, which: int) -> None:
        self._on_the_way.append(self._posted[which % len(self._posted)])

    async def _bury(self, which: int) -> None:
        if self._on_the_way:
            self._buried.append(self._on_the_way.pop(which % len(self._on_the_way)))

    async def _cancel(self, _which: int) -> None:
        with suppress(Refusal):  # it is completed
            await self._shop.request_cancel(self._ordered.order_id, f"{self._ordered.order_id}.{next(self._requests)}")
        await self._take("orders")

    async def _time_out(self, _which: int) -> None:
        await self._shop.time_out(self._ordered.order_id)
        await self._take("orders")

    def _attempt(self, which: int) -> Attempt | None:
        """At one of those on the way, of the slow ones only when there are no others."""
        awake = [each for each in self._on_the_way if each.durable not in self.plan.slow] or self._on_the_way
        if not awake:
            return None
        if next(self._attempts) > ATTEMPTS_MAX:
            raise Violation("it does not come to rest")
        delivery = awake[which % len(awake)]
        self._on_the_way.remove(delivery)
        return Attempt(delivery, self._shop.databases[delivery.service])

    async def _react(self, attempt: Attempt, how_far: Callable[[Attempt], Awaitable[bool]]) -> None:
        delivery = attempt.delivery
        try:
            if not await how_far(attempt):
                self._under_way.append(attempt)
                return
        except Outage:
            self._on_the_way.append(delivery)
        announced = await self._take(delivery.service)
        self.led_to |= {(delivery.durable, each.fact.DESCRIPTOR.full_name) for each in announced}

    async def _take(self, service: str) -> list[Announced]:
        """Take over what a service has announced, for whoever reacts to it."""
        announced = await self._shop.announced(service, self._ordered.order_id)
        for each in announced:
            await self._verdict.hear(each.fact)
            event_id, at = each.attributes["ce-id"], datetime.fromisoformat(each.attributes["ce-time"])
            posted = [
                Delivery(service, reaction, each.fact, event_id, at)
                for service, reaction in self._reactions
                if isinstance(each.fact, reaction.fact)
            ]
            self._posted += posted
            self._on_the_way += posted
        return announced


async def _finished(attempt: Attempt) -> bool:
    while not await attempt.go_on():
        pass
    return True
