"""Each branch goes on at its own pace, whatever its neighbours wait for."""

import asyncio

from orchestrator.branches import Branches, Wait
from orchestrator.log import Action, Kind, Undo, fold
from orchestrator.outcome import Outcome
from tests.unit.orchestrator.test_saga import preparing
from tests.unit.orchestrator.workflows import EVERY_BLOCK

GOODS, MONEY = fold(EVERY_BLOCK, preparing().entries).next


def done(action: Action) -> Outcome:
    return Outcome(Kind.STEP_SUCCEEDED, action.path)


async def passing(seconds: float) -> None:
    await asyncio.sleep(0)


async def test_a_branch_is_tried_again_while_its_neighbour_is_still_busy() -> None:
    attempts, branches, busy = 0, Branches(), asyncio.Event()

    async def act(action: Action) -> Outcome | Wait:
        nonlocal attempts
        if action is MONEY:
            await busy.wait()
            return done(action)
        attempts += 1
        return done(action) if attempts == 3 else Wait(0.5)

    first = await branches.first((GOODS, MONEY), act, passing)
    busy.set()
    second = await branches.first((MONEY,), act, passing)

    assert (first, second) == (done(GOODS), done(MONEY))
    assert attempts == 3


async def test_where_all_branches_wait_the_shortest_wait_is_what_is_told() -> None:
    branches = Branches()

    async def act(action: Action) -> Outcome | Wait:
        return Wait(5.0) if action is GOODS else Wait(2.0, parked=True)

    async def never(seconds: float) -> None:
        await asyncio.Event().wait()

    assert await branches.first((GOODS, MONEY), act, never) == Wait(2.0, parked=True)


async def test_what_is_not_asked_for_any_more_is_given_up() -> None:
    branches, given_up = Branches(), asyncio.Event()
    undo = Undo("create_order", step=EVERY_BLOCK.steps[0])

    async def act(action: Action) -> Outcome | Wait:
        if action is GOODS:
            try:
                await asyncio.Event().wait()
            finally:
                given_up.set()
        return done(action)

    assert await branches.first((GOODS, MONEY), act, passing) == done(MONEY)
    assert await branches.first((undo,), act, passing) == done(undo)
    assert given_up.is_set()
