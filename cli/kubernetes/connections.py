"""Who connects to whom in the cluster, on which port: the call graph, and what everybody stands on."""

from collections.abc import Iterator
from dataclasses import dataclass

from cli.stack.layout import SERVICES, Service

GRPC, NATS, NATS_ROUTES, OTLP, POSTGRES = 50051, 4222, 6222, 4317, 5432
SANDBOX = {"http": 8080, "smtp": 2525}
"""Ports of the outside world, by the scheme that `Service.outside` speaks to it."""

CALLED = {service.package: service.name for service in SERVICES}


@dataclass(frozen=True, order=True)
class Connection:
    """A workload that opens TCP connections to another one, both by their `app.kubernetes.io/name`."""

    client: str
    server: str
    port: int


def all_of_them() -> list[Connection]:
    """Every connection there may be between pods of ours; each once, in order."""
    jobs = [Connection("goods", "inventory", GRPC), Connection("streams", "nats", NATS)]
    foundations = [Connection("nats", "nats", NATS_ROUTES), Connection("sandbox", "jaeger", OTLP)]
    return sorted({*jobs, *foundations, *(each for service in SERVICES for each in _of(service))})


def clients(server: str, port: int) -> list[str]:
    """Those that connect to this port of `server`."""
    return [each.client for each in all_of_them() if (each.server, each.port) == (server, port)]


def _of(service: Service) -> Iterator[Connection]:
    yield from (Connection(service.name, CALLED[package], GRPC) for package in service.peers)
    yield from (Connection(service.name, "sandbox", SANDBOX[scheme]) for scheme in service.outside.values())
    yield Connection(service.name, "postgres", POSTGRES)
    yield Connection(service.name, "jaeger", OTLP)
    if service.events:
        yield Connection(service.name, "nats", NATS)
