"""`python -m services.customer`."""

from contextlib import AsyncExitStack

from mesh.database import Database
from mesh.rpc.channel import connected
from mesh.service import Doors, ServiceSettings, run
from mesh.sweeper import swept
from services.customer.core import Mode
from services.customer.events import CustomerListener
from services.customer.modes import Choreographed, Orchestrated
from services.customer.rpc import SERVICE, CustomerServicer

HAND_OVER_SECONDS = 1.0


async def build(settings: ServiceSettings, database: Database, stack: AsyncExitStack) -> Doors:
    """The front door, with both ways behind it."""
    peers = await stack.enter_async_context(connected(settings.peers))
    modes = {Mode.ORCHESTRATED: Orchestrated(peers), Mode.CHOREOGRAPHED: Choreographed(peers)}
    servicer = CustomerServicer(database, modes)
    await stack.enter_async_context(swept(HAND_OVER_SECONDS, servicer.hand_over_waiting))
    return Doors(SERVICE, servicer, CustomerListener().reactions())


if __name__ == "__main__":
    run("customer", ServiceSettings, build)
