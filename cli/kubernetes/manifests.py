"""How generated manifests are written down."""

from collections.abc import Iterable
from typing import Any

import yaml

GENERATED = "Generated from the code by `make k8s-render`."


def written(about: str, manifests: Iterable[dict[str, Any]]) -> str:
    """One YAML file, with a comment at its top that says what it is about."""
    comment = "".join(f"# {line}\n" for line in [*about.splitlines(), GENERATED])
    return comment + yaml.dump_all(manifests, Dumper=_Dumper, sort_keys=False, width=120)


class _Dumper(yaml.SafeDumper):
    """Shows text of several lines as it is."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
