"""Whether a choreography has come to rest."""

from nats.js.api import ConsumerInfo

from mesh.events.bus import Bus
from tests.shop import Shop

PARTICIPANTS = ["orders", "inventory", "payment", "shipping", "notification"]


async def is_quiet(shop: Shop, operator: Bus) -> bool:
    """Whether no fact is on its way: none waits to be sent, and nobody has one to react to, before and after."""
    before = await _progress(operator)
    for service in PARTICIPANTS:
        async with shop.database(service) as database:
            if await database.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL"):
                return False
    return all(waiting == 0 for _, _, waiting in before) and before == await _progress(operator)


async def _progress(operator: Bus) -> list[tuple[str, int, int]]:
    """Of each durable: its name, how much it was given, and what it has yet to react to."""
    found = await operator.client.jetstream().consumers_info("SHOP_EVENTS")
    return sorted((info.name, _given(info), (info.num_pending or 0) + (info.num_ack_pending or 0)) for info in found)


def _given(info: ConsumerInfo) -> int:
    return info.delivered.consumer_seq if info.delivered else 0
