"""A newer announcer never breaks an older consumer: what that does not know, it carries along or leaves alone.

What would break it is a change of the contract that `buf breaking` reports.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from shop.inventory.v1.inventory_facts_pb2 import InventoryReserved
from shop.orders.v1.orders_facts_pb2 import OrderCancelRequested, OrderCreated
from shop.type.v1.purchase_pb2 import Purchase

from catalogue import code
from mesh import contract
from mesh.cloudevents import Event, announce, receive
from tests.facts import KINDS, ORDER_ID, ordinary

PROTO = Path(__file__).parents[3] / "proto"
INVENTORY_FACTS = "shop/inventory/v1/inventory_facts.proto"
NOTE = FieldDescriptorProto(
    name="note", number=1000, type=FieldDescriptorProto.TYPE_STRING, label=FieldDescriptorProto.LABEL_OPTIONAL
)

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.DESCRIPTOR.name)


def newer(kind: type[Message], additions: Mapping[str, FieldDescriptorProto]) -> Any:
    """The class of the same message in a later version of the contracts: messages, by full name, have a field more."""
    pool = DescriptorPool()
    for file in with_dependencies(kind.DESCRIPTOR.file):
        for message in file.message_type:
            if (added := additions.get(f"{file.package}.{message.name}")) is not None:
                message.field.append(added)
        pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(kind.DESCRIPTOR.full_name))


def with_dependencies(file: Any) -> list[FileDescriptorProto]:
    """The file after all that it imports, each once."""
    copy = FileDescriptorProto()
    file.CopyToProto(copy)
    before = {each.name: each for imported in file.dependencies for each in with_dependencies(imported)}
    return [*before.values(), copy]


def received(kind: type[Message], event: Event, **more_headers: str) -> Any:
    """The fact as one who knows `kind` has it."""
    return receive(kind, event.subject, {**event.headers, **more_headers}, event.payload).fact


@each_kind
def test_a_field_that_is_not_known_is_carried_along(kind: type[Message]) -> None:
    later = newer(kind, {kind.DESCRIPTOR.full_name: NOTE})
    fact = later.FromString(ordinary(kind).SerializeToString())
    fact.note = "leave it with the neighbours"

    known = received(kind, announce(fact, "orders", "request-1"))

    assert later.FromString(known.SerializeToString()) == fact


def test_a_field_that_is_not_known_reaches_whoever_knows_it_through_a_service_that_does_not() -> None:
    addition = {Purchase.DESCRIPTOR.full_name: NOTE}
    created = newer(OrderCreated, addition)(order_id=ORDER_ID)
    created.purchase.note = "leave it with the neighbours"

    known: OrderCreated = received(OrderCreated, announce(created, "orders", "request-1"))
    following = InventoryReserved(order_id=known.order_id, purchase=known.purchase)

    reserved = received(newer(InventoryReserved, addition), announce(following, "inventory", "event-1"))
    assert reserved.purchase.note == "leave it with the neighbours"


def test_a_value_of_an_enum_that_is_not_known_is_carried_along() -> None:
    fact = OrderCancelRequested.FromString(OrderCancelRequested(order_id=ORDER_ID).SerializeToString() + b"\x10\x63")

    known: OrderCancelRequested = received(OrderCancelRequested, announce(fact, "orders", "request-1"))

    assert known.reason == 99
    assert known.SerializeToString() == fact.SerializeToString()


def test_what_only_a_later_contract_allows_is_received() -> None:
    fact = OrderCreated(order_id=ORDER_ID, purchase=Purchase(customer_id="x" * 1000))

    assert received(OrderCreated, announce(fact, "orders", "request-1")) == fact


@each_kind
@pytest.mark.parametrize(
    "more_headers",
    [
        {"ce-tenant": "acme"},
        {"ce-dataschema": "https://example.com/v2"},
        {"ce-strange": "%C0%A0\x07"},
        {"ce-specversion": "1.1"},
        {"Tenant": "acme"},
    ],
    ids=str,
)
def test_a_header_that_is_not_known_is_left_alone(kind: type[Message], more_headers: dict[str, str]) -> None:
    event = announce(ordinary(kind), "orders", "request-1")

    assert received(kind, event, **more_headers) == ordinary(kind)


@pytest.mark.parametrize(
    "fact", ["shop.orders.v1.OrderGifted", "shop.orders.v2.OrderCreated", "shop.loyalty.v1.Earned"]
)
def test_a_fact_that_is_not_known_is_kept_by_the_stream_of_its_version_and_given_to_nobody(fact: str) -> None:
    subject = f"{fact}.{ORDER_ID}"
    kept, version = contract.fact(OrderCreated).stream_subjects, fact.split(".")[2]

    assert matches(kept, subject) == (version == "v1")
    for service in code.read().services:
        assert not any(matches(reaction.subject, subject) for reaction in service.reactions)


def matches(pattern: str, subject: str) -> bool:
    """Whether NATS gives messages of this subject to who asks for the pattern: here with `*` only."""
    wanted, given = pattern.split("."), subject.split(".")
    return len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))


def breaking(tmp_path: Path, before: str, after: str) -> str:
    """What `buf breaking` says of the contracts with `before` replaced in the facts of Inventory."""
    shutil.copytree(PROTO, tmp_path / "proto")
    file = tmp_path / "proto" / INVENTORY_FACTS
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after, 1))
    return subprocess.run(  # noqa: S603 - the pinned tool, on our own files
        [Path(sys.executable).with_name("buf"), "breaking", tmp_path / "proto", "--against", PROTO],
        env={**os.environ, "BUF_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def declaration(message: type[Message]) -> str:
    """The message as its file has it."""
    text = (PROTO / message.DESCRIPTOR.file.name).read_text()
    start = text.index(f"message {message.DESCRIPTOR.name} {{")
    return text[start : text.index("\n}\n", start) + 3]


@pytest.mark.parametrize(
    ("before", "after", "reported"),
    [
        ("  shop.type.v1.Money total = 3;\n", "", '"total" on message "InventoryReserved" was deleted'),
        ("Money total = 3;", "Money total = 30;", '"3" with name "total" on message "InventoryReserved" was deleted'),
        ("Money total = 3;", "Money sum = 3;", 'changed name from "total" to "sum"'),
        ("string reservation_id = 2;", "int64 reservation_id = 2;", "changed type"),
        (declaration(InventoryReserved), "", 'message "InventoryReserved" was deleted'),
        ("Money total = 3;", "Money total = 3;\n  // Why not.\n  string note = 5;", ""),
    ],
    ids=[
        "a field is gone",
        "a field has another number",
        "another name",
        "another type",
        "a fact is gone",
        "a new field",
    ],
)
def test_a_change_that_would_break_consumers_of_a_fact_is_reported(
    tmp_path: Path, before: str, after: str, reported: str
) -> None:
    found = breaking(tmp_path, before, after)

    assert reported in found
    assert bool(reported) == bool(found)
