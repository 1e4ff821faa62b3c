"""DDL for PostgreSQL: every name quoted, every text a literal, the parts in their order."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from streams_engine.model import (
    Catalog,
    Check,
    Column,
    Dialect,
    Expression,
    ForeignKey,
    Identity,
    Index,
    IndexPart,
    Partition,
    Partitioning,
    TableId,
    TableSchema,
    TypeKind,
    UserType,
)
from streams_engine.schema.ddl import postgres as ddl
from streams_engine.schema.types.postgres import postgres_type

ODD = TableId('s"x', 'order; DROP TABLE "t" --')
INT = Column("id", postgres_type("int"), pa.int32(), nullable=False)
TEXT = Column('a"b', postgres_type("text"), pa.string(), comment="it's \\ 100%")
TABLE = TableSchema(ODD, Dialect.POSTGRES, (INT, TEXT))
ALL = ddl.Structure()
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def sql(*statements: object) -> list[str]:
    return [statement.sql for statement in statements]  # type: ignore[attr-defined]


def condition(text: str) -> Expression:
    return Expression(text, Dialect.POSTGRES)


@given(words)
def test_a_name_cannot_leave_its_quotes(name: str) -> None:
    quoted = ddl.quote(name)
    assert quoted[0] == quoted[-1] == '"' and quoted[1:-1].replace('""', "").count('"') == 0
    assert quoted[1:-1].replace('""', '"') == name


@given(words)
def test_a_text_cannot_leave_its_literal(text: str) -> None:
    quoted = ddl.literal(text)
    escaped = quoted.startswith("E")
    body = quoted[2:-1] if escaped else quoted[1:-1]
    assert escaped == ("\\" in text)
    if escaped:
        assert "\\" not in body.replace("\\\\", "")
        body = body.replace("\\\\", "\\")
    assert "'" not in body.replace("''", "")
    assert body.replace("''", "'") == text


def test_odd_names_and_comments() -> None:
    name = '"s""x"."order; DROP TABLE ""t"" --"'
    assert sql(*ddl.table(TABLE, ALL)) == [
        f'CREATE TABLE {name} (\n  "id" int NOT NULL,\n  "a""b" text\n)'.replace("integer", "int")
    ]
    assert sql(*ddl.indexes(TABLE, ALL)) == [
        f"COMMENT ON COLUMN {name}.\"a\"\"b\" IS E'it''s \\\\ 100%'"
    ]


def test_checks_before_or_after_the_rows() -> None:
    checks = (
        Check("now", condition("id > 0")),
        Check("late", condition("id > 1"), optional=True),
        Check("loose", condition("id > 2"), validated=False),
    )
    checked = replace(TABLE, checks=checks)
    assert 'CONSTRAINT "now" CHECK (id > 0)' in sql(*ddl.table(checked, ALL))[0]
    after = [s for s in ddl.indexes(checked, ALL) if "CHECK" in s.sql]
    assert [(s.sql.split("ADD ")[1], s.optional) for s in after] == [
        ('CONSTRAINT "late" CHECK (id > 1)', True),
        ('CONSTRAINT "loose" CHECK (id > 2) NOT VALID', False),
    ]
    nothing = ddl.Structure(indexes=False, foreign_keys=False, checks=False)
    assert not [
        s
        for s in (*ddl.table(checked, nothing), *ddl.indexes(checked, nothing))
        if "CHECK" in s.sql
    ]


def test_keys_and_indexes() -> None:
    parts = (IndexPart("id"), IndexPart('a"b', descending=True, nulls_first=False))
    indexed = replace(
        TABLE,
        columns=(INT,),
        primary_key=Index("p", (IndexPart("id"),), unique=True, primary=True, constraint=True),
        indexes=(
            Index("u", (IndexPart("id"),), unique=True, constraint=True, nulls_distinct=False),
            Index("i", parts, where=condition("id > 3"), include=("c",), optional=True),
        ),
    )
    of_primary, primary, of_unique, unique, plain = ddl.indexes(indexed, ALL)
    assert of_primary.sql.startswith('CREATE UNIQUE INDEX "p" ON')
    assert primary.sql.endswith('ADD CONSTRAINT "p" PRIMARY KEY USING INDEX "p"')
    assert of_unique.sql.endswith('USING btree ("id") NULLS NOT DISTINCT')
    assert unique.sql.endswith('ADD CONSTRAINT "u" UNIQUE USING INDEX "u"')
    # Those that are built may be built beside one another.
    assert [s.concurrent for s in (of_primary, primary, of_unique, unique, plain)] == [
        True, False, True, False, True,
    ]  # fmt: skip
    assert plain.sql.endswith(
        'USING btree ("id", "a""b" DESC NULLS LAST) INCLUDE ("c") WHERE id > 3'
    )
    assert plain.optional and not primary.optional
    assert sql(*ddl.key(indexed, ("id",))) == [of_primary.sql, primary.sql]
    assert len(list(ddl.indexes(indexed, ddl.Structure(indexes=False)))) == 2


def test_foreign_keys() -> None:
    fk = ForeignKey("f", ("id",), ODD, ("id",), "SET NULL", "CASCADE", ("id",),
                    match="FULL", deferrable=True, deferred=True, validated=False)  # fmt: skip
    (made,) = ddl.foreign_keys(replace(TABLE, id=TableId("s", "t"), foreign_keys=(fk,)))
    assert made.sql.startswith('ALTER TABLE "s"."t" ADD CONSTRAINT "f" FOREIGN KEY ("id") ')
    assert made.sql.endswith(
        '("id") MATCH FULL ON UPDATE CASCADE ON DELETE SET NULL ("id") '
        "DEFERRABLE INITIALLY DEFERRED NOT VALID"
    )


def test_identity_goes_on_where_the_source_would() -> None:
    numbered = replace(INT, identity=Identity(start=5, next_value=42, cache=3, cycle=True))
    table = replace(TABLE, columns=(numbered,))
    assert (
        "GENERATED BY DEFAULT AS IDENTITY (INCREMENT BY 1 START WITH 5 CACHE 3 CYCLE)"
        in sql(*ddl.table(table, ALL))[0]
    )
    (value,) = ddl.sequence_values(Catalog(Dialect.POSTGRES, (table,)))
    assert "GREATEST(41, 0, (SELECT max(" in value.sql and "LEAST(2147483647, " in value.sql


def test_partitions_after_their_parent() -> None:
    inner = Partitioning(
        "LIST (b)", Dialect.POSTGRES, (Partition(TableId("s", "leaf"), "DEFAULT"),)
    )
    tree = Partitioning(
        "RANGE (a)", Dialect.POSTGRES, (Partition(TableId("s", "p"), "DEFAULT", inner),)
    )
    root, part, leaf = sql(*ddl.table(replace(TABLE, partitioning=tree), ALL))
    assert root.endswith("PARTITION BY RANGE (a)")
    assert part.startswith('CREATE TABLE "s"."p" PARTITION OF "s""x"')
    assert part.endswith("DEFAULT PARTITION BY LIST (b)")
    assert leaf == 'CREATE TABLE "s"."leaf" PARTITION OF "s"."p" DEFAULT'


def test_schemas_and_types_first_and_only_those_that_are_missing() -> None:
    enum = UserType(TableId("s", "mood"), TypeKind.ENUM, ("it's", "b\\c"))
    made = Catalog(Dialect.POSTGRES, (TABLE,), types=(enum,), schemas=frozenset({"s"}))
    assert sql(*ddl.objects(made)) == [
        'CREATE SCHEMA IF NOT EXISTS "s""x"',
        "CREATE TYPE \"s\".\"mood\" AS ENUM ('it''s', E'b\\\\c')",
    ]


def test_a_key_of_periods_is_made_in_one_statement() -> None:
    parts = (IndexPart("id"), IndexPart('a"b'))
    key = Index("k", parts, unique=True, primary=True, constraint=True, method="gist")
    periods = ForeignKey("f", ("id", 'a"b'), ODD, ("id", 'a"b'), period=True)
    table = replace(TABLE, primary_key=key, foreign_keys=(periods,))
    (made,) = sql(*ddl.indexes(replace(table, columns=(INT,)), ALL))
    assert made.endswith('ADD CONSTRAINT "k" PRIMARY KEY ("id", "a""b" WITHOUT OVERLAPS)')
    (keyed,) = ddl.foreign_keys(table)
    assert 'FOREIGN KEY ("id", PERIOD "a""b") REFERENCES' in keyed.sql
    assert '("id", PERIOD "a""b") ON UPDATE' in keyed.sql and not keyed.orphans


def test_indexes_of_partitions_get_the_names_of_the_source() -> None:
    leaf = Partition(TableId("s", "it's"), "DEFAULT", inherited=(("k", 'k"1'),))
    tree = Partitioning("RANGE (a)", Dialect.POSTGRES, (leaf,))
    (block,) = ddl.inherited_indexes(ODD, tree.every())
    assert block.sql.startswith("DO '") and block.optional
    assert """(''"s"."it''''s"'', ''k'', ''k"1'')""" in block.sql
    assert not list(ddl.inherited_indexes(ODD, (replace(leaf, inherited=()),)))
