"""The configuration of the NATS servers, in their own notation: the same users and rights as in `ensemble up`.

Passwords, and what else differs from pod to pod, are references to the environment. The server reads the value of such
a variable as a piece of its notation: with `123`, a number to it, or `a,b`, no value at all, it does not start.
"""

from collections.abc import Iterable
from typing import TypeAlias

from cli.kubernetes.connections import NATS, NATS_ROUTES
from cli.stack import rights
from cli.stack.nats import MAX_PAYLOAD, RIGHTS, ROUTES

MONITORING = 8222
INDENT = "  "

CONFIGURATION = """\
# Generated from the code by `make k8s-render`.
# Words that begin with $ are variables of the environment, whose values the server reads as a part of this file. So
# passwords are of letters and digits, and begin with a letter.
server_name: $POD_NAME
listen: "0.0.0.0:{NATS}"
http: "0.0.0.0:{MONITORING}"
pid_file: "/run/nats/nats.pid"
max_payload: {MAX_PAYLOAD}

# Told to stop, a server hands its streams over, then sends its clients away one by one; all within the pod's grace.
lame_duck_duration: "30s"
lame_duck_grace_period: "10s"

jetstream: {{
  store_dir: "/data/jetstream"
  # On the disk before it is acknowledged: a machine that lost its last two minutes must not lead those that remember.
  sync_interval: always
}}

cluster: {{
  name: ensemble
  listen: "0.0.0.0:{NATS_ROUTES}"
  authorization: {{user: {ROUTES}, password: $ROUTES_PASSWORD}}
  # A variable cannot stand inside a URL, so that all routes are one.
  routes: $ROUTES
  # Clients find every server behind the Service; addresses of pods would be gone tomorrow.
  no_advertise: true
}}

authorization: {AUTHORIZATION}
"""

Value: TypeAlias = "dict[str, Value] | list[Value] | str"


class Reference(str):
    """The value of a variable of the environment, read when the server starts."""

    __slots__ = ()


def configuration() -> str:
    """The file `nats.conf`."""
    passwords = {user: Reference(f"${user.upper()}_PASSWORD") for user in RIGHTS}
    return CONFIGURATION.format(
        NATS=NATS,
        NATS_ROUTES=NATS_ROUTES,
        MONITORING=MONITORING,
        MAX_PAYLOAD=MAX_PAYLOAD,
        ROUTES=ROUTES,
        AUTHORIZATION=notation(rights.authorization(RIGHTS, passwords)),
    )


def notation(value: Value, margin: str = "") -> str:
    """A value as the server reads it."""
    inner = margin + INDENT
    match value:
        case dict():
            return _block("{", (f"{key}: {notation(each, inner)}" for key, each in value.items()), "}", margin)
        case list():
            return _block("[", (notation(each, inner) for each in value), "]", margin)
        case Reference():
            return value
        case _:
            return f'"{value}"'


def _block(opening: str, lines: Iterable[str], closing: str, margin: str) -> str:
    return "\n".join([opening, *(margin + INDENT + line for line in lines), margin + closing])
