"""The command as people and scripts use it: what it prints, and the exit codes it promises."""

import asyncio
import getpass
import json
import os
import sys
import uuid
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
import pytest

from cli.stack.layout import INVENTORY, Layout
from cli.stack.local import Plan, running
from cli.stack.ports import free_port_base
from cli.up import fill_shelves
from tests.eventually import eventually
from tests.relay import Relay

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
    nats_url: str = ""
    inventory: str = ""
    """`host:port` of the service."""

    async def __call__(self, *arguments: str, **environment: str) -> Ended:
        command, env = (sys.executable, "-m", "cli.main", *arguments), {**os.environ, **environment}
        process = await asyncio.create_subprocess_exec(*command, cwd=self.folder, env=env, stdout=PIPE, stderr=PIPE)
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
        yield Ensemble(below, stack.state.nats_url, stack.state.services[INVENTORY].removeprefix("ipv4:"))


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


async def test_the_catalogue_is_delivered_once_however_often_and_however_late_the_service_answers(
    ensemble: Ensemble,
) -> None:
    before = await ensemble("stock", "--json")
    async with Relay.open(ensemble.inventory) as cable:
        cable.cut()
        delivering = asyncio.create_task(ensemble("stock", "deliver", "--address", cable.address))
        await eventually(lambda: bool(cable._connections))
        cable.heal()
        ended = await delivering

    assert (ended.code, ended.out) == (0, "6 articles: in stock\n"), ended.err
    assert (await ensemble("stock", "show", "--json")).out == before.out


@pytest.fixture
async def letter(ensemble: Ensemble) -> dict[str, Any]:
    """A dead letter: a fact about an order of its own that is none."""
    order_id, found = str(uuid.uuid4()), list[dict[str, Any]]()
    client = await nats.connect(ensemble.nats_url)
    await client.jetstream().publish(f"shop.orders.v1.OrderCreated.{order_id}", b"no fact")
    await client.close()

    async def is_buried() -> bool:
        found[:] = (await ensemble("events", "dlq", "list", "--order", order_id, "--json")).json_lines
        return bool(found)

    await eventually(is_buried)
    return found[0]


async def test_a_dead_letter_is_listed_and_shown_with_its_reason(ensemble: Ensemble, letter: dict[str, Any]) -> None:
    shown = await ensemble("events", "dlq", "show", str(letter["id"]), "--json")
    listed = await ensemble("events", "dlq", "list", "--containing", "no ce-id", "--since", "10m")

    assert (letter["durable"], letter["fact"]) == ("inventory_OrderCreated", "shop.orders.v1.OrderCreated")
    assert letter["reason"] == "no ce-id header: not a CloudEvent in binary mode"
    assert {name: shown.json[name] for name in letter} == letter
    assert shown.json["payload"] == "bm8gZmFjdA=="
    assert letter["key"] in listed.out


async def test_a_dry_run_tells_and_does_nothing(ensemble: Ensemble, letter: dict[str, Any]) -> None:
    told = await ensemble("events", "dlq", "replay", "--order", letter["key"], "--dry-run")
    listed = await ensemble("events", "dlq", "list", "--order", letter["key"], "--json")

    assert told.out.split() == [str(letter["id"]), letter["durable"], letter["key"], "would", "be", "replayed"]
    assert listed.json_lines == [letter]


@pytest.mark.parametrize(("command", "done"), [("replay", "replayed"), ("discard", "discarded")])
async def test_a_resolved_letter_is_on_record(
    ensemble: Ensemble, letter: dict[str, Any], command: str, done: str
) -> None:
    first = await ensemble("events", "dlq", command, "--order", letter["key"], "--reason", "a test", "--json")
    again = await ensemble("events", "dlq", command, str(letter["id"]))
    other = await ensemble("events", "dlq", "replay" if command == "discard" else "discard", str(letter["id"]))
    records = await ensemble("events", "dlq", "list", "--resolved", "--order", letter["key"], "--json")

    assert (first.code, [each["done"] for each in first.json_lines]) == (0, [done])
    assert (again.code, other.code) == (0, 1)
    for ended in (again, other):
        assert f"{done} before, by {getpass.getuser()}@" in ended.out
    (record,) = records.json_lines
    assert (record["id"], record["resolved_as"], record["resolved_reason"]) == (letter["id"], done, "a test")


