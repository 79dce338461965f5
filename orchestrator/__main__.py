"""`python -m orchestrator`: the one module that sees everything."""

import uuid
from contextlib import AsyncExitStack
from functools import partial

from ensemble.orchestrator.v1 import orchestrator_service_pb2 as pb
from pydantic import SecretStr

from mesh import process
from mesh.changes import Changes
from mesh.health import Health
from mesh.postgres.database import Database
from mesh.rpc.channel import connected
from mesh.rpc.server import serving
from mesh.settings import Settings
from mesh.telemetry.metrics import gauged
from orchestrator import metrics
from orchestrator.api import OrchestratorServicer
from orchestrator.clock import MonotonicClock
from orchestrator.engine import Engine
from orchestrator.grpc_caller import GrpcCaller
from orchestrator.postgres import MIGRATIONS, PostgresStore
from orchestrator.postgres_lease import PostgresLease
from orchestrator.replica import Pace, Replica
from orchestrator.workflows import WORKFLOWS

BEHIND_S = 5.0
"""A replica in which something has been due for so long is not ready: it is alive, but it does not get on."""
SERVICE = pb.DESCRIPTOR.services_by_name["OrchestratorService"]


class OrchestratorSettings(Settings):
    """What the orchestrator is told."""

    listen: str
    """host:port."""
    database_url: SecretStr
    peers: dict[str, str]
    """gRPC targets of the participants, by proto package."""


async def start(settings: OrchestratorSettings, stack: AsyncExitStack) -> None:
    """The store, the replica over it, and the door."""
    url = settings.database_url.get_secret_value()
    database = await stack.enter_async_context(Database.open(url, "orchestrator", MIGRATIONS))
    peers = await stack.enter_async_context(connected(settings.peers))
    versions = [workflow.fingerprint for workflow in WORKFLOWS]
    metrics.expect(workflow.name for workflow in WORKFLOWS)
    await stack.enter_async_context(gauged(metrics.GAUGES, partial(metrics.read_open, database, versions)))
    # A new id for each start: what an earlier process of ours owned is adopted like anybody's.
    replica_id, clock, changes = str(uuid.uuid4()), MonotonicClock(), Changes()
    store = await stack.enter_async_context(PostgresStore(database, replica_id, versions).writing())
    lease = await stack.enter_async_context(PostgresLease(url, replica_id, clock).kept())
    pace = Pace(drain_s=settings.drain_seconds)
    engine = Engine(store, GrpcCaller(peers.channel), clock, lease, on_append=changes.changed)
    replica = await stack.enter_async_context(Replica(store, engine, lease, WORKFLOWS, clock, pace))
    servicer = OrchestratorServicer(replica, store, WORKFLOWS, changes)

    async def gets_on() -> bool:
        return lease.holds() and replica.behind_s < BEHIND_S and await database.answers()

    health = Health(rpc=gets_on)
    await stack.enter_async_context(serving(settings.listen, [(SERVICE, servicer)], health, settings.drain_seconds))


if __name__ == "__main__":
    process.run("orchestrator", OrchestratorSettings, start)
