"""Every overlay, and every two components that can meet in one, keeps every rule."""

import pytest

from tests.k8s.render import NAMES, rendered
from tests.k8s.rules import RULES, Rule
from tests.k8s.rules.availability import SINGLE, replicas


@pytest.mark.parametrize("name", NAMES, ids=str)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_it_holds_that(rule: Rule, name: str) -> None:
    wrong = list(rule(rendered(name)))

    assert not wrong, "\n".join(wrong)


def test_production_is_given_its_secrets_by_others() -> None:
    assert rendered("production").of("Secret") == []


def test_nothing_is_single_in_production_but_what_stands_for_the_outside_world() -> None:
    render = rendered("production")

    single = [pod.name for pod in render.pods if pod.is_long_running and replicas(render, pod.owner) == SINGLE]

    assert single == ["sandbox"]
