"""What differs between a table as it would be created and the one on the target."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.model import (
    Check,
    Column,
    Dialect,
    Expression,
    ForeignKey,
    Identity,
    Index,
    IndexPart,
    NativeType,
    TableId,
    TableSchema,
)
from streams_engine.schema.comparison import compare_structure
from streams_engine.schema.ddl.structure import Structure

POSTGRES = Dialect.POSTGRES
INT = NativeType(POSTGRES, "integer", "int4")
TEXT = NativeType(POSTGRES, "text", "text")


def sql(text: str) -> Expression:
    return Expression(text, POSTGRES)


def column(name: str, **more: Any) -> Column:
    return Column(name, more.pop("type", INT), pa.int32(), **more)


PARENT = TableId("public", "parent")
WHOLE = TableSchema(
    TableId("public", "t"),
    POSTGRES,
    (
        column("id", nullable=False, identity=Identity(next_value=100)),
        column("code", nullable=False, default=sql("0")),
        column("note", type=TEXT),
        column("double", generated=sql("id * 2")),
    ),
    Index("t_pkey", (IndexPart("id"),), unique=True, primary=True, constraint=True),
    (
        Index("code_key", (IndexPart("code"),), unique=True),
        Index("by_note", (IndexPart("note"), IndexPart("code"))),
        Index("lower", (IndexPart(expression=sql("lower(note)")),)),
        Index("upper", (IndexPart(expression=sql("upper(note)")),)),
        Index("part", (IndexPart("note"),), where=sql("code > 1")),
        Index("first", (IndexPart("note", length=20),)),
    ),
    (ForeignKey("fk", ("code",), PARENT, ("id",), on_delete="CASCADE"),),
    (Check("positive", sql("code > 0")),),
)


def told(there: TableSchema, **more: Any) -> list[tuple[str, str]]:
    return [(f.code, f.message) for f in compare_structure(WHOLE, there, Structure(), **more)]


def test_a_table_is_its_own_equal_under_other_names_and_texts() -> None:
    indexes = tuple(replace(index, name=f"other_{index.name}") for index in WHOLE.indexes)
    checks = (Check("chk_1", sql("((code)::int > 0)")),)
    other = replace(
        WHOLE,
        indexes=indexes,
        checks=checks,
        foreign_keys=(replace(WHOLE.foreign_keys[0], name="other"),),
    )
    assert told(other) == told(WHOLE) == []


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("code_key", "unique key (code)"),
        ("by_note", "index (note, code)"),
        ("lower", "index ((lower(note)))"),
        ("upper", "index ((upper(note)))"),
        ("part", "index (note) where code > 1"),
        ("first", "index (note(20))"),
    ],
)
def test_each_index_that_is_not_there_is_told(name: str, what: str) -> None:
    rest = tuple(index for index in WHOLE.indexes if index.name != name)
    assert told(replace(WHOLE, indexes=rest)) == [("missing-on-target", f"It lacks: {what}.")]


def test_keys_and_checks_that_are_not_there_are_told() -> None:
    bare = replace(WHOLE, primary_key=None, foreign_keys=(), checks=())
    assert [message for _, message in told(bare)] == [
        "It lacks: primary key (id).",
        "It lacks: foreign key (code) to public.parent.",
        "It lacks: check positive.",
    ]
    without = Structure(indexes=False, foreign_keys=False, checks=False)
    stripped = replace(bare, indexes=())
    assert [f.message for f in compare_structure(WHOLE, stripped, without)] == [
        "It lacks: primary key (id)."
    ]


@pytest.mark.parametrize(
    ("place", "changes", "words"),
    [
        (0, {"identity": None}, "does not number its rows"),
        (0, {"identity": Identity(next_value=7)}, "next number is 7; on the source it is 100"),
        (1, {"nullable": True}, "allows NULL"),
        (2, {"nullable": False}, "is NOT NULL; the source's allows NULL"),
        (1, {"default": None}, "has no default"),
        (1, {"default": sql("1")}, "default is 1, and would be 0"),
        (2, {"default": sql("'x'")}, "It has a default"),
        (2, {"type": INT}, "It is integer; it would be created as text"),
        (3, {"generated": None}, "It is a plain column"),
    ],
)
def test_each_trait_of_a_column_is_told(place: int, changes: dict[str, Any], words: str) -> None:
    columns = list(WHOLE.columns)
    columns[place] = replace(columns[place], **changes)
    ((code, message),) = told(replace(WHOLE, columns=tuple(columns)))
    assert code == "differs-on-target" and words in message


def test_the_next_number_is_left_out_while_rows_are_written() -> None:
    columns = (replace(WHOLE.columns[0], identity=Identity(next_value=7)), *WHOLE.columns[1:])
    assert told(replace(WHOLE, columns=columns), positions=False) == []


def test_another_action_of_a_foreign_key_and_more_keys_are_told() -> None:
    key = replace(WHOLE.foreign_keys[0], on_delete="RESTRICT")
    more = Index("more", (IndexPart("note"),), unique=True)
    codes = told(replace(WHOLE, foreign_keys=(key,), indexes=(*WHOLE.indexes, more)))
    assert [code for code, _ in codes] == ["differs-on-target", "extra-on-target"]
    assert "ON DELETE RESTRICT; on the source it is CASCADE" in codes[0][1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0", "'0'"),
        ("0", "(0)::numeric"),
        ("'a'", "'a'::text"),
        ("now()", "CURRENT_TIMESTAMP"),
        ("'{\"a\"}'", "'{a}'::text[]"),
    ],
)
def test_a_default_in_other_words_is_the_same(one: str, other: str) -> None:
    wanted = replace(WHOLE, columns=(column("a", default=sql(one)),))
    there = replace(wanted, columns=(column("a", default=sql(other)),))
    assert list(compare_structure(wanted, there, Structure())) == []


@pytest.mark.parametrize(
    ("type_", "one", "other", "same"),
    [
        ("interval", "'10:00:00.000'", "'10:00:00'::interval(3)", True),
        ("interval", "'-100:00:00.500'", "'-100:00:00.5'::interval(3)", True),
        ("interval", "'10:00:00.500'", "'10:00:00'::interval(3)", False),
        ("time", "'10:00:10.100'", "'10:00:10.1'::time(3) without time zone", True),
        ("timestamptz", "'2020-01-01 10:00:00.000+00'", "'2020-01-01 10:00:00+00'::x", True),
        ("timestamptz", "'2020-01-01 10:00:00.001+00'", "'2020-01-01 10:00:00+00'::x", False),
        ("text", "'10:00:00.000'", "'10:00:00'::text", False),
    ],
)
def test_a_default_of_seconds_is_the_same_with_zeros(
    type_: str, one: str, other: str, same: bool
) -> None:
    native = NativeType(POSTGRES, type_, type_)
    wanted = replace(WHOLE, columns=(column("a", type=native, default=sql(one)),))
    there = replace(wanted, columns=(column("a", type=native, default=sql(other)),))
    assert (list(compare_structure(wanted, there, Structure())) == []) is same
