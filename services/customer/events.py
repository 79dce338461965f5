"""The front door's event door: it reacts to nothing. It follows orders through the doors of those who fulfil them."""

from typing import Any

from mesh.events.reaction import Reaction


class CustomerListener:
    """Reacts to nothing."""

    def reactions(self) -> tuple[Reaction[Any], ...]:
        """What it reacts to, and how."""
        return ()
