"""What the bytes of a record say, as JSON, up to the fault if there is one; and a record of the line made of such JSON.

Times stay milliseconds, as on the wire; bytes are hex, a number that is none is null, infinities are texts. Where the
schema leaves a choice between records, the value stands under the name of the chosen one: {"Tick": {...}}.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, partial
from typing import Any

from fastavro import parse_schema, schemaless_writer

from pipeline import schemas
from pipeline.errors import ParkError, UndecodableRecord, UnknownSchema, UsageError
from pipeline.registry import Lookup

HEADER = struct.Struct(">BI")
DOUBLE, FLOAT = struct.Struct("<d"), struct.Struct("<f")
Put = Callable[[Any], None]


@dataclass(frozen=True)
class Said:
    """Name of the record (empty: unknown), what could be read of it (None: nothing), what kept the rest from it."""

    name: str
    record: Any
    fault: str = ""


def said(value: bytes | None, registry: Lookup | None = None) -> Said:
    """What these bytes say; never raises for what they hold. Raises RegistryUnavailable for an id that it must ask."""
    try:
        name, schema = _schema(value, registry)
    except ParkError as error:
        return Said("", None, str(error))
    found: list[Any] = []
    walk = _Walk(value or b"", HEADER.size, _names(schema))
    try:
        walk.value(schema, found.append)
    except UndecodableRecord as error:
        return Said(name, found[0] if found else None, f"byte {walk.p:,}, {walk.where}: {error}")
    left = len(walk.data) - walk.p
    return Said(name, found[0], f"byte {walk.p:,}: {left:,} bytes after the {name}" if left else "")


def written(name: str, record: Any) -> bytes:
    """The bytes of a record, with the newest schema of that name. Raises UsageError naming the field that is wrong."""
    newest = schemas.current().get(name)
    if newest is None:
        raise UsageError(f"{name!r} is no record of this line: expected one of {', '.join(schemas.FILES)}")
    schema = newest.schema()
    plain = schemas.without_logical_types(schema)
    row = _back(plain, record, _names(plain), name)
    out = io.BytesIO()
    out.write(HEADER.pack(0, newest.id))
    try:
        schemaless_writer(out, parse_schema(plain), row)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, struct.error) as error:
        raise UsageError(f"this is no valid {name}: {type(error).__name__} {error}") from None
    return out.getvalue()


def _schema(value: bytes | None, registry: Lookup | None) -> tuple[str, Any]:
    """Name and schema of the record, by the id in front of it. Raises ParkError."""
    if not value or len(value) < HEADER.size:
        raise UndecodableRecord(f"{len(value or b'')} bytes are too few for a header")
    magic, ident = HEADER.unpack_from(value)
    if magic != 0:
        raise UndecodableRecord(f"first byte is {magic}, not 0: not in Confluent's wire format")
    known = _bundle().get(ident)
    if known is not None:
        return known
    if registry is None:
        raise UnknownSchema(f"schema id {ident} is not in the bundle, and no registry is set (OPENOEE_REGISTRY)")
    schema = registry.schema(ident)
    if not schemas.is_bounded(schema):
        raise UnknownSchema(f"schema id {ident} lets few bytes claim endless items")
    return schemas.full_name(schema).rpartition(".")[2], schemas.without_logical_types(schema)


@cache
def _bundle() -> Mapping[int, tuple[str, Any]]:
    return {one.id: (one.name, schemas.without_logical_types(one.schema())) for one in schemas.bundle()}


class _Walk:
    """Avro read from left to right; what is read is handed over at once, so that it is there when the rest is not."""

    def __init__(self, data: bytes, p: int, names: Mapping[str, Any]) -> None:
        self.data, self.p = data, p
        self.path: list[str] = []
        self._names = names

    @property
    def where(self) -> str:
        """The field at hand, as `signals[0].offsets`."""
        return ".".join(filter(None, self.path)).replace(".[", "[") or "record"

    def value(self, schema: Any, put: Put) -> None:
        """One value of a schema. Raises UndecodableRecord; `p` and `path` tell where."""
        schema = _resolved(schema, self._names)
        if isinstance(schema, list):
            self._union(schema, put)
            return
        kind = schema["type"]
        if kind == "record":
            self._record(schema, put)
        elif kind in ("array", "map"):
            self._blocks(schema, put)
        elif kind in _PLAIN:
            put(_PLAIN[kind](self))
        elif kind == "fixed":
            put(self._take(schema["size"]).hex())
        elif kind == "enum":
            put(self._one_of(schema["symbols"]))
        else:
            raise UndecodableRecord(f"type {kind!r} is not spoken here")

    def _union(self, branches: list[Any], put: Put) -> None:
        branch = self._one_of(branches)
        name = _label(branch, branches, self._names)
        if name is None:
            self.value(branch, put)
        else:
            held: dict[str, Any] = {}
            put(held)
            self.value(branch, partial(held.__setitem__, name))

    def _record(self, schema: Any, put: Put) -> None:
        row: dict[str, Any] = {}
        put(row)
        for field in schema["fields"]:
            self.path.append(field["name"])
            self.value(field["type"], partial(row.__setitem__, field["name"]))
            self.path.pop()

    def _blocks(self, schema: Any, put: Put) -> None:
        rows: list[Any] = []
        table: dict[str, Any] = {}
        put(rows if schema["type"] == "array" else table)
        self.path.append("")
        while count := self.long():
            if count < 0:
                count, size = -count, self.long()
                if not 0 <= size <= len(self.data) - self.p:
                    raise UndecodableRecord(f"a block of {size} bytes where {len(self.data) - self.p} are left")
            for _ in range(count):
                if schema["type"] == "map":
                    key = self.text()
                    self.path[-1] = key
                    self.value(schema["values"], partial(table.__setitem__, key))
                else:
                    self.path[-1] = f"[{len(rows)}]"
                    self.value(schema["items"], rows.append)
        self.path.pop()

    def _one_of(self, choices: list[Any]) -> Any:
        place = self.long()
        if not 0 <= place < len(choices):
            raise UndecodableRecord(f"choice {place} of {len(choices)}")
        return choices[place]

    def _take(self, size: int) -> bytes:
        left = len(self.data) - self.p
        if not 0 <= size <= left:
            raise UndecodableRecord(f"{size} bytes are wanted where {left} are left")
        self.p += size
        return self.data[self.p - size : self.p]

    def long(self) -> int:
        """A zigzag varint."""
        found = shift = 0
        while True:
            byte = self._take(1)[0]
            found |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > 63:
                raise UndecodableRecord("a number is longer than 10 bytes")
        return (found >> 1) ^ -(found & 1)

    def text(self) -> str:
        raw = self._take(self.long())
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise UndecodableRecord(f"a text is no UTF-8: {raw[:40]!r} ({error.reason})") from None

    def flag(self) -> bool:
        byte = self._take(1)[0]
        if byte > 1:
            raise UndecodableRecord(f"a boolean is {byte}")
        return byte == 1

    def number(self, shape: struct.Struct) -> float | str | None:
        (found,) = shape.unpack(self._take(shape.size))
        return None if math.isnan(found) else str(found) if math.isinf(found) else float(found)


_PLAIN: dict[str, Callable[[_Walk], Any]] = {
    "null": lambda _: None, "boolean": _Walk.flag, "int": _Walk.long, "long": _Walk.long, "string": _Walk.text,
    "bytes": lambda walk: walk._take(walk.long()).hex(), "double": lambda walk: walk.number(DOUBLE),
    "float": lambda walk: walk.number(FLOAT),
}  # fmt: skip


def _names(schema: Any) -> dict[str, Any]:
    """Every named type in a schema, by its last name."""
    found: dict[str, Any] = {}
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            if "name" in one and one["type"] in ("record", "enum", "fixed"):
                found.setdefault(str(one["name"]).rpartition(".")[2], one)
            waiting += [one[key] for key in ("fields", "type", "items", "values") if key in one]
    return found


def _resolved(schema: Any, names: Mapping[str, Any]) -> Any:
    """A list of branches, or a schema with its type as a word."""
    while isinstance(schema, str) or (isinstance(schema, dict) and isinstance(schema["type"], dict | list)):
        known = names.get(schema.rpartition(".")[2], {"type": schema}) if isinstance(schema, str) else schema["type"]
        schema = known
    return schema


def _label(branch: Any, branches: list[Any], names: Mapping[str, Any]) -> str | None:
    """The name under which a branch's value stands; None where there is nothing to mistake it for."""
    resolved = _resolved(branch, names)
    if sum(one != "null" for one in branches) < 2 or not isinstance(resolved, dict) or "name" not in resolved:
        return None
    return str(resolved["name"]).rpartition(".")[2]


