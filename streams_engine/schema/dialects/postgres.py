"""The dialect of PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streams_engine.contracts import Statement
from streams_engine.model import Catalog, Dialect
from streams_engine.schema.ddl import postgres as ddl
from streams_engine.schema.ddl import postgres_sequences
from streams_engine.schema.ddl.postgres_sequences import TargetSequence
from streams_engine.schema.dialects import DialectSpec
from streams_engine.schema.evolution import postgres as evolution
from streams_engine.schema.evolution import postgres_user_types
from streams_engine.schema.mapping.files_to_databases import map_files_to_postgres
from streams_engine.schema.mapping.mysql_texts_to_postgres import text_conversion
from streams_engine.schema.mapping.mysql_to_postgres import map_mysql
from streams_engine.schema.mapping.postgres_to_postgres import (
    map_postgres,
    same_text,
    without_wire,
)
from streams_engine.schema.types.postgres import arrow_type, postgres_type, with_extensions

__all__ = ["SPEC"]


class _Sequences:
    standalone = True

    def advance(
        self, values: Iterable[TargetSequence], target: Catalog | None = None
    ) -> Iterator[Statement]:
        return map(postgres_sequences.advance, values)

    def past_the_rows(self, target: Catalog) -> Iterator[Statement]:
        return postgres_sequences.past_the_rows(target)


SPEC = DialectSpec(
    dialect=Dialect.POSTGRES,
    arrow_type=arrow_type,
    parse_type=postgres_type,
    through_arrow=map_files_to_postgres,
    routes={Dialect.MYSQL: map_mysql, Dialect.POSTGRES: map_postgres},
    complete=with_extensions,
    ddl=ddl,
    name_of=ddl.name_of,
    evolve=evolution.plan,
    renew_types=postgres_user_types.renewed,
    sequences=_Sequences(),
    observes_rows=True,
    compared_by_arrow=False,
    onto_existing=without_wire,
    text_routes={Dialect.MYSQL: text_conversion, Dialect.POSTGRES: same_text},
    log_texts=True,
)