async def test_trouble_is_on_top_of_the_status(ensemble: Ensemble, letter: dict[str, Any]) -> None:
    status = await ensemble("events", "status", "--json")

    first, *others = [each for each in status.json_lines if "durable" in each]
    outboxes = {each["outbox"]: each["limit"] for each in status.json_lines if "outbox" in each}
    assert (first["durable"], first["dead_letters"] > 0) == (letter["durable"], True)
    assert "payment_InventoryReserved" in {each["durable"] for each in others}
    assert outboxes == dict.fromkeys(("orders", "inventory", "payment", "shipping", "notification"), 100_000)


async def test_what_would_be_sent_again_is_counted(ensemble: Ensemble) -> None:
    placed = await ensemble("order", "place", "--mode", "choreographed", "--json")
    order_id = placed.json_lines[-1]["order_id"]
    services = ("--service", "orders", "--service", "payment")

    both = await ensemble("events", "republish", *services, "--order", order_id, "--dry-run", "--json")
    one = await ensemble("events", "republish", *services, "--order", order_id, "--fact", "shop.orders.v1.OrderCreated")

    assert both.json_lines == [
        {"service": "orders", "facts": 2, "dry_run": True},
        {"service": "payment", "facts": 1, "dry_run": True},
    ]
    assert one.out.splitlines() == ["orders: 1 facts are sent again", "payment: 0 facts are sent again"]


async def test_the_streams_can_be_set_up_again(ensemble: Ensemble) -> None:
    for ended in (
        await ensemble("events", "setup", "--nats", ensemble.nats_url),
        await ensemble("events", "setup", "--data", "elsewhere", NATS_URL=ensemble.nats_url),
    ):
        assert (ended.code, ended.out) == (
            0,
            "SHOP_EVENTS, AGAIN, DEAD_LETTERS: ready, each message on 1 server\n",
        )


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["order", "get", UNKNOWN_ORDER], 1, "ORDER_NOT_FOUND"),
        (["order", "watch", UNKNOWN_ORDER], 1, "ORDER_NOT_FOUND"),
        (["order", "cancel", UNKNOWN_ORDER], 1, "ORDER_NOT_FOUND"),
        (["saga", "show", UNKNOWN_ORDER], 1, "SAGA_NOT_FOUND"),
        (["saga", "resume", UNKNOWN_ORDER], 1, "SAGA_NOT_FOUND"),
        (["stock", "NO-SUCH-THING"], 1, "UNKNOWN_SKU"),
        (["events", "dlq", "show", "999999"], 1, "there is no letter 999999"),
        (["events", "dlq", "replay", "999999"], 1, "1 of 1 letters could not be replayed"),
        (["events", "dlq", "replay"], 2, "say --all"),
        (["events", "dlq", "discard", "1", "--all"], 2, "say --all"),
        (["events", "dlq", "discard", "--order", ""], 2, "'' is no name"),
        (["events", "dlq", "discard", "--containing", " "], 2, "it is empty"),
        (["events", "republish", "--service", "orders", "--order", ""], 2, "'' is no name"),
        (["events", "dlq", "list", "--since", "yesterday"], 2, "'yesterday' is none of"),
        (["events", "republish", "--service", "nobody"], 2, "no service nobody; there are"),
        (["events", "republish", "--service=a", "--service=b", "--address=127.0.0.1:1"], 2, "no service a, b"),
        (["events", "republish", "--service=orders", "--address=127.0.0.1:1"], 3, "does not answer at 127.0.0.1:1"),
        (["events", "setup", "--replicas", "2"], 2, "'2' is not one of"),
        (["events", "status", "--nats", "nats://who:ever@127.0.0.1:1"], 3, "NATS does not answer at 127.0.0.1:1"),
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
