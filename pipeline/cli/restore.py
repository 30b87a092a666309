"""`openoee restore`: a backup into an empty database, and the sink set back to where it ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.answer import Progress, answer, json_option
from pipeline.settings import load, options

if TYPE_CHECKING:
    from pipeline.restore import Restored


@click.command(
    epilog="Examples:  openoee restore /var/backups/openoee/2026-03-02   |   "
    "openoee restore /var/backups/openoee/2026-03-02 --into openoee_march   |   openoee restore DIR --check"
)
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--into", default="", metavar="NAME", help="Into this database, to look at; the line stays as it is.")
@click.option("--check", is_flag=True, help="Only read every file and compare it with its checksum.")
@click.option("--finish", is_flag=True, help="The rows are there: only set the sink's offsets back, and migrate.")
@json_option
@options(
    "kafka", "topic_prefix", "store", "store_user", "store_password_file", "database", "home",
    "session_s", "keep_telemetry_days", "keep_minutes_days", "keep_revisions_days",
)  # fmt: skip
def command(folder: Path, into: str, check: bool, finish: bool, as_json: bool, **flags: Any) -> None:
    """Bring the backup in DIR back into an empty database, while no sink runs.

    The sink's offsets are set back to where the backup ends; the next `openoee sink` fills in what came after it from
    the topics, and `openoee audit` says whether everything is there.

    Exit code 0: done. 3: done, but records are gone from the topics that were not in the backup; it says which. 1: not
    done. 2: called wrongly.
    """
    import sys

    from pipeline.restore import restore

    with Progress("reading" if check else "restoring", quiet=as_json) as progress:
        if check:
            told, lines, code = _check(folder, progress)
        else:
            done = restore(load(flags), folder, into, finish, progress)
            told, lines, code = done.as_dict(), _lines(done), done.exit_code
    answer(told, lines, as_json)
    sys.exit(code)


def _check(folder: Path, tell: Progress) -> tuple[dict[str, Any], list[str], int]:
    from pipeline.backup_files import Manifest
    from pipeline.restore import check_version

    manifest = Manifest.read(folder)
    check_version(manifest)
    manifest.check(folder, tell)
    rows = sum(manifest.rows.values())
    told = {"taken": manifest.taken, "database": manifest.database, "files": len(manifest.pieces), "rows": rows}
    return told, [f"whole: {len(manifest.pieces)} files, {rows:,} rows, taken {manifest.taken}"], 0


def _lines(done: Restored) -> list[str]:
    """What was done, for people."""
    from pipeline.sink_offsets import losses

    lines = [f"database {done.database}: {done.rows:,} rows, as of {done.manifest.taken}"]
    if done.migrated:
        lines.append(f"migrated: {', '.join(done.migrated)}")
    if not done.back:
        lines.append("The sink's offsets are as they were: this database is to look at, nothing is filled in.")
        return lines
    behind = sum(one.high - one.to for one in done.back)
    lines.append(f"The sink goes on where the backup ends: {behind:,} records will be read.")
    for one in losses(done.back):
        where = f"{one.topic}, partition {one.partition}"
        if one.gone is None:
            lines.append(
                f"LOST  {where}: the log ends at {one.high}, before the backup's offset {one.noted}: its tail was lost,"
                f" or the topic was made again; it is read from {one.low}, and nobody knows what is missing"
            )
        else:
            last = f"{one.noted + one.gone - 1}"
            lines.append(f"LOST  {where}: offsets {one.noted} to {last} are gone for good ({one.gone:,})")
    if done.exit_code:
        lines.append(f"LOST  {done.lost:,} records in all are neither in the backup nor in the topics")
    lines.append("Next: `openoee sink`, then `openoee audit --wait 600`.")
    return lines
