"""The committed Avro schemas: every version of every record, the id it has on the wire, and the compatibility rule."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastavro.schema import fingerprint as avro_fingerprint
from fastavro.schema import to_parsing_canonical_form

from pipeline.errors import SchemaMismatch

NAMESPACE = "org.openoee"
FILES = {  # record -> its current schema, in the order in which ids are given
    "Frame": "frame.avsc",
    "Control": "control.avsc",
    "OeeFact": "oee_fact.avsc",
    "Interval": "interval.avsc",
    "Anomaly": "anomaly.avsc",
    "DeadLetter": "dead_letter.avsc",
    "State": "state.avsc",
    "FactoryFile": "factory_file.avsc",
    "Incident": "incident.avsc",
    "Notice": "notice.avsc",
}


@dataclass(frozen=True)
class Version:
    """One version of one record's schema: `id` stands in the wire format, `fingerprint` is the SHA-256 of its form.

    `subject` is the registry's name for it: the record's full name (RecordNameStrategy).
    """

    name: str
    subject: str
    version: int
    id: int
    fingerprint: str
    file: str

    def schema(self, folder: Path | None = None) -> dict[str, Any]:
        """The schema as it was released."""
        return read(folder or home(), self.file)


def home() -> Path:
    """Folder of the open data model: inside the installed package, else beside it in the source tree."""
    inside = Path(__file__).parent / "avro"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "avro"


def read(folder: Path, file: str) -> dict[str, Any]:
    """A schema file as JSON."""
    schema: dict[str, Any] = json.loads((folder / file).read_text(encoding="utf-8"))
    return schema


@lru_cache(maxsize=1)
def bundle() -> tuple[Version, ...]:
    """Every released version, by id."""
    return read_bundle(home())


def read_bundle(folder: Path) -> tuple[Version, ...]:
    """The released versions that `bundle.json` of a folder lists, by id."""
    rows = json.loads((folder / "bundle.json").read_text(encoding="utf-8")) if (folder / "bundle.json").exists() else []
    return tuple(sorted((Version(**row) for row in rows), key=lambda version: version.id))


def current(versions: Iterable[Version] | None = None) -> dict[str, Version]:
    """The newest version of each record: what is written."""
    newest: dict[str, Version] = {}
    for version in bundle() if versions is None else versions:
        if version.name not in newest or newest[version.name].version < version.version:
            newest[version.name] = version
    return newest


def fingerprint(schema: Any) -> str:
    """SHA-256 of a schema's Parsing Canonical Form: equal when the bytes on the wire mean the same."""
    return str(avro_fingerprint(to_parsing_canonical_form(schema), "sha256"))


def without_logical_types(schema: Any) -> Any:
    """The schema with times and dates as the integers that they are on the wire."""
    if isinstance(schema, dict):
        return {key: without_logical_types(value) for key, value in schema.items() if key != "logicalType"}
    if isinstance(schema, list):
        return [without_logical_types(part) for part in schema]
    return schema


def full_name(schema: Any) -> str:
    """Namespace and name of a named schema; empty for anything else."""
    if not isinstance(schema, dict):
        return ""
    name, space = str(schema.get("name", "")), str(schema.get("namespace", ""))
    return name if "." in name or not space else f"{space}.{name}"


def record_name(schema: Any) -> str | None:
    """Our name of the record that a schema describes; None for a record that is not ours."""
    space, _, name = full_name(schema).rpartition(".")
    return name if space == NAMESPACE and name in FILES else None


def is_bounded(schema: Any) -> bool:
    """Whether every item of an array or map takes at least a byte, so that few bytes cannot claim endless items."""
    if isinstance(schema, list):
        return all(is_bounded(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    kind = schema.get("type")
    if kind == "array":
        return schema["items"] != "null" and not _is_empty(schema["items"]) and is_bounded(schema["items"])
    if kind == "record":
        return all(is_bounded(field["type"]) for field in schema["fields"])
    if isinstance(kind, (dict, list)):
        return is_bounded(kind)
    return is_bounded(schema["values"]) if kind == "map" else True


def _is_empty(schema: Any) -> bool:
    if schema == "null":
        return True
    if not isinstance(schema, dict):
        return False
    kind = schema.get("type")
    if kind == "record":
        return all(_is_empty(field["type"]) for field in schema["fields"])
    return kind == "null" or (kind == "fixed" and schema["size"] == 0) or (isinstance(kind, dict) and _is_empty(kind))


def release(folder: Path) -> list[Version]:
    """Write every schema that changed since its last release into the history, as a version with the next free id.

    A change of documentation only is no new version: it replaces the text of the last one.
    """
    versions = list(read_bundle(folder))
    newest, added = current(versions), []
    for name, file in FILES.items():
        text = (folder / file).read_text(encoding="utf-8")
        mark, last = fingerprint(json.loads(text)), newest.get(name)
        if last is None or last.fingerprint != mark:
            number = 1 if last is None else last.version + 1
            path = f"history/{name}/v{number}.avsc"
            ident = max((version.id for version in versions), default=0) + 1
            last = Version(name, f"{NAMESPACE}.{name}", number, ident, mark, path)
            versions.append(last)
            added.append(last)
        (folder / last.file).parent.mkdir(parents=True, exist_ok=True)
        (folder / last.file).write_text(text, encoding="utf-8")
    rows = ",\n".join("  " + json.dumps(asdict(version)) for version in versions)
    (folder / "bundle.json").write_text(f"[\n{rows}\n]\n", encoding="utf-8")
    return added


def verify_files(folder: Path) -> None:
    """Raise SchemaMismatch when a schema, its history and the bundle do not tell the same story."""
    versions = read_bundle(folder)
    for version in versions:
        found = fingerprint(version.schema(folder))
        if found != version.fingerprint:
            raise SchemaMismatch(
                f"avro/{version.file} has fingerprint {found[:12]}, bundle.json says {version.fingerprint[:12]}:"
                " a released schema never changes; restore it and release a new version"
            )
    newest = current(versions)
    for name, file in FILES.items():
        if name not in newest or fingerprint(read(folder, file)) != newest[name].fingerprint:
            raise SchemaMismatch(f"avro/{file} differs from its last release: run `openoee schemas release`")
