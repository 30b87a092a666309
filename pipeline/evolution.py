"""How a schema may change: FULL_TRANSITIVE, so that producers and consumers are upgraded in any order.

Every version must be able to read every other, before and after it. What is left of Avro's rules when both directions
must hold for ever is short: a new field needs a default; nothing else about the data changes. We add that a field is
never removed (nor renamed, which is the same): somebody's SQL stands on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline import schemas
from pipeline.errors import SchemaMismatch


def differences(old: Any, new: Any) -> list[str]:
    """What makes `new` no successor of `old`: one sentence each; empty when it may be released."""
    return _differences(old, new, {}, {}, "")


def check(folder: Path) -> int:
    """Compare each schema of a folder with every released version of it; returns the number of comparisons.

    Raises SchemaMismatch naming file, version and every difference, or a history that does not agree with the bundle.
    """
    count = check_changes(folder)
    schemas.verify_files(folder)
    return count


def check_changes(folder: Path) -> int:
    """The same for schemas that may have changed since their last release, but not yet been released again."""
    released, problems, count = schemas.read_bundle(folder), [], 0
    for version in released:
        later = [(f"avro/{v.file}", v.schema(folder)) for v in released if v.name == version.name and v.id > version.id]
        file = schemas.FILES[version.name]
        for path, schema in [*later, (f"avro/{file}", schemas.read(folder, file))]:
            count += 1
            found = differences(version.schema(folder), schema)
            problems += [f"{path} against version {version.version}: {difference}" for difference in found]
    if problems:
        raise SchemaMismatch("the schemas are not FULL_TRANSITIVE:\n  " + "\n  ".join(problems))
    return count


def _differences(old: Any, new: Any, old_names: dict[str, Any], new_names: dict[str, Any], at: str) -> list[str]:
    if isinstance(old, str) and old in old_names and old == new:
        return []  # named again: compared where it was defined
    old, new = _resolved(old, old_names), _resolved(new, new_names)
    kinds = _kind(old), _kind(new)
    if kinds[0] != kinds[1]:
        return [f"{at or 'schema'} changed its type from {kinds[0]} to {kinds[1]}"]
    if isinstance(old, list):
        found = []
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            found += _differences(before, after, old_names, new_names, f"{at}[{index}]")
        return found
    if old["type"] == "record":
        return _record_differences(old, new, old_names, new_names, at)
    found = [
        f"{at or 'schema'} changed its {key} from {old.get(key)} to {new.get(key)}"
        for key in ("logicalType", "symbols", "size", "precision", "scale")
        if old.get(key) != new.get(key)
    ]
    for key in ("items", "values"):
        if key in old:
            found += _differences(old[key], new[key], old_names, new_names, f"{at}.{key}")
    return found


def _record_differences(
    old: dict[str, Any], new: dict[str, Any], old_names: dict[str, Any], new_names: dict[str, Any], at: str
) -> list[str]:
    before = {field["name"]: field for field in old["fields"]}
    after = {field["name"]: field for field in new["fields"]}
    prefix = f"{at}." if at else ""
    found = [f"field {prefix}{name} is gone or renamed" for name in before if name not in after]
    found += [f"new field {prefix}{n} has no default" for n in after if n not in before and "default" not in after[n]]
    for name, field in before.items():
        if name in after:
            if "default" in field and "default" not in after[name]:
                found.append(f"field {prefix}{name} lost its default")
            found += _differences(field["type"], after[name]["type"], old_names, new_names, prefix + name)
    return found


def _resolved(schema: Any, names: dict[str, Any]) -> Any:
    """A named type in full, remembered by name; a primitive always as {"type": "long"}."""
    if isinstance(schema, dict) and "name" in schema:
        names[schema["name"]] = schema
    if isinstance(schema, dict) and isinstance(schema["type"], (dict, list)):
        return _resolved(schema["type"], names)
    return names.get(schema, {"type": schema}) if isinstance(schema, str) else schema


def _kind(schema: Any) -> str:
    """What must stay the same: the type, for a named one with its name, for a union its branches."""
    if isinstance(schema, list):
        return "union of " + ", ".join(_kind(branch) for branch in schema)
    if isinstance(schema, str):
        return schema
    kind = str(schema["type"])
    return f"{kind} {schema['name']}" if "name" in schema else kind
