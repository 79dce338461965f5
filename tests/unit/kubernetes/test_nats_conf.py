"""The notation of the NATS server."""

import re

from cli.kubernetes.nats import Reference, configuration, notation
from cli.stack.nats import RIGHTS


def test_a_reference_stands_bare_and_a_subject_that_looks_like_one_in_quotes() -> None:
    written = notation({"password": Reference("$ORDERS_PASSWORD"), "allow": ["$JS.API.INFO"]})

    assert written == '{\n  password: $ORDERS_PASSWORD\n  allow: [\n    "$JS.API.INFO"\n  ]\n}'


def test_every_user_has_a_password_of_its_own_that_the_file_does_not_say() -> None:
    passwords = re.findall(r"password: (\S+?)}?\n", configuration())

    assert sorted(passwords) == sorted(f"${user.upper()}_PASSWORD" for user in (*RIGHTS, "routes"))
