"""What is forwarded out of a cluster, by the documents and by the tests, is there."""

import re

import pytest

from cli.stack.layout import SERVICES, Layout, Service
from tests.documents import DOCUMENTS
from tests.forwarded import as_state, forwards
from tests.k8s.manifests import Render
from tests.k8s.render import OVERLAYS, rendered

LINES = [
    (path.name, *words)
    for path in DOCUMENTS
    for words in re.findall(r"kubectl port-forward (\S+) (\d+)(?::(\d+))?", path.read_text())
]
"""Document, whom to, the near port, and the far one if it is another."""
SECRETS = [f"{each.name}-postgres" for each in SERVICES] + ["operator-nats"]


def test_the_documents_forward_something() -> None:
    assert LINES


@pytest.mark.parametrize(("document", "whom", "near", "far"), LINES)
def test_what_a_document_forwards_is_there(document: str, whom: str, near: str, far: str) -> None:
    assert any(listens(rendered(overlay), whom, int(far or near)) for overlay in OVERLAYS)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_is_forwarded_to_where_ensemble_up_has_it(service: Service) -> None:
    ports = {int(near) for _, whom, near, _ in LINES if whom.partition("/")[2] == service.name}

    assert ports <= {Layout().ports[service.name]}


def test_what_the_tests_forward_is_there() -> None:
    layout, local = Layout(), rendered("local")
    state = as_state(layout, dict.fromkeys(SECRETS, "password"))

    wanted = [(each.whom, port) for each in forwards(layout, state) for port in each.ports.values()]

    assert [(whom, port) for whom, port in wanted if not listens(local, whom, port)] == []


def test_every_password_that_the_tests_forward_with_is_a_secret() -> None:
    local = rendered("local")

    assert [name for name in SECRETS if local.find("Secret", name) is None] == []


def listens(render: Render, whom: str, port: int) -> bool:
    """Whether somebody whom kubectl would forward to has that port."""
    kind, _, name = whom.partition("/")
    if kind in ("svc", "service"):
        service = render.find("Service", name)
        return service is not None and port in [each["port"] for each in service.spec["ports"]]
    (pod,) = (each for each in render.pods if (each.owner.kind.lower(), each.name) == (kind, name))
    return port in pod.ports.values()
