"""The stack as data: ports, settings and targets of every process."""

import json
from pathlib import Path

import pytest

from cli.stack.layout import SERVICES, Layout
from cli.stack.program import Program
from cli.stack.topology import SECRETS, Topology

DATA = Path("/data")
PASSWORDS = {name: f"{name.replace('/', '-')}-pw" for name in SECRETS}

EVERY_SERVICE = {
    "ENSEMBLE_LISTEN",
    "ENSEMBLE_DATABASE_URL",
    "ENSEMBLE_LOG_LEVEL",
    "ENSEMBLE_LOG_FORMAT",
}
WITH_EVENTS = EVERY_SERVICE | {"ENSEMBLE_NATS_URL"}

SETTINGS = {
    "orders": WITH_EVENTS,
    "inventory": WITH_EVENTS,
    "payment": WITH_EVENTS | {"ENSEMBLE_GATEWAY_URL"},
    "shipping": WITH_EVENTS | {"ENSEMBLE_CARRIER_URL"},
    "notification": WITH_EVENTS | {"ENSEMBLE_SMTP_URL"},
    "orchestrator": EVERY_SERVICE | {"ENSEMBLE_PEERS"},
    "customer": WITH_EVENTS | {"ENSEMBLE_PEERS"},
}


def service(name: str, replica: int = 0, layout: Layout | None = None) -> Program:
    programs = Topology(layout or Layout(), DATA, PASSWORDS).services()
    return next(each for each in programs if (each.name, each.replica) == (name, replica))


def foundation(name: str) -> Program:
    return next(each for each in Topology(Layout(), DATA, PASSWORDS).foundations() if each.name == name)


@pytest.mark.parametrize(("name", "settings"), SETTINGS.items())
def test_a_service_gets_exactly_the_settings_it_knows(name: str, settings: set[str]) -> None:
    assert set(service(name).settings) == settings


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("customer", 50051),
        ("orders", 50052),
        ("inventory", 50053),
        ("payment", 50054),
        ("shipping", 50055),
        ("notification", 50056),
        ("orchestrator", 50057),
        ("sandbox", 50060),
        ("sandbox SMTP", 50061),
        ("nats", 50062),
        ("postgres", 50063),
        ("nats monitoring", 50064),
        ("nats routes", 50065),
        ("OTLP", 50066),
        ("traces", 50067),
        ("jaeger gRPC", 50068),
        ("jaeger health", 50069),
    ],
)
def test_every_port_is_counted_from_the_base(name: str, port: int) -> None:
    assert Layout().ports[name] == port
    assert Layout(20000).ports[name] == port - 30050


def test_no_two_listeners_share_a_port() -> None:
    every = {service.name: 9 for service in SERVICES}

    ports = Layout(replicas=every, nats=3).ports

    assert len(set(ports.values())) == len(ports)


def test_each_service_enters_its_own_database_by_its_own_role() -> None:
    assert (
        service("payment").settings["ENSEMBLE_DATABASE_URL"]
        == "postgresql://payment:payment-pw@127.0.0.1:50063/payment"
    )


def test_a_further_replica_listens_a_hundred_ports_higher_and_shares_the_database() -> None:
    second = service("orders", 1, Layout(replicas={"orders": 2}))

    assert second.address == "127.0.0.1:50152"
    assert second.label == "orders-1"
    assert second.settings["ENSEMBLE_LISTEN"] == second.address
    assert second.settings["ENSEMBLE_DATABASE_URL"] == service("orders").settings["ENSEMBLE_DATABASE_URL"]


def test_callers_balance_over_all_replicas_of_a_peer() -> None:
    peers = json.loads(service("customer", layout=Layout(replicas={"orders": 2})).settings["ENSEMBLE_PEERS"])

    assert peers == {
        "shop.orders.v1": "ipv4:127.0.0.1:50052,127.0.0.1:50152",
        "ensemble.orchestrator.v1": "ipv4:127.0.0.1:50057",
    }


def test_the_orchestrator_reaches_every_participant_of_its_workflows() -> None:
    peers = json.loads(service("orchestrator").settings["ENSEMBLE_PEERS"])

    assert set(peers) == {
        "shop.orders.v1",
        "shop.inventory.v1",
        "shop.payment.v1",
        "shop.shipping.v1",
        "shop.notification.v1",
    }


def test_each_service_enters_nats_by_its_own_user_and_knows_every_server() -> None:
    urls = service("payment", layout=Layout(nats=3)).settings["ENSEMBLE_NATS_URL"].split(",")

    assert urls == [
        "nats://payment:nats-payment-pw@127.0.0.1:50062",
        "nats://payment:nats-payment-pw@127.0.0.1:50162",
        "nats://payment:nats-payment-pw@127.0.0.1:50262",
    ]


def test_each_nats_server_is_a_process_of_its_own_that_is_asked_how_it_is() -> None:
    programs = [each for each in Topology(Layout(nats=3), DATA, PASSWORDS).foundations() if each.name == "nats"]

    assert [each.label for each in programs] == ["nats", "nats-1", "nats-2"]
    assert [each.command[-1] for each in programs] == [
        "/data/nats/nats.conf",
        "/data/nats-1/nats.conf",
        "/data/nats-2/nats.conf",
    ]
    assert [each.probe for each in programs] == [f"http://127.0.0.1:50{n}64/healthz" for n in range(3)]


def test_the_outside_world_is_the_sandbox() -> None:
    assert service("payment").settings["ENSEMBLE_GATEWAY_URL"] == "http://127.0.0.1:50060"
    assert service("shipping").settings["ENSEMBLE_CARRIER_URL"] == "http://127.0.0.1:50060"
    assert service("notification").settings["ENSEMBLE_SMTP_URL"] == "smtp://127.0.0.1:50061"
    assert foundation("sandbox").settings == {
        "ENSEMBLE_HTTP_LISTEN": "127.0.0.1:50060",
        "ENSEMBLE_SMTP_LISTEN": "127.0.0.1:50061",
        "ENSEMBLE_LEDGER_PATH": "/data/sandbox/ledger.db",
        "ENSEMBLE_LOG_LEVEL": "INFO",
        "ENSEMBLE_LOG_FORMAT": "json",
    }


def test_postgres_never_gives_up_its_fsync() -> None:
    assert not any("fsync" in word or "synchronous_commit" in word for word in foundation("postgres").command)


@pytest.mark.parametrize(
    ("port_base", "replicas", "complaint"),
    [
        (50050, {"nats": 3}, "'nats': it is none of orders,"),
        (50050, {"orders": 0}, "0 replicas of orders: at least 1"),
        (65530, {}, "port base 65530"),
        (0, {}, "port base 0"),
        (65000, {"orders": 7}, "port base 65000"),
    ],
)
def test_an_impossible_layout_is_refused(port_base: int, replicas: dict[str, int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Layout(port_base, replicas)


@pytest.mark.parametrize("servers", [0, 2, 5])
def test_a_number_of_nats_servers_that_cannot_lose_one_or_need_not_be_is_refused(servers: int) -> None:
    with pytest.raises(ValueError, match=f"{servers} NATS servers: it can be 1, or 3"):
        Layout(nats=servers)
