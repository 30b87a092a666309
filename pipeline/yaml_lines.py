"""YAML read with its line numbers, so that every mistake in a file can be named where it stands."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import yaml

from pipeline.errors import FactoryFileError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_BYTES = 16 * 2**20
MAX_DEPTH = 16
MAX_ALIASES = 10_000
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?[0-2]?\d{1,2})?")  # fits a float
TRUE, FALSE = ("true", "yes", "on"), ("false", "no", "off")
SYNTAX = (  # what the parser says -> what a person does about it
    ("alphabetic or numeric", "put quotes around a name that begins with * or &, as in '*'"),
    ("mapping values are not allowed", "look for a missing blank after a colon, a second colon, or wrong indentation"),
    ("could not find expected ':'", "look for a missing colon, or a missing blank after one, here or one line above"),
    ("expected key", "lines of one block must begin in the same column"),
    ("block end", "lines of one block must begin in the same column"),
    ("'-' indicator", "lines of one list must each begin with a dash, in the same column"),
    ("expected ',' or", "close the bracket, or put a comma between its entries"),
    ("document start", "there is a closing bracket too many"),
    ("end of stream", "a quote is never closed"),
    ("cannot start any token", "put quotes around a value that begins with % @ or a backquote"),
    ("undefined alias", "give the anchor (&name) before the alias (*name)"),
)


@dataclass(slots=True)
class Node:
    """One value of a YAML file: text, a list or a mapping, and where it stands.

    Scalars are kept as they are written: 22:00, 0815, on and no stay text until a reader asks for something else.
    """

    file: str
    line: int
    path: str
    value: str | list[Node] | dict[str, Node]
    plain: bool = False
    keys: dict[str, int] = field(default_factory=dict)  # line of each key of a mapping

    def fail(self, problem: str, remedy: str, line: int | None = None) -> NoReturn:
        """Raise the FactoryFileError that names this place."""
        where = f"{self.path}: " if self.path else ""
        raise FactoryFileError(f"{self.file}:{line or self.line}: {where}{problem}; {remedy}")

    @property
    def empty(self) -> bool:
        """True where nothing (or null) is written."""
        return self.plain and self.value in ("", "~", "null", "Null", "NULL")

    def text(self, what: str = "a name") -> str:
        """The scalar as it is written, without surrounding blanks; refuses empty and unprintable ones."""
        if self.empty or self.value == "":
            self.fail("nothing is given here", f"write {what}, or delete the line")
        if not isinstance(self.value, str):
            self.fail(f"this is {self._kind()}, not {what}", f"write {what}")
        text = self.value.strip()
        if not text or not text.isprintable() or len(text) > 200:
            self.fail(f"{text[:40]!r} cannot be {what}", "use 1 to 200 printable characters")
        return text

    def number(self, what: str = "a number") -> Decimal:
        """The exact decimal number that is written; refuses anything else, infinities included."""
        text = self.text(what)
        if NUMBER.fullmatch(text):
            return Decimal(text)
        remedy = f"write {what}, in digits"
        if re.fullmatch(r"[-+]?\d+,\d+", text):
            remedy = f"write a decimal point: {text.replace(',', '.')}"
        elif unit := re.fullmatch(r"([-+]?\d[\d.]*)\s*(%|[a-zA-Z]+)", text):
            remedy = f"write the number alone ({unit[1]}), in the unit that the key names"
        return self.fail(f"{text!r} is not {what}", remedy)

    def integer(self, low: int, high: int, what: str = "a whole number") -> int:
        """The whole number that is written, low <= number <= high."""
        number = self.number(what)
        if number != int(number):
            self.fail(f"{number} is not a whole number", f"write {what} from {low} to {high}")
        if not low <= number <= high:
            self.fail(f"{number} is out of range", f"write {what} from {low} to {high}")
        return int(number)

    def boolean(self) -> bool:
        """True for true, yes and on; false for false, no and off."""
        text = self.text("true or false").lower()
        if text not in TRUE + FALSE:
            self.fail(f"{text!r} is neither true nor false", "write true or false")
        return text in TRUE

    def choice(self, known: Collection[str]) -> str:
        """One of the known words."""
        text = self.text("one of " + ", ".join(known))
        if text not in known:
            self.fail(f"{text!r} is unknown", nearest(text, known))
        return text

    def items(self, what: str) -> list[Node]:
        """The entries of a list."""
        if not isinstance(self.value, list):
            problem = "nothing is given here" if self.empty else f"this is {self._kind()}, not a list"
            self.fail(problem, f"write a list of {what}, each after a dash or all in [ ]")
        return self.value

    def mapping(self, known: Collection[str] | None = None, required: Collection[str] = ()) -> dict[str, Node]:
        """The entries of a mapping; refuses keys outside `known` (None: any name) and the lack of a required one."""
        if not isinstance(self.value, dict):
            example = f"such as `{next(iter(required or known or ['name']))}: ...`"
            problem = "nothing is given here" if self.empty else f"this is {self._kind()}, not a mapping"
            self.fail(problem, f"write lines of `key: value`, {example}")
        for key in self.value:
            if known is not None and key not in known:
                self.fail(f"unknown key {key!r}", nearest(key, known), self.keys[key])
        for key in required:
            if key not in self.value:
                self.fail(f"the key `{key}` is missing", f"add `{key}: ...`")
        return self.value

    def _kind(self) -> str:
        if isinstance(self.value, str):
            return f"the text {self.value[:40]!r}"
        return "a list" if isinstance(self.value, list) else "a mapping"


def nearest(word: str, known: Collection[str]) -> str:
    """The remedy for an unknown word: the one that was probably meant, or all that there are."""
    by_case = {name.lower(): name for name in known}
    if close := difflib.get_close_matches(word.lower(), by_case, 1, 0.6):
        return f"did you mean `{by_case[close[0]]}`?"
    names = sorted(known)
    return f"known are: {', '.join(names[:20])}{' ...' if len(names) > 20 else ''}"


def read(path: Path | str) -> Node:
    """The file's content as a tree. Raises FactoryFileError when it cannot be read or is no valid YAML."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise FactoryFileError(f"{path}: there is no such file; check the path") from None
    except IsADirectoryError:
        raise FactoryFileError(f"{path}: this is a folder; name the file in it") from None
    except OSError as error:
        raise FactoryFileError(f"{path}: cannot be read ({error.strerror}); check the rights of the file") from None
    if len(data) > MAX_BYTES:
        raise FactoryFileError(f"{path}: this file is larger than {MAX_BYTES // 2**20} MB; check the path")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FactoryFileError(f"{path}:{line}: this is no UTF-8 text; save the file with the encoding UTF-8") from None
    return parse(text, str(path))


