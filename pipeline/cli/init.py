"""`openoee init`: six questions, and a plant's first factory.yaml and mapping files."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

import click

from pipeline.cli.answer import answer, json_option

QUESTIONS = {  # option -> question, default
    "site": ("1. What is the site called?", "plant"),
    "timezone": ("   Its time zone", ""),
    "shifts": (
        "2. When is it planned to produce? `always`, or `early 06:00-14:00 mon-fri; late 14:00-22:00`",
        "always",
    ),
    "lines": ("3. Which machines are there? On lines in serial order, others after them: `L1: cut, paint; saw`", "m1"),
    "cycles": ("4. Ideal cycle times, in seconds per part? One for all, `cut=12.5; paint=14`, or `none`", "none"),
    "signals": ("5. Signals with units and limits? `temperature Cel ..90; force kN 0..50`, or `none`", "none"),
    "adapter": ("6. What do the machines write? `csv` (tables) or `shdr` (logs of MTConnect adapters)", "csv"),
    "files": ("   Where are the files? Such as `data/*.csv`, each named after its machine", "none"),
}


@click.command(
    epilog="Example:  openoee init --site lyon --timezone Europe/Paris --lines 'L1: cut, paint' --cycles 12.5 "
    "--files 'data/*.csv' --yes"
)
@click.option("--site", help="Name of the site.")
@click.option("--timezone", help="IANA time zone, such as Europe/Paris.  [default: that of this computer]")
@click.option("--shifts", help="`always`, or such as 'early 06:00-14:00 mon-fri; late 14:00-22:00'.")
@click.option("--lines", help="Machines: 'L1: cut, weld-a | weld-b, paint; saw' (| stands side by side, saw alone).")
@click.option("--cycles", help="Seconds per part: '12.5', or 'cut=12.5; paint=14'.")
@click.option("--signals", help="'temperature Cel ..90; force kN 0..50; load %': name, unit, limits.")
@click.option("--adapter", type=click.Choice(["csv", "shdr"]), help="Kind of the machines' files.")
@click.option("--files", help="Pattern of the files; the mapping is written from what is in them.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=".", help="Folder to write into.")
@click.option("--yes", is_flag=True, help="Ask nothing: defaults for what is not given.")
@click.option("--force", is_flag=True, help="Write over files that are there.")
@json_option
def command(out: Path, yes: bool, force: bool, as_json: bool, **given: str | None) -> None:
    """Ask six questions and write factory.yaml and a mapping file per machine, ready for `factory check` and `produce`.

    The mapping is a first guess from the names and values in your files: read it through.
    """
    from pipeline import mapping, starter
    from pipeline.errors import UsageError
    from pipeline.factory import load

    answers = {name: _answer(name, given[name], yes, as_json) for name in QUESTIONS}
    adapter, pattern = answers.pop("adapter"), answers.pop("files")
    plant = starter.parse(**answers)
    files = _files(pattern)
    texts = {out / "factory.yaml": starter.factory_yaml(plant)}
    for machine in plant.machines:
        items = _looked(adapter, files, machine, len(plant.machines) == 1)
        texts[out / f"{machine}.mapping.yaml"] = starter.mapping_yaml(adapter, machine, items, plant.signals)
    there = [str(path) for path in texts if path.exists()]
    if there and not force:
        raise UsageError(f"{', '.join(there)} would be written over: use --force, or another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    load(str(out / "factory.yaml"))
    for path in list(texts)[1:]:
        mapping.load(path)
    commands = _next(out, plant.machines, adapter, pattern)
    lines = [*(f"wrote {path}" for path in texts), "Read them through, then:", *(f"  {line}" for line in commands)]
    answer({"files": [str(path) for path in texts], "next": commands}, lines, as_json)


def _answer(name: str, given: str | None, yes: bool, aside: bool) -> str:
    question, default = QUESTIONS[name]
    default = default or _timezone()
    if given is not None or yes:
        return default if given is None else given
    said: Any = click.prompt(question, default=default, type=str, err=aside)
    return str(said)


def _timezone() -> str:
    """The zone of this computer, where it says so."""
    parts = Path("/etc/localtime").resolve().parts
    name = "/".join(parts[parts.index("zoneinfo") + 1 :]) if "zoneinfo" in parts else "UTC"
    return "UTC" if name in ("", "Etc/UTC") else name


def _files(pattern: str) -> list[Path]:
    from glob import glob

    from pipeline.errors import UsageError

    if pattern.strip().lower() in ("", "none"):
        return []
    found = [Path(name) for name in sorted(glob(pattern)) if Path(name).is_file()]
    if not found:
        raise UsageError(f"no file is named like {pattern!r}: correct --files, or `none` to fill in the mapping later")
    return found


def _looked(adapter: str, files: list[Path], machine: str, only: bool) -> Any:
    """The items of a machine's newest file; of the only machine, whatever its files are called."""
    from pipeline.adapters.probe import look

    own = [path for path in files if path.name.startswith(machine)] or (files if only else [])
    if files and not own:
        click.echo(f"no file's name begins with {machine}: its mapping is a form to be filled in", err=True)
    return look(adapter, own[-1:], machine)


def _next(out: Path, machines: list[str], adapter: str, pattern: str) -> list[str]:
    mappings = " ".join(f"--mapping {quote(str(out / machine) + '.mapping.yaml')}" for machine in machines)
    files = pattern if pattern.strip().lower() not in ("", "none") else "FILES..."
    return [
        f"openoee factory check {out / 'factory.yaml'}",
        "openoee up && openoee topics && openoee migrate",
        f"openoee produce --adapter {adapter} {mappings} --factory {out / 'factory.yaml'} {files}",
    ]
