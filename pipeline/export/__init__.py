"""Windows for those who train models: features of what was known at each window's cut-off, labels of what came after.

Features are read by arrival, versions by `known_at`; nothing that came later is in them. Labels are what is known now.
One machine and day is read at a time, so memory does not grow with the range; the same store gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UsageError
from pipeline.export import columns
from pipeline.export.ahead import Ahead
from pipeline.export.asked import Reader, machines, signals
from pipeline.export.known import Known
from pipeline.export.plan import Plan, Windows
from pipeline.store.client import Store

MOST_SIGNALS = 2_000
Columns = Mapping[str, Any]  # by name a numpy array, an Arrow array or a list


@dataclass
class Exported:
    """Rows written by split, how many of them are `as_known`, and the machines they are of."""

    machines: list[str]
    rows: dict[str, int] = field(default_factory=dict)
    as_known: int = 0


def export(
    store: Store, plan: Plan, folder: Path, with_features: bool = True, with_labels: bool = True,
    tell: Callable[[int, int], None] = lambda _done, _all: None,
) -> Exported:  # fmt: skip
    """Write DIR/<split>/features.parquet and labels.parquet, row by row of the same windows, by machine and time.

    `tell` hears how many machine-days of how many are done. A file is replaced only when all are whole. Raises
    UsageError, StoreUnavailable, StoreRefused.
    """
    names = machines(store, plan)
    if not names:
        raise UsageError(
            "the store holds no facts of such machines in that time: `openoee query seen` tells what it has"
        )
    found = Exported(names, dict.fromkeys((split.name for split in plan.splits), 0))
    units = signals(store, plan, names)
    if len(units) > MOST_SIGNALS:
        raise UsageError(f"{len(units)} signals make too many columns: choose machines with --machine or --site")
    batches, done = list(plan.batches()), 0
    with ExitStack() as open_files:
        files = {
            (split.name, what): open_files.enter_context(_File(folder / split.name / f"{what}.parquet", shape))
            for split in plan.splits
            for what, shape in _shapes(plan, split.name, units, with_features, with_labels)
        }
        for machine in names:
            reader = Reader(store, plan, machine)
            known, ahead = Known(reader, [name for name, _ in units]), Ahead(reader)
            for windows in batches:
                parts: dict[str, Columns] = {"features": known.of(windows)}
                if with_labels:
                    parts["labels"] = ahead.of(windows)
                _add(files, found, windows, parts)
                done += 1
                tell(done, len(names) * len(batches))
        for file in files.values():
            file.keep()
    return found


def _shapes(
    plan: Plan, split: str, units: list[tuple[str, str]], with_features: bool, with_labels: bool
) -> list[tuple[str, pa.Schema]]:
    asked = [("features", columns.features(units))] if with_features else []
    asked += [("labels", columns.labels())] if with_labels else []
    return [(what, columns.schema(named, plan, split)) for what, named in asked]


def _add(
    files: Mapping[tuple[str, str], _File], found: Exported, windows: Windows, parts: Mapping[str, Columns]
) -> None:
    features = parts["features"]
    keys = {name: features[name] for name in ("machine", "window_start", "window_end", "cut_off", "as_known")}
    for split in windows.plan.splits:
        chosen = np.flatnonzero(windows.within(split) & features["heard"])
        if not len(chosen):
            continue
        for what, named in parts.items():
            if (split.name, what) in files:
                files[split.name, what].add({**keys, **named}, chosen)
        found.rows[split.name] += len(chosen)
        found.as_known += int(features["as_known"][chosen].sum())


class _File:
    """A Parquet file that takes its name when it is kept; otherwise it is gone."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._draft, self._schema = path, path.with_name(path.name + ".part"), schema

    def __enter__(self) -> _File:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._draft, self._schema, compression="zstd")
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        self._draft.unlink(missing_ok=True)

    def add(self, named: Columns, chosen: Any) -> None:
        arrays = [_array(named[one.name], one.type).take(pa.array(chosen)) for one in self._schema]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def keep(self) -> None:
        self._writer.close()
        self._draft.replace(self._path)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    """An Arrow array of this type; instants are integers (ms)."""
    if isinstance(values, np.ma.MaskedArray):
        return pa.array(values.data, mask=np.ma.getmaskarray(values)).cast(kind)
    return pa.array(values).cast(kind) if isinstance(values, np.ndarray) else pa.array(values, kind)
