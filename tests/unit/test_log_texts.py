"""Texts of a log that go to a target as they are, or as what its type reads."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from streams_engine.model import Column, Op, TableId, TextRow
from streams_engine.pipeline.changes.table_replication import TextForm
from streams_engine.schema.dialects import spec_of
from streams_engine.schema.mapping.mysql_texts_to_postgres import (
    as_array,
    as_bytea,
    text_conversion,
    within_day,
)
from streams_engine.schema.mapping.tables import ColumnMapping, unchanged
from streams_engine.schema.types.mysql import arrow_type, mysql_type
from streams_engine.schema.types.postgres import postgres_type

TABLE = TableId("public", "t")


def mapped(source: str, target: str, **more: Any) -> ColumnMapping:
    native = mysql_type(source)
    arrow = more.pop("arrow", arrow_type(native))
    return ColumnMapping(
        Column("c", native, arrow), Column("c", postgres_type(target), arrow), **more
    )


@pytest.mark.parametrize(
    ("source", "target", "more", "wanted"),
    [
        ("int", "integer", {}, unchanged),
        ("tinyint(1)", "boolean", {"convert": "boolean"}, unchanged),
        ("bit(1)", "boolean", {"convert": "boolean"}, unchanged),
        ("datetime(3)", "timestamp(3)", {"convert": "date"}, unchanged),
        ("blob", "bytea", {}, as_bytea),
        ("set('a')", "text[]", {"convert": "labels"}, as_array),
        ("time", "time", {}, within_day),
        ("float", "double precision", {}, None),
        ("timestamp", "timestamp", {}, None),
        ("varchar(9)", "citext", {}, None),
        ("int", "integer", {"fit": "integer"}, None),
        ("int", "text", {"arrow": pa.string()}, None),
        ("geometry", "bytea", {}, None),
    ],
)
def test_a_pair_of_types_is_exact_as_text_or_goes_in_columns(
    source: str, target: str, more: dict[str, Any], wanted: Any
) -> None:
    column = mapped(source, target, **more)
    assert text_conversion(column) is wanted
    route = spec_of(column.target.type.dialect).text_routes[column.source.type.dialect]
    assert route is text_conversion


def test_labels_become_an_array() -> None:
    assert [as_array(text) for text in (b"", b"a", b'a,b"\\c')] == [
        b"{}",
        b'{"a"}',
        b'{"a","b\\"\\\\c"}',
    ]


@pytest.mark.parametrize("text", ["-00:00:01.000000", "24:00:00.000001", "100:00:00.000000"])
def test_a_time_beyond_a_day_has_no_text(text: str) -> None:
    assert within_day(b"24:00:00.000000") and within_day(b"00:00:00.000000")
    form = TextForm.of(TABLE, ("id", "at"), ("id",), (unchanged, within_day))
    row = TextRow(TABLE, Op.INSERT, (b"1", text.encode()), ())
    assert form.row(row) is None


def test_values_and_keys_are_converted_alike() -> None:
    form = TextForm.of(TABLE, ("note", "raw"), ("raw",), (unchanged, as_bytea))
    insert, delete, update = (
        form.row(TextRow(TABLE, op, after, old))
        for op, after, old in (
            (Op.INSERT, (None, b"\0a"), ()),
            (Op.DELETE, (), (b"\0a",)),
            (Op.UPDATE, (b"new", ...), (b"\0a",)),
        )
    )
    assert insert is not None and insert.values == (None, b"\\x0061")
    assert delete is not None and delete.values == (b"\\x0061",)
    assert update is not None and update.values == (b"new", b"\\x0061")
    assert update.columns == ("note",)
