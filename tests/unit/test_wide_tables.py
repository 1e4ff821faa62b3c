"""Tables of PostgreSQL that MySQL cannot have."""

from __future__ import annotations

import pytest

from streams_engine.model import Catalog, Column, Dialect, NativeType, TableId, TableSchema
from streams_engine.schema.mapping.routes import map_catalog
from streams_engine.schema.mapping.tables import MappingOptions
from streams_engine.schema.types.postgres import arrow_type

FLAG = NativeType(Dialect.POSTGRES, "bool", "boolean")


@pytest.mark.parametrize(("columns", "kept"), [(0, False), (1, True), (1017, True), (1018, False)])
def test_a_table_with_more_columns_than_mysql_has_is_left_out(columns: int, kept: bool) -> None:
    """The server's error 1117 would end the stream at each start."""
    named = tuple(Column(f"c{n}", FLAG, arrow_type(FLAG)) for n in range(columns))
    table = TableSchema(TableId("public", "t"), Dialect.POSTGRES, named)
    catalog = Catalog(Dialect.POSTGRES, (table,))
    mapped = map_catalog(catalog, Dialect.MYSQL, MappingOptions())
    assert bool(mapped.tables) is kept
    assert [f.code for f in mapped.findings] == ([] if kept else ["left-out"])
