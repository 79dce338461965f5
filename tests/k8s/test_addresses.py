"""Addresses are found wherever they stand, and variables are put together as the kubelet does it."""

import pytest

from tests.k8s.addresses import found, service_and_pod
from tests.k8s.environment import Variable, expanded

KNOWN = {"WHO": Variable("payment"), "PASSWORD": Variable("x1", frozenset(["payment-nats"]))}


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("inventory:50051", ["inventory:50051"]),
        ("dns:///orders:50051", ["orders:50051"]),
        ("http://sandbox:8080/charges", ["sandbox:8080"]),
        ("nats://payment:1234@nats:4222", ["nats:4222"]),
        (
            '["nats-route://routes:x@nats-0.nats:6222", "nats-route://routes:x@nats-1.nats:6222"]',
            ["nats-0.nats:6222", "nats-1.nats:6222"],
        ),
        ('{"shop.orders.v1": "dns:///orders:50051"}', ["orders:50051"]),
        ("nats.ensemble.svc.cluster.local:8222", ["nats.ensemble.svc.cluster.local:8222"]),
        ("listen: 0.0.0.0:4222", ["0.0.0.0:4222"]),
        ('http: ":8222"', [":8222"]),
        ("k8s.pod.name=payment-0,at=12:30:15", []),
        ("sync_interval: 2m", []),
    ],
)
def test_addresses_are_found_in(text: str, addresses: list[str]) -> None:
    assert [f"{each.host}:{each.port}" for each in found("here", text)] == addresses


@pytest.mark.parametrize(
    ("host", "service", "pod"),
    [
        ("nats", "nats", None),
        ("nats.ensemble", "nats", None),
        ("nats.ensemble.svc", "nats", None),
        ("nats.ensemble.svc.cluster.local", "nats", None),
        ("nats-0.nats-headless", "nats-headless", "nats-0"),
        ("nats-0.nats-headless.ensemble.svc.cluster.local", "nats-headless", "nats-0"),
    ],
)
def test_a_host_is_a_service_or_one_of_its_pods(host: str, service: str, pod: str | None) -> None:
    assert service_and_pod(host) == (service, pod)


@pytest.mark.parametrize(
    ("text", "value"),
    [("$(WHO):$(PASSWORD)", "payment:x1"), ("$$(WHO)", "$(WHO)"), ("$(NOBODY)", "$(NOBODY)"), ("$WHO", "$WHO")],
)
def test_a_variable_is_made_of_those_before_it(text: str, value: str) -> None:
    assert expanded(text, KNOWN).value == value


def test_what_is_made_of_a_secret_is_known() -> None:
    assert expanded("nats://$(WHO):$(PASSWORD)@nats:4222", KNOWN).secrets == {"payment-nats"}
    assert expanded("$(WHO) $$(PASSWORD)", KNOWN).secrets == set()
