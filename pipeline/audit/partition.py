"""One partition of telemetry against the store: sums first, rows only where the sums differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from pipeline import audit_queries as queries
from pipeline import row_hash
from pipeline.audit.log import Reading
from pipeline.audit.report import Check
from pipeline.audit.stretches import Row, Stretch, groups, keyed, milliseconds, named
from pipeline.audit.sums import Latest, Sum, Sums
from pipeline.audit_queries import BY_TABLE, COMPUTED, HOUR_MS, LETTERS, SAID, Asked, Compared
from pipeline.state import LogReader
from pipeline.store.client import Store

NEVER = 1 << 62  # ms


@dataclass(frozen=True)
class Scope:
    """What is asked about, in [start, end) ms: one machine or all, at most `most` differences of each check.

    `since`: by table, from when on the store keeps its rows (0: always).
    """

    start: int
    end: int
    machine: str
    most: int
    since: Mapping[str, int]


class Audited:
    """A partition that is read once, and again where there is something to be told apart."""

    def __init__(self, reading: Reading, store: Store, scope: Scope) -> None:
        self.reading, self.scope = reading, scope
        self._store = store
        self._sums = {one.table: Sums() for one in SAID}
        self._latest = {one.table: Latest() for one in COMPUTED}
        self._dropped: dict[str, int] = {}
        self.unsure = -1  # rows of the store up to here [ms] may come from records that are gone

    def read(self) -> None:
        """Take the sums of everything that the partition says."""
        for offsets, name, table in self.reading.tables():
            one = BY_TABLE.get(name)
            chosen = None if one is None else self._chosen(one, table)
            if one is not None and chosen is not None and chosen.num_rows:
                self._sum(one, chosen, offsets)
        reading = self.reading
        if reading.lost:
            arrived = reading.first_arrived
            latest = NEVER if arrived is None else arrived + round(reading.settings.float("max_future_s") * 1000)
            self.unsure = latest

    def forget(self) -> None:
        """Let go of the sums."""
        self._sums, self._latest = {}, {}

    def compare(self, one: Compared, check: Check) -> None:
        """Compare a table, and tell of the first differences."""
        asked = self._asked(one)
        places = [str(self.reading.partition)] if one is LETTERS else sorted(self.reading.machines)
        moved = queries.moved(self._store, one, places, asked)
        mine = self._sums[one.table] if one in SAID else self._latest[one.table].sums(moved, asked.since)
        stored = queries.sums(self._store, one, places, asked)
        check.rows += sum(found.rows for found in mine.found.values())
        if self._dropped.get(one.table):
            check.unverified.append(f"{self._dropped[one.table]:,} rows are older than what the store keeps")
        for group in groups(self._stretches(one, mine, stored, check)):
            if len(check.differences) >= self.scope.most:
                check.more = True
                break
            self._look(one, group, asked)
            self._tell(one, group, moved, check)

    def newcomers(self) -> set[str]:
        """Machines whose first record came while the audit was at work."""
        tail = self._reading(self.reading.end, self._high())
        for _ in tail.tables():
            pass
        return tail.machines

    def _sum(self, one: Compared, chosen: pa.Table, offsets: range) -> None:
        places = chosen[one.place]
        encoded = (places if pa.types.is_dictionary(places.type) else places.dictionary_encode()).combine_chunks()
        names = [str(place) for place in encoded.dictionary.to_pylist()]
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        hours, hashes = milliseconds(chosen[one.at]) // HOUR_MS, row_hash.hashes(chosen, one.columns)
        if one in SAID:
            self._sums[one.table].add(names, codes, hours, hashes, offsets)
            return
        versions = milliseconds(chosen[one.version]) if one.version else np.zeros(len(codes), np.int64)
        in_force = one.in_rows(chosen).to_numpy(zero_copy_only=False).astype(np.bool_)
        keys = row_hash.hashes(chosen, one.key)
        self._latest[one.table].add(names, codes, hours, hashes, keys, versions, in_force)

    def _chosen(self, one: Compared, table: pa.Table) -> pa.Table:
        """Rows of the time asked about, with hashes instead of bytes."""
        at, since = milliseconds(table[one.at]), self.scope.since[one.table]
        keep = (at >= self.scope.start) & (at < self.scope.end)
        if since:
            old = keep & (milliseconds(table[one.version or one.at]) < since)
            self._dropped[one.table] = self._dropped.get(one.table, 0) + int(old.sum())
            keep = keep if one.version else keep & ~old  # of a key with versions the newest must be known first
        for name in one.hashed:
            words = pa.array(row_hash.words(table[name]), pa.uint64())
            table = table.set_column(table.column_names.index(name), name, words)
        return table if keep.all() else table.filter(pa.array(keep))

    def _asked(self, one: Compared) -> Asked:
        since, reading = self.scope.since[one.table], self.reading
        start = self.scope.start if one.version else max(self.scope.start, since)
        return Asked(
            start, self.scope.end, since if one.version else 0, reading.bounds,
            reading.settings.topic("telemetry"), (reading.start, reading.end), self.scope.machine,
        )  # fmt: skip

    def _stretches(self, one: Compared, mine: Sums, stored: queries.Sums, check: Check) -> Iterator[Stretch]:
        """Where the sums differ. Hours that retention has taken from the log as a whole are only counted."""
        beyond = 0
        for place, hour in sorted(mine.found.keys() | stored.keys()):
            rows, total = stored.get((place, hour), (0, 0))
            known = mine.found.get((place, hour), Sum(0, 0, self.reading.start, self.reading.end))
            start, end = max(hour * HOUR_MS, self.scope.start), min((hour + 1) * HOUR_MS, self.scope.end)
            if not known.rows and end <= self.unsure:
                beyond += rows
            elif (known.rows, known.total) != (rows, total):
                last = max(known.end, self.reading.again.get((place, hour), 0))
                yield Stretch(one, place, start, end, max(known.rows, rows), known.first, last)
        _unsure(check, beyond)

    def _look(self, one: Compared, group: Sequence[Stretch], asked: Asked) -> None:
        """Get the rows of either side. The store is asked first: what it holds is in the log by then."""
        for stretch in group:
            there = replace(asked, start=stretch.start, end=stretch.end)
            stretch.stored = dict(keyed(one, queries.rows(self._store, one, stretch.place, there)))
        reading, said = self.reading, one in SAID
        if not said:
            self._gather(self._reading(reading.start, reading.end, reading.computes), group, later=False)
            return
        first, last = min(stretch.first for stretch in group), max(stretch.last for stretch in group)
        self._gather(self._reading(first, last), group, later=False)
        self._gather(self._reading(reading.end, self._high()), group, later=True)

    def _reading(self, start: int, end: int, computes: bool = False) -> Reading:
        """The partition once more, with every copy of a repeated frame."""
        return replace(self.reading, start=start, end=end, computes=computes, repeats=True, machines=set(), again={})

    def _high(self) -> int:
        """Where the log ends by now."""
        return LogReader(self.reading.settings, self.reading.codec).extent(self.reading.partition)[1]

    def _gather(self, reading: Reading, group: Sequence[Stretch], later: bool) -> None:
        one = group[0].one
        for _, name, table in reading.tables():
            if name == one.table:
                chosen = self._chosen(one, table)
                for stretch in group:
                    stretch.take(chosen, later)

    def _tell(self, one: Compared, group: Sequence[Stretch], moved: set[int], check: Check) -> None:
        unsure = 0
        for stretch in group:
            for key, source, store in stretch.differing(moved, self.scope.since[one.table] if one.version else 0):
                if source is None and store is not None and self._may_be_gone(one, store):
                    unsure += 1
                elif len(check.differences) < self.scope.most:
                    check.differences.extend(named(check.name, one, key, source, store))
                else:
                    check.more = True
        _unsure(check, unsure)

    def _may_be_gone(self, one: Compared, row: Row) -> bool:
        """Whether a row that the source does not have may come from records that retention has removed."""
        if one is LETTERS:
            return not self.reading.computes
        return bool(row[one.columns.index(one.at)] <= self.unsure)


def _unsure(check: Check, rows: int) -> None:
    if rows:
        check.unverified.append(f"{rows:,} rows of the store cannot be judged: they may follow from what is gone")
