"""DDL that commits by itself is executed once, however often its transaction is read again."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from streams_engine.contracts import Statement
from streams_engine.model import (
    Catalog,
    Column,
    Dialect,
    Index,
    IndexPart,
    SchemaChange,
    TableId,
    TableSchema,
)
from streams_engine.pipeline.changes.set_writer import SessionRestart
from streams_engine.pipeline.changes.target_structure import TargetStructure
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.mapping.routes import map_catalog
from streams_engine.schema.mapping.tables import MappingOptions, TableMapping
from streams_engine.schema.types.mysql import arrow_type, mysql_type

T = TableId("shop", "t")
NUMBER = mysql_type("int")
COLUMNS = tuple(Column(name, NUMBER, arrow_type(NUMBER)) for name in ("id", "a", "b"))


def table(*keys: str) -> TableSchema:
    """A table with an index of this name on each column that is named after the colon."""
    parts = [key.split(":") for key in keys]
    indexes = tuple(Index(name, (IndexPart(column),)) for name, column in parts)
    return TableSchema(T, Dialect.MYSQL, COLUMNS, indexes=indexes)


def mapping(schema: TableSchema) -> TableMapping:
    catalog = Catalog(Dialect.MYSQL, (schema,))
    return map_catalog(catalog, Dialect.MYSQL, MappingOptions()).tables[0]


@dataclass
class Server:
    """A target whose DDL commits by itself, as a sink and as its writer."""

    there: TableSchema
    executed: list[str] = field(default_factory=list)
    transactional_ddl = False
    document: Any = None

    def inspect(self, tables: Sequence[TableId]) -> Catalog:
        return Catalog(Dialect.MYSQL, (self.there,))

    def execute(self, statements: Sequence[Statement]) -> list[Any]:
        for statement in statements:
            self.executed.append(statement.sql.split("`t` ")[-1])
            for clause in statement.sql.split("\n"):
                gone = re.search(r"DROP INDEX `(\w+)`", clause)
                made = re.search(r"ADD .*(?:KEY|INDEX) `(\w+)` \(`(\w+)`\)", clause)
                left = [i for i in self.there.indexes if gone is None or i.name != gone[1]]
                if made:
                    left.append(Index(made[1], (IndexPart(made[2]),)))
                self.there = replace(self.there, indexes=tuple(left))
        return []

    def rollback(self) -> None: ...

    def commit(self, *_: object) -> None: ...


def structure(server: Server) -> TargetStructure:
    counters = SimpleNamespace(found=lambda findings: list(findings))
    applier = SimpleNamespace(position={"at": 1}, pending=SimpleNamespace(waiting=False), tables={})
    origin = SimpleNamespace(mapping=SimpleNamespace(allow_lossy=False))
    log = SimpleNamespace(
        sink=server, counters=counters, applier=applier, origin=origin,
        job=SimpleNamespace(structure=Structure()), stamped=lambda table: table,
    )  # fmt: skip
    mapper = SimpleNamespace(steps=lambda change, old, new: [(old, new, {})])
    return TargetStructure(cast(Any, log), cast(Any, mapper))


@pytest.mark.parametrize(
    ("states", "executions"),
    [
        ([(), ("k:a",)], 1),
        ([(), ("k:a",), ()], 2),
        ([(), ("k:a",), (), ("k:a",)], 3),
        ([(), ("k:a",), (), ("k:a",), (), ("k:a",)], 5),
        ([("k:a",), ("k:b",)], 1),
        ([("k:a",), ("k:b",), ("k:a",)], 2),
        ([("k:a",), ("k:b",), ("k:a",), ("k:b",)], 3),
    ],
)
def test_statements_within_a_transaction_run_once_each(
    states: list[tuple[str, ...]], executions: int
) -> None:
    server = Server(table(*states[0]))
    target = structure(server)
    schemas = [table(*state) for state in states]
    for _ in range(2 * executions + 2):
        target.begin()
        try:
            for old, new in itertools.pairwise(schemas):
                change = SchemaChange(old, new, 0)
                target.carry(change, mapping(old), mapping(new), cast(Any, server), True)
            break
        except SessionRestart:
            continue
    else:
        pytest.fail(f"each session ended: {server.executed}")
    assert {(i.name, i.columns) for i in server.there.indexes} == {
        (i.name, i.columns) for i in schemas[-1].indexes
    }
    assert len(server.executed) == executions
