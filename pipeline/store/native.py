"""ClickHouse's format Native, as far as it takes to count its rows: what has come whole is told from what broke off.

A file is blocks: the number of columns and of rows, then of each column its name, its type and its values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pipeline.errors import StoreRefused, StoreUnavailable

FIXED = {
    "UInt8": 1, "Int8": 1, "Bool": 1, "Enum8": 1, "UInt16": 2, "Int16": 2, "Enum16": 2, "Date": 2, "UInt32": 4,
    "Int32": 4, "Float32": 4, "Date32": 4, "DateTime": 4, "IPv4": 4, "UInt64": 8, "Int64": 8, "Float64": 8,
    "DateTime64": 8, "UUID": 16, "Int128": 16, "UInt128": 16, "IPv6": 16, "Int256": 32, "UInt256": 32,
}  # fmt: skip  # bytes of a value
MOST_WORDS = 20_000
OWN_KEYS, SHARED_KEYS = 1 << 9, 1 << 8  # flags of a LowCardinality column: where its dictionary is


def rows(chunks: Iterable[bytes]) -> int:
    """Rows in these bytes, of which each chunk is taken once.

    Raises StoreUnavailable when they break off or are no such format (then the store's own words, if they hold any),
    StoreRefused for a type that is not known here.
    """
    source = _Source(chunks)
    count = 0
    while not source.at_end():
        columns, here = source.varint(), source.varint()
        for _ in range(columns):
            name, kind = source.text(), source.text()
            if here:
                _prefix(kind, name, source)
                _values(kind, name, here, source)
        count += here
    return count


class _Source:
    """Bytes from left to right, in whatever pieces they come."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = self._remembered(chunks)
        self._data, self._p = b"", 0
        self._last = b""

    def _remembered(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._last = (self._last + chunk[-MOST_WORDS:])[-MOST_WORDS:]
            yield chunk

    def at_end(self) -> bool:
        while self._p >= len(self._data):
            chunk = next(self._chunks, None)
            if chunk is None:
                return True
            self._data, self._p = chunk, 0
        return False

    def take(self, size: int) -> bytes:
        while len(self._data) - self._p < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise self.broken()
            self._data, self._p = self._data[self._p :] + chunk, 0
        self._p += size
        return self._data[self._p - size : self._p]

    def skip(self, size: int) -> None:
        while size > (held := len(self._data) - self._p):
            size -= held
            self._p = len(self._data)
            if self.at_end():
                raise self.broken()
        self._p += size

    def varint(self) -> int:
        found = shift = 0
        while True:
            if self._p >= len(self._data) and self.at_end():
                raise self.broken()
            byte = self._data[self._p]
            self._p += 1
            found |= (byte & 127) << shift
            if byte < 128:
                return found
            shift += 7
            if shift > 63:
                raise self.broken()

    def long(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def text(self) -> str:
        size = self.varint()
        if size > 10_000:  # a name or a type
            raise self.broken()
        return self.take(size).decode(errors="replace")

    def told(self) -> str | None:
        """The server's own words, where it has put them in the place of rows."""
        read = 0
        for chunk in self._chunks:
            read += len(chunk)
            if read > MOST_WORDS:
                break
        found = re.search(r"Code: \d+\. DB::Exception: ([^\n]*)", self._last.decode(errors="replace"))
        return found[1][:300] if found else None

    def broken(self) -> StoreUnavailable:
        """What to say of bytes that are no rows."""
        return StoreUnavailable(f"the store broke off half-way: {self.told() or 'no reason given'}")


def _prefix(kind: str, column: str, source: _Source) -> None:
    """What stands before a column's values."""
    name, inner = _split(kind)
    if name == "LowCardinality":
        source.skip(8)
    elif name in ("Array", "Nullable", "Map", "Tuple"):
        for part in inner:
            _prefix(part, column, source)


def _values(kind: str, column: str, count: int, source: _Source) -> None:
    name, inner = _split(kind)
    if not count:
        return
    if name in FIXED or name == "FixedString":
        source.skip(count * (int(inner[0]) if name == "FixedString" else FIXED[name]))
    elif name == "String":
        for _ in range(count):
            source.skip(source.varint())
    elif name == "LowCardinality":
        _coded(inner[0], column, count, source)
    elif name in ("Nullable", "Array", "Map", "Tuple"):
        if name == "Nullable":
            source.skip(count)
        elif name != "Tuple":
            count = int.from_bytes(source.take(8 * count)[-8:], "little")
        for part in inner:
            _values(part, column, count, source)
    elif source.told() is not None:
        raise source.broken()
    else:
        raise StoreRefused(f"column {column} is of type {kind[:80]}, which a backup cannot hold")


def _coded(kind: str, column: str, count: int, source: _Source) -> None:
    """A column as codes of a dictionary, which comes with it."""
    name, inner = _split(kind)
    keys = inner[0] if name == "Nullable" else kind
    while count > 0:
        flags = source.long()
        if flags & SHARED_KEYS or not flags & OWN_KEYS:
            raise StoreRefused(f"column {column}: a dictionary that stands elsewhere cannot be backed up")
        _values(keys, column, source.long(), source)
        here = source.long()
        if not here:
            raise StoreUnavailable(f"column {column}: {count} values are missing")
        source.skip(here << (flags & 255))
        count -= here


def _split(kind: str) -> tuple[str, list[str]]:
    """A type's name and what stands in its brackets: `Map(String, Array(Int64))` is Map of String and Array(Int64)."""
    name, _, inside = kind.partition("(")
    parts, depth, begun = [], 0, 0
    inside = inside[:-1]
    for place, letter in enumerate(inside):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            parts.append(inside[begun:place].strip())
            begun = place + 1
    return name, [*parts, inside[begun:].strip()]
