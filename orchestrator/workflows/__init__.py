"""The workflows deployed here, one file each."""

from orchestrator.saga import AnySaga
from orchestrator.workflows.place_order import PLACE_ORDER

WORKFLOWS: tuple[AnySaga, ...] = (PLACE_ORDER,)
