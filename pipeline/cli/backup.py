"""`openoee backup`: the store into a folder, while the line goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.cli.answer import Progress, answer, json_option
from pipeline.settings import load, options


@click.command(epilog="Example:  openoee backup /var/backups/openoee/2026-03-02")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@json_option
@options(
    "kafka", "topic_prefix", "store", "store_user", "store_password_file", "database", "home",
)  # fmt: skip
def command(folder: Path, as_json: bool, **flags: Any) -> None:
    """Back the store up into DIR, which must be empty or not exist; worker and sink go on meanwhile.

    It reads Kafka and the store and writes nothing to either. `openoee restore DIR` brings it back; what came after it
    is filled in again from the topics.
    """
    import time
    from dataclasses import asdict

    from pipeline.backup import backup

    began = time.monotonic()
    with Progress("backing up", quiet=as_json) as progress:
        manifest = backup(load(flags), folder, progress)
    took_s = round(time.monotonic() - began, 3)
    size = sum(piece.bytes for piece in manifest.pieces)
    lines = [f"{table:<16}{rows:>16,}" for table, rows in manifest.rows.items()]
    lines += [f"{table:<16}{'left out':>16}  {why}" for table, why in manifest.left_out.items()]
    lines.append(
        f"{sum(manifest.rows.values()):,} rows of database {manifest.database} in {len(manifest.pieces)} files,"
        f" {size / 1e6:,.1f} MB, {took_s:.1f} s: {folder}"
    )
    answer({**asdict(manifest), "took_s": took_s}, lines, as_json)
