"""Faults at every point of every workflow, generated from its declaration: a new workflow gets these for free."""

import asyncio
from contextlib import suppress
from itertools import pairwise

import pytest

from orchestrator.blocks import AnyStep
from orchestrator.caller import StaleEpoch
from orchestrator.log import FINAL, Kind, State, fold
from orchestrator.saga import AnySaga
from orchestrator.store import Fenced
from tests.unit.orchestrator.workflows import WORKFLOWS, in_order
from tests.unit.orchestrator.world import Interruption, Participants, World, outcome_is_consistent

STEPS = [(saga, step) for saga in WORKFLOWS for step in saga.steps]


def step_id(value: object) -> str:
    return getattr(value, "name", "-".join(map(str, value)) if isinstance(value, tuple) else str(value))


def after_pivot(saga: AnySaga, step: AnyStep) -> bool:
    pivot = next((index for index, each in enumerate(saga.steps) if each.pivot), len(saga.steps))
    return saga.steps.index(step) > pivot


REFUSABLE = [(saga, step) for saga, step in STEPS if step.optional or not after_pivot(saga, step)]
"""A step after the pivot that may not be left out is repeated without end."""
GATED = [(saga, step) for saga, step in STEPS if not after_pivot(saga, step)]
"""Steps whose outcome may stay unknown: their undo, or the gate, settles it."""
UNDOABLE = [(saga, step) for saga, step in GATED if not step.pivot]


Moment = tuple[str, int]
"""Before or after which append."""


def at(moment: Moment) -> Interruption:
    when, number = moment
    return Interruption(**{when: number})


def moments(saga: AnySaga, **how: str) -> list[Moment]:
    """Before and after each append of a saga that nothing interrupts."""
    world = World(saga, Participants(saga, **how))
    asyncio.run(world.finish())
    return [(when, number) for number in range(1, world.interruption.appends + 1) for when in ("before", "after")]


SMOOTH = [(saga, moment) for saga in WORKFLOWS for moment in moments(saga)]
REFUSED = [(saga, step, moment) for saga, step in REFUSABLE for moment in moments(saga, refuses=step.name)]
UNKNOWN = [
    (saga, step, how, moment)
    for saga, step in UNDOABLE
    for how in ("loses", "misses")
    for moment in moments(saga, **{how: step.name})
]


def done(world: World) -> list[str]:
    return [name for verb, name in world.participants.effects if verb == "do"]


def undone(world: World) -> list[str]:
    return [name for verb, name in world.participants.effects if verb == "undo"]


def everything_is_done_once(world: World) -> bool:
    names = [step.name for step in world.saga.steps]
    return in_order(world.saga, done(world)) and sorted(done(world)) == sorted(names) and not undone(world)


def what_was_done_is_undone_last_first(world: World) -> bool:
    undoable = {step.name for step in world.saga.steps if step.undo}
    begun = [entry.path.rpartition("/")[2] for entry in world.record.entries if entry.kind is Kind.STEP_STARTED]
    expected = [name for name in reversed(begun) if name in done(world) and name in undoable]
    return in_order(world.saga, done(world)) and undone(world) == expected


@pytest.mark.parametrize("saga", WORKFLOWS, ids=step_id)
@pytest.mark.parametrize("repeats", [False, True])
async def test_every_step_is_done_once_in_order_though_every_call_arrives_twice(saga: AnySaga, repeats: bool) -> None:
    world = World(saga, Participants(saga, repeats=repeats))

    record = await world.finish()

    assert record.state is State.SUCCEEDED
    assert everything_is_done_once(world)


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize(("saga", "step"), REFUSABLE, ids=step_id)
async def test_a_refusal_undoes_what_was_done_last_first(saga: AnySaga, step: AnyStep, repeats: bool) -> None:
    world = World(saga, Participants(saga, refuses=step.name, repeats=repeats))

    record = await world.finish()

    assert record.state is (State.SUCCEEDED if step.optional else State.UNWOUND)
    assert step.name not in done(world)
    assert step.optional or what_was_done_is_undone_last_first(world)


@pytest.mark.parametrize(
    ("saga", "step", "how"),
    [(*each, "misses") for each in GATED] + [(*each, "loses") for each in UNDOABLE],
    ids=step_id,
)
async def test_an_unknown_outcome_is_settled_by_the_undo_of_the_same_step(
    saga: AnySaga, step: AnyStep, how: str
) -> None:
    world = World(saga, Participants(saga, **{how: step.name}))

    record = await world.finish()

    assert record.state is State.UNWOUND
    assert world.participants.kept == []
    assert step.name in world.participants.tombstones
    unknown = [entry for entry in record.entries if entry.kind is Kind.STEP_UNKNOWN]
    assert [entry.path for entry in unknown] == [saga.paths[step.name]]


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize(("saga", "moment"), SMOOTH, ids=step_id)
async def test_a_crash_around_any_append_loses_and_doubles_nothing(
    saga: AnySaga, moment: Moment, repeats: bool
) -> None:
    world = World(saga, Participants(saga, repeats=repeats), at(moment))

    record = await world.finish()

    assert world.interruption.struck
    assert record.state is State.SUCCEEDED
    assert everything_is_done_once(world)


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize(("saga", "step", "moment"), REFUSED, ids=step_id)
async def test_a_crash_while_unwinding_from_a_refusal_leaves_nothing(
    saga: AnySaga, step: AnyStep, moment: Moment, repeats: bool
) -> None:
    world = World(saga, Participants(saga, refuses=step.name, repeats=repeats), at(moment))

    record = await world.finish()

    assert world.interruption.struck
    assert record.state is (State.SUCCEEDED if step.optional else State.UNWOUND)
    assert outcome_is_consistent(world, record)


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize(("saga", "step", "how", "moment"), UNKNOWN, ids=step_id)
async def test_a_crash_around_an_unknown_outcome_leaves_all_or_nothing(
    saga: AnySaga, step: AnyStep, how: str, moment: Moment, repeats: bool
) -> None:
    world = World(saga, Participants(saga, **{how: step.name}, repeats=repeats), at(moment))

    record = await world.finish()

    assert world.interruption.struck
    assert record.state is State.UNWOUND
    assert outcome_is_consistent(world, record)


