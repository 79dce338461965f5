"""What KEDA scales by: the CPU, as the component `autoscaling` does, and work that waits.

For a service that is the lag of each reaction's durable. Facts that were sent once more are left out: they wait for an
outage to end, which more replicas do not hasten. For the orchestrator it is the sagas that somebody should work on;
those that are parked until later are left out likewise.
"""

from collections.abc import Iterator
from typing import Any

from catalogue import model as catalogue
from cli.kubernetes.connections import POSTGRES
from cli.kubernetes.manifests import written
from cli.kubernetes.nats import MONITORING
from cli.stack.layout import SERVICES

NAMESPACE = "ensemble"
ORCHESTRATOR = "orchestrator"
REPLICAS_MIN = {ORCHESTRATOR: 3}
"""Of a service; 2 if not named."""
REPLICAS_MAX = 5
CPU = "600m"
"""Of the one core that a process can use."""
WAITING = 100
"""Facts of one durable, or sagas, for each replica."""
SHRINK_AFTER = 300
"""Seconds of less work."""

BACKLOG = """\
SELECT (SELECT count(*) FROM saga WHERE owner = ANY (ARRAY(SELECT replica_id FROM replica)))
     + (SELECT count(*) FROM saga
        WHERE owner IS NULL AND state IN ('RUNNING', 'UNWINDING', 'STUCK') AND not_before <= now())
"""
"""The sagas that are worked on, or should be. Each count finds its index, so that ended sagas are not read.

Those that no replica can take up, because their workflow was changed, are counted in: an alert tells of them.
"""

ABOUT = "What KEDA scales by. As long as it cannot look at one of these, no replica is taken away."

Manifest = dict[str, Any]


def scaled_objects() -> str:
    """A ScaledObject for each service, as YAML."""
    return written(ABOUT, [_authentication(), *(_scaled(service.name) for service in SERVICES)])


def _scaled(service: str) -> Manifest:
    return _keda(
        "ScaledObject",
        service,
        {
            "scaleTargetRef": {"name": service},
            "minReplicaCount": REPLICAS_MIN.get(service, 2),
            "maxReplicaCount": REPLICAS_MAX,
            "pollingInterval": 15,
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior()}},
            "triggers": [_cpu(), *_lags(service), *([_backlog()] if service == ORCHESTRATOR else [])],
        },
    )


def _behavior() -> Manifest:
    return {
        "scaleUp": {"stabilizationWindowSeconds": 0},
        "scaleDown": {"stabilizationWindowSeconds": SHRINK_AFTER},
    }


def _cpu() -> Manifest:
    return {"type": "cpu", "metricType": "AverageValue", "metadata": {"value": CPU}}


def _lags(service: str) -> Iterator[Manifest]:
    for each in (each for known in catalogue.read().services if known.name == service for each in known.reactions):
        yield {
            "type": "nats-jetstream",
            "metadata": {
                "natsServerMonitoringEndpoint": _host("nats-headless", MONITORING),
                "account": "$G",
                "stream": each.stream,
                "consumer": each.durable,
                "lagThreshold": str(WAITING),
            },
        }


def _backlog() -> Manifest:
    return {
        "type": "postgresql",
        "metadata": {
            "host": _host("postgres"),
            "port": str(POSTGRES),
            "userName": ORCHESTRATOR,
            "dbName": ORCHESTRATOR,
            "sslmode": "prefer",
            "query": BACKLOG,
            "targetQueryValue": str(WAITING),
        },
        "authenticationRef": {"name": _authentication()["metadata"]["name"]},
    }


def _authentication() -> Manifest:
    """KEDA reads the password where the orchestrator does."""
    secret = f"{ORCHESTRATOR}-postgres"
    return _keda(
        "TriggerAuthentication",
        secret,
        {"secretTargetRef": [{"parameter": "password", "name": secret, "key": "password"}]},
    )


def _keda(kind: str, name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": "keda.sh/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _host(service: str, port: int | None = None) -> str:
    """As KEDA finds it, from its own namespace."""
    host = f"{service}.{NAMESPACE}.svc.cluster.local"
    return f"{host}:{port}" if port else host
