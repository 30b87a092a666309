"""The rules of the house, held by reading the source: who may import whom, what the core may touch, how files look."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import lru_cache
from importlib import import_module
from pathlib import Path

import click
import pytest

from pipeline.cli import COMMANDS, module
from pipeline.cli.metrics import markdown as metrics_table
from pipeline.cli.settings import markdown
from pipeline.settings import TABLE

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "pipeline").rglob("*.py"))
}
SOURCES = [*MODULES.values(), *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "bench").rglob("*.py"))]
MAX_LINES = 350

# A module may import modules of its own level and below; what is not named here stands on level 2.
LEVELS = {
    "pipeline.core": 0, "pipeline.errors": 0, "pipeline": 0,
    "pipeline.settings": 1, "pipeline.metrics": 1, "pipeline.codec": 1, "pipeline.schemas": 1, "pipeline.registry": 1,
    "pipeline.evolution": 1, "pipeline.frame_reader": 1, "pipeline.frame_writer": 1, "pipeline.row_writer": 1,
    "pipeline.control_rows": 1, "pipeline.limits": 1, "pipeline.yaml_lines": 1, "pipeline.kafka_clients": 1,
    "pipeline.agents": 3, "pipeline.transport": 3, "pipeline.sink": 3, "pipeline.web": 3, "pipeline.audit": 3,
    "pipeline.backup": 3, "pipeline.restore": 3, "pipeline.notify": 3, "pipeline.export": 3,
    "pipeline.local": 4, "pipeline.cli": 4, "pipeline.__main__": 4,
}  # fmt: skip
CORE_MAY_USE = {
    "__future__", "abc", "bisect", "collections", "dataclasses", "datetime", "enum", "fractions", "functools",
    "hashlib", "heapq", "itertools", "json", "math", "numba", "numpy", "operator", "random", "re", "statistics",
    "struct", "typing", "zlib", "zoneinfo",
}  # fmt: skip
PUBLIC_HOSTS = {"127.0.0.1", "localhost", "maven.apache.org", "www.apache.org", "github.com", "www.w3.org"}


@lru_cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path, name: str = "") -> set[str]:
    """Modules that a file imports anywhere, except for type checking only."""
    found: set[str] = set()

    def walk(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                found.add(inner if inner in MODULES else module)
        for child in ast.iter_child_nodes(node):
            walk(child)

    walk(tree(path))
    return found - {name}


IMPORTS = {name: imports(path, name) for name, path in MODULES.items()}


def level(module: str) -> int:
    parts = module.split(".")
    for end in range(len(parts), 1, -1):
        if ".".join(parts[:end]) in LEVELS:
            return LEVELS[".".join(parts[:end])]
    return 0 if module == "pipeline" else 2


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name: str) -> None:
    for used in IMPORTS[name]:
        if used.startswith("pipeline"):
            assert level(used) <= level(name), f"{name} imports {used}, which stands above it"


def test_no_module_needs_itself() -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            for used in sorted(IMPORTS[name] & MODULES.keys()):
                visit(used, (*way, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("faust", ("pipeline.agents", "pipeline.transport")),
        ("aiokafka", ("pipeline.agents", "pipeline.transport")),
        ("clickhouse_connect", ("pipeline.sink", "pipeline.queries", "pipeline.store")),
        ("chdb", ("pipeline.local",)),
        ("pipeline.local", ("pipeline.local", "pipeline.cli")),
    ],
)
def test_who_may_know_what(library: str, rooms: tuple[str, ...]) -> None:
    def within(name: str, room: str) -> bool:
        return name == room or name.startswith(room + ".")

    knows = {name for name, used in IMPORTS.items() if any(within(module, library) for module in used)}
    assert {name for name in knows if not any(within(name, room) for room in rooms)} == set()


CORE = [name for name in MODULES if name.startswith("pipeline.core")]


@pytest.mark.parametrize("name", CORE)
def test_the_core_touches_nothing_outside(name: str) -> None:
    """No I/O, no clock, no environment, no logging, no dice that are not seeded."""
    for used in IMPORTS[name]:
        assert used.startswith("pipeline.core") or used == "pipeline.errors" or used.split(".")[0] in CORE_MAY_USE, used
    for node in ast.walk(tree(MODULES[name])):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("open", "print", "input", "eval", "exec"), f"{name}:{node.lineno} calls {called}"
            assert not re.search(r"\.(now|utcnow|today)$", called), f"{name}:{node.lineno} reads the clock"
            unseeded = re.match(r"random\.(?!Random\b)|np\.random\.(?!default_rng$|Generator$|PCG64$|Philox$)", called)
            assert not unseeded, f"{name}:{node.lineno} rolls unseeded dice"
            if called in ("random.Random", "np.random.default_rng"):
                assert node.args, f"{name}:{node.lineno} rolls unseeded dice"


@pytest.mark.parametrize("name", MODULES)
def test_the_environment_is_read_in_settings_alone(name: str) -> None:
    handed_on = {"pipeline.settings", "pipeline.local.processes"}  # the latter gives its own to the processes it starts
    if name in handed_on:
        return
    used = {node.attr for node in ast.walk(tree(MODULES[name])) if isinstance(node, ast.Attribute)}
    names = {node.id for node in ast.walk(tree(MODULES[name])) if isinstance(node, ast.Name)}
    assert not {"environ", "getenv", "environb"} & (used | names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_says_what_it_is_for_and_stays_short(path: Path) -> None:
    first = (ast.get_docstring(tree(path)) or "").split("\n")[0]
    assert len(first) > 15, "the first line says what the module is for"
    length = path.read_bytes().count(b"\n")
    assert length <= MAX_LINES


def test_how_to_reach_kafka_is_said_in_one_place() -> None:
    """Encryption and users would be missing in a client that is set up elsewhere."""
    allowed = {"pipeline.kafka_clients", "pipeline.local.kafka"}  # the latter: the address of its own brokers
    names = {
        name
        for name, path in MODULES.items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and node.value == "bootstrap.servers"
    }
    assert names - allowed == set()


def files() -> list[Path]:
    """Every text file that is part of the project."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        rooms = ("avro", "bench", "deploy", "docs", "pipeline", "tests")
        paths = [path for room in rooms for path in (ROOT / room).rglob("*")] + list(ROOT.glob("*.*"))
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:4096]]