def _back(schema: Any, value: Any, names: Mapping[str, Any], path: str) -> Any:
    """JSON as the values that fastavro writes. Raises UsageError."""
    schema = _resolved(schema, names)
    if isinstance(schema, list):
        return _back_union(schema, value, names, path)
    kind = schema["type"]
    try:
        if kind == "record":
            return _back_record(schema, value, names, path)
        if kind == "array":
            return [_back(schema["items"], one, names, f"{path}[{place}]") for place, one in enumerate(value)]
        if kind == "map":
            return {key: _back(schema["values"], one, names, f"{path}.{key}") for key, one in value.items()}
        if kind in ("double", "float"):
            return math.nan if value is None else float(value)
        return bytes.fromhex(value) if kind in ("bytes", "fixed") else value
    except (AttributeError, TypeError, ValueError):
        raise UsageError(f"{path} is {str(value)[:60]!r}: expected {kind}") from None


def _back_record(schema: Any, value: Any, names: Mapping[str, Any], path: str) -> Any:
    known = {field["name"]: field for field in schema["fields"]}
    for name in value.keys() - known.keys():
        near = get_close_matches(name, known, 1)
        raise UsageError(f"{path} has no field {name!r}" + (f": did you mean {near[0]!r}?" if near else ""))
    for name, field in known.items():
        if name not in value and "default" not in field:
            raise UsageError(f"{path} lacks the field {name!r} ({field.get('doc', 'see avro/README.md')})")
    return {
        name: _back(field["type"], value[name], names, f"{path}.{name}")
        for name, field in known.items() if name in value
    }  # fmt: skip


def _back_union(branches: list[Any], value: Any, names: Mapping[str, Any], path: str) -> Any:
    if value is None and "null" in branches:
        return None
    others = [branch for branch in branches if branch != "null"]
    labels = {_label(branch, branches, names): branch for branch in others}
    if None in labels:
        return _back(others[0], value, names, path)
    if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in labels:
        raise UsageError(f"{path}: expected one of {', '.join(map(str, labels))} with its fields under it")
    ((name, inner),) = value.items()
    return (f"{schemas.NAMESPACE}.{name}", _back(labels[name], inner, names, f"{path}.{name}"))
