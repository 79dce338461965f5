"""A process to be kept running, as data."""

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from cli.stack.account import Account
from cli.stack.layout import label


@dataclass(frozen=True)
class Program:
    name: str
    command: tuple[str, ...]
    address: str
    """`host:port` that others reach it at."""
    probe: str
    """A URL that answers once the process is ready; `cli.stack.readiness` knows the schemes."""
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    """Its environment, on top of the caller's."""
    replica: int = 0
    stop_signal: signal.Signals = signal.SIGTERM
    account: Account = field(default_factory=Account)

    @property
    def label(self) -> str:
        return label(self.name, self.replica)


def python(module: str) -> tuple[str, ...]:
    """The command that runs a module of ours.

    -P: what happens to lie in the current folder must not be imported in place of ours.
    """
    return (sys.executable, "-P", "-m", module)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment that tells a process of ours its settings."""
    complete = {**settings, "LOG_LEVEL": "INFO", "LOG_FORMAT": "json"}
    return {f"ENSEMBLE_{name}": value for name, value in complete.items()}
