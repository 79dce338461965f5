"""Network policies, enforced: each pod's namespace lets in and out only what they allow."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.k8s.manifests import Manifest, Render, selects
from tests.kubelet import command
from tests.kubelet.network import NAMESPACE
from tests.kubelet.pod import Pod

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
DNS_LABELS = {"k8s-app": "kube-dns"}
RULES = """\
table ip policies {{}}
delete table ip policies
table ip policies {{
  chain incoming {{
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iif lo accept
    ip saddr {node} accept
{incoming}
  }}
  chain outgoing {{
    type filter hook output priority 0; policy drop;
    ct state established,related accept
    oif lo accept
{outgoing}
  }}
}}
"""


@dataclass(frozen=True)
class Resident:
    """Who has an address in the cluster."""

    address: str
    labels: Manifest
    namespace: str


class Policies:
    """The rules of all pods, kept true."""

    def __init__(self, render: Render, node: str) -> None:
        self._policies = [each.spec for each in render.of("NetworkPolicy")]
        self._node = node
        self._applied: dict[str, str] = {}
        self._applying = asyncio.Lock()

    async def apply(self, pods: Sequence[Pod]) -> None:
        """The rules of a pod that has no link any more are let be, and nobody is at them when this returns."""
        async with self._applying:
            links = {pod.link: pod for pod in pods if pod.link}
            everybody = [Resident(pod.address, pod.labels, NAMESPACE) for pod in links.values()]
            everybody.append(Resident(self._node, DNS_LABELS, "kube-system"))
            for link, pod in links.items():
                rules = self._rules(pod, everybody)
                if rules != self._applied.get(link.name):
                    self._applied[link.name] = rules
                    await command.run("ip", "netns", "exec", link.name, "nft", "--file", "-", told=rules)

    def _rules(self, pod: Pod, everybody: Sequence[Resident]) -> str:
        mine = [each for each in self._policies if selects(each["podSelector"], pod.labels)]
        incoming = self._chain([each for each in mine if "Ingress" in each["policyTypes"]], "ingress", everybody)
        outgoing = self._chain([each for each in mine if "Egress" in each["policyTypes"]], "egress", everybody)
        return RULES.format(node=self._node, incoming="\n".join(incoming), outgoing="\n".join(outgoing))

    def _chain(self, policies: Sequence[Manifest], direction: str, everybody: Sequence[Resident]) -> list[str]:
        """Whoever no policy is about may do everything."""
        if not policies:
            return ["    accept"]
        rules = [rule for policy in policies for rule in policy.get(direction, ())]
        return sorted({line for rule in rules for line in self._lines(rule, direction, everybody)})

    def _lines(self, rule: Manifest, direction: str, everybody: Sequence[Resident]) -> Iterator[str]:
        peers, end = (rule.get("from"), "saddr") if direction == "ingress" else (rule.get("to"), "daddr")
        ports = [f"{each.get('protocol', 'TCP').lower()} dport {each['port']}" for each in rule.get("ports", ())]
        addresses = ["0.0.0.0/0"] if peers is None else [each for peer in peers for each in self._of(peer, everybody)]
        for address in addresses:
            for port in ports or [""]:
                yield f"    ip {end} {address} {port} accept"

    def _of(self, peer: Manifest, everybody: Sequence[Resident]) -> list[str]:
        assert "ipBlock" not in peer, f"a peer that is not known here: {peer}"
        return [each.address for each in everybody if self._is(peer, each)]

    def _is(self, peer: Manifest, resident: Resident) -> bool:
        namespaces = peer.get("namespaceSelector", {"matchLabels": {NAMESPACE_LABEL: NAMESPACE}})
        return selects(namespaces, {NAMESPACE_LABEL: resident.namespace}) and selects(
            peer.get("podSelector", {}), resident.labels
        )