def test_nothing_of_one_machine_is_in_the_tree() -> None:
    """No folder of the machine that it was written on, no host but public ones that the product speaks of."""
    here = re.compile("|".join(rf"(?<![\w.]){folder}/" for folder in ("/work", "/root", "/Users", r"/home/(?!\$)")))
    found = []
    for path in files():
        if path.name == "LICENSE":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            hosts = set(re.findall(r"https?://([\w.-]*\w\.[\w-]*\w)", line)) - PUBLIC_HOSTS
            if hosts or (here.search(line) and path != Path(__file__)):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    assert found == []


def test_the_documentation_names_every_setting_metric_and_command() -> None:
    table = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert table == markdown(), "run: openoee settings --markdown > docs/settings.md"
    operations = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert metrics_table() in operations, "put the output of `openoee metrics --markdown` there"
    texts = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    words = "\n".join(path.read_text(encoding="utf-8") for path in texts)
    assert [name for name in COMMANDS if f"openoee {name}" not in words] == []
    assert len({row.name for row in TABLE}) == len({row.variable for row in TABLE}) == len(TABLE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    def check(command: click.Command, way: str) -> None:
        text = command.get_help(click.Context(command, info_name=way))
        assert command.help, way
        assert f"openoee {name}" in (command.epilog or "") + command.help, f"{way} has no example"
        assert "Example" in text, f"{way} has no example"
        if isinstance(command, click.Group):
            for inner, sub in command.commands.items():
                check(sub, f"{way} {inner}")

    check(import_module(module(name)).command, f"openoee {name}")
