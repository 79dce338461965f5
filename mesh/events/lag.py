"""How far a service's durables are behind, and how much of theirs is dead."""

import json
from collections.abc import Iterable

import nats.errors
from nats.js.errors import NotFoundError

from mesh.errors import Outage
from mesh.events.bus import Bus
from mesh.events.durable import Durable
from mesh.events.streams import DEAD_LETTERS
from mesh.telemetry.metrics import DURABLE, SYSTEM, Gauge, Reading

LAG = Gauge("ensemble.consumer.lag", "{message}", "Facts that wait in the stream for this durable.")
IN_FLIGHT = Gauge("ensemble.consumer.in_flight", "{message}", "Facts that were delivered and are not settled yet.")
REDELIVERED = Gauge("ensemble.consumer.redelivered", "{message}", "Those in flight that were delivered before.")
DEAD = Gauge("ensemble.consumer.dead_letters", "{message}", "Facts that this durable has buried; each counts once.")
GAUGES = (LAG, IN_FLIGHT, REDELIVERED, DEAD)

BEYOND = 1 << 40
"""A page of subjects that no stream has: the answer holds their number and none of them, however many there are."""
ANSWER_SECONDS = 5.0


async def read(bus: Bus, durables: Iterable[Durable]) -> list[Reading]:
    """What the gauges of these durables show now. What is not there yet shows nothing. Raises Outage."""
    readings: list[Reading] = []
    try:
        for durable in durables:
            readings += [*await _progress(bus, durable), *await _dead(bus, durable)]
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise Outage(f"durables: {error!r}") from error
    return readings


async def _progress(bus: Bus, durable: Durable) -> list[Reading]:
    try:
        info = await bus.client.jetstream().consumer_info(durable.stream, durable.name)
    except NotFoundError:
        return []
    counts = {LAG: info.num_pending, IN_FLIGHT: info.num_ack_pending, REDELIVERED: info.num_redelivered}
    return [Reading(gauge, count or 0, _of(durable)) for gauge, count in counts.items()]


async def _dead(bus: Bus, durable: Durable) -> list[Reading]:
    wanted = json.dumps({"subjects_filter": f"dead.{durable.name}.>", "offset": BEYOND})
    subject = f"$JS.API.STREAM.INFO.{DEAD_LETTERS.name}"
    answer = json.loads((await bus.client.request(subject, wanted.encode(), timeout=ANSWER_SECONDS)).data)
    return [Reading(DEAD, answer["total"], _of(durable))] if "total" in answer else []


def _of(durable: Durable) -> dict[str, str]:
    return {**SYSTEM, DURABLE: durable.name}
