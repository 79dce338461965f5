"""A process to be kept running, as data."""

import signal
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
