"""The configuration of the NATS servers."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.stack import StackError, nats
from cli.stack.layout import Layout

PASSWORDS = {name: f"secret of {name}" for name in nats.SECRETS}
ONE, THREE = Layout(), Layout(nats=3)


def configured(data: Path, layout: Layout) -> list[dict[str, Any]]:
    nats.configure(data, layout, PASSWORDS)
    return [json.loads(path.read_text()) for path in sorted(data.glob("nats*/nats.conf"))]


def test_three_servers_are_one_cluster_with_a_store_each(tmp_path: Path) -> None:
    servers = configured(tmp_path, THREE)

    assert [each["server_name"] for each in servers] == ["ensemble", "ensemble-1", "ensemble-2"]
    assert len({each["jetstream"]["store_dir"] for each in servers}) == 3
    assert len({each["listen"] for each in servers} | {each["cluster"]["listen"] for each in servers}) == 6
    routes = [f"nats-route://routes:{PASSWORDS['nats/routes']}@127.0.0.1:50{n}65" for n in range(3)]
    assert all(each["cluster"]["routes"] == routes for each in servers)
    assert all(each["cluster"]["authorization"]["password"] == PASSWORDS["nats/routes"] for each in servers)


def test_one_server_is_no_cluster(tmp_path: Path) -> None:
    (server,) = configured(tmp_path, ONE)

    assert "cluster" not in server


def test_every_user_has_a_password_of_its_own(tmp_path: Path) -> None:
    (server,) = configured(tmp_path, ONE)

    users = {user["user"]: user["password"] for user in server["authorization"]["users"]}
    assert set(users) == {"operator", "customer", "inventory", "notification", "orders", "payment", "shipping"}
    assert len(set(users.values())) == len(users)


def test_only_its_owner_reads_what_holds_passwords(tmp_path: Path) -> None:
    configured(tmp_path, THREE)

    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("nats*/nats.conf")} == {0o600}


@pytest.mark.parametrize(("before", "after"), [(ONE, THREE), (THREE, ONE)])
def test_stores_are_not_handed_to_another_number_of_servers(tmp_path: Path, before: Layout, after: Layout) -> None:
    nats.configure(tmp_path, before, PASSWORDS)

    with pytest.raises(StackError, match=rf"was made with --nats {before.nats}.*keep the number, or .*another --data"):
        nats.configure(tmp_path, after, PASSWORDS)

    nats.configure(tmp_path, before, PASSWORDS)