def parse(text: str, file: str) -> Node:
    """The text as a tree; `file` is named in errors. Raises FactoryFileError when it is no valid YAML."""
    try:
        root = _Builder(file).build(yaml.parse(text, Loader=LOADER))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise FactoryFileError(
            f"{file}:{line}: there is a control character (code {error.character}); delete it"
        ) from None
    except yaml.MarkedYAMLError as error:
        raise FactoryFileError(_syntax(error, text, file)) from None
    if root is None or root.empty:
        raise FactoryFileError(f"{file}:1: the file is empty; start from deploy/examples")
    return root


def _syntax(error: yaml.MarkedYAMLError, text: str, file: str) -> str:
    mark = error.problem_mark or error.context_mark
    line = min(mark.line + 1, text.count("\n") + 1) if mark else 1
    problem = str(error.problem or error.context)
    lines = text.splitlines()
    at = lines[line - 1] if line <= len(lines) else ""
    if "\t" in at[: len(at) - len(at.lstrip())]:
        return f"{file}:{line}: a tab stands at the beginning of the line; indent with blanks"
    if error.context_mark and ("end of stream" in problem or "',' or" in problem):
        line = error.context_mark.line + 1  # where the quote or bracket was opened, not where the file ends
    remedy = next((cure for sign, cure in SYNTAX if sign in problem), "compare with deploy/examples")
    return f"{file}:{line}: this is no valid YAML ({problem}); {remedy}"


class _Builder:
    """Builds the tree from the parser's events; aliases share one node, so no bomb unfolds."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.anchors: dict[str, Node] = {}
        self.aliases = 0

    def build(self, events: Iterator[Any]) -> Node | None:
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                self._refuse(event, "a second document begins", "delete the line `---` and keep one document")
            if isinstance(event, yaml.NodeEvent):
                root = self._node(event, events, "", 0)
        return root

    def _refuse(self, event: Any, problem: str, remedy: str) -> NoReturn:
        raise FactoryFileError(f"{self.file}:{_line(event)}: {problem}; {remedy}")

    def _node(self, event: Any, events: Iterator[Any], path: str, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if depth > MAX_DEPTH:
            self._refuse(event, "brackets or blocks stand too deep in each other", "compare with deploy/examples")
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            self._refuse(event, f"the tag {event.tag} means nothing here", "delete it")
        node = Node(self.file, _line(event), path, "")
        if isinstance(event, yaml.ScalarEvent):
            node.value, node.plain = event.value, event.implicit[0]
        elif isinstance(event, yaml.SequenceStartEvent):
            entries: list[Node] = []
            while not isinstance(inner := next(events), yaml.SequenceEndEvent):
                entries.append(self._node(inner, events, f"{path}[{len(entries) + 1}]", depth + 1))
            node.value = entries
        else:
            self._mapping(node, events, depth)
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def _alias(self, event: Any) -> Node:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            self._refuse(event, f"more than {MAX_ALIASES} aliases", "write the values out")
        if event.anchor not in self.anchors:
            remedy = "give the anchor (&name) before it, or put quotes around a name that begins with *"
            self._refuse(event, f"the alias *{event.anchor} has no anchor", remedy)
        return self.anchors[event.anchor]

    def _mapping(self, node: Node, events: Iterator[Any], depth: int) -> None:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse(event, "a key must be a plain name", "write `name: ...`")
            key = event.value
            if key == "<<":
                self._refuse(event, "merge keys (<<) are not read", "use `defaults`, or write the keys out")
            if not key.isprintable() or not key or key != key.strip():
                self._refuse(event, f"{key!r} cannot be a key", "retype it with plain characters and ordinary blanks")
            if key in entries:
                first = f"{key!r} stands here twice, first in line {node.keys[key]}"
                node.fail(first, "delete or rename one", _line(event))
            node.keys[key] = _line(event)
            entries[key] = self._node(next(events), events, f"{node.path}.{key}" if node.path else key, depth + 1)
        node.value = entries


def _line(event: Any) -> int:
    line: int = event.start_mark.line
    return line + 1
