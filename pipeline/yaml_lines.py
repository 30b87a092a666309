"""YAML read with its line numbers, so that every mistake in a file can be named where it stands."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
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
NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-2]?[0-9]{1,2})?")  # fits a float
BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")  # what YAML counts as the end of a line
CURLY = "\u201c\u201d\u201e\u2018\u2019\u201a"
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
    required: bool = False  # the key that has this value must not be left out

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
            self.fail("nothing is given here", f"write {what}" + ("" if self.required else ", or delete the line"))
        if not isinstance(self.value, str):
            self.fail(f"this is {self._kind()}, not {what}", f"write {what}")
        text = self.value.strip()
        if not text or not text.isprintable() or len(text) > 200:
            self.fail(f"{text[:40]!r} cannot be {what}", "use 1 to 200 printable characters")
        if remedy := _pasted(text):
            self.fail(f"{text!r} cannot be {what}", remedy)
        return text

    def number(self, what: str = "a number", units: Mapping[str, str] | None = None) -> Decimal:
        """The exact decimal number that is written; `units`: by name, the seconds of those that the remedy converts."""
        text = self.text(what)
        if NUMBER.fullmatch(text):
            return Decimal(text)
        return self.fail(f"{text!r} is not {what}", _as_number(text, units or {}) or f"write {what}, in digits")

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
                if key.startswith("//"):
                    self.fail("`//` begins no comment", "begin comments with #", self.keys[key])
                self.fail(f"unknown key {key!r}", nearest(key, known), self.keys[key])
        for key in required:
            if key not in self.value:
                self.fail(f"the key `{key}` is missing", f"add `{key}: ...`")
            self.value[key].required = True
        return self.value

    def _kind(self) -> str:
        if isinstance(self.value, str):
            return f"the text {self.value[:40]!r}"
        return "a list" if isinstance(self.value, list) else "a mapping"


def _pasted(text: str) -> str:
    """The remedy for what was copied into a name with it; "" for a good one."""
    if text[:1] in CURLY and text:
        return "replace the curly quotes by straight ones, or delete them"
    return "put the value in place of ${...}: variables are not filled in" if "${" in text else ""


def _as_number(text: str, units: Mapping[str, str]) -> str:
    """The remedy for a number that is written in another way; "" where none is seen."""
    digits = "".join(str(unicodedata.decimal(letter, letter)) for letter in unicodedata.normalize("NFKC", text))
    if digits != text and NUMBER.fullmatch(digits):
        return f"write {digits}, with the digits 0 to 9"
    if re.fullmatch(r"[-+]?[1-9][0-9]{0,2}(,[0-9]{3})+", text):
        point = f" or {Decimal(text.replace(',', '.')).normalize():f}" if text.count(",") == 1 else ""
        return f"write {text.replace(',', '')}{point}"
    if re.fullmatch(r"[-+]?[0-9]+,[0-9]+", text):
        return f"write a decimal point: {text.replace(',', '.')}"
    unit = re.fullmatch(r"([-+]?[0-9][0-9.]*)\s*(%|[a-zA-Z]+)", text)
    if unit and unit[2].lower() in units and NUMBER.fullmatch(unit[1]):
        return f"write seconds: {(Decimal(unit[1]) * Decimal(units[unit[2].lower()])).normalize():f}"
    return f"write the number alone ({unit[1]}), in the unit that the key names" if unit else ""


def nearest(word: str, known: Collection[str]) -> str:
    """The remedy for an unknown word: the one probably meant, or all there are, and its letter of another alphabet."""
    odd = ""
    if found := re.search(r"[^\x00-\u024f]", word if all(map(str.isascii, known)) else ""):
        odd = f" (character {found.start() + 1} is {unicodedata.name(found[0], 'unknown')})"
    by_case = {name.lower(): name for name in known}
    if close := difflib.get_close_matches(word.lower(), by_case, 1, 0.6):
        return f"did you mean `{by_case[close[0]]}`?{odd}"
    names = sorted(known)
    return f"known are: {', '.join(names[:20])}{' ...' if len(names) > 20 else ''}{odd}"


def read(path: Path | str) -> Node:
    """The file's content as a tree. Raises FactoryFileError when it cannot be read or is no valid YAML."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, ValueError):  # ValueError: a zero byte in the path
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
    if text.count("\0") > 3:  # fewer are a slip in a text
        raise FactoryFileError(f"{path}:1: this is no text file; check the path, or save it with the encoding UTF-8")
    return parse(text, str(path))


