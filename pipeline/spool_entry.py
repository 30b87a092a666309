"""Entries of a spool file: the bytes that go to Kafka between checks; what was cut short and what is damaged is found.

An entry is a head (magic, length of the key, of the address and of the value, CRC-32 of these three, CRC-32 of the
head itself, which counts from the entry's place in the file) and then key, address and value. So no bytes inside a
record, and no entry that stands elsewhere, can be taken for an entry.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"\xf7OE\x01"
_FIELDS = struct.Struct(">4sIIII")
_CHECK = struct.Struct(">I")
HEAD_BYTES = _FIELDS.size + _CHECK.size


class Entry(NamedTuple):
    """One record from `start` to `end` of its file."""

    start: int
    end: int
    key: bytes
    address: bytes
    value: bytes


class Damage(NamedTuple):
    """Bytes from `start` to `end` that are no entry; `torn`: the file ends within one that is sound so far."""

    start: int
    end: int
    torn: bool


class _Head(NamedTuple):
    key: int
    address: int
    value: int
    check: int

    @property
    def body(self) -> int:
        return self.key + self.address + self.value


def pack(key: bytes, address: bytes, value: bytes, at: int) -> bytes:
    """The entry as it stands at offset `at` of a file."""
    body = key + address + value
    fields = _FIELDS.pack(MAGIC, len(key), len(address), len(value), zlib.crc32(body))
    return fields + _CHECK.pack(zlib.crc32(fields, at)) + body


def entries(data: bytes, at: int = 0) -> Iterator[Entry | Damage]:
    """What stands in these bytes of a file, the first of which is at offset `at`; together they cover all of them."""
    place = 0
    while place < len(data):
        found = _entry(data, place, at)
        yield found
        place = found.end - at


def _entry(data: bytes, place: int, at: int) -> Entry | Damage:
    if len(data) - place < HEAD_BYTES:
        return Damage(at + place, at + len(data), True)
    head = _head(data, place, at)
    if head is None:
        return Damage(at + place, at + _next_head(data, place + 1, at), False)
    first = place + HEAD_BYTES
    end = first + head.body
    if end > len(data):
        return Damage(at + place, at + len(data), True)
    body = data[first:end]
    if zlib.crc32(body) != head.check:
        return Damage(at + place, at + end, False)
    value = head.key + head.address
    return Entry(at + place, at + end, body[: head.key], body[head.key : value], body[value:])


def _head(data: bytes, place: int, at: int) -> _Head | None:
    """The head at this place of the data, None when there is no sound one."""
    magic, key, address, value, check = _FIELDS.unpack_from(data, place)
    (own,) = _CHECK.unpack_from(data, place + _FIELDS.size)
    if magic != MAGIC or own != zlib.crc32(data[place : place + _FIELDS.size], at + place):
        return None
    return _Head(key, address, value, check)


def _next_head(data: bytes, place: int, at: int) -> int:
    """Where the next sound head stands, the end of the data when there is none."""
    while (place := data.find(MAGIC, place)) >= 0:
        if place + HEAD_BYTES <= len(data) and _head(data, place, at) is not None:
            return place
        place += 1
    return len(data)
