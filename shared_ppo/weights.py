"""Versioned data in shared memory: one writer, any number of readers, and nobody ever waits.

Two slots and a version number. Version v lives in slot v mod 2; the writer fills the other slot and only then moves
the version on. A reader copies a slot and keeps the copy if the version has not moved meanwhile and the checksum fits
(which also covers processors that reorder stores). A killed reader holds nothing; a killed writer leaves at worst a
half-written spare slot that no version points to.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

_VERSION, _CHECKSUMS, _SIZES = 0, 1, 3
_HEADER_ITEMS = 5


class TornReadError(RuntimeError):
    """A slot's content never fitted its checksum."""


class VersionedMemory:
    """A byte string in shared memory, with a version. Travels to another process while that one is started."""

    def __init__(self, context: Any, capacity: int) -> None:
        """Allocates two slots of `capacity` bytes; `context` is a multiprocessing context."""
        self.capacity = capacity
        self._header = context.RawArray("q", _HEADER_ITEMS)
        self._slots = context.RawArray("b", 2 * capacity)

    @property
    def version(self) -> int:
        """Version of the newest content; 0 means nothing was written yet."""
        return int(self._header[_VERSION])

    def _slot(self, version: int) -> np.ndarray:
        """View of the slot in which `version` lives: (capacity,) uint8."""
        start = (version & 1) * self.capacity
        return np.frombuffer(self._slots, np.uint8)[start : start + self.capacity]

    def write(self, data: bytes | memoryview, version: int | None = None) -> int:
        """Publishes `data`; only one process may do this.

        Args:
            data: at most `capacity` bytes.
            version: of the new content (default: the next). Readers may be about only if it is the next.

        Returns:
            The new version.

        Raises:
            ValueError: if `data` does not fit.
        """
        if len(data) > self.capacity:
            raise ValueError(f"{len(data)} bytes do not fit into a slot of {self.capacity}")
        version = self.version + 1 if version is None else version
        self._slot(version)[: len(data)] = np.frombuffer(data, np.uint8)
        self._header[_SIZES + (version & 1)] = len(data)
        self._header[_CHECKSUMS + (version & 1)] = zlib.crc32(data)
        self._header[_VERSION] = version
        return version

    def read(self, attempts: int = 1000) -> tuple[int, bytes]:
        """Returns the newest version and its content; version 0 is empty.

        Raises:
            TornReadError: if no consistent copy was had in `attempts` tries.
        """
        for _ in range(attempts):
            version = self.version
            if version == 0:
                return 0, b""
            size = int(self._header[_SIZES + (version & 1)])
            checksum = int(self._header[_CHECKSUMS + (version & 1)])
            data = self._slot(version)[: max(0, min(size, self.capacity))].tobytes()
            if self.version == version and zlib.crc32(data) == checksum:
                return version, data
        raise TornReadError(f"no consistent copy of version {self.version} in {attempts} attempts")


class SharedWeights:
    """The actor's parameters as one float32 vector, from the learner to all workers."""

    def __init__(self, context: Any, num_parameters: int) -> None:
        """Allocates room for two vectors of `num_parameters`."""
        self.num_parameters = num_parameters
        self._memory = VersionedMemory(context, 4 * num_parameters)

    @property
    def version(self) -> int:
        """Version of the newest weights; 0 means none yet."""
        return self._memory.version

    def publish(self, vector: np.ndarray, version: int | None = None) -> int:
        """Makes (P,) float32 weights the newest ones and returns their version.

        Raises:
            ValueError: if the shape is wrong or a weight is not finite.
        """
        if vector.shape != (self.num_parameters,):
            raise ValueError(f"weights must have shape ({self.num_parameters},), got {vector.shape}")
        if not np.isfinite(vector).all():
            raise ValueError("weights that are not finite are never published")
        return self._memory.write(np.ascontiguousarray(vector, np.float32).tobytes(), version)

    def fetch(self) -> tuple[int, np.ndarray]:
        """Returns the newest version and a copy of its (P,) weights."""
        version, data = self._memory.read()
        return version, np.frombuffer(bytearray(data), np.float32)
