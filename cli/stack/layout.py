"""Our services, and where everything listens."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cli.stack.ports import HOST

DEFAULT_PORT_BASE = 50050
REPLICA_STEP = 100
HIGHEST_PORT = 65535

ORCHESTRATOR, CUSTOMER = "ensemble.orchestrator.v1", "shop.customer.v1"
ORDERS, INVENTORY = "shop.orders.v1", "shop.inventory.v1"
PAYMENT, SHIPPING, NOTIFICATION = "shop.payment.v1", "shop.shipping.v1", "shop.notification.v1"

OTHERS = {
    "sandbox": 10,
    "sandbox SMTP": 11,
    "nats": 12,
    "postgres": 13,
    "nats monitoring": 14,
    "nats routes": 15,
    "OTLP": 16,
    "traces": 17,
    "jaeger gRPC": 18,
    "jaeger health": 19,
}
"""Who listens besides the services, and how far above the port base."""
NATS = ("nats", "nats monitoring", "nats routes")
"""The listeners of one NATS server: for clients, for whoever asks how it is, and for the other servers."""
NATS_SERVERS = (1, 3)
"""So many there can be: one, or as many as are needed to survive the loss of one."""


@dataclass(frozen=True)
class Service:
    """One of ours: it serves `package` by gRPC and keeps its state in a database of its own."""

    name: str
    package: str
    module: str
    port: int
    """How far above the port base; each further replica is a hundred higher."""
    peers: tuple[str, ...] = ()
    """The packages it calls."""
    events: bool = True
    """Whether it has an event door."""
    outside: Mapping[str, str] = field(default_factory=dict[str, str])
    """Settings that say where the outside world is: name to a scheme in `Layout.outside`."""


SERVICES = (
    Service("orders", ORDERS, "services.orders", 2),
    Service("inventory", INVENTORY, "services.inventory", 3),
    Service("payment", PAYMENT, "services.payment", 4, outside={"GATEWAY_URL": "http"}),
    Service("shipping", SHIPPING, "services.shipping", 5, outside={"CARRIER_URL": "http"}),
    Service("notification", NOTIFICATION, "services.notification", 6, outside={"SMTP_URL": "smtp"}),
    Service(
        "orchestrator",
        ORCHESTRATOR,
        "orchestrator",
        7,
        peers=(ORDERS, INVENTORY, PAYMENT, SHIPPING, NOTIFICATION),
        events=False,
    ),
    Service("customer", CUSTOMER, "services.customer", 1, peers=(ORDERS, ORCHESTRATOR)),
)
"""In start order."""


@dataclass(frozen=True)
class Layout:
    """Who listens where. Raises ValueError for impossible numbers of anything, and for ports that do not exist."""

    port_base: int = DEFAULT_PORT_BASE
    replicas: Mapping[str, int] = field(default_factory=dict[str, int])
    """How many of a service; 1 if not named."""
    nats: int = 1
    """How many NATS servers; more than one are a cluster."""

    def __post_init__(self) -> None:
        names = [service.name for service in SERVICES]
        for name, count in self.replicas.items():
            if name not in names:
                raise ValueError(f"no replicas of {name!r}: it is none of {', '.join(names)}")
            if count < 1:
                raise ValueError(f"{count} replicas of {name}: at least 1 is needed")
        if self.nats not in NATS_SERVERS:
            raise ValueError(f"{self.nats} NATS servers: it can be 1, or 3, a cluster that survives the loss of one")
        if self.port_base < 1 or max(self.ports.values()) > HIGHEST_PORT:
            raise ValueError(f"port base {self.port_base} leads to ports outside 1 to {HIGHEST_PORT}")

    @property
    def ports(self) -> dict[str, int]:
        """Every port that is listened on, by the name of who does."""
        ports = {name: self.port_base + offset for name, offset in OTHERS.items()}
        for name in NATS:
            for replica in range(self.nats):
                ports[label(name, replica)] = self.port_base + OTHERS[name] + REPLICA_STEP * replica
        for service in SERVICES:
            for replica in self.replicas_of(service):
                ports[label(service.name, replica)] = self.port_base + service.port + REPLICA_STEP * replica
        return ports

    def address(self, name: str, replica: int = 0) -> str:
        """`host:port` of a listener."""
        return f"{HOST}:{self.ports[label(name, replica)]}"

    def replicas_of(self, service: Service) -> range:
        return range(self.replicas.get(service.name, 1))

    @property
    def targets(self) -> dict[str, str]:
        """The gRPC target of each package: all replicas, for the client to balance over."""
        return {service.package: f"ipv4:{','.join(self._addresses(service))}" for service in SERVICES}

    @property
    def outside(self) -> dict[str, str]:
        """The URLs of the outside world, by their scheme."""
        return {"http": f"http://{self.address('sandbox')}", "smtp": f"smtp://{self.address('sandbox SMTP')}"}

    def nats_addresses(self, listener: str = "nats") -> list[str]:
        """Of every NATS server, `host:port` of one of its listeners."""
        return [self.address(listener, replica) for replica in range(self.nats)]

    def _addresses(self, service: Service) -> list[str]:
        return [self.address(service.name, replica) for replica in self.replicas_of(service)]


def label(name: str, replica: int) -> str:
    """The name that people and log files know a process by."""
    return f"{name}-{replica}" if replica else name
