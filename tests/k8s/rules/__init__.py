"""What holds for every render. A rule is a function that yields what is wrong with one; its name says what is right."""

import inspect
from collections.abc import Callable, Iterator

from tests.k8s.manifests import Render
from tests.k8s.rules import (
    addresses,
    availability,
    commands,
    databases,
    identity,
    monitoring,
    network,
    probes,
    references,
    restricted,
    scaling,
    schemas,
    secrets,
    settings,
)

Rule = Callable[[Render], Iterator[str]]
PARTS = (
    schemas,
    references,
    addresses,
    databases,
    settings,
    commands,
    probes,
    availability,
    scaling,
    restricted,
    identity,
    secrets,
    network,
    monitoring,
)


def is_rule(thing: object) -> bool:
    return inspect.isfunction(thing) and inspect.get_annotations(thing) == {"render": Render, "return": Iterator[str]}


RULES: list[Rule] = [rule for part in PARTS for _, rule in inspect.getmembers(part, is_rule)]
