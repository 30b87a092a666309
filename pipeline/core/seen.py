"""Which frames a machine's sources have sent already, in a few integers: the same frame twice counts once."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

SOURCES_KEPT = 64  # (source, epoch) pairs per machine; the one heard of longest ago is forgotten first


class Seen:
    """Per source and epoch the sequence numbers seen, as ranges [first, last]; a source without losses needs one."""

    __slots__ = ("ranges",)

    def __init__(self) -> None:
        self.ranges: dict[tuple[str, int], list[list[int]]] = {}

    def add(self, source: str, epoch: int, sequence: int) -> bool:
        """True when this frame is new."""
        ranges = self.ranges.pop((source, epoch), None)
        if ranges is None:
            ranges = []
            if len(self.ranges) >= SOURCES_KEPT:
                del self.ranges[next(iter(self.ranges))]
        self.ranges[source, epoch] = ranges
        place = bisect_right(ranges, [sequence, 1 << 62]) - 1
        if place >= 0 and sequence <= ranges[place][1]:
            return False
        before = place >= 0 and ranges[place][1] == sequence - 1
        after = place + 1 < len(ranges) and ranges[place + 1][0] == sequence + 1
        if before and after:
            ranges[place][1] = ranges.pop(place + 1)[1]
        elif before:
            ranges[place][1] = sequence
        elif after:
            ranges[place + 1][0] = sequence
        else:
            ranges.insert(place + 1, [sequence, sequence])
        return True

    def is_beyond(self, source: str, epoch: int, sequence: int) -> bool:
        """Whether no frame with this number or a higher one has been seen."""
        ranges = self.ranges.get((source, epoch))
        return ranges is not None and sequence > ranges[-1][1]

    def extend(self, source: str, epoch: int, first: int, last: int) -> None:
        """As `add` of the frames from first to last, which are all beyond what a known source has sent."""
        ranges = self.ranges[source, epoch] = self.ranges.pop((source, epoch))  # it was heard of last
        if ranges[-1][1] == first - 1:
            ranges[-1][1] = last
        else:
            ranges.append([first, last])

    def pack(self) -> list[Any]:
        return [[source, epoch, ranges] for (source, epoch), ranges in self.ranges.items()]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Seen:
        seen = cls()
        seen.ranges = {(row[0], row[1]): [list(pair) for pair in row[2]] for row in packed}
        return seen
