"""TCP ports on loopback: are these free, and where are some that are."""

import random
import socket
from collections.abc import Mapping

from cli.stack import StackError

HOST = "127.0.0.1"

# Below 32768, where Linux begins to hand out ports to outgoing connections.
FREE_RANGE = range(20_000, 32_000, 100)


def check_free(ports: Mapping[str, int]) -> None:
    """Raises StackError naming each port (by whom it is for) that another process listens on."""
    taken = [f"{port} (for {name})" for name, port in ports.items() if not is_free(port)]
    if taken:
        raise StackError(
            f"port in use: {', '.join(taken)}; stop what listens there (a killed stack takes some seconds to end), "
            "or choose another --port-base"
        )


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port_base(span: int = 100) -> int:
    """A port base with `span` free ports above it. Raises StackError when there is none."""
    for base in random.sample(FREE_RANGE, k=len(FREE_RANGE)):
        if all(is_free(port) for port in range(base, base + span)):
            return base
    raise StackError("no free range of ports on loopback")
