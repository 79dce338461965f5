"""The command as people and scripts use it: what it prints, and the exit codes it promises."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.stack.layout import Layout
from cli.stack.local import Plan, running
from cli.stack.ports import free_port_base
from cli.up import fill_shelves

pytestmark = pytest.mark.system

UNKNOWN_ORDER = "01a1fc33-4668-7204-b09a-253581db5987"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int | None
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Ensemble:
    """Runs `ensemble` from a folder, as a person would."""

    folder: Path

    async def __call__(self, *arguments: str) -> Ended:
        command = (sys.executable, "-m", "cli.main", *arguments)
        process = await asyncio.create_subprocess_exec(*command, cwd=self.folder, stdout=PIPE, stderr=PIPE)
        out, err = await process.communicate()
        return Ended(process.returncode, out.decode(), err.decode())


@pytest.fixture(scope="module")
async def ensemble(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Ensemble]:
    """In a folder below the one whose `.ensemble` belongs to a running stack."""
    home = tmp_path_factory.mktemp("cli")
    below = home / "somewhere" / "below"
    below.mkdir(parents=True)
    async with running(Plan(home / ".ensemble", Layout(free_port_base())), print) as stack:
        await fill_shelves(stack.state)
        yield Ensemble(below)


@pytest.fixture(params=["orchestrated", "choreographed"])
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


async def test_an_order_is_shown_as_it_happens_and_how_it_ended(ensemble: Ensemble, mode: str) -> None:
    ended = await ensemble("order", "place", "--sku", "MUG-RED", "--mode", mode)

    assert ended.code == 0, ended.err
    first, *_, last = ended.out.splitlines()
    assert f"{mode}  1 x MUG-RED" in first
    assert last.startswith("COMPLETED 8.50 EUR")


async def test_for_programs_every_change_is_a_line_of_json(ensemble: Ensemble, mode: str) -> None:
    ended = await ensemble("order", "place", "--token", "tok_declined", "--mode", mode, "--json")

    assert ended.code == 0, ended.err
    last = ended.json_lines[-1]
    assert last["state"] == "ORDER_STATE_CANCELLED"
    assert last["cancel_reason"] == "CANCEL_REASON_PAYMENT_DECLINED"


async def test_a_load_is_summed_up_by_mode_and_outcome(ensemble: Ensemble) -> None:
    ended = await ensemble(
        *("order", "place", "--count", "40", "--mode", "both", "--json"),
        *("--declined-every", "10", "--out-of-stock-every", "10"),
    )

    assert ended.code == 0, ended.err
    assert ended.json["final"] == 40
    assert {(each["mode"], each["cancel_reason"]): each["orders"] for each in ended.json["outcomes"]} == {
        (mode, reason): orders
        for mode in ("orchestrated", "choreographed")
        for reason, orders in [("", 16), ("PAYMENT_DECLINED", 2), ("OUT_OF_STOCK", 2)]
    }


async def test_an_order_can_be_read_listed_and_its_saga_shown(ensemble: Ensemble) -> None:
    placed = await ensemble("order", "place", "--json")
    order_id = placed.json_lines[-1]["order_id"]

    order = await ensemble("order", "get", order_id, "--json")
    orders = await ensemble("order", "list", "--json")
    saga = await ensemble("saga", "show", order_id, "--json")
    resumed = await ensemble("saga", "resume", order_id, "--json")  # harmless: it has ended
    sagas = await ensemble("saga", "list", "--json")

    assert order.json["state"] == "ORDER_STATE_COMPLETED"
    assert orders.json_lines[0]["order_id"] == order_id
    assert saga.json["state"] == resumed.json["state"] == "SAGA_STATE_SUCCEEDED"
    assert sagas.json_lines[0]["saga_id"] == order_id


async def test_the_same_request_id_gets_the_first_order_again(ensemble: Ensemble) -> None:
    first, second = [await ensemble("order", "place", "--request-id", "once", "--json") for _ in range(2)]
    other = await ensemble("order", "place", "--request-id", "once", "--quantity", "2")

    assert first.json_lines[-1]["order_id"] == second.json_lines[-1]["order_id"]
    assert other.code == 1
    assert "choose another --request-id" in other.err


async def test_stock_is_listed_and_a_single_item_is_one_object(ensemble: Ensemble) -> None:
    shelf = await ensemble("stock", "--json")
    limited = await ensemble("stock", "LIMITED-1", "--json")

    assert [item["sku"] for item in shelf.json_lines] == sorted(item["sku"] for item in shelf.json_lines)
    assert limited.json["available"] == "5"


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["order", "get", UNKNOWN_ORDER], 1, "ORDER_NOT_FOUND"),
        (["order", "watch", UNKNOWN_ORDER], 1, "ORDER_NOT_FOUND"),
        (["order", "cancel", UNKNOWN_ORDER], 1, "ORDER_NOT_FOUND"),
        (["saga", "show", UNKNOWN_ORDER], 1, "SAGA_NOT_FOUND"),
        (["saga", "resume", UNKNOWN_ORDER], 1, "SAGA_NOT_FOUND"),
        (["stock", "NO-SUCH-THING"], 1, "UNKNOWN_SKU"),
        (["order", "get", "nonsense"], 2, "order_id is not a UUID"),
        (["order", "place", "--quantity", "0"], 2, "quantity"),
        (["order", "place", "--mode", "sideways"], 2, "sideways"),
        (["stock", "--data", "elsewhere"], 3, "there is no stack in elsewhere"),
        (["stock", "--address", "127.0.0.1:1"], 3, "does not answer at 127.0.0.1:1"),
    ],
)
async def test_what_went_wrong_is_one_line_and_an_exit_code(
    ensemble: Ensemble, arguments: list[str], code: int, complaint: str
) -> None:
    ended = await ensemble(*arguments)

    assert ended.code == code
    assert complaint in ended.err
    assert "Traceback" not in ended.err


async def test_the_demo_shows_both_modes_balances_its_books_and_leaves_nothing_behind(tmp_path: Path) -> None:
    ended = await Ensemble(tmp_path)("demo")

    assert ended.code == 0, ended.out + ended.err
    for outcome in ("COMPLETED", "PAYMENT_DECLINED", "OUT_OF_STOCK", "SHIPPING_REFUSED"):
        assert ended.out.count(outcome) >= 2
    assert "DOES NOT BALANCE" not in ended.out
    assert is_empty(tmp_path)


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())
