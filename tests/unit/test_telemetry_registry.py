"""One schema for the names of attributes: telemetry/registry.yaml, and OpenTelemetry's conventions for all others."""

import pytest

from tests import registry

OURS = registry.ours()
CURRENT, DEPRECATED = registry.conventions()
USED = registry.in_code()


@pytest.mark.parametrize("name", sorted(USED.written.keys() | USED.read.keys()))
def test_every_attribute_in_the_code_is_known(name: str) -> None:
    assert name in OURS or name in CURRENT, USED.written.get(name) or USED.read[name]


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_attribute_of_ours_is_used(name: str) -> None:
    assert name in USED.written


def test_no_attribute_is_deprecated() -> None:
    assert {name: where for name, where in USED.written.items() if name in DEPRECATED} == {}


def test_ours_are_no_names_of_the_conventions() -> None:
    assert OURS.keys() & (CURRENT | DEPRECATED) == set()
