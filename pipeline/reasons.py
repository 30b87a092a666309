"""Reason codes: the factory's tree of causes, each with its place among the six big losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import FactoryFileError
from pipeline.yaml_lines import Node, parse

VERSION = 1  # of the format of factory.yaml, in which the tree stands
LOSSES = {  # the six big losses of S. Nakajima (TPM), and what is none of them
    "breakdown": "the machine fails and waits for its repair",
    "setup": "another product or tool is set up and adjusted",
    "idling": "idling and minor stops: jams, no material, nobody there, starved or blocked",
    "speed": "reduced speed: running slower than the ideal cycle time",
    "scrap": "process defects: scrap and rework of running production",
    "startup": "reduced yield: parts lost from a start until production is stable",
    "planned": "a planned stop, none of the six",
}


@dataclass(frozen=True)
class Reason:
    """One reason code. `path`: codes from the root of the tree to its own; `loss`: key of LOSSES, "" when not said."""

    code: str
    name: str
    path: tuple[str, ...]
    loss: str = ""


def rows(text: str) -> list[Reason]:
    """The reasons of a factory file that was applied, in its order; none when this version cannot read it."""
    try:
        top = parse(text, "factory.yaml").mapping()
        if "reasons" not in top or "version" not in top or top["version"].text() != str(VERSION):
            return []
        return list(read_reasons(top["reasons"]))
    except FactoryFileError:
        return []


def read_reasons(node: Node) -> tuple[Reason, ...]:
    """The tree that is written, every reason before those below it. Raises FactoryFileError at the first mistake."""
    found: dict[str, tuple[Reason, int]] = {}
    for place, line, reason in _below(node, (), ""):
        if reason.code in found:
            first, where = found[reason.code]
            problem = (
                f"the code {reason.code!r} stands in the tree already, as {' > '.join(first.path)} in line {where}"
            )
            place.fail(problem, "give one of them another code: codes are unique in the file", line)
        found[reason.code] = reason, line
    return tuple(reason for reason, _ in found.values())


def _below(node: Node, above: tuple[str, ...], loss: str) -> Iterator[tuple[Node, int, Reason]]:
    for code, entry in node.mapping().items():
        if len(code) > 200:
            node.fail(f"the code {code[:40]!r} ... is too long", "use up to 200 characters", node.keys[code])
        given = {} if entry.empty else entry.mapping(("name", "loss", "reasons"))
        name = given["name"].text() if "name" in given else code
        own = given["loss"].choice(LOSSES) if "loss" in given else loss
        path = (*above, code)
        yield entry, node.keys[code], Reason(code, name, path, own)
        if "reasons" in given:
            yield from _below(given["reasons"], path, own)


def tree(reasons: Sequence[Reason]) -> dict[str, Any]:
    """The reasons as they are written in factory.yaml."""
    known = {reason.path: reason for reason in reasons}
    top: dict[str, Any] = {}
    values: dict[tuple[str, ...], dict[str, Any]] = {}
    for path, reason in known.items():
        above = known.get(path[:-1])
        value: dict[str, Any] = {} if reason.name == reason.code else {"name": reason.name}
        value |= {"loss": reason.loss} if reason.loss != (above.loss if above else "") else {}
        values[path] = value
        siblings = values[path[:-1]].setdefault("reasons", {}) if above else top
        siblings[reason.code] = value
    return top
