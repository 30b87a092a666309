"""A hash of a row that Python and ClickHouse compute alike: sums of it are compared where rows would be too many.

Each column is a word of 64 bits: an integer itself, an instant its ms, a number its IEEE bits, a text the first eight
bytes of its MD5; no value is a word of its own. The words go one after the other through MurmurHash3's finalizer.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import md5
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

NONE = 0x9E3779B97F4A7C15
SALT = np.uint64(0x4CF2D2BAAE6DA887)  # ClickHouse's intHash64 begins with it
FIRST, SECOND, SHIFT = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53), np.uint64(33)
Words = NDArray[np.uint64]


def hashes(table: pa.Table, columns: Iterable[str]) -> Words:
    """The hash of every row, over these columns in this order."""
    found = np.zeros(table.num_rows, np.uint64)
    for name in columns:
        found = _mixed(found ^ words(table.column(name)))
    return found


def words(column: pa.ChunkedArray) -> Words:
    """A column as words."""
    array = column.combine_chunks()
    kind = array.type
    if pa.types.is_list(kind):
        array = pa.array(["\n".join(texts) for texts in array.to_pylist()], pa.string())
    if _is_text(array.type) or pa.types.is_dictionary(kind) or pa.types.is_list(kind):
        return _text_words(array)
    if pa.types.is_timestamp(kind):
        array = array.cast(pa.timestamp("ms", tz=kind.tz)).cast(pa.int64())
    elif pa.types.is_date(kind):
        array = array.cast(pa.date32()).cast(pa.int32())
    if pa.types.is_floating(kind):
        found = np.ascontiguousarray(array.fill_null(0.0).to_numpy(zero_copy_only=False), np.float64).view(np.uint64)
    elif pa.types.is_boolean(kind):
        found = array.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint64)
    elif pa.types.is_unsigned_integer(kind):
        found = array.fill_null(0).to_numpy(zero_copy_only=False).astype(np.uint64)
    else:
        found = array.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
    return _with_none(found, array)


def sql(columns: Iterable[tuple[str, pa.DataType]]) -> str:
    """The same hash of the same columns as an expression for the server."""
    text = "toUInt64(0)"
    for name, kind in columns:
        text = f"intHash64(bitXor({text}, {word_sql(name, kind)}))"
    return text


def word_sql(name: str, kind: pa.DataType) -> str:
    """The word of a column as an expression for the server."""
    column = f"`{name}`"
    value = f"assumeNotNull({column})"
    if pa.types.is_list(kind):
        return _text_sql(f"arrayStringConcat(CAST({column}, 'Array(String)'), '\\n')")  # it is never NULL
    if _is_text(kind) or pa.types.is_dictionary(kind):
        word = _text_sql(value)
    elif pa.types.is_timestamp(kind):
        word = f"reinterpretAsUInt64(toUnixTimestamp64Milli({value}))"
    elif pa.types.is_floating(kind):
        word = f"reinterpretAsUInt64({value})"
    elif pa.types.is_boolean(kind) or pa.types.is_date(kind) or pa.types.is_unsigned_integer(kind):
        word = f"toUInt64({value})"
    else:
        word = f"reinterpretAsUInt64(toInt64({value}))"
    return f"if(isNull({column}), toUInt64({NONE}), {word})"


def _text_sql(value: str) -> str:
    return f"reinterpretAsUInt64(substring(MD5({value}), 1, 8))"


def _is_text(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(is_it(kind) for is_it in kinds)


def _text_words(array: Any) -> Words:
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    of_text = np.array([_text_word(text) for text in encoded.dictionary.to_pylist()] or [0], np.uint64)
    places = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
    return _with_none(of_text[places], encoded)


def _text_word(text: str | bytes) -> int:
    data = text.encode() if isinstance(text, str) else text
    return int.from_bytes(md5(data, usedforsecurity=False).digest()[:8], "little")


def _with_none(found: Words, array: Any) -> Words:
    if not array.null_count:
        return found
    return np.where(array.is_null().to_numpy(zero_copy_only=False), np.uint64(NONE), found)


def _mixed(found: Words) -> Words:
    found = found ^ SALT
    found = (found ^ (found >> SHIFT)) * FIRST
    found = (found ^ (found >> SHIFT)) * SECOND
    return found ^ (found >> SHIFT)
