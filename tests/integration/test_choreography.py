"""The whole choreography: however its facts arrive, an order ends, and everybody agrees on how.

Hypothesis draws the cases, the same each time; `make permute CASES=20000` draws others. What fails is told with the
simplest plan that fails.
"""

import asyncio
import logging
import os
from collections.abc import Generator, Sequence

import pytest
import structlog

from catalogue import model
from services.orders.core import Reason
from tests.choreography import crowd
from tests.choreography import shop as shops
from tests.choreography.bugs import BUGS, NONE, Bug
from tests.choreography.crowd import Met
from tests.choreography.plans import SCENARIOS, Plan, drawing, drawn
from tests.choreography.shop import Shop
from tests.choreography.verdict import Violation
from tests.foundations import Foundations

pytestmark = pytest.mark.integration

CASES = int(os.environ.get("PERMUTE_CASES", "2000"))
SEED = int(os.environ.get("PERMUTE_SEED", "1"))
AT_A_TIME = 20
"""Orders that are fulfilled side by side."""
BEFORE_FOUND = 400
"""Orders among which a planted bug shows."""
FEW = 4
"""Steps that show what is wrong."""
LAST_OF_ALL = Plan("carrier refuses", slow=frozenset({"orders_ShippingFailed"}))
"""Seldom drawn: the refusal of the carrier is the last thing that an order learns."""


class Stage:
    """A shop, for tests that hypothesis calls many times, in an event loop of its own."""

    def __init__(self, runner: asyncio.Runner, shop: Shop) -> None:
        self._runner = runner
        self._shop = shop

    def play(self, plans: Sequence[Plan], met: Met, bug: Bug) -> None:
        with bug.planted():
            self._runner.run(crowd.live(self._shop, bug.reactions(self._shop), plans, met))


@pytest.fixture(scope="module")
def stage(foundations: Foundations, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # what fails is told
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        shop = shops.opened(foundations, tmp_path_factory.mktemp("outside") / "ledger.db")
        yield Stage(runner, runner.run(shop.__aenter__()))
        runner.run(shop.__aexit__(None, None, None))
    structlog.reset_defaults()


@pytest.mark.timeout(0)
def test_an_order_ends_well_however_its_facts_arrive(stage: Stage) -> None:
    met = Met()

    play_and_tell(stage, CASES, met, NONE)
    stage.play([LAST_OF_ALL], met, NONE)

    assert met.ends == every_end(), "too few cases"
    assert met.led_to == everything_declared(), "too few cases, or nobody announces what a reaction declares"


def every_end() -> set[tuple[str, Reason | None]]:
    cancels = {Reason.CUSTOMER_REQUEST, Reason.TIMED_OUT}
    return {(name, end) for name, scenario in SCENARIOS.items() for end in {scenario.end} | cancels}


def everything_declared() -> set[tuple[str, str]]:
    reactions = [reaction for service in model.read().services for reaction in service.reactions]
    return {(reaction.durable, fact) for reaction in reactions for fact in reaction.leads_to}


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(stage: Stage, name: str) -> None:
    with pytest.raises(Violation, match=BUGS[name].finding):
        play(stage, drawn(BEFORE_FOUND, SEED), Met(), BUGS[name])


def test_what_is_found_is_told_in_few_steps(stage: Stage) -> None:
    with pytest.raises(Violation) as violation:
        play_and_tell(stage, BEFORE_FOUND, Met(), BUGS["broadcast cancel"])

    told = "".join(violation.value.__notes__)
    assert "Plan" in told
    assert told.count("Step") <= FEW


def play_and_tell(stage: Stage, number: int, met: Met, bug: Bug) -> None:
    """Raises what goes wrong with an order, and tells the simplest plan with which that happens."""
    try:
        play(stage, drawn(number, SEED), met, bug)
    except Exception:
        drawing(number, SEED)(lambda plan: None if plan in met.well else stage.play([plan], Met(), bug))()
        raise  # it does not happen to one alone


def play(stage: Stage, plans: Sequence[Plan], met: Met, bug: Bug) -> None:
    for start in range(0, len(plans), AT_A_TIME):
        stage.play(plans[start : start + AT_A_TIME], met, bug)
