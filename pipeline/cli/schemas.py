"""`openoee schemas`: the Avro schemas of the open data model, listed, checked, registered, released."""

from __future__ import annotations

import json
from typing import Any

import click

from pipeline import settings
from pipeline.cli.answer import answer, columns, json_option


@click.group(epilog="Example: openoee schemas check --registry http://127.0.0.1:8081/apis/ccompat/v7")
def command() -> None:
    """List, check, register and release the Avro schemas."""


@command.command("list", epilog="Example: openoee schemas list")
@click.option("--markdown", "as_markdown", is_flag=True, help="Every record field by field, as in avro/README.md.")
@click.option("--json", "as_json", is_flag=True, help="For programs: an array of objects.")
def list_(as_markdown: bool, as_json: bool) -> None:
    """Print every released version: id on the wire, subject in the registry, fingerprint, file."""
    from pipeline import schemas

    if as_markdown:
        click.echo("\n".join(markdown(schemas.read(schemas.home(), file)) for file in schemas.FILES.values()), nl=False)
        return
    rows = [("id", "record", "version", "subject", "fingerprint", "file")]
    for version in schemas.bundle():
        ident, number = str(version.id), str(version.version)
        mark, file = version.fingerprint[:12], f"avro/{version.file}"
        rows.append((ident, version.name, number, version.subject, mark, file))
    if as_json:
        click.echo(json.dumps([dict(zip(rows[0], row, strict=True)) for row in rows[1:]], indent=1))
        return
    for line in columns(rows):
        click.echo(line)


@command.command(epilog="Example: openoee schemas check")
@json_option
@settings.options("registry")
def check(as_json: bool, **flags: Any) -> None:
    """Check the schemas against every released version (FULL_TRANSITIVE), and the bundle against the registry."""
    from pipeline import evolution, registry, schemas

    count = evolution.check(schemas.home())
    lines = [f"{len(schemas.FILES)} records, {count} comparisons with the history: FULL_TRANSITIVE"]
    at = settings.load(flags).registry
    if at:
        registry.compare(at, schemas.bundle())
        lines.append(f"{at.url}: {len(schemas.bundle())} schemas, ids and fingerprints agree")
    told = {"records": len(schemas.FILES), "comparisons": count, "compatibility": "FULL_TRANSITIVE"}
    answer({**told, "registry": at.url if at else None}, lines, as_json)


@command.command(epilog="Example: openoee schemas register --registry http://127.0.0.1:8081/apis/ccompat/v7")
@json_option
@settings.options("registry")
def register(as_json: bool, **flags: Any) -> None:
    """Put the released schemas into the registry under their ids; again changes nothing."""
    from pipeline import registry, schemas
    from pipeline.errors import UsageError

    at = settings.load(flags).registry
    if not at:
        raise UsageError("no registry is set: give --registry URL or OPENOEE_REGISTRY")
    added = registry.register(at, schemas.bundle(), schemas.home())
    lines = [f"registered {version.subject} version {version.version} as id {version.id}" for version in added]
    told = [{"id": version.id, "subject": version.subject, "version": version.version} for version in added]
    agree = len(schemas.bundle())
    answer({"registry": at.url, "registered": told, "schemas": agree},
           [*lines, f"{at.url}: {agree} schemas, ids and fingerprints agree"], as_json)  # fmt: skip


@command.command(epilog="Example: openoee schemas release")
@json_option
def release(as_json: bool) -> None:
    """Add changed schemas of a source tree to history and bundle, with the next ids, if they are FULL_TRANSITIVE."""
    from pipeline import evolution, schemas

    evolution.check_changes(schemas.home())
    made = schemas.release(schemas.home())
    evolution.check(schemas.home())
    lines = [f"released {one.name} version {one.version} as id {one.id}: avro/{one.file}" for one in made]
    told = [{"id": one.id, "record": one.name, "version": one.version, "file": f"avro/{one.file}"} for one in made]
    answer(told, lines, as_json)


def markdown(schema: Any) -> str:
    """The tables of a record and of the records inside it, outermost first."""
    tables, waiting = [], [(schema, "###")]
    while waiting:
        record, rank = waiting.pop(0)
        rows = [f"| `{field['name']}` | {_type(field['type'])} | {field['doc']} |" for field in record["fields"]]
        head = [f"{rank} {record['name']}", "", record["doc"], "", "| field | type | meaning |", "|---|---|---|"]
        tables.append("\n".join(head + rows))
        waiting += [(inner, "####") for field in record["fields"] for inner in _records(field["type"])]
    return "\n\n".join(tables) + "\n"


def _records(kind: Any) -> list[Any]:
    if isinstance(kind, list):
        return [record for branch in kind for record in _records(branch)]
    if not isinstance(kind, dict):
        return []
    return [kind] if kind["type"] == "record" else _records(kind.get("items", kind.get("values")))


def _type(kind: Any) -> str:
    if isinstance(kind, list):
        return " or ".join(_type(branch) for branch in kind)
    if not isinstance(kind, dict):
        return str(kind)
    if kind["type"] == "record":
        return str(kind["name"])
    if kind["type"] in ("array", "map"):
        return f"{kind['type']} of {_type(kind.get('items', kind.get('values')))}"
    return str(kind.get("logicalType", kind["type"]))
