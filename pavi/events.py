"""TensorBoard event files, written by hand: a record format with checksums around three small protobuf messages.

Formats: TFRecord (length, masked CRC-32C, data, masked CRC-32C) and Event / Summary / Summary.Value of TensorBoard.
"""

import math
import os
import struct
import time
from pathlib import Path

_CRC_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected
LARGEST_FLOAT32 = 3.4e38


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_CRC_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


def masked_crc32c(data: bytes) -> int:
    """Returns the checksum that TFRecord files use."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


class EventFile:
    """One event file; every value is on disk at once."""

    def __init__(self, folder: Path):
        """Creates `folder` and a new file in it."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"events.out.tfevents.{int(time.time())}.pavi.{os.getpid()}.{time.time_ns() % 10**9}"
        self._file = path.open("wb", buffering=0)
        self._write(struct.pack("<Bd", 1 << 3 | 1, time.time()) + _message(3, b"brain.Event:2"))

    def add(self, tag: str, value: float, step: int, wall_time_s: float) -> None:
        """Writes one scalar."""
        single = value if abs(value) < LARGEST_FLOAT32 or value != value else math.copysign(math.inf, value)
        scalar = _message(1, tag.encode()) + struct.pack("<Bf", 2 << 3 | 5, single)
        head = struct.pack("<Bd", 1 << 3 | 1, wall_time_s) + _varint(2 << 3) + _varint(step)
        self._write(head + _message(5, _message(1, scalar)))

    def _write(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        crcs = struct.pack("<I", masked_crc32c(length)), struct.pack("<I", masked_crc32c(event))
        self._file.write(length + crcs[0] + event + crcs[1])
