"""What is drawn for an order: its circumstances, and what happens when."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from catalogue import model
from services.orders.core import Reason

T = TypeVar("T")

DURABLES = sorted(reaction.durable for service in model.read().services for reaction in service.reactions)


@dataclass(frozen=True)
class Scenario:
    """The circumstances of an order."""

    end: Reason | None
    """Why it is cancelled if nobody asks for that; None: it is completed."""
    stocked: int = 5
    token: str = "tok_visa"
    postcode: str = "10115"


SCENARIOS = {
    "all is well": Scenario(None),
    "the gateway's answer is lost": Scenario(None, token="tok_flaky"),
    "the carrier's answer is lost": Scenario(None, postcode="44444"),
    "out of stock": Scenario(Reason.OUT_OF_STOCK, stocked=0),
    "card declined": Scenario(Reason.PAYMENT_DECLINED, token="tok_declined"),
    "carrier refuses": Scenario(Reason.SHIPPING_REFUSED, postcode="99999"),
}


class Act(Enum):
    """What may happen next to an order. The simplest comes first."""

    DELIVER = "a fact arrives and is reacted to"
    BEGIN = "a fact arrives, and the reaction gets as far as its first stop"
    GO_ON = "a reaction goes on to its next stop, or its end"
    DIE = "a reaction is killed at its stop; its fact comes again"
    COME_AGAIN = "a fact is sent once more to one who was told it"
    BURY = "a fact becomes a dead letter, which is replayed when all else is done"
    CANCEL = "the customer asks for a cancel"
    TIME_OUT = "the watchdog finds that the order takes too long"


OFTEN = (Act.DELIVER,) * 10 + (Act.BEGIN, Act.GO_ON) * 4 + tuple(Act)[3:]


@dataclass(frozen=True)
class Step:
    """Something that happens to an order, and to which of those that it may happen to."""

    act: Act
    which: int = 0


@dataclass(frozen=True)
class Plan:
    """One order. After the steps whatever is left to do is done in order."""

    scenario: str
    quantity: int = 1
    slow: frozenset[str] = frozenset()
    """Durables that are told nothing as long as there is something to tell others."""
    steps: tuple[Step, ...] = ()


@st.composite
def several(draw: DrawFn, each: SearchStrategy[T], average: int, most: int) -> tuple[T, ...]:
    """Many, as a rule: the lists of hypothesis are short."""
    drawn: list[T] = []
    while len(drawn) < most and draw(st.integers(0, average)):
        drawn.append(draw(each))
    return tuple(drawn)


STEPS = st.builds(Step, st.sampled_from(OFTEN), st.integers(0, 9))
PLANS = st.builds(
    Plan,
    st.sampled_from(list(SCENARIOS)),
    st.integers(1, 3),
    st.frozensets(st.sampled_from(DURABLES), max_size=5),
    several(STEPS, average=20, most=40),
)


def drawing(number: int, at: int) -> Callable[[Callable[[Plan], None]], Callable[[], None]]:
    """Have a function called with plans, more than `number` of them different, which follow from the seed `at`.

    If it raises, it is called on, until that is raised for the simplest plan there is.
    """
    careful = settings(
        max_examples=number * 3 // 2,
        phases=[Phase.generate, Phase.shrink],
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],
    )
    return lambda tell: seed(at)(careful(given(PLANS)(tell)))


def drawn(number: int, at: int) -> list[Plan]:
    """So many different plans, as `drawing` has them."""
    plans: dict[Plan, None] = {}
    drawing(number, at)(lambda plan: plans.update({plan: None}))()
    return list(plans)[:number]
