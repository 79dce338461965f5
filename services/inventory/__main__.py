"""`python -m services.inventory`."""

from mesh.service import Doors, Kit, ServiceSettings, run
from services.inventory.events import InventoryListener
from services.inventory.rpc import SERVICE, InventoryServicer


async def build(kit: Kit[ServiceSettings]) -> Doors:
    """Both doors over one database."""
    return Doors(SERVICE, InventoryServicer(kit.database), InventoryListener().reactions())


if __name__ == "__main__":
    run("inventory", ServiceSettings, build)