@pytest.mark.parametrize(
    ("saga", "refused", "moment"),
    [(saga, "", moment) for saga, moment in SMOOTH] + [(saga, step.name, moment) for saga, step, moment in REFUSED],
    ids=step_id,
)
async def test_a_zombie_that_wakes_up_after_its_saga_was_adopted_changes_nothing(
    saga: AnySaga, refused: str, moment: Moment
) -> None:
    world = World(saga, Participants(saga, refuses=refused), at(moment))
    woken = world.interruption.frozen = asyncio.Event()
    await world.begin()
    zombie = asyncio.ensure_future(world.live(world.store("zombie")))
    while not (zombie.done() or world.interruption.struck):
        await asyncio.sleep(0)
    if zombie.done():
        woken.set()  # it put the saga down before that moment, and whoever has it then is not held up

    record = await world.finish()
    effects = list(world.participants.effects)
    woken.set()
    with suppress(Fenced, StaleEpoch):
        await zombie

    assert record.state in FINAL
    assert outcome_is_consistent(world, record)
    assert world.record.entries == record.entries
    assert world.participants.effects == effects


@pytest.mark.parametrize(
    ("saga", "length"),
    [(saga, length) for saga in WORKFLOWS for length in range(3, 2 * len(saga.leaves) + 1)],
    ids=step_id,
)
async def test_a_cancel_at_any_length_of_the_log_ends_in_all_or_nothing(saga: AnySaga, length: int) -> None:
    world = World(saga, Participants(saga))

    record = await world.finish(cancel_after=length)

    assert record.cancel_reason == "CUSTOMER_REQUEST"
    assert outcome_is_consistent(world, record)
    heeded = any(entry.kind is Kind.CANCELLED for entry in record.entries)
    assert record.state is (State.UNWOUND if heeded and not held(world) else State.SUCCEEDED)


def times_stuck(world: World) -> int:
    """How many entries made the saga STUCK."""
    states = [fold(world.saga, world.record.entries[:length]).state for length in range(len(world.record.entries) + 1)]
    return sum(before is not State.STUCK and after is State.STUCK for before, after in pairwise(states))


def held(world: World) -> bool:
    return any(entry.kind is Kind.PIVOT_HELD for entry in world.record.entries)


@pytest.mark.parametrize("saga", [saga for saga in WORKFLOWS if any(step.pivot for step in saga.steps)], ids=step_id)
async def test_a_pivot_that_happened_unanswered_goes_forward(saga: AnySaga) -> None:
    pivot = next(step for step in saga.steps if step.pivot)
    world = World(saga, Participants(saga, loses=pivot.name, finds_pivot=True))

    record = await world.finish()

    assert record.state is State.SUCCEEDED
    assert held(world)
    assert everything_is_done_once(world)


@pytest.mark.parametrize(("saga", "step"), UNDOABLE, ids=step_id)
async def test_an_undo_that_is_refused_makes_its_saga_stuck_until_it_is_done_after_all(
    saga: AnySaga, step: AnyStep
) -> None:
    pivot = next(each for each in saga.steps if each.pivot)
    world = World(saga, Participants(saga, refuses=pivot.name, reluctant={("undo", step.name): 3}))

    record = await world.finish()

    assert record.state is State.UNWOUND
    assert times_stuck(world) == 1
    assert what_was_done_is_undone_last_first(world)


@pytest.mark.parametrize(
    ("saga", "step"), [each for each in STEPS if each not in GATED and not each[1].optional], ids=step_id
)
async def test_a_step_after_the_pivot_that_is_refused_makes_its_saga_stuck_until_it_is_done_after_all(
    saga: AnySaga, step: AnyStep
) -> None:
    world = World(saga, Participants(saga, reluctant={("do", step.name): 3}))

    record = await world.finish()

    assert record.state is State.SUCCEEDED
    assert times_stuck(world) == 1
    assert everything_is_done_once(world)


@pytest.mark.parametrize("saga", WORKFLOWS, ids=step_id)
async def test_a_saga_that_is_stopped_is_handed_over_as_soon_as_its_call_has_ended(saga: AnySaga) -> None:
    world = World(saga, Participants(saga))
    await world.begin()

    await world.live(world.store("draining"), stop_after=len(world.record.entries) + 1)

    assert world.record.owner is None
    assert world.record.state is State.RUNNING
    await world.live(world.store("next"))
    assert world.record.epoch == 3
    await world.finish()
    assert everything_is_done_once(world)
