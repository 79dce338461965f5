"""The catalogue: what the choreography promises as a whole, and what is generated from it."""

import json
import re
from collections import Counter
from graphlib import CycleError
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from catalogue import asyncapi, code, pages
from catalogue.__main__ import check, generated, stale, write
from catalogue.model import Catalogue

CATALOGUE = code.read()
REACTIONS = [(service, reaction) for service in CATALOGUE.services for reaction in service.reactions]
SCHEMA = json.loads((Path(__file__).parents[1] / "asyncapi" / "3.0.0.json").read_text())


def test_every_fact_is_announced_by_exactly_one_service() -> None:
    announced = Counter(fact for service in CATALOGUE.services for fact in service.announces)

    assert announced == {fact.name: 1 for fact in CATALOGUE.facts}


def test_every_reaction_is_to_a_fact_and_leads_to_facts_of_its_own_service() -> None:
    for service, reaction in REACTIONS:
        assert CATALOGUE.fact(reaction.fact).subject == reaction.subject
        assert set(reaction.leads_to) <= set(service.announces)


def test_every_fact_begins_a_story_or_follows_another() -> None:
    begun = {fact for service in CATALOGUE.services for fact in service.begins}

    for fact in CATALOGUE.facts:
        assert (fact.name in begun) == (CATALOGUE.before(fact.name) == [])


def test_no_two_reactions_share_a_durable() -> None:
    durables = [reaction.durable for _, reaction in REACTIONS]

    assert len(set(durables)) == len(durables)


def test_no_fact_leads_back_to_itself_so_that_no_call_sets_off_an_endless_story() -> None:
    story = [fact.name for fact in CATALOGUE.story()]

    for _, reaction in REACTIONS:
        assert all(story.index(reaction.fact) < story.index(fact) for fact in reaction.leads_to)


def test_a_circle_of_facts_is_found() -> None:
    with pytest.raises(CycleError):
        in_a_circle(CATALOGUE).story()


def in_a_circle(catalogue: Catalogue) -> Catalogue:
    """The same, if a cancelled order were reacted to by creating it again."""
    orders = catalogue.announcer("shop.orders.v1.OrderCancelled")
    again = orders.reactions[0].model_copy(
        update={"fact": "shop.orders.v1.OrderCancelled", "leads_to": ("shop.orders.v1.OrderCreated",)}
    )
    others = tuple(service for service in catalogue.services if service != orders)
    return catalogue.model_copy(
        update={"services": (*others, orders.model_copy(update={"reactions": (*orders.reactions, again)}))}
    )


@pytest.mark.parametrize(
    ("fact", "undone"),
    [
        ("shop.inventory.v1.InventoryReleased", "shop.inventory.v1.InventoryService/ReserveStock"),
        ("shop.payment.v1.PaymentRefunded", "shop.payment.v1.PaymentService/ProcessPayment"),
        ("shop.shipping.v1.ShipmentCancelled", "shop.shipping.v1.ShippingService/CreateShipment"),
        ("shop.orders.v1.OrderCancelled", "shop.orders.v1.OrderService/CreateOrder"),
        ("shop.orders.v1.OrderCancelRequested", None),
        ("shop.payment.v1.PaymentFailed", None),
    ],
)
def test_a_fact_tells_what_it_undoes(fact: str, undone: str | None) -> None:
    assert CATALOGUE.fact(fact).undoes == undone


def test_the_diagram_has_an_arrow_for_whatever_leads_to_something_and_a_dotted_one_where_that_undoes() -> None:
    arrows = re.findall(r"^(\w+) (-->|-\.->) (\w+)$", pages.overview(CATALOGUE), re.MULTILINE)

    assert {(left, right) for left, _, right in arrows} == {
        (CATALOGUE.fact(reaction.fact).event, CATALOGUE.fact(fact).event)
        for _, reaction in REACTIONS
        for fact in reaction.leads_to
    }
    assert ("InventoryReserved", "-->", "PaymentProcessed") in arrows
    assert ("PaymentFailed", "-.->", "InventoryReleased") in arrows


def test_the_asyncapi_document_is_valid_by_the_schema_of_asyncapi() -> None:
    assert [error.message for error in Draft7Validator(SCHEMA).iter_errors(document())] == []


def test_the_schema_of_asyncapi_finds_what_is_wrong() -> None:
    wrong = document()
    wrong["operations"]["inventory_OrderCreated"]["action"] = "overhear"

    assert not Draft7Validator(SCHEMA).is_valid(wrong)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    references = set(re.findall(r"\$ref: '#/(.*)'", asyncapi.document(CATALOGUE)))

    assert len(references) > len(CATALOGUE.facts)
    for reference in references:
        found = document()
        for part in reference.split("/"):
            found = found[part]


def test_the_asyncapi_document_has_an_operation_for_whatever_is_announced_or_reacted_to() -> None:
    operations = document()["operations"]

    received = {name: each["x-nats"]["durable"] for name, each in operations.items() if each["action"] == "receive"}
    assert received == {reaction.durable: reaction.durable for _, reaction in REACTIONS}
    assert len(operations) == len(CATALOGUE.facts) + len(REACTIONS)


def document() -> Any:
    return yaml.safe_load(asyncapi.document(CATALOGUE))


def test_a_payload_is_a_proto_file_of_its_own() -> None:
    payload = document()["components"]["messages"]["OrderCreated"]["payload"]["schema"]

    assert payload.startswith('syntax = "proto3";\n')
    assert re.findall(r"^message (\w+) {", payload, re.MULTILINE) == ["OrderCreated", "Purchase", "Item", "Address"]
    assert "\n  Purchase purchase = 2;" in payload


def test_what_was_changed_by_hand_or_left_over_is_found_and_set_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = generated()
    write(files, tmp_path)
    assert check(files, tmp_path) == 0

    (tmp_path / "docs" / "events" / "orders.md").write_text("# What I think it does")
    (tmp_path / "docs" / "events" / "loyalty.md").write_text("# A service that is no more")
    assert check(files, tmp_path) == 1
    assert "docs/events/orders.md is not what the code says: run `make catalogue`" in capsys.readouterr().err

    write(files, tmp_path)
    assert stale(files, tmp_path) == []
