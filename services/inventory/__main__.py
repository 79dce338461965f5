"""`python -m services.inventory`."""

from contextlib import AsyncExitStack

from mesh.database import Database
from mesh.service import Doors, ServiceSettings, run
from services.inventory.events import InventoryListener
from services.inventory.rpc import SERVICE, InventoryServicer


async def build(_settings: ServiceSettings, database: Database, _stack: AsyncExitStack) -> Doors:
    """Both doors over one database."""
    return Doors(SERVICE, InventoryServicer(database), InventoryListener().reactions())


if __name__ == "__main__":
    run("inventory", ServiceSettings, build)
