"""A cluster while it is open: a network, its DNS and its policies, and the pods of everything that was rendered."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from cli.stack import state
from cli.stack.layout import CUSTOMER, ORCHESTRATOR, SERVICES
from cli.stack.state import Process, State
from mesh.background import ended
from tests.k8s.manifests import Render
from tests.kubelet import dns, settings
from tests.kubelet.dns import Zone
from tests.kubelet.images import image
from tests.kubelet.network import DOMAIN, Network
from tests.kubelet.pod import Node, Pod
from tests.kubelet.policies import Policies
from tests.kubelet.workloads import KINDS, LOOK_SECONDS

DONE_SECONDS = 180
"""Much more than it takes: a machine may be busy."""


class Cluster:
    """What runs. Below `folder` are its logs and its volumes."""

    def __init__(self, render: Render, network: Network, folder: Path) -> None:
        self.folder = folder
        self._render = render
        self._network = network
        self._policies = Policies(render, network.node)
        node = Node(folder, network, render, self._rewire, print)
        found = [(pod, image(pod.containers[0].get("image"))) for pod in render.pods]
        self.workloads = {pod.name: KINDS[pod.owner.kind](node, pod, runs) for pod, runs in found if runs}
        self._keepers: list[asyncio.Future[None]] = []

    def start(self) -> None:
        self._keepers = [asyncio.ensure_future(each.keep()) for each in self.workloads.values()]

    async def stop(self) -> None:
        """Everything is gone when this returns."""
        await asyncio.gather(*(ended(keeper) for keeper in self._keepers), return_exceptions=True)
        await asyncio.gather(*(pod.lose() for pod in self.pods), return_exceptions=True)

    @property
    def pods(self) -> list[Pod]:
        return [pod for workload in self.workloads.values() for pod in workload.pods]

    def is_done(self) -> bool:
        """Whether everything is as the manifests say. Raises what a controller has failed with."""
        for keeper in self._keepers:
            if keeper.done():
                keeper.result()
        return all(each.is_done for each in self.workloads.values())

    async def done(self) -> None:
        """Wait until it is. Raises TimeoutError if that takes too long."""
        async with asyncio.timeout(DONE_SECONDS):
            while not self.is_done():
                await asyncio.sleep(LOOK_SECONDS)

    def tell(self) -> None:
        """Write into the folder where everything is, as `ensemble up` does. What is said of services outlives pods."""
        targets = {service.package: self._target(service.name) for service in SERVICES}
        sandbox = self._address("sandbox")
        told = State(
            processes=[
                Process(name=name, replica=number, pid=0, address=pod.address)
                for name, workload in self.workloads.items()
                for number, pod in enumerate(workload.pods)
            ],
            nats_url=self._url("streams", "NATS_URL", "nats"),
            postgres={each.name: self._url(each.name, "ENSEMBLE_DATABASE_URL", "postgres") for each in SERVICES},
            smtp=f"smtp://{sandbox}:2525",
            sandbox_url=f"http://{sandbox}:8080",
            customer=targets[CUSTOMER],
            orchestrator=targets[ORCHESTRATOR],
            services=targets,
            traces=None,
            traces_query=f"http://{self._address('jaeger')}:16686" if "jaeger" in self.workloads else None,
        )
        state.write(self.folder, told)

    def _target(self, service: str) -> str:
        """To be looked up in the DNS of the cluster, again and again."""
        return f"dns://{self._network.node}:{dns.PORT}/{service}.{DOMAIN}:50051"

    def _address(self, workload: str) -> str:
        return self.workloads[workload].pods[0].address

    def _url(self, owner: str, variable: str, service: str) -> str:
        """What the pods of the owner are told, with an address that this machine can find."""
        (container,) = (each for each in self._render.containers if each.pod.name == owner)
        told = settings.variables(container, defaultdict(str), self._render)
        return told[variable].replace(f"@{service}:", f"@{self._address(service)}:")

    async def _rewire(self) -> None:
        await self._policies.apply(self.pods)


@asynccontextmanager
async def played(render: Render, folder: Path) -> AsyncGenerator[Cluster]:
    """A render coming up; in the end nothing is left of it but the folder."""
    (folder / "logs").mkdir(parents=True)
    async with Network.open() as network:
        cluster = Cluster(render, network, folder)
        async with dns.serving(Zone(render, lambda: cluster.pods), network.node):
            cluster.start()
            try:
                yield cluster
            finally:
                await cluster.stop()
