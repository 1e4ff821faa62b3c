"""The dialect of MySQL and MariaDB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streams_engine.contracts import Statement
from streams_engine.errors import require
from streams_engine.model import Catalog, Dialect
from streams_engine.schema.ddl import mysql as ddl
from streams_engine.schema.ddl.postgres_sequences import TargetSequence
from streams_engine.schema.dialects import DialectSpec
from streams_engine.schema.evolution import mysql as evolution
from streams_engine.schema.mapping.files_to_databases import map_files_to_mysql
from streams_engine.schema.mapping.mysql_to_mysql import map_mysql_to_mysql
from streams_engine.schema.mapping.postgres_to_mysql import map_postgres_to_mysql
from streams_engine.schema.types.mysql import arrow_type, mysql_type

__all__ = ["SPEC"]


class _AutoIncrement:
    """AUTO_INCREMENT moves with the rows: InnoDB sees to it."""

    standalone = False

    def advance(
        self, values: Iterable[TargetSequence], target: Catalog | None = None
    ) -> Iterator[Statement]:
        owned = [(one.at, one.column) for one in values if one.column is not None]
        return ddl.advance(owned, require(target, "the target's catalog"))

    def past_the_rows(self, target: Catalog) -> Iterator[Statement]:
        return iter(())


SPEC = DialectSpec(
    dialect=Dialect.MYSQL,
    arrow_type=arrow_type,
    parse_type=mysql_type,
    through_arrow=map_files_to_mysql,
    routes={Dialect.MYSQL: map_mysql_to_mysql, Dialect.POSTGRES: map_postgres_to_mysql},
    ddl=ddl,
    name_of=ddl.name_of,
    evolve=evolution.plan,
    sequences=_AutoIncrement(),
    compared_by_arrow=False,
)
