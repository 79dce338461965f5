"""The front door's event door: it reacts to nothing. It follows orders through the doors of those who fulfil them."""

from typing import Any

from mesh.consumer import Reaction

REACTIONS: tuple[Reaction[Any], ...] = ()
