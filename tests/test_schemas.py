"""The open data model: documented, released, only ever evolved in ways that old and new readers both understand."""

from __future__ import annotations

import copy
import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse

from pipeline import evolution, registry, schemas
from pipeline.cli.schemas import markdown
from pipeline.codec import Codec
from pipeline.core.model import Frame, Tick
from pipeline.errors import RegistryUnavailable, SchemaMismatch, UndecodableRecord, UnknownSchema
from pipeline.frame_reader import FINGERPRINT

FRAME = schemas.read(schemas.home(), "frame.avsc")


def changed(change: Callable[[dict[str, Any]], None], schema: dict[str, Any] = FRAME) -> dict[str, Any]:
    after = copy.deepcopy(schema)
    change(after)
    return after


def test_history_bundle_and_files_agree() -> None:
    assert evolution.check(schemas.home()) >= len(schemas.FILES)
    ids = [version.id for version in schemas.bundle()]
    assert ids == list(range(1, len(ids) + 1))  # a registry that numbers by itself gives the same
    assert schemas.current()["Frame"].fingerprint == FINGERPRINT, "frame_reader and frame_writer speak another Frame"


@pytest.mark.parametrize("file", schemas.FILES.values())
def test_every_field_is_documented_with_unit(file: str) -> None:
    def walk(schema: Any) -> None:
        if isinstance(schema, list):
            for part in schema:
                walk(part)
        elif isinstance(schema, dict):
            for field in schema.get("fields", []):
                assert len(field.get("doc", "")) > 3, f"{schema['name']}.{field['name']}"
                assert (
                    re.search(r"\[(ms|us|1)\]", field["doc"])
                    or not field["name"].endswith(("_ms", "_us"))
                    or (field["type"] == {"type": "map", "values": "long"})
                ), f"{schema['name']}.{field['name']} has no unit"
                walk(field["type"])
            for key in ("type", "items", "values"):
                walk(schema.get(key))

    walk(schemas.read(schemas.home(), file))


def test_the_readme_shows_every_record_as_it_is() -> None:
    text = (schemas.home() / "README.md").read_text(encoding="utf-8")
    for name, file in schemas.FILES.items():
        assert markdown(schemas.read(schemas.home(), file)) in text, f"{name}: openoee schemas list --markdown"


def both_ways(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """What Apache Avro's own library says of FULL compatibility."""
    checker, parsed = ReaderWriterCompatibilityChecker(), [parse(json.dumps(schema)) for schema in (one, other)]
    return all(
        checker.get_compatibility(reader, writer).compatibility is SchemaCompatibilityType.compatible
        for reader, writer in (parsed, parsed[::-1])
    )


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "doc": "New.", **more}


def test_a_new_field_with_a_default_is_allowed() -> None:
    after = changed(lambda schema: schema["fields"].append(field("shift", ["null", "string"], default=None)))
    assert evolution.differences(FRAME, after) == []
    assert both_ways(FRAME, after)


def test_documentation_and_spelling_are_no_change() -> None:
    def spell(schema: dict[str, Any]) -> None:
        schema["doc"] = "Other words."
        schema["fields"][0]["type"] = {"type": "string"}

    assert evolution.differences(FRAME, changed(spell)) == []


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no default": (lambda s: s["fields"].append(field("shift", "string")), "new field shift has no default"),
    "removed": (lambda s: s["fields"].pop(3), "field sequence is gone or renamed"),
    "renamed": (lambda s: s["fields"][1].update(name="origin"), "field source is gone or renamed"),
    "renamed inside": (
        lambda s: s["fields"][6]["type"]["items"]["fields"][1].update(name="status"),
        "field states.items.state is gone or renamed",
    ),
    "wider type": (lambda s: s["fields"][1].update(type="bytes"), "source changed its type from string to bytes"),
    "int for long": (lambda s: s["fields"][3].update(type="int"), "sequence changed its type from long to int"),
    "another unit": (
        lambda s: s["fields"][4]["type"].update(logicalType="timestamp-micros"),
        "sent changed its logicalType from timestamp-millis to timestamp-micros",
    ),
    "a further branch": (
        lambda s: s["fields"][6]["type"]["items"]["fields"][2].update(type=["null", "string", "int"]),
        "states.items.reason changed its type",
    ),
    "lost default": (lambda s: s["fields"][5].pop("default"), "field opening lost its default"),
    "another record": (lambda s: s.update(name="Telegram"), "schema changed its type"),
    "other items": (
        lambda s: s["fields"][10]["type"]["items"]["fields"][1]["type"].update(items="long"),
        "signals.items.offsets.items changed its type from int to long",
    ),
}


