"""The local stack behind `ensemble up`: what runs, on which ports, and what keeps it running.

Only processes are started here; no service's code is imported.
"""


class StackError(Exception):
    """The stack cannot run. The message says what is wrong and what to do about it."""
