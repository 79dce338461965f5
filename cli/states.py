"""`--state`: list only what is in one of the states that a contract knows."""

from typing import Any

import typer
from google.protobuf.descriptor import EnumDescriptor


def state_option(states: EnumDescriptor, prefix: str) -> Any:
    """The option; its values are the names without their common prefix."""
    return typer.Option("--state", metavar="STATE", help=f"Only those that are {', '.join(_names(states, prefix))}.")


def state_of(states: EnumDescriptor, prefix: str, name: str | None) -> Any:
    """The number of a state by its name, 0 if none is given. Raises BadParameter for one that there is not."""
    if name is None:
        return 0
    names = _names(states, prefix)
    if name.upper() not in names:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(names)}", param_hint="--state")
    return names[name.upper()]


def _names(states: EnumDescriptor, prefix: str) -> dict[str, int]:
    return {value.name.removeprefix(prefix): value.number for value in states.values if value.number}
