"""Orders side by side."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mesh.events.reaction import Reaction
from services.orders.core import Reason
from tests.choreography.case import Case
from tests.choreography.plans import Plan
from tests.choreography.shop import Shop
from tests.choreography.verdict import Violation

T = TypeVar("T")

Reactions = Sequence[tuple[str, Reaction[Any]]]
"""Who reacts to what."""


@dataclass
class Met:
    """What has been seen to happen."""

    well: set[Plan] = field(default_factory=set)
    """Plans of orders that ended well."""
    ends: set[tuple[str, Reason | None]] = field(default_factory=set)
    """Of each scenario."""
    led_to: set[tuple[str, str]] = field(default_factory=set)
    """Each durable, with the full name of a fact that its reaction announced."""


async def live(shop: Shop, reactions: Reactions, plans: Sequence[Plan], met: Met) -> None:
    """Fulfil these orders, then deliver every fact once more. Raises Violation."""
    await shop.forget()
    cases = [Case(shop, reactions, plan) for plan in plans]
    met.ends |= set(zip((plan.scenario for plan in plans), await _together(case.live() for case in cases), strict=True))
    met.led_to |= {each for case in cases for each in case.led_to}

    before = await shop.rows()
    await _together(case.deliver_all_again() for case in cases)
    if changed := await shop.rows() ^ before:
        raise Violation(f"what was delivered once more has changed {sorted(changed)}")
    met.well |= set(plans)


async def _together(all_of_them: Iterable[Awaitable[T]]) -> list[T]:
    """Whatever comes of one, the others are finished, too. Raises what the first of them raised."""
    results = await asyncio.gather(*all_of_them, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
