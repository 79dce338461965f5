"""`python -m services.customer`."""

from mesh.rpc.channel import connected
from mesh.service import Doors, Kit, ServiceSettings, run
from mesh.sweeper import swept
from services.customer.core import Mode
from services.customer.events import CustomerListener
from services.customer.modes import Choreographed, Orchestrated
from services.customer.rpc import SERVICE, CustomerServicer

HAND_OVER_SECONDS = 1.0


async def build(kit: Kit[ServiceSettings]) -> Doors:
    """The front door, with both ways behind it."""
    peers = await kit.stack.enter_async_context(connected(kit.settings.peers))
    modes = {Mode.ORCHESTRATED: Orchestrated(peers), Mode.CHOREOGRAPHED: Choreographed(peers)}
    servicer = CustomerServicer(kit.database, modes)
    await kit.stack.enter_async_context(swept(HAND_OVER_SECONDS, servicer.hand_over_waiting))
    return Doors(SERVICE, servicer, CustomerListener().reactions(), public=True)


if __name__ == "__main__":
    run("customer", ServiceSettings, build)
