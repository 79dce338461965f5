"""Faults at every point of every workflow, generated from its declaration: a new workflow gets these for free."""

import pytest

from orchestrator.log import Kind, State
from orchestrator.saga import AnySaga, AnyStep
from orchestrator.workflows import WORKFLOWS
from tests.unit.orchestrator.world import CrashPlan, Participants, World, outcome_is_consistent

STEPS = [(saga, step) for saga in WORKFLOWS for step in saga.steps]
MOST_APPENDS = 20
CRASHES = [CrashPlan(**{when: n}) for when in ("before", "after") for n in range(1, MOST_APPENDS)]


def crash_id(crash: CrashPlan) -> str:
    return f"before-{crash.before}" if crash.before else f"after-{crash.after}"


def step_id(value: object) -> str:
    return getattr(value, "name", str(value))


def after_pivot(saga: AnySaga, step: AnyStep) -> bool:
    pivot = next((index for index, each in enumerate(saga.steps) if each.pivot), len(saga.steps))
    return saga.steps.index(step) > pivot


REFUSABLE = [(saga, step) for saga, step in STEPS if step.optional or not after_pivot(saga, step)]
"""A step after the pivot that may not be left out is repeated without end."""
GATED = [(saga, step) for saga, step in STEPS if not after_pivot(saga, step)]
"""Steps whose outcome may stay unknown: their undo, or the gate, settles it."""
UNDOABLE = [(saga, step) for saga, step in GATED if not step.pivot]


def fresh(crash: CrashPlan) -> CrashPlan:
    return CrashPlan(before=crash.before, after=crash.after)


@pytest.mark.parametrize("saga", WORKFLOWS, ids=step_id)
@pytest.mark.parametrize("repeats", [False, True])
async def test_every_step_is_done_once_in_order_though_every_call_arrives_twice(saga: AnySaga, repeats: bool) -> None:
    world = World(saga, Participants(saga, repeats=repeats))

    record = await world.finish()

    assert record.state is State.SUCCEEDED
    assert world.participants.effects == [("do", step.name) for step in saga.steps]


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize(("saga", "step"), REFUSABLE, ids=step_id)
async def test_a_refusal_undoes_what_was_done_last_first(saga: AnySaga, step: AnyStep, repeats: bool) -> None:
    world = World(saga, Participants(saga, refuses=step.name, repeats=repeats))

    record = await world.finish()

    before = [each.name for each in saga.steps[: saga.steps.index(step)]]
    if step.optional:
        assert record.state is State.SUCCEEDED
        return
    assert record.state is State.UNWOUND
    undone = [("undo", each.name) for each in reversed(saga.steps) if each.name in before and each.undo]
    assert world.participants.effects == [("do", name) for name in before] + undone


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
    assert [entry.path for entry in unknown] == [step.name]


@pytest.mark.parametrize("crash", CRASHES, ids=crash_id)
@pytest.mark.parametrize("saga", WORKFLOWS, ids=step_id)
async def test_a_crash_around_any_append_loses_and_doubles_nothing(saga: AnySaga, crash: CrashPlan) -> None:
    world = World(saga, Participants(saga), fresh(crash))

    record = await world.finish()

    assert record.state is State.SUCCEEDED
    assert world.participants.effects == [("do", step.name) for step in saga.steps]


@pytest.mark.parametrize("crash", CRASHES, ids=crash_id)
@pytest.mark.parametrize(("saga", "step"), REFUSABLE, ids=step_id)
async def test_a_crash_while_unwinding_from_a_refusal_leaves_nothing(
    saga: AnySaga, step: AnyStep, crash: CrashPlan
) -> None:
    world = World(saga, Participants(saga, refuses=step.name), fresh(crash))

    record = await world.finish()

    assert record.state is (State.SUCCEEDED if step.optional else State.UNWOUND)
    assert outcome_is_consistent(world, record)


@pytest.mark.parametrize("crash", CRASHES, ids=crash_id)
@pytest.mark.parametrize(("saga", "step"), UNDOABLE, ids=step_id)
async def test_a_crash_around_an_unknown_outcome_leaves_all_or_nothing(
    saga: AnySaga, step: AnyStep, crash: CrashPlan
) -> None:
    world = World(saga, Participants(saga, loses=step.name), fresh(crash))

    record = await world.finish()

    assert record.state is State.UNWOUND
    assert outcome_is_consistent(world, record)


@pytest.mark.parametrize("length", range(2, 16))
@pytest.mark.parametrize("saga", WORKFLOWS, ids=step_id)
async def test_a_cancel_at_any_length_of_the_log_ends_in_all_or_nothing(saga: AnySaga, length: int) -> None:
    world = World(saga, Participants(saga))

    record = await world.finish(cancel_after=length)

    assert outcome_is_consistent(world, record)
    heeded = any(entry.kind is Kind.CANCELLED for entry in record.entries)
    assert record.state is (State.UNWOUND if heeded and not held(record.entries) else State.SUCCEEDED)


def held(entries: tuple[object, ...]) -> bool:
    return any(getattr(entry, "kind", None) is Kind.PIVOT_HELD for entry in entries)


@pytest.mark.parametrize("saga", [saga for saga in WORKFLOWS if any(step.pivot for step in saga.steps)], ids=step_id)
async def test_a_pivot_that_happened_unanswered_goes_forward(saga: AnySaga) -> None:
    pivot = next(step for step in saga.steps if step.pivot)
    participants = Participants(saga, loses=pivot.name)
    world = World(saga, participants)
    asked = participants._undo

    def found(step: AnyStep) -> object:
        if step.pivot:
            participants.loses = ""  # the network is back
        return asked(step)

    participants._undo = found  # type: ignore[method-assign,assignment]
    record = await world.finish()

    assert record.state is State.SUCCEEDED
    assert held(record.entries)
    assert participants.effects == [("do", step.name) for step in saga.steps]
