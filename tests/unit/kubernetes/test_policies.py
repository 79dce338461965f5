"""The network policies, judged as Kubernetes judges them: both ends have to allow a connection."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalogue import model as catalogue
from cli.kubernetes import policies
from cli.kubernetes.__main__ import ROOT
from cli.kubernetes.connections import Connection, all_of_them
from cli.stack import topology
from cli.stack.layout import SERVICES, Layout
from cli.stack.topology import Topology

NAME = "app.kubernetes.io/name"
WITHIN = list(yaml.safe_load_all(policies.within()))
WORKLOADS = sorted({name for each in all_of_them() for name in (each.client, each.server)})
PORTS = sorted({each.port for each in all_of_them()} | {8222, 16686})
LISTENERS = {"nats": ("nats", 4222), "postgres": ("postgres", 5432), "sandbox": ("sandbox", 8080)} | {
    "sandbox SMTP": ("sandbox", 2525),
    **{service.name: (service.name, 50051) for service in SERVICES},
}
"""Who listens, by the layout of `ensemble up`: the workload in a cluster, and its port."""


def allowed(manifests: list[dict[str, Any]], connection: Connection) -> bool:
    opened = allowing(manifests, connection.client, "egress", "to", connection.server, connection.port)
    accepted = allowing(manifests, connection.server, "ingress", "from", connection.client, connection.port)
    return opened and accepted


def allowing(manifests: list[dict[str, Any]], pod: str, way: str, peers: str, peer: str, port: int) -> bool:
    """Whether what selects `pod` allows this. A policy that selects nobody's traffic leaves all of it allowed."""
    specs = [each["spec"] for each in manifests if selects(each["spec"]["podSelector"], pod)]
    isolating = [spec for spec in specs if way.capitalize() in spec["policyTypes"]]
    rules = [rule for spec in isolating for rule in spec.get(way, [])]
    return not isolating or any(
        port in {each["port"] for each in rule["ports"]}
        and (peers not in rule or any(is_meant(each, peer) for each in rule[peers]))
        for rule in rules
    )


def is_meant(peer: dict[str, Any], pod: str) -> bool:
    return "namespaceSelector" not in peer and selects(peer["podSelector"], pod)


def selects(selector: dict[str, Any], pod: str) -> bool:
    labels = {NAME: pod}
    chosen = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return chosen and all(labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", []))


def possible() -> Iterator[Connection]:
    return (Connection(*each) for each in itertools.product(WORKLOADS, WORKLOADS, PORTS))


def told(service: str) -> set[tuple[str, int]]:
    """Whom a service is told the address of by `ensemble up`, as workload and port."""
    layout = Layout()
    processes = Topology(layout, Path("data"), dict.fromkeys(topology.SECRETS, "secret")).services()
    (settings,) = (process.settings for process in processes if process.name == service)
    others = " ".join(
        value for name, value in settings.items() if name.startswith("ENSEMBLE_") and "LISTEN" not in name
    )
    names = {port: name for name, port in layout.ports.items()}
    return {LISTENERS[names[int(port)]] for port in re.findall(r"127\.0\.0\.1:(\d+)", others)}


def test_exactly_the_connections_that_the_code_makes_are_allowed_by_both_ends() -> None:
    assert [each for each in possible() if allowed(WITHIN, each)] == all_of_them()


def test_no_rule_allows_one_end_what_the_other_end_refuses() -> None:
    for each in possible():
        opened = allowing(WITHIN, each.client, "egress", "to", each.server, each.port)
        accepted = allowing(WITHIN, each.server, "ingress", "from", each.client, each.port)
        assert opened == accepted, each


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_may_connect_to_whom_it_is_told_the_address_of_and_to_who_keeps_its_traces(service: Any) -> None:
    opened = {(each.server, each.port) for each in all_of_them() if each.client == service.name}

    assert opened == told(service.name) | {("jaeger", 4317)}


def test_whoever_announces_or_reacts_reaches_the_broker_and_nobody_else_but_its_operator() -> None:
    reaching = {each.client for each in all_of_them() if (each.server, each.port) == ("nats", 4222)}

    assert reaching == {service.name for service in catalogue.read().services} | {"streams"}


def test_nobody_but_the_job_that_fills_the_shelves_calls_a_service_past_the_call_graph() -> None:
    calls = {(each.client, each.server) for each in all_of_them() if each.port == 50051}

    assert calls - {("goods", "inventory")} == {
        ("customer", "orders"),
        ("customer", "orchestrator"),
        *(("orchestrator", service.name) for service in SERVICES if service.name not in ("customer", "orchestrator")),
    }


def test_a_pod_of_no_known_name_is_alone_but_for_dns() -> None:
    reachable = [each for each in WORKLOADS if allowing(WITHIN, "stranger", "egress", "to", each, 50051)]
    accepted = [each for each in WORKLOADS if allowing(WITHIN, each, "ingress", "from", "stranger", 50051)]

    assert (reachable, accepted) == ([], [])
    assert [each["metadata"]["name"] for each in WITHIN if selects(each["spec"]["podSelector"], "stranger")] == [
        "default-deny",
        "dns",
    ]


def test_names_are_looked_up_at_the_dns_of_the_cluster_and_nowhere_else() -> None:
    (dns,) = (each for each in WITHIN if each["metadata"]["name"] == "dns")
    (rule,) = dns["spec"]["egress"]

    assert {(each["port"], each["protocol"]) for each in rule["ports"]} == {(53, "UDP"), (53, "TCP")}
    (peer,) = rule["to"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "kube-system"}
    assert peer["podSelector"]["matchLabels"] == {"k8s-app": "kube-dns"}


@pytest.mark.parametrize(("server", "port"), [("nats", 4222), ("postgres", 5432), ("jaeger", 4317)])
def test_where_it_is_outside_the_same_clients_and_no_others_may_connect_to_its_port(server: str, port: int) -> None:
    manifests = [*WITHIN, yaml.safe_load(policies.external("external", server, port))]

    reaching = {name for name in WORKLOADS if allowing(manifests, name, "egress", "to", "elsewhere", port)}

    assert reaching == {each.client for each in all_of_them() if (each.server, each.port) == (server, port)}
    assert not any(allowing(manifests, name, "egress", "to", "elsewhere", 443) for name in WORKLOADS)


@pytest.mark.parametrize(
    ("component", "opened"),
    [
        ("mailpit", [Connection("notification", "mailpit", 1025)]),
        ("keda", []),
        ("gateway", []),
        ("cnpg", []),
    ],
)
def test_a_component_opens_no_more_between_the_pods_than_it_must(component: str, opened: list[Connection]) -> None:
    own = list(yaml.safe_load_all((ROOT / "k8s/components" / component / "network-policy.yaml").read_text()))
    names, ports = [*WORKLOADS, component], [*PORTS, 1025, 8025]

    there = {Connection(*each) for each in itertools.product(names, names, ports)}
    before = {each for each in there if allowed(WITHIN, each)}
    after = {each for each in there if allowed([*WITHIN, *own], each)}

    assert after - before == set(opened)
    assert before <= after
