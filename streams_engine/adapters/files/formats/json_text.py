"""Arrow arrays as JSON literals, vectorised: one text a value, ``null`` for NULL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.adapters.files.formats.text_values import render
from streams_engine.arrow.plain import filled, from_numpy, joined, scalar, texts, to_numpy
from streams_engine.schema.types.files import family

__all__ = ["literals", "quoted"]

EXACT = 2**53
"""Beyond that a reader of doubles does not see the same whole number."""
SURE_DIGITS = 15
SHORT = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
CONTROLS = {chr(c): f"\\u{c:04x}" for c in range(32) if chr(c) not in SHORT}


def literals(values: pa.Array, *, nested: bool = False) -> pa.Array:
    """Return the values as JSON literals; with ``nested``, finite numbers as numbers with all
    digits.

    Raises `RowRejected` if a value cannot be written exactly.
    """
    special = next((make for is_one, make in NESTED if is_one(values.type)), None)
    if special is not None:
        return special(values)
    text = render(values, form="jsonl")
    bare = BARE.get(family(values.type))
    if bare is None:
        return filled(quoted(text), "null")
    as_is = bare(values, text, nested)
    if as_is is True:
        return filled(text, "null")
    return filled(pc.if_else(as_is, text, quoted(text)), "null")


def quoted(text: pa.Array) -> pa.Array:
    """Return JSON strings; NULL stays NULL."""
    if pc.any(pc.match_substring_regex(text, r'[\x00-\x1f"\\]')).as_py():
        for plain, escaped in SHORT.items():
            text = pc.replace_substring(text, plain, escaped)
        if pc.any(pc.match_substring_regex(text, r"[\x00-\x1f]")).as_py():
            for plain, escaped in CONTROLS.items():
                text = pc.replace_substring(text, plain, escaped)
    return joined(['"', text, '"'])


Bare = Callable[[pa.Array, pa.Array, bool], "pa.Array | bool"]


def _always(_: pa.Array, __: pa.Array, ___: bool) -> bool:
    return True


def _int(values: pa.Array, _: pa.Array, nested: bool) -> pa.Array | bool:
    if nested or values.type.bit_width < 64:
        return True
    small = pc.less_equal(values, scalar(EXACT, values.type))
    if pa.types.is_signed_integer(values.type):
        small = pc.and_(small, pc.greater_equal(values, scalar(-EXACT, values.type)))
    return small


def _float(values: pa.Array, _: pa.Array, __: bool) -> pa.Array:
    return pc.is_finite(values)


def _decimal(_: pa.Array, text: pa.Array, nested: bool) -> pa.Array | bool:
    if nested:
        return True
    digits = pc.utf8_ltrim(pc.replace_substring_regex(text, r"[-.]", ""), "0")
    return pc.less_equal(pc.utf8_length(digits), scalar(SURE_DIGITS, pa.int32()))


BARE: Mapping[str, Bare] = {"bool": _always, "int": _int, "float": _float, "decimal": _decimal}
"""Which values of a family are written without quotes."""


# Nested values, of Parquet


def _list(values: pa.Array) -> pa.Array:
    plain = values.cast(pa.list_(values.type.value_type))
    inner = literals(plain.flatten(), nested=True)
    return _where(plain, _joined(plain, inner, "[", "]"))


def _joined(lists: pa.Array, inner: pa.Array, begin: str, end: str) -> pa.Array:
    counts = to_numpy(filled(pc.list_value_length(lists), 0))
    offsets = np.zeros(len(lists) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    together = pc.binary_join(pa.ListArray.from_arrays(from_numpy(offsets), inner), ",")
    return joined([begin, together, end])


def _struct(values: pa.Array) -> pa.Array:
    names = [field.name for field in values.type]
    return _where(values, objects(names, [literals(v, nested=True) for v in values.flatten()]))


def objects(names: Sequence[str], columns: Sequence[pa.Array]) -> pa.Array:
    """Return one JSON object per row, made of literals."""
    parts: list[pa.Array | str] = []
    for number, (name, column) in enumerate(zip(names, columns, strict=True)):
        key = quoted(texts([name]))[0].as_py()
        parts += [("{" if number == 0 else ",") + key + ":", column]
    return joined([*parts, "}"])


def _map(values: pa.Array) -> pa.Array:
    entries = values.cast(pa.list_(pa.struct([("key", values.type.key_type),
                                              ("value", values.type.item_type)])))  # fmt: skip
    keys, items = entries.flatten().flatten()
    named = literals(keys, nested=True)
    if not pa.types.is_string(keys.type):
        bare = pc.invert(pc.starts_with(named, '"'))
        named = pc.if_else(bare, joined(['"', named, '"']), named)
    pairs = joined([named, literals(items, nested=True)], ":")
    return _where(values, _joined(entries, pairs, "{", "}"))


def _where(values: pa.Array, text: pa.Array) -> pa.Array:
    return pc.if_else(values.is_valid(), text, scalar("null", pa.string()))


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


NESTED = ((_is_list, _list), (pa.types.is_struct, _struct), (pa.types.is_map, _map))
