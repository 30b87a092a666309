"""What must be known of a statement before the engine sees it: its kind, its inline data, what it may not do.

Rights are the engine's own business (grants in `store_engine`). Here stands what an embedded engine allows in spite of
them, because it takes its caller for the owner of the machine: reading and writing files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ACCESS_DENIED = "Code: 497. DB::Exception: {} (ACCESS_DENIED)"
HEAD_BYTES = 1 << 16  # an INSERT's own text, before its data, is no longer than this

# One alternative per lexical form whose inside is no SQL; quoted identifiers keep their text.
_LEXEMES = re.compile(
    r"""(?P<comment>--[^\n]*|\#[ !][^\n]*|/\*.*?\*/)
      | (?P<literal>'(?:[^'\\]|\\.|'')*'|‘[^’]*’|(?P<heredoc>\$\w*\$).*?(?P=heredoc))
      | `(?P<ticked>(?:[^`\\]|\\.|``)*)` | "(?P<quoted>(?:[^"\\]|\\.|"")*)" | “(?P<curly>[^”]*)”""",
    re.S | re.X,
)
_READ = re.compile(r"[\s(]*(?:SELECT|WITH|SHOW|DESC|DESCRIBE|EXISTS|EXPLAIN|VALUES|FROM)\b", re.I)
_STREAMED = re.compile(r"[\s(]*(?:SELECT|WITH|FROM)\b", re.I)
_INSERT = re.compile(r"\s*INSERT\s+INTO\b", re.I)
_USE = re.compile(r"\s*USE\b", re.I)
_CREATES = re.compile(r"\s*(?:CREATE|REPLACE|ATTACH|ALTER|EXPLAIN|WITH)\b", re.I)
_DATA = re.compile(r"\bFORMAT\s+([A-Za-z0-9]+)(?:[ \t\r]*;)?[ \t\r]*\n?", re.I)
_VALUES = re.compile(r"\bVALUES\b", re.I)
_FORMAT_AT_END = re.compile(r"\bFORMAT\s+([A-Za-z0-9]+)\s*(?:;\s*)?$|\bFORMAT\s+([A-Za-z0-9]+)\s+SETTINGS\b", re.I)

_REFUSED: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?<![.\w])file(?!\w)"), "file() reads files of the machine (write a column of that name as t.file)"),
    (re.compile(r"\b(?:INTO\s+OUTFILE|FROM\s+INFILE)\b", re.I), "INTO OUTFILE and FROM INFILE touch files"),
    (re.compile(r"^\s*ATTACH\b.*\bFROM\b", re.I | re.S), "ATTACH ... FROM takes over a folder of the machine"),
    (re.compile(r"\bdisk\s*\(", re.I), "disk() opens folders or addresses outside the store"),
    (re.compile(r"^\s*(?:DROP|DETACH|RENAME)\s+DATABASE\s+(?:IF\s+EXISTS\s+)?default\b", re.I), "default stays"),
    (re.compile(r"\b(?:executable|python)\s*\(", re.I), "executable() and python() run programs"),
)
_OWN_ENGINES = re.compile(r"\w*MergeTree|Memory|Null|View|MaterializedView|Atomic", re.I)


@dataclass(frozen=True)
class Inline:
    """An INSERT whose rows follow in the body: the statement without FORMAT and rows, the format, where rows begin."""

    statement: bytes
    format: str
    data_from: int


class Guard:
    """Refuses what would leave the store; `engines` are the names of all table and database engines there are."""

    def __init__(self, engines: Iterable[str]) -> None:
        foreign = sorted(name for name in engines if not _OWN_ENGINES.fullmatch(name))
        self._foreign = re.compile(rf"\bENGINE\s*=?\s*({'|'.join(foreign) or '(?!)'})\b", re.I)

    def check(self, text: str, parameters: Mapping[str, str]) -> None:
        """Raises RuntimeError with ClickHouse's code 497 when a statement may not run here."""
        if re.search(r"`(?:[^`\\]|``)*\\|\"(?:[^\"\\]|\"\")*\\", _LEXEMES.sub(_blank_but_names, text)):
            raise RuntimeError(ACCESS_DENIED.format("quoted names with escapes are not allowed in this store"))
        plain = strip(text)
        for pattern, reason in _REFUSED:
            if pattern.search(plain):
                raise RuntimeError(ACCESS_DENIED.format(f"not allowed in this store: {reason}"))
        if "file" in (value.strip("`\"' ") for value in parameters.values()) and re.search(r":\s*Identifier\b", plain):
            raise RuntimeError(ACCESS_DENIED.format("not allowed in this store: file() reads files of the machine"))
        found = self._foreign.search(plain) if _CREATES.match(plain) else None
        if found:
            raise RuntimeError(
                ACCESS_DENIED.format(f"engine {found[1]} is not allowed in this store: MergeTree family, Memory, Null")
            )


def strip(text: str) -> str:
    """The statement with comments and literals blanked and quotes of names taken off; same tokens, other lengths."""

    def keep(found: re.Match[str]) -> str:
        name = found["ticked"] or found["quoted"] or found["curly"]
        return f" {name} " if name else " " if found["comment"] else " '' "

    return _LEXEMES.sub(keep, text)


def blank(text: str) -> str:
    """The statement with comments, literals and quoted names blanked, every character in its old place."""
    return _LEXEMES.sub(lambda found: "_" * len(found[0]) if not found["comment"] else " " * len(found[0]), text)


def _blank_but_names(found: re.Match[str]) -> str:
    return found[0] if found["ticked"] or found["quoted"] else " "


def is_read(text: str) -> bool:
    """Whether the statement only reads."""
    return bool(_READ.match(strip(text[:HEAD_BYTES])))


def is_streamed(text: str) -> bool:
    """Whether its result may be long: a SELECT."""
    return bool(_STREAMED.match(strip(text[:HEAD_BYTES])))


def is_use(text: str) -> bool:
    """Whether the statement changes the session's database."""
    return bool(_USE.match(strip(text[:HEAD_BYTES])))


def format_named(text: str) -> str | None:
    """The output format that the statement itself names."""
    found = _FORMAT_AT_END.search(blank(text[-1000:]))
    return (found[1] or found[2]) if found else None


def inline_insert(head: bytes) -> Inline | None:
    """The INSERT with rows behind it that `head` (the first bytes of a request) begins; None when it is none.

    `INSERT ... SELECT` is none: there the engine brings the rows itself.
    """
    text = head[:HEAD_BYTES].decode("latin-1")  # one character per byte, so that places agree
    plain = blank(text)
    if not _INSERT.match(plain):
        return None
    clauses = [found for pattern in (_DATA, _VALUES) if (found := pattern.search(plain))]
    clause = min(clauses, key=lambda found: found.start(), default=None)
    if clause is None or re.search(r"\b(?:SELECT|WITH|FROM)\b", plain[: clause.start()], re.I):
        return None
    name = clause[1] if clause.re is _DATA else "Values"
    return Inline(head[: clause.start()], name, clause.end())


def is_several(text: str) -> bool:
    """Whether something follows the end of a first statement."""
    return bool(re.search(r";\s*\S", strip(text)))


def is_insert(head: bytes) -> bool:
    """Whether `head` begins an INSERT of any kind."""
    return bool(_INSERT.match(blank(head[:HEAD_BYTES].decode("latin-1"))))
