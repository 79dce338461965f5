"""Books that balance, and each way in which they may not."""

from dataclasses import replace
from typing import Any

import pytest

from cli.books import Books, balance, settled

BEFORE = Books(
    completed=1,
    completed_money={"EUR": 850},
    completed_items={"MUG-RED": 1},
    charges=1,
    charged_money={"EUR": 850},
    confirmations=1,
    stock={"MUG-RED": 9, "KETTLE-1": 10},
)
AFTER = Books(
    completed=3,
    completed_money={"EUR": 850 + 2 * 2490},
    completed_items={"MUG-RED": 1, "KETTLE-1": 2},
    charges=3,
    charged_money={"EUR": 850 + 2 * 2490},
    confirmations=3,
    stock={"MUG-RED": 9, "KETTLE-1": 8},
)


def wrong(after: Books) -> list[str]:
    return [line.what for line in balance(BEFORE, after) if not line.balances]


def test_books_balance_when_each_completed_order_is_charged_taken_and_confirmed_once() -> None:
    assert wrong(AFTER) == []


def test_nothing_balances_with_nothing() -> None:
    assert wrong(BEFORE) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"charges": 4}, "charges for completed orders"),
        ({"charged_money": {"EUR": 850 + 2490}}, "EUR charged, in minor units"),
        ({"charged_money": {"EUR": 850 + 2 * 2490, "USD": 1}}, "USD charged, in minor units"),
        ({"stock": {"MUG-RED": 9, "KETTLE-1": 9}}, "KETTLE-1 taken from stock"),
        ({"stock": {"MUG-RED": 8, "KETTLE-1": 8}}, "MUG-RED taken from stock"),
        ({"confirmations": 2}, "confirmations mailed"),
    ],
)
def test_a_book_that_disagrees_is_named(change: dict[str, Any], line: str) -> None:
    assert wrong(replace(AFTER, **change)) == [line]


async def test_books_are_read_again_until_the_last_mail_has_come() -> None:
    readings = iter([replace(AFTER, confirmations=2), AFTER])

    async def read() -> Books:
        return next(readings)

    lines = await settled(BEFORE, read)

    assert all(line.balances for line in lines)
