"""What `ensemble up` starts, as data: every process with its command and its settings."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cli.stack import nats, postgres
from cli.stack.layout import SERVICES, Layout, Service
from cli.stack.program import Program, environment, python
from cli.stack.traces import Traces

SECRETS = (postgres.SUPERUSER, *(service.name for service in SERVICES), *nats.SECRETS)
"""What has a password: the roles of the database, the users of NATS and its servers among themselves."""


@dataclass(frozen=True)
class Topology:
    """All processes of one stack."""

    layout: Layout
    data: Path
    passwords: Mapping[str, str]
    """By the names in `SECRETS`."""
    traces: Traces = field(default_factory=Traces)

    def foundations(self) -> list[Program]:
        """What the services stand on, the database first."""
        ports = self.layout.ports
        return [
            postgres.program(self.data / "postgres", ports["postgres"], self.passwords[postgres.SUPERUSER]),
            *nats.programs(self.data, self.layout),
            self._sandbox(),
        ]

    def services(self) -> list[Program]:
        """Every replica of every service, in start order."""
        return [self._program(service, replica) for service in SERVICES for replica in self.layout.replicas_of(service)]

    @property
    def databases(self) -> dict[str, str]:
        """The database URL of each service."""
        port = self.layout.ports["postgres"]
        return {service.name: postgres.url(service.name, self.passwords[service.name], port) for service in SERVICES}

    def nats_url(self, user: str) -> str:
        """Where a user of NATS finds it: a URL for each server, with commas between them."""
        return nats.url(self.layout, user, self.passwords[nats.secret(user)])

    def _sandbox(self) -> Program:
        address = self.layout.address("sandbox")
        settings = {
            "HTTP_LISTEN": address,
            "SMTP_LISTEN": self.layout.address("sandbox SMTP"),
            "LEDGER_PATH": str(self.data / "sandbox" / "ledger.db"),
        }
        return Program(
            name="sandbox",
            command=python("sandbox"),
            address=address,
            probe=f"http://{address}/health",
            settings={**environment(settings), **self.traces.settings},
        )

    def _program(self, service: Service, replica: int) -> Program:
        address = self.layout.address(service.name, replica)
        settings = {
            "LISTEN": address,
            "DATABASE_URL": self.databases[service.name],
            **{name: self.layout.outside[scheme] for name, scheme in service.outside.items()},
        }
        if service.events:
            settings["NATS_URL"] = self.nats_url(service.name)
        if service.peers:
            settings["PEERS"] = json.dumps({package: self.layout.targets[package] for package in service.peers})
        return Program(
            name=service.name,
            replica=replica,
            command=python(service.module),
            address=address,
            probe=f"grpc://{address}",
            settings={**environment(settings), **self.traces.settings},
        )
