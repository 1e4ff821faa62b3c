"""Dialects are objects: one for each name, and an adapter may bring its own."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.errors import InternalError, UnsupportedType
from streams_engine.model import (
    Catalog,
    Column,
    Dialect,
    Index,
    IndexPart,
    NativeType,
    TableId,
    TableSchema,
)
from streams_engine.schema.dialects import DialectSpec, ddl_of, register, spec_of
from streams_engine.schema.mapping.routes import map_catalog, parse_type
from streams_engine.schema.mapping.tables import MappingOptions
from streams_engine.schema.mapping.through_arrow import arrow_mapper
from streams_engine.schema.serialization import from_dict, to_dict
from streams_engine.schema.types.mysql import mysql_type
from streams_engine.schema.types.postgres import postgres_type

TOY = Dialect("toy")
ARROW = {"INTEGER": pa.int64(), "TEXT": pa.string(), "NUMBER": pa.decimal128(10, 2)}


def toy_type(text: str) -> NativeType:
    name = text.split("(")[0]
    if name not in ARROW:
        raise UnsupportedType(f"'{text}' is no type.")
    return NativeType(TOY, text, name)


def number(arrow: pa.DataType) -> str:
    return f"NUMBER({arrow.precision},{arrow.scale})"


SPEC = DialectSpec(
    dialect=TOY,
    arrow_type=lambda native: ARROW[native.name],
    parse_type=toy_type,
    through_arrow=arrow_mapper(
        TOY, {"int": "INTEGER", "string": "TEXT", "decimal": number, "date": "TEXT"}, toy_type
    ),
    name_of=lambda table: f"[{table.name}]",
)


@pytest.fixture(autouse=True)
def known() -> None:
    assert register(SPEC) is TOY


def table(dialect: Dialect, *columns: tuple[str, NativeType, Any]) -> Catalog:
    key = Index("k", (IndexPart(columns[0][0]),), unique=True, primary=True, constraint=True)
    made = tuple(Column(name, native, arrow) for name, native, arrow in columns)
    return Catalog(dialect, (TableSchema(TableId("s", "t"), dialect, made, key),))


def types(catalog: Catalog) -> list[str]:
    return [column.type.text for column in catalog.tables[0].columns]


@pytest.mark.parametrize("dialect", [Dialect.MYSQL, TOY], ids=str)
def test_there_is_one_object_for_a_name(dialect: Dialect) -> None:
    assert Dialect(str(dialect)) is dialect
    assert pickle.loads(pickle.dumps(dialect)) is dialect
    assert copy.deepcopy(dialect) is dialect
    assert json.loads(json.dumps({"dialect": dialect})) == {"dialect": str(dialect)}


def test_names_are_stored_as_before() -> None:
    assert [str(d) for d in (Dialect.MYSQL, Dialect.POSTGRES, Dialect.FILES)] == [
        "mysql", "postgres", "files",
    ]  # fmt: skip


def test_a_dialect_that_nobody_registered_is_an_error() -> None:
    with pytest.raises(InternalError, match="elsewhere"):
        spec_of(Dialect("elsewhere"))
    with pytest.raises(InternalError, match="toy"):
        ddl_of(TOY)


def test_a_checkpoint_keeps_a_table_of_any_dialect() -> None:
    schema = table(TOY, ("id", toy_type("INTEGER"), pa.int64())).tables[0]
    document = json.loads(json.dumps(to_dict(schema)))
    assert from_dict(document) == schema
    assert from_dict(document).dialect is TOY


def test_every_source_reaches_a_dialect_through_its_arrow_types() -> None:
    mysql = table(
        Dialect.MYSQL,
        ("id", mysql_type("int"), pa.int32()),
        ("price", mysql_type("decimal(10,2)"), pa.decimal128(10, 2)),
        ("day", mysql_type("date"), pa.date32()),
    )
    mapped = map_catalog(mysql, TOY, MappingOptions(target_schema="main"))
    assert types(mapped.target) == ["INTEGER", "NUMBER(10,2)", "TEXT"]
    assert mapped.target.dialect is TOY and mapped.tables[0].target.id == TableId("main", "t")
    assert [c.convert for c in mapped.tables[0].columns][2] == "date"
    assert not mapped.tables[0].columns[0].target.nullable

    postgres = table(Dialect.POSTGRES, ("id", postgres_type("bigint"), pa.int64()))
    assert types(map_catalog(postgres, TOY, MappingOptions()).target) == ["INTEGER"]
    own = table(TOY, ("id", replace(toy_type("INTEGER"), text="INTEGER(8)"), pa.int64()))
    assert types(map_catalog(own, TOY, MappingOptions()).target) == ["INTEGER(8)"]


@pytest.mark.parametrize(
    ("target", "wanted"),
    [(Dialect.MYSQL, "bigint"), (Dialect.POSTGRES, "bigint"), (Dialect.FILES, "INTEGER")],
    ids=str,
)
def test_a_dialect_reaches_every_target(target: Dialect, wanted: str) -> None:
    source = table(TOY, ("id", toy_type("INTEGER"), pa.int64()))
    assert types(map_catalog(source, target, MappingOptions()).target) == [wanted]


def test_an_override_names_a_type_of_the_dialect() -> None:
    source = table(Dialect.MYSQL, ("id", mysql_type("int"), pa.int32()))
    options = MappingOptions(overrides=(("t.id", parse_type(TOY, "TEXT")),))
    assert types(map_catalog(source, TOY, options).target) == ["TEXT"]


def test_a_type_without_a_rule_is_refused_by_its_column() -> None:
    source = table(Dialect.MYSQL, ("at", mysql_type("double"), pa.float64()))
    with pytest.raises(UnsupportedType, match=r"s\.t\.at"):
        map_catalog(source, TOY, MappingOptions())
