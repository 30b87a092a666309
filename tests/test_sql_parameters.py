"""Values reach the store as parameters that the server binds: no statement is put together from them."""

from __future__ import annotations

import ast
import re
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "pipeline"
SQL = re.compile(
    r"\b(SELECT\b.*\bFROM|INSERT INTO|DELETE FROM|ALTER TABLE|CREATE (DATABASE|TABLE|VIEW)|WHERE|DROP)\b", re.S
)

# What may stand in a statement: names and numbers that the code itself knows. Never what somebody said.
PARTS = {
    "store/migrate.py": {"name", "migration.number", "migration.name", "migration.checksum"},  # `name` is checked there
    "store/retention.py": {"table", "change"},  # of the table KEPT; a number of days
    "verify_store.py": {"number", "columns", "self.view", "asked", "name", "table"},  # views and tables of ours
    "compare.py": {"columns"},
    # columns of ours: as ms, in a range of bound instants, in another order
    "export/asked.py": {
        *(f"_ms('{column}')" for column in (
            "ts", "arrived", "start", "assumeNotNull(end)", "first", "last", "known_at",
            "window_start", "window_end", "segment_start", "segment_end",
        )),
        *(f"_range('{column}')" for column in ("ts", "start", "first")),
        "_at('start')", "_at('end')", "', '.join(FACTS)", "_EVENT_ORDER.replace(',', ' DESC,')",
    },
    # tables that migrations make, partitions as the store names them, columns of ours
    "backup.py": {"what", "table", "partition", "' FINAL' if final else ''"},
    "audit_queries.py": {
        "_place(one)", "one.at", "one.hash_sql(one.columns)", "one.hash_sql(one.key)", "one.table",
        "asked.where(one)", "asked.where(one, '>')", "one.selected()", "_RANGE.format(at=f'`{one.at}`')",
    },
}  # fmt: skip
LOCAL = "local"  # the store itself, which runs what its clients send
MODULES = sorted(path for path in ROOT.rglob("*.py") if LOCAL not in path.relative_to(ROOT).parts)


def statements(path: Path) -> list[tuple[int, set[str]]]:
    """Line and inserted expressions of every text with SQL in it that is put together: f-strings, format, %, +."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
            parts = {ast.unparse(part.value) for part in node.values if isinstance(part, ast.FormattedValue)}
        elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mod, ast.Add)):
            if not (isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)):
                continue
            text, parts = node.left.value, {ast.unparse(node.right)}
        else:
            continue
        if SQL.search(text):
            found.append((node.lineno, parts))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_statement_is_put_together_from_values(path: Path) -> None:
    allowed = PARTS.get(str(path.relative_to(ROOT)), set())
    for line, found in statements(path):
        parts = {part for part in found if not re.fullmatch(r"_?[A-Z][A-Z_]*", part)}  # constants of the module
        assert parts <= allowed, f"{path.name}:{line}: {parts - allowed} in a statement: bind it as a parameter"


def test_the_guard_sees_what_it_is_to_see(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f(s, m): return s.query(f\"SELECT 1 FROM facts WHERE machine = '{m}'\")\n")
    assert statements(bad) == [(1, {"m"})]
    bad.write_text("def f(s, m): return s.query('SELECT 1 FROM facts WHERE machine = %s' % m)\n")
    assert statements(bad) == [(1, {"m"})]


def test_values_are_bound_by_the_server_not_by_the_client() -> None:
    """`%(name)s` would be filled in here, by quoting; `{name:Type}` is filled in there, as a value."""
    texts = {str(path): path.read_text(encoding="utf-8") for path in MODULES}
    texts |= {str(path): path.read_text() for path in Path(str(files("pipeline.store"))).rglob("*.sql")}
    found = [name for name, text in texts.items() if re.search(r"(=|IN|>|<|,|\() ?'?%\(\w+\)s", text)]
    assert found == []


def test_ready_questions_name_every_value_that_they_take() -> None:
    from pipeline import queries

    for question in queries.QUESTIONS:
        placed = set(re.findall(r"\{(\w+):\w+", question.sql))
        assert placed == set(question.parameters), question.name
