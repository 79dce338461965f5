"""The CPU time of processes, as Linux's /proc has it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
REST = "everything else"
"""What the machine was busy with besides: others who use it, the kernel's own threads."""


@dataclass(frozen=True)
class _Times:
    parent: int
    own: int
    """Clock ticks, user and system."""
    buried: int
    """Those of children that have ended."""


def used(pids: Mapping[str, int]) -> dict[str, float] | None:
    """Seconds each process and its children have used so far, and the `REST`; None on systems without /proc.

    Children count, because PostgreSQL has one for each connection.
    """
    if not (PROC / "self" / "stat").exists():
        return None
    ticks_per_second = os.sysconf("SC_CLK_TCK")
    times, busy = _all(), _busy()
    ticks = {name: _family(pid, times) for name, pid in pids.items()}
    ticks[REST] = busy - sum(ticks.values())
    return {name: count / ticks_per_second for name, count in ticks.items()}


def _busy() -> int:
    """Ticks that all cores together have worked since the machine started; see proc_stat(5)."""
    user, nice, system, _idle, _waiting, hard, soft, *_ = map(
        int, (PROC / "stat").read_text().splitlines()[0].split()[1:]
    )
    return user + nice + system + hard + soft


def _family(pid: int, times: Mapping[int, _Times]) -> int:
    children = sum(each.own for each in times.values() if each.parent == pid)
    return children + times[pid].own + times[pid].buried if pid in times else 0


def _all() -> dict[int, _Times]:
    found: dict[int, _Times] = {}
    for folder in PROC.iterdir():
        if folder.name.isdecimal():
            try:
                found[int(folder.name)] = _parsed((folder / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
                continue
    return found


def _parsed(stat: str) -> _Times:
    """See proc_pid_stat(5); the name, which may hold anything, ends with the last parenthesis."""
    fields = stat.rpartition(")")[2].split()
    parent, user, system, buried_user, buried_system = (int(fields[at]) for at in (1, 11, 12, 13, 14))
    return _Times(parent, user + system, buried_user + buried_system)