@pytest.mark.parametrize(("change", "text"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(change: Callable[[dict[str, Any]], Any], text: str) -> None:
    found = evolution.differences(FRAME, changed(change))
    assert len(found) >= 1
    assert text in found[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(schemas.home(), tmp_path / "avro"))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    (folder / "frame.avsc").write_text(json.dumps(changed(change, schemas.read(folder, "frame.avsc"))))


def test_a_release_is_a_version_with_the_next_id(folder: Path) -> None:
    last = max(version.id for version in schemas.read_bundle(folder))
    newest = schemas.current(schemas.read_bundle(folder))["Frame"].version
    assert schemas.release(folder) == []
    rewrite(folder, lambda schema: schema["fields"].append(field("shift", ["null", "string"], default=None)))
    with pytest.raises(SchemaMismatch, match="openoee schemas release"):
        evolution.check(folder)
    (added,) = schemas.release(folder)
    assert (added.name, added.version, added.id) == ("Frame", newest + 1, last + 1)
    evolution.check(folder)
    rewrite(folder, lambda schema: schema["fields"].pop())
    with pytest.raises(SchemaMismatch, match=f"avro/frame.avsc against version {newest + 1}: field shift is gone"):
        evolution.check(folder)


def test_a_released_schema_never_changes(folder: Path) -> None:
    path = folder / schemas.current(schemas.read_bundle(folder))["Interval"].file
    path.write_text(path.read_text().replace('"overtime"', '"extra"'))
    with pytest.raises(SchemaMismatch):
        evolution.check(folder)


@pytest.mark.parametrize(
    ("items", "bounded"),
    [
        ("null", False),
        ({"type": "null"}, False),
        ({"type": "record", "name": "E", "fields": []}, False),
        ({"type": "fixed", "name": "F", "size": 0}, False),
        ("string", True),
        (["null", "string"], True),
        ({"type": "record", "name": "E", "fields": [{"name": "x", "type": "int"}]}, True),
    ],
)
def test_items_that_take_no_bytes_are_seen(items: Any, bounded: bool) -> None:
    array = {"type": "array", "items": items}
    inside = {"type": "record", "name": "R", "fields": [{"name": "a", "type": ["null", array]}]}
    assert schemas.is_bounded(array) is bounded
    assert schemas.is_bounded(inside) is bounded


# A registry as the codec meets it: a few schemas over HTTP, away, slow, wrong


class Shelf(ThreadingHTTPServer):
    """Serves `schemas[id]` as a registry does, numbers from `first` or takes ids when it `imports`; keeps the calls."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Reader)
        self.schemas: dict[int, Any] = {}
        self.subjects: dict[tuple[str, int], tuple[int, Any]] = {}  # (subject, version) -> (id, schema)
        self.asked: list[str] = []
        self.imports, self.first = False, 1
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Reader(BaseHTTPRequestHandler):
    server: Shelf

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        parts = self.path.split("/")
        found: Any = None
        if parts[1] == "schemas" and int(parts[3]) in self.server.schemas:
            found = {"schema": json.dumps(self.server.schemas[int(parts[3])])}
        elif parts[1] == "subjects" and (parts[2], int(parts[4])) in self.server.subjects:
            ident, schema = self.server.subjects[parts[2], int(parts[4])]
            found = {"id": ident, "schema": json.dumps(schema)}
        self.answer(found)

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(f"{self.path} {' '.join(body.values())}")
        self.answer(body if self.server.imports or self.path.startswith("/config") else None)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        held, subject = self.server.subjects, self.path.split("/")[2]
        ident = body.get("id", len(held) + self.server.first)
        version = body.get("version", 1 + sum(name == subject for name, _ in held))
        held[subject, version] = (ident, json.loads(body["schema"]))
        self.answer({"id": ident})

    def answer(self, found: Any) -> None:
        body = json.dumps(found or {"error_code": 40403, "message": "not found"}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        return None


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with Shelf() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def as_id(value: bytes, ident: int) -> bytes:
    return b"\0" + ident.to_bytes(4, "big") + value[5:]


def test_a_newer_writer_is_understood_through_the_registry(shelf: Shelf) -> None:
    """A gateway of a later release adds a field; its records are read as ours, the schema is fetched once."""
    codec = Codec(shelf.url)
    newer = changed(lambda schema: schema["fields"].append(field("shift", ["null", "string"], default=None)))
    shelf.schemas[77] = newer
    value = as_id(codec.encode(Frame("m", "s", 0, 5, 0)), 77) + b"\2\6abc"
    for _ in range(3):
        assert codec.decode(value) == Frame("m", "s", 0, 5, 0)
    assert shelf.asked == ["/schemas/ids/77"]
    with pytest.raises(UndecodableRecord):
        codec.decode(value[:-1])


def test_ids_of_strangers_are_refused_and_not_asked_for_again(shelf: Shelf) -> None:
    codec = Codec(shelf.url)
    shelf.schemas[5000] = {"type": "record", "name": "Order", "namespace": "com.shop", "fields": []}
    for ident, text in ((5000, "com.shop.Order"), (5001, "neither in the bundle nor in")):
        for _ in range(3):
            with pytest.raises(UnknownSchema, match=text):
                codec.decode(as_id(codec.encode(Frame("m", "s", 0, 5, 0)), ident))
    assert shelf.asked.count("/schemas/ids/5001") == 1
    assert shelf.asked.count("/schemas/ids/5000") == 1


def test_the_registry_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known ids go on; an unknown one is tried again for a bounded time, then parked, the next ones at once."""
    monkeypatch.setattr(registry.Lookup, "patience_s", 0.2)
    codec = Codec("http://127.0.0.1:9")
    value = codec.encode(Frame("m", "s", 0, 5, 0))
    assert codec.decode(value) == Frame("m", "s", 0, 5, 0)
    with pytest.raises(RegistryUnavailable, match="does not answer"):
        codec.decode(as_id(value, 77))

    def tried_again() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(RegistryUnavailable):
                codec.decode(as_id(value, 77))

    with pytest.raises(UnknownSchema, match="does not answer"):
        tried_again()
    with pytest.raises(UnknownSchema, match="is away"):
        codec.decode(as_id(value, 78))
    assert codec.decode(value) == Frame("m", "s", 0, 5, 0)


def test_a_registry_that_disagrees_stops_us(shelf: Shelf) -> None:
    versions = schemas.bundle()
    with pytest.raises(SchemaMismatch, match="openoee schemas register"):
        registry.compare(shelf.url, versions)
    shelf.subjects = {(version.subject, version.version): (version.id, version.schema()) for version in versions}
    registry.compare(shelf.url, versions)
    for version in (schemas.current()["OeeFact"], versions[2]):
        place, named = (version.subject, version.version), f"org.openoee.OeeFact version {version.version}"
        shelf.subjects[place] = (4711, version.schema())
        with pytest.raises(SchemaMismatch, match=f"{named} as id 4711, the bundle writes id {version.id}"):
            registry.compare(shelf.url, versions)
        shelf.subjects[place] = (version.id, versions[3].schema())
        with pytest.raises(SchemaMismatch, match=rf"another schema as {named}, id {version.id} \(fingerprint"):
            registry.compare(shelf.url, versions)
        shelf.subjects[place] = (version.id, version.schema())


def test_registering_gives_the_ids_of_the_bundle_or_says_that_it_cannot(shelf: Shelf) -> None:
    """Empty: it numbers as we do. With import mode: it takes our ids. Else its ids are others, and we stop."""
    versions, folder = schemas.bundle(), schemas.home()
    assert registry.register(shelf.url, versions, folder) == list(versions)
    assert registry.register(shelf.url, versions, folder) == []
    shelf.subjects.clear()
    shelf.first = 100
    with pytest.raises(SchemaMismatch, match=r"holds org.openoee.Frame version 1 as id 100, the bundle writes id 1"):
        registry.register(shelf.url, versions, folder)
    shelf.subjects.clear()
    shelf.asked.clear()
    shelf.imports = True
    registry.register(shelf.url, versions, folder)
    held = {place: ident for place, (ident, _) in shelf.subjects.items()}
    assert held == {(version.subject, version.version): version.id for version in versions}
    modes = [call for call in shelf.asked if call.startswith("/mode/org.openoee.Anomaly")]
    assert modes == ["/mode/org.openoee.Anomaly?force=true IMPORT", "/mode/org.openoee.Anomaly READWRITE"]


def test_a_control_of_another_kind_is_no_control() -> None:
    with pytest.raises(UndecodableRecord):
        Codec().decode(b"\0\0\0\0\2" + b"\2m\2i\0\2b" + b"\x0a" + b"\0")
    assert Codec().decode(b"\0\0\0\0\2" + b"\2m\2i\0\2b" + b"\x04" + b"\x0e").body == Tick(7)  # type: ignore[union-attr]


def test_a_process_starts_only_when_the_registry_agrees_or_is_away(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SchemaMismatch, match="openoee schemas register"):
        Codec.agreed(shelf.url)
    registry.register(shelf.url, schemas.bundle(), schemas.home())
    Codec.agreed(shelf.url)
    assert caplog.text == ""
    Codec.agreed("http://127.0.0.1:9")
    assert "going on with the committed schemas" in caplog.text
