"""A schema that was written down reads back equal."""

from __future__ import annotations

import json

import pyarrow as pa

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
    Partition,
    Partitioning,
    TableId,
    TableSchema,
    TypeKind,
)
from streams_engine.schema.serialization import from_dict, to_dict


def test_a_schema_reads_back_equal() -> None:
    rule = Expression("(id > 0)", Dialect.POSTGRES, ("public.f",))
    number = NativeType(Dialect.POSTGRES, "integer", "int4")
    color = NativeType(
        Dialect.POSTGRES,
        'public."Color"[]',
        "_Color",
        kind=TypeKind.ARRAY,
        element=NativeType(
            Dialect.POSTGRES,
            'public."Color"',
            "Color",
            kind=TypeKind.ENUM,
            labels=("red", "grün"),
            user=TableId("public", "Color"),
        ),
    )
    key = Index("t_pkey", (IndexPart("id"),), unique=True, primary=True, constraint=True)
    schema = TableSchema(
        TableId("public", "t", "one"),
        Dialect.POSTGRES,
        (
            Column("id", number, pa.int32(), nullable=False, identity=Identity(always=True)),
            Column("colors", color, pa.string(), default=rule, comment="c"),
        ),
        primary_key=key,
        indexes=(Index("i", (IndexPart(expression=rule, descending=True),), where=rule),),
        foreign_keys=(ForeignKey("fk", ("id",), TableId("public", "u"), ("id",)),),
        checks=(Check("c", rule, validated=False),),
        partitioning=Partitioning(
            "RANGE (id)",
            Dialect.POSTGRES,
            (Partition(TableId("public", "t1"), "DEFAULT", checks=(Check("d", rule),)),),
        ),
        source_notes=("a note",),
        bytes=12,
    )
    document = json.loads(json.dumps(to_dict(schema)))
    assert from_dict(document) == schema


def test_mysql_types_get_their_arrow_type_back() -> None:
    big = NativeType(Dialect.MYSQL, "bigint unsigned", "bigint", unsigned=True)
    schema = TableSchema(
        TableId("d", "t"), Dialect.MYSQL, (Column("id", big, pa.uint64(), nullable=False),)
    )
    assert from_dict(to_dict(schema)) == schema
