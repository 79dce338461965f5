"""`python -m services.payment`."""

from functools import partial

from mesh.postgres.database import Database
from mesh.service import Doors, Kit, ServiceSettings, run
from mesh.sweeper import swept
from mesh.telemetry.metrics import Gauge, Reading, gauged
from services.payment import store
from services.payment.core import State
from services.payment.events import PaymentListener
from services.payment.outside import HttpGateway, settle_orphans
from services.payment.rpc import SERVICE, PaymentServicer

SWEEP_SECONDS = 10.0
MONEY = Gauge("shop.payments.money", "{minor_unit}", "What payments come to, by currency and state.")
TAKEN = (State.CHARGING, State.CHARGED, State.REFUNDING, State.REFUNDED)


class Settings(ServiceSettings):
    """What the payment service is told besides."""

    gateway_url: str
    """Where the payment gateway is: `http://host:port`."""


async def build(kit: Kit[Settings]) -> Doors:
    """Both doors over one database and one gateway, and the sweeper."""
    gateway = await kit.stack.enter_async_context(HttpGateway.open(kit.settings.gateway_url))
    await kit.stack.enter_async_context(swept(SWEEP_SECONDS, partial(settle_orphans, kit.database, gateway)))
    await kit.stack.enter_async_context(gauged([MONEY], partial(read_money, kit.database)))
    return Doors(SERVICE, PaymentServicer(kit.database, gateway), PaymentListener(kit.database, gateway).reactions())


async def read_money(database: Database) -> list[Reading]:
    """The gauge of the money: CHARGED is what is kept."""
    async with database.connection() as connection:
        found = await store.taken(connection)
    return [
        Reading(MONEY, found.get((currency, state), 0), {"shop.currency": currency, "shop.payment.state": state.value})
        for currency in sorted({currency for currency, _ in found})
        for state in TAKEN
    ]


if __name__ == "__main__":
    run("payment", Settings, build)
