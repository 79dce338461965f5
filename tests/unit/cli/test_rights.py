"""Rights, as they follow from the catalogue."""

import pytest

from catalogue import model
from catalogue.model import Service
from cli.stack import rights
from cli.stack.rights import OPERATOR, Rights

CATALOGUE = model.read()
RIGHTS = rights.of_users(CATALOGUE)
SHARED = {"$JS.API.STREAM.INFO.DEAD_LETTERS"}
"""What several may do: look at the numbers of the dead letters."""


def by_name(service: Service) -> str:
    return service.name


@pytest.mark.parametrize("service", CATALOGUE.services, ids=by_name)
def test_every_right_of_a_service_is_about_its_own_package_or_its_own_name(service: Service) -> None:
    granted = set(RIGHTS[service.name].publish) - SHARED - {"$JS.API.DIRECT.GET.SHOP_EVENTS"}

    own = (
        f"{service.package}.",
        f"again.{service.name}.",
        f"alone.{service.name}.",
        f"dead.{service.name}_",
        f".{service.name}_",
    )
    assert [right for right in granted if not any(name in right for name in own)] == []


@pytest.mark.parametrize("service", CATALOGUE.services, ids=by_name)
def test_a_service_listens_to_its_own_inboxes_only(service: Service) -> None:
    assert RIGHTS[service.name].subscribe == (f"_INBOX_{service.name}.>",)


def test_no_two_services_share_a_right_to_change_anything() -> None:
    granted = [right for user, each in RIGHTS.items() if user != OPERATOR for right in set(each.publish) - SHARED]

    assert len(granted) == len(set(granted))


def test_only_who_rebuilds_timelines_reads_a_whole_stream() -> None:
    readers = [user for user, each in RIGHTS.items() if any("DIRECT.GET" in right for right in each.publish)]

    assert readers == ["orders"]


def test_the_operator_may_do_everything() -> None:
    assert RIGHTS[OPERATOR] == Rights((">",), (">",))


def test_nothing_allowed_is_everything_denied() -> None:
    block = rights.authorization({"customer": RIGHTS["customer"]}, {"customer": "secret"})

    assert block["users"] == [
        {
            "user": "customer",
            "password": "secret",
            "permissions": {"publish": {"deny": [">"]}, "subscribe": {"allow": ["_INBOX_customer.>"]}},
        }
    ]
