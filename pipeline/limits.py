"""What a record may hold at most, and no more: names, texts, numbers, lists; beyond it, it is a dead letter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.core.model import Frame
from pipeline.errors import UndecodableRecord

MAX_NAME: Final = 256  # characters of a machine's, source's or signal's name, and of a unit
MAX_TEXT: Final = 10_000  # characters of any other text of a frame or control: they stand in rows, and in saved state
MOST_SIGNALS: Final = 10_000  # in one block
MOST_ITEMS: Final = 20_000  # in one list of a control: signals, shifts, closed days, planned stops ...
MOST_ENTRIES: Final = 100_000  # states, counts, contexts or events of one frame
MOST_BLOCKS: Final = 10_000  # blocks of samples of one frame
LIMIT: Final = 2**60  # times and counts beyond it are no times and counts, and sums of them would overflow
KEPT_BYTES: Final = 32 << 20  # of what repeats from frame to frame, remembered by whoever reads or writes it


def invalid(detail: str) -> UndecodableRecord:
    """The error for bytes that are good Avro and no sense."""
    return UndecodableRecord(detail, "invalid")


def check_name(what: str, name: str) -> None:
    """Raise UndecodableRecord (`invalid`) unless the name can be a key: 1 to 256 characters, no NUL."""
    if not name or len(name) > MAX_NAME or "\0" in name:
        reason = "is empty" if not name else "holds NUL" if "\0" in name else f"has {len(name)} characters"
        raise invalid(f"{what} {reason}; allowed are 1 to {MAX_NAME} characters without NUL")


def check_text(text: str) -> str:
    """The text, unless it is too long to be carried along."""
    if len(text) > MAX_TEXT:
        raise invalid(f"a text has {len(text):,} characters; allowed are {MAX_TEXT:,}")
    return text


def check_short(text: str) -> None:
    """Raise UndecodableRecord (`invalid`) when what should be a name, or nothing, is longer than a name."""
    if len(text) > MAX_NAME:
        raise invalid(f"a name has {len(text):,} characters; allowed are {MAX_NAME}")


def check_entries(count: int, most: int = MOST_ENTRIES) -> None:
    """Raise UndecodableRecord (`invalid`) unless a list of a frame is short enough to be folded at a stretch."""
    if count > most:
        raise invalid(f"a list of {count:,} entries in one frame; allowed are {most:,}")


def check_amount(frame: Frame) -> None:
    """Raise UndecodableRecord (`invalid`) when a frame says too much at once, or at too great a length."""
    check_entries(max(len(frame.states), len(frame.counts), len(frame.contexts), len(frame.events)))
    check_entries(len(frame.signals), MOST_BLOCKS)
    texts = [entry.reason for entry in frame.states]
    for context in frame.contexts:
        texts += context[1:4]
    for event in frame.events:
        texts += event[1:]
    for text in texts:
        check_text(text or "")


def check_layout(names: list[str], units: list[str]) -> None:
    """Raise UndecodableRecord (`invalid`) unless names are distinct keys and units as many as names, or none."""
    if len(names) > MOST_SIGNALS:
        raise invalid(f"{len(names):,} signals in one block; allowed are {MOST_SIGNALS:,}")
    for name in names:
        check_name("signal name", name)
    if len(set(names)) != len(names):
        raise invalid("a signal is named twice in one block")
    if units and len(units) != len(names):
        raise invalid(f"{len(units)} units for {len(names)} signals")
    if max(map(len, units), default=0) > MAX_NAME:
        raise invalid(f"a unit has more than {MAX_NAME} characters")


def check_offsets(offsets: NDArray[np.int64]) -> None:
    """Raise UndecodableRecord (`invalid`) unless offsets ascend (equal ones may follow each other) from 0 or later."""
    if len(offsets) and (offsets[0] < 0 or offsets[-1] > 2**31 - 1 or bool((offsets[1:] < offsets[:-1]).any())):
        raise invalid("offsets are not ascending from 0")


def check_number(what: str, number: int) -> int:
    """The number, when it can be reckoned with."""
    if not -LIMIT < number < LIMIT:
        raise invalid(f"{what} {number} is out of range")
    return number


def check_size(value: Any) -> None:
    """Raise UndecodableRecord (`invalid`) when a list or a text within `value` is too long."""
    if isinstance(value, str):
        check_text(value)
        return
    inner: Iterable[Any] = ()
    if isinstance(value, Mapping):
        inner = (*value.keys(), *value.values())
    elif isinstance(value, (list, tuple)):
        inner = value
    if isinstance(value, (list, tuple, Mapping)) and len(value) > MOST_ITEMS:
        raise invalid(f"a list has {len(value):,} items; allowed are {MOST_ITEMS:,}")
    for item in inner:
        check_size(item)
