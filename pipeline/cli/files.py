"""What `produce` and `replay` share: the options that name files and mappings, and the account of what was read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pipeline.adapters import Refused, Tally
    from pipeline.cli.answer import Progress
    from pipeline.core.model import Control, Frame

F = TypeVar("F", bound=Callable[..., Any])
SHOWN = 5
SLACK_MS = 300_000  # clocks of machines may be fast by so much


def file_options(function: F) -> F:
    """Click options and arguments of a command that reads files through an adapter; `Reading` takes them."""
    for option in (
        click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)),
        click.option("--refused", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
                     help="Write everything refused here, one JSON object a line."),
        click.option("--machine", help="Name of the machine; its files may then have any name (one mapping)."),
        click.option("--devices", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
                     help="Device file of the machines (Devices.xml): categories and units of their items."),
        click.option("--mapping", "mappings", multiple=True, required=True, metavar="FILE", type=click.Path(),
                     help="Mapping file: what a machine's items mean; repeat it for several machines."),
        click.option("--adapter", default="shdr", show_default=True,
                     help="Kind of source: shdr (MTConnect logs), csv (tables)."),
    ):  # fmt: skip
        function = option(function)
    return function


class Reading:
    """Messages of the files, with the account of what was read in `tally`; what is refused is kept and reported."""

    def __init__(
        self,
        adapter: str,
        mappings: Sequence[str],
        devices: Path | None,
        machine: str | None,
        refused: Path | None,
        files: Sequence[Path],
    ) -> None:
        from pipeline import mapping as mapping_file
        from pipeline.adapters import Tally
        from pipeline.adapters import adapter as find
        from pipeline.errors import UsageError

        module = find(adapter)
        loaded = [mapping_file.load(path) for path in mappings]
        for one in loaded:
            if one.adapter != adapter:
                raise UsageError(f"{one.file} is for the adapter {one.adapter}, not {adapter}: name another one")
        if machine and len(loaded) != 1:
            raise UsageError("--machine names one machine: give exactly one --mapping with it, or leave it out")
        if machine:
            loaded = [replace(loaded[0], machine=machine)]
        self.machines = [one.machine for one in loaded]
        self.tally: Tally = Tally()
        self.first_refused: list[Refused] = []
        self.progress: Progress | None = None
        self._report, self._files = refused, len(files)
        latest = time.time_ns() // 1_000_000 + SLACK_MS
        self._records = module.read(files, loaded, devices, self.tally, bool(machine), latest)

    def __iter__(self) -> Iterator[Frame | Control]:
        from pipeline.adapters import Refused

        report = self._report.open("w", encoding="utf-8") if self._report else None
        try:
            for record in self._records:
                if isinstance(record, Refused):
                    self._refuse(record, report)
                    continue
                yield record
                if self.progress:
                    self.progress(f"{self.tally.lines:,} lines, file {self.tally.files} of {self._files}")
        finally:
            if report:
                report.close()

    def _refuse(self, record: Refused, report: IO[str] | None) -> None:
        if len(self.first_refused) < SHOWN:
            self.first_refused.append(record)
        if report:
            fields = {"source": record.source, "line": record.line, "reason": record.reason, "text": record.text}
            report.write(json.dumps(fields, ensure_ascii=False) + "\n")

    def told(self) -> dict[str, Any]:
        """The account for programs: entries by what became of them, and what the frames hold."""
        tally = self.tally
        fields = ("lines", "files", "entries", "frames", "samples", "states", "parts", "contexts", "events")
        first = [{"source": r.source, "line": r.line, "reason": r.reason} for r in self.first_refused]
        return {
            **{name: getattr(tally, name) for name in fields},
            **{name: dict(getattr(tally, name)) for name in ("used", "ignored", "unmapped", "refused")},
            "first_refused": first,
        }

    def lines(self) -> list[str]:
        """The account for people."""
        tally = self.tally
        used, ignored = tally.used.total(), tally.ignored.total()
        unmapped, refused = tally.unmapped.total(), tally.refused.total()
        lines = [
            f"read      {tally.lines:>12,} lines of {tally.files} files, {tally.entries:,} entries in them",
            f"used      {used:>12,} entries",
            f"ignored   {ignored:>12,} entries of items that the mapping ignores{_most(tally.ignored)}",
            f"unmapped  {unmapped:>12,} entries of items that the mapping does not name{_most(tally.unmapped)}",
            f"refused   {refused:>12,} entries{_most(tally.refused)}",
        ]
        lines += [f"          {r.source}:{r.line}: {r.reason}: {r.text[:60]!r}" for r in self.first_refused]
        if refused > SHOWN:
            where = f"all of them in {self._report}" if self._report else "name a file with --refused to see them all"
            lines.append(f"          ... {where}")
        lines.append(
            f"frames    {tally.frames:>12,} with {tally.samples:,} samples, {tally.states:,} states, "
            f"{tally.parts:,} parts, {tally.contexts:,} contexts, {tally.events:,} events"
        )
        return lines

    def require_sense(self) -> None:
        """Raises StopError when the account does not balance, or not one entry could be used."""
        from pipeline.errors import StopError

        if not self.tally.balanced:
            raise StopError("the account of entries does not balance: this is a mistake in the adapter, report it")
        if self.tally.entries and not self.tally.used.total():
            raise StopError("not one entry could be used: is this the right adapter and mapping for these files?")


def _most(counter: Any) -> str:
    if not counter:
        return ""
    names = ", ".join(f"{name} {count:,}" for name, count in counter.most_common(4))
    return f": {names}{' ...' if len(counter) > 4 else ''}"
