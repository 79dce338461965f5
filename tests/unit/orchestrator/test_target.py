"""Calls wait for their turn, a participant that does not answer is asked less and less, and nobody waits for it."""

import asyncio

import pytest

from orchestrator.target import FIRST, SICK_AFTER, Sick, Target


async def full() -> Target:
    """A target with as many calls in flight as it is trusted with at first."""
    target = Target()
    for _ in range(int(FIRST)):
        await target.turn()
    return target


async def waiting(target: Target) -> "asyncio.Task[None]":
    turn = asyncio.ensure_future(target.turn())
    await asyncio.sleep(0)
    assert not turn.done()
    return turn


def fall_silent(target: Target) -> None:
    for _ in range(SICK_AFTER):
        target.was_silent()


async def test_turns_come_in_order_as_calls_end() -> None:
    target = await full()
    first, second = await waiting(target), await waiting(target)

    target.turn_over()
    await first

    assert not second.done()
    target.turn_over()
    await second


async def test_who_is_answered_is_asked_more() -> None:
    target = await full()

    for _ in range(int(FIRST) + 1):
        target.answered()

    await target.turn()


async def test_who_does_not_answer_is_asked_less() -> None:
    target = await full()
    target.was_silent()

    for _ in range(int(FIRST / 4)):
        target.turn_over()
    turn = await waiting(target)

    target.turn_over()
    await turn


async def test_nobody_waits_for_one_that_answers_nobody_and_one_call_at_a_time_asks_again() -> None:
    target = await full()
    turn = await waiting(target)
    for _ in range(10):
        fall_silent(target)

    for _ in range(int(FIRST)):
        target.turn_over()

    with pytest.raises(Sick):
        await turn
    await target.turn()
    with pytest.raises(Sick):
        await target.turn()


async def test_one_that_answers_again_is_well() -> None:
    target = Target()
    fall_silent(target)

    target.answered()

    assert not target.sick


async def test_a_turn_that_comes_to_somebody_who_has_just_left_goes_to_the_next() -> None:
    target = await full()
    first, second = await waiting(target), await waiting(target)

    target.turn_over()
    first.cancel()

    await asyncio.wait({first})
    await second
    assert first.cancelled()
