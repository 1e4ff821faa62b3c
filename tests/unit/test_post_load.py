"""Keys and indexes after the rows: together for small tables, alone where one is refused."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
import pytest

from streams_engine.contracts import Statement
from streams_engine.errors import ServerError
from streams_engine.model import (
    Catalog,
    Column,
    Dialect,
    Finding,
    Index,
    IndexPart,
    ObjectRef,
    TableId,
    TableSchema,
)
from streams_engine.pipeline.control import Control
from streams_engine.pipeline.snapshot.post_load import TOGETHER, PostLoad
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.mapping.routes import parse_type

TABLES = TOGETHER + 5


class FakeSink:
    """Takes statements all or none; ``refused`` are tables that get no index."""

    transactional_ddl = True

    def __init__(self, refused: frozenset[TableId] = frozenset()) -> None:
        self.refused = refused
        self.inspected = 0
        self.calls = 0
        self.made: list[ObjectRef] = []

    def inspect(self, tables: Sequence[TableId]) -> Catalog:
        self.inspected += 1
        return Catalog(Dialect.POSTGRES)

    def execute(self, statements: Sequence[Statement]) -> Sequence[Finding]:
        self.calls += 1
        if {s.table for s in statements} & self.refused:
            raise ServerError("No.")
        self.made += [s.object for s in statements]
        return []


def table(number: int) -> TableSchema:
    key = Index("k", (IndexPart("id"),), unique=True, primary=True, constraint=True)
    return TableSchema(
        TableId("public", f"t{number}"),
        Dialect.POSTGRES,
        (Column("id", parse_type(Dialect.POSTGRES, "bigint"), pa.int64(), nullable=False),),
        primary_key=replace(key, name=f"t{number}_pkey"),
        bytes=100,
    )


CATALOG = Catalog(Dialect.POSTGRES, tuple(table(n) for n in range(TABLES)))


def build(sink: FakeSink, made: frozenset[ObjectRef] | None) -> None:
    load = PostLoad(sink, Structure(), Control())  # type: ignore[arg-type]
    with load.control.working(), ThreadPoolExecutor(2) as executor:
        load.build(CATALOG, set(), executor, made=made)


def test_small_tables_share_transactions_and_new_ones_are_not_looked_up() -> None:
    sink = FakeSink()
    build(sink, frozenset())
    assert sink.inspected == 0
    assert sink.calls == 2
    assert len(set(sink.made)) == 2 * TABLES


def test_what_this_run_made_is_not_made_again() -> None:
    first = FakeSink()
    build(first, frozenset())
    sink = FakeSink()
    build(sink, frozenset(first.made[2:]))
    assert sink.made == first.made[:2]


def test_tables_of_an_earlier_run_are_looked_up() -> None:
    sink = FakeSink()
    build(sink, None)
    assert sink.inspected == 1


def test_the_others_get_their_keys_where_one_is_refused() -> None:
    sink = FakeSink(frozenset({TableId("public", "t3")}))
    with pytest.raises(ServerError, match="No"):
        build(sink, frozenset())
    assert len({made.table for made in sink.made}) == TABLES - 1
