"""PyBullet clients: borrowed, given back, and opened ahead of a fork.

A fresh DIRECT client costs about 29 MiB and 10 ms, most of it buffers and free lists that a small world never
touches. A client that was opened before a fork shares those pages with every child, and an emptied client can be used
again. `import robogrammar_env.engine.preload` in a fork server opens a few.

PyBullet never frees a collision shape (4 kB) while the world lives, and keeps about 1 kB of every removed link.
So shapes are kept for the next body, and a world that has seen many bodies is replaced. A new world takes 8 MiB that
no fork shares, as much as 768 bodies leave behind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pybullet

BODIES_PER_WORLD = 768
SHAPES_PER_WORLD = 512
FAR_M = 1e3


@dataclass
class Client:
    """A connection to a simulator of its own inside this process.

    Attributes:
        number: PyBullet's `physicsClientId`.
        shapes: shapes by the arguments that made them.
        uses: how many engines have had this world.
    """

    number: int
    shapes: dict[tuple, int] = field(default_factory=dict)
    uses: int = 0

    def shape(self, kind: int, **arguments: Any) -> int:
        """A collision shape of PyBullet's `createCollisionShape`; equal arguments give the same one."""
        key = (kind, *sorted(arguments.items()))
        if key not in self.shapes:
            self.shapes[key] = pybullet.createCollisionShape(kind, physicsClientId=self.number, **arguments)
        return self.shapes[key]

    @property
    def speck(self) -> int:
        """A tiny visual shape. A body without one gets a mesh of its collision shape: 3 MB for a plane."""
        key = ("speck",)
        if key not in self.shapes:
            half = [0.001, 0.001, 0.001]
            self.shapes[key] = pybullet.createVisualShape(
                pybullet.GEOM_BOX, halfExtents=half, physicsClientId=self.number
            )
        return self.shapes[key]


_idle: list[Client] = []


def open_ahead(count: int) -> None:
    """Opens clients until `count` of them are idle."""
    while len(_idle) < count:
        _idle.append(_connect())


def borrow() -> Client:
    """An empty client, for one engine alone."""
    return _idle.pop() if _idle else _connect()


def give_back(client: Client) -> None:
    """Empties a client and keeps it for the next engine, or disconnects one whose world is damaged.

    Bodies are removed one by one: a new world would sit in memory that no fork shares.
    """
    number = client.number
    bodies = [
        pybullet.getBodyUniqueId(index, physicsClientId=number)
        for index in range(pybullet.getNumBodies(physicsClientId=number))
    ]
    if not all(_is_near(body, number) for body in bodies):
        pybullet.disconnect(physicsClientId=number)
        return
    client.uses += 1
    if client.uses >= BODIES_PER_WORLD or len(client.shapes) > SHAPES_PER_WORLD:
        pybullet.resetSimulation(physicsClientId=number)
        client.shapes.clear()
        client.uses = 0
    else:
        for body in reversed(bodies):
            pybullet.removeBody(body, physicsClientId=number)
    _idle.append(client)


def _is_near(body: int, number: int) -> bool:
    """Whether a body is where the world can be used again: one at infinity leaves Bullet's search trees damaged."""
    position, _ = pybullet.getBasePositionAndOrientation(body, physicsClientId=number)
    return all(abs(coordinate) < FAR_M for coordinate in position)  # false for NaN


def _connect() -> Client:
    number = pybullet.connect(pybullet.DIRECT)
    if number < 0:
        raise RuntimeError("PyBullet has no free client; close engines that are no longer used")
    return Client(number)
