"""Each rule is seen to complain: a rule that nothing breaks would hold of anything."""

import pytest

from tests.k8s.breakage import Breakage, breakages
from tests.k8s.render import rendered
from tests.k8s.rules import RULES

BREAKAGES = breakages()


def test_every_rule_can_be_broken() -> None:
    assert {breakage.rule for breakage in BREAKAGES} == {rule.__name__ for rule in RULES}


@pytest.mark.parametrize("breakage", BREAKAGES, ids=str)
def test_what_is_broken_is_complained_of(breakage: Breakage) -> None:
    [rule] = [rule for rule in RULES if rule.__name__ == breakage.rule]
    whole = rendered(breakage.render)

    complaints = set(rule(breakage.of(whole))) - set(rule(whole))

    assert any(breakage.says in each for each in complaints), "\n".join(complaints)