def parse(text: str, file: str) -> Node:
    """The text as a tree; `file` is named in errors. Raises FactoryFileError when it is no valid YAML."""
    try:
        root = _Builder(file).build(_without_tabs(yaml.parse(text, Loader=LOADER), text, file))
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
    problem = str(error.problem or error.context)
    lines = BREAK.split(text.rstrip("\r\n"))
    line = min(mark.line + 1, len(lines)) if mark else 1
    at, column = lines[line - 1], mark.column if mark and mark.line < len(lines) else 0
    if "\t" in at[: len(at) - len(at.lstrip())] or at[column : column + 1] == "\t":
        return _tab(file, line, at[:column])
    if comment := next((n for n, one in enumerate(lines[:line], 1) if one.lstrip().startswith("//")), 0):
        return f"{file}:{comment}: `//` begins no comment; begin comments with #"
    if mark and at[:column].endswith(("'", '"')) and (opened := _opened(text, mark)):
        if opened < line:
            return f"{file}:{opened}: a quote is opened here and not closed in this line; close it"
        return f"{file}:{line}: a quote stands inside quotes; put the other kind of quotes around the value"
    remedy = next((cure for sign, cure in SYNTAX if sign in problem), "compare with deploy/examples")
    if at[column : column + 1] in ("]", "}") and "',' or" not in problem:
        remedy = "there is a closing bracket too many"
    if error.context_mark and ("end of stream" in problem or "',' or" in problem):
        line = error.context_mark.line + 1  # where the quote or bracket was opened, not where the file ends
    return f"{file}:{line}: this is no valid YAML ({problem}); {remedy}"


def _tab(file: str, line: int, before: str) -> str:
    if before.strip():
        return f"{file}:{line}: a tab stands where YAML wants blanks; write blanks instead"
    return f"{file}:{line}: a tab stands at the beginning of the line; indent with blanks"


def _opened(text: str, end: yaml.Mark) -> int:
    """The line in which the quotes were opened that are closed just before `end`; 0 when there are none."""
    with suppress(yaml.YAMLError):
        for token in yaml.scan(text, Loader=LOADER):
            if isinstance(token, yaml.ScalarToken) and not token.plain and token.end_mark.index == end.index:
                return int(token.start_mark.line) + 1
    return 0


def _without_tabs(events: Iterator[Any], text: str, file: str) -> Iterator[Any]:
    """The events; refuses tabs between them, which libyaml takes for blanks and the parser in Python does not."""
    end = 0
    for event in events:
        for found in re.finditer(r"#[^\n\r]*|\t", text[end : event.start_mark.index]):
            if found[0] == "\t":
                before = BREAK.split(text[: end + found.start()])
                raise FactoryFileError(_tab(file, len(before), before[-1]))
        end = max(end, event.end_mark.index)
        yield event


class _Builder:
    """Builds the tree from the parser's events; aliases share one node, so no bomb unfolds."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.anchors: dict[str, Node] = {}
        self.aliases = 0
        self.last: Any = None  # the scalar that was read last as a value

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
            node.value, node.plain, self.last = event.value, event.implicit[0], event
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
            good = key.isprintable() and key and key == key.strip()
            if remedy := _pasted(key) or ("" if good else "retype it with plain characters and ordinary blanks"):
                self._refuse(event, f"{key!r} cannot be a key", remedy)
            if key in entries:
                first = f"{key!r} stands here twice, first in line {node.keys[key]}"
                node.fail(first, "delete or rename one", _line(event))
            node.keys[key] = _line(event)
            before, value = self.last, next(events)
            if entries and (number := _decimal_comma(before, event, value)):
                entries[next(reversed(entries))].fail(f"{number} has a comma", f"write {number.replace(',', '.')}")
            entries[key] = self._node(value, events, f"{node.path}.{key}" if node.path else key, depth + 1)
        node.value = entries


def _decimal_comma(before: Any, key: Any, value: Any) -> str:
    """A number such as 12,5 in braces, "" for any other key: to YAML it is 12, and then the key 5 without a value."""
    adjacent = before is not None and before.end_mark.index + 1 == key.start_mark.index
    number = f"{before.value},{key.value}" if adjacent and getattr(value, "value", None) == "" else ""
    return number if re.fullmatch(r"[-+]?[0-9]+,[0-9]+", number) else ""


def _line(event: Any) -> int:
    line: int = event.start_mark.line
    return line + 1
