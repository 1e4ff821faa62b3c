"""Which module speaks a dialect's DDL: a table."""

from __future__ import annotations

from collections.abc import Mapping

from streams_engine.model import Dialect
from streams_engine.schema import mysql_ddl, postgres_ddl
from streams_engine.schema.structure import Ddl

__all__ = ["ddl_of"]

_MODULES: Mapping[Dialect, Ddl] = {Dialect.MYSQL: mysql_ddl, Dialect.POSTGRES: postgres_ddl}


def ddl_of(dialect: Dialect) -> Ddl:
    """The DDL of a dialect that has tables."""
    return _MODULES[dialect]
