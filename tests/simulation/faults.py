"""What goes wrong, drawn from the seed. Whatever it is, it ends when the world calms down."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator.store import LEASE_S
from tests.simulation.network import PARTICIPANTS, STORE, Noise
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

CALM_S = 3.0, 8.0
"""When faults stop, seconds."""
MOST = 5
LONG_S = LEASE_S * 0.5, LEASE_S * 2
"""How long a process stands still, or is cut off: about as long as a lease."""

Fault = Callable[["World", random.Random, Process], None]
"""Strikes a process, or what it needs."""


def noise(chance: random.Random) -> Noise:
    """How bad the network is all the time until the calm; in one story of three it is good."""
    if chance.random() < 1 / 3:
        return Noise()
    return Noise(
        lost=chance.choice((0, 0.02, 0.1)), late=chance.choice((0, 0.02, 0.1)), doubled=chance.choice((0, 0.3))
    )


def plan(world: "World") -> None:
    """Some faults at some times, and then no more."""
    calm_s = world.chance.uniform(*CALM_S)
    for _ in range(world.chance.randint(0, MOST)):
        world.loop.call_later(world.chance.uniform(0.1, calm_s), _strike, world, world.chance.choice(FAULTS))
    world.loop.call_later(calm_s, world.calm_down)


def _strike(world: "World", fault: Fault) -> None:
    able = [process for process in world.processes() if not process.loop.paused]
    if able:
        victim = world.chance.choice(able)
        world.history.note(victim.name, f"FAULT {fault.__name__}")
        fault(world, world.chance, victim)


def crash(world: "World", chance: random.Random, victim: Process) -> None:
    """Its connection closes with it; sometimes nobody notices, and only its lease tells."""
    victim.crash()
    if chance.random() < 0.7:
        world.loop.call_later(chance.uniform(0, 0.5), world.tables.ended, victim.name)
    world.loop.call_later(chance.uniform(0.5, 4.0), world.launch, victim.loop.machine)


def leave(world: "World", chance: random.Random, victim: Process) -> None:
    """A deployment: it drains, and is started again."""
    victim.leave()


def pause(world: "World", chance: random.Random, victim: Process) -> None:
    """The process is stopped; its clock goes on."""
    victim.pause()
    world.loop.call_later(chance.uniform(*LONG_S), world.wake, victim)


def stand_still(world: "World", chance: random.Random, victim: Process) -> None:
    """The whole machine is stopped, and its clock with it: nothing tells the process that time has passed."""
    victim.stand_still()
    world.loop.call_later(chance.uniform(*LONG_S), world.wake, victim)


def jump(world: "World", chance: random.Random, victim: Process) -> None:
    """Its clock jumps forward."""
    victim.clock.jump(chance.uniform(0.1, 2 * LEASE_S))


def partition(world: "World", chance: random.Random, victim: Process) -> None:
    """It is cut off from the store, from the participants, or from both."""
    zones = chance.choice(((STORE,), (PARTICIPANTS,), (STORE, PARTICIPANTS)))
    cut = {(victim.loop.machine, zone) for zone in zones}
    world.network.cut |= cut
    world.loop.call_later(chance.uniform(*LONG_S), world.network.cut.difference_update, cut)


def slowness(world: "World", chance: random.Random, victim: Process) -> None:
    """A server answers slowly."""
    server = chance.choice(world.servers)
    world.network.slow[server] = chance.uniform(0.05, 1.5)
    world.loop.call_later(chance.uniform(*LONG_S), world.network.slow.pop, server, None)


def outage(world: "World", chance: random.Random, victim: Process) -> None:
    """A server is down."""
    server = chance.choice(world.servers)
    world.network.down[server] = None
    world.loop.call_later(chance.uniform(*LONG_S), world.network.down.pop, server, None)


FAULTS: tuple[Fault, ...] = (crash, crash, leave, pause, pause, stand_still, jump, partition, slowness, outage)
