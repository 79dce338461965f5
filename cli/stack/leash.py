"""Ties a process to its parent's life, then becomes the process: `leash.py PARENT SIGNAL COMMAND...` (Linux).

The kernel sends the signal when the parent ends, even when it was killed and could not say goodbye. This is a
program and no `preexec_fn`: gRPC gives the parent threads, and Python code between fork and exec may then deadlock.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, signal_number: int, command: list[str]) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        sys.exit("the parent ended before this process began")
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
