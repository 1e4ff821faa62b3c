"""What is compared with what, and the figures that are to be reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks import peers as p
from benchmarks.jobs import Contender

__all__ = ["ROUTES", "Figure", "Route"]


@dataclass(frozen=True, slots=True)
class Figure:
    """Bounds for a ratio of rates, ours by the peer's."""

    text: str
    low: float
    high: float = float("inf")

    def holds(self, ratio: float) -> bool:
        """Whether the measured ratio is within the bounds."""
        return self.low <= ratio <= self.high


def at_least(times: float) -> Figure:
    """Ours is so many times as fast, or faster."""
    return Figure(f"at least {times:g} times its rate", times)


def faster() -> Figure:
    """Ours takes less time."""
    return Figure("faster", 1.0)


def no_slower() -> Figure:
    """Ours takes no more time."""
    return Figure("no slower", 1.0)


def at_most_seconds(times: float) -> Figure:
    """Ours takes at most so many times the peer's seconds."""
    return Figure(f"at most {times:g} times its seconds", 1 / times)


def within(part: float) -> Figure:
    """Neither takes more than so much longer than the other."""
    return Figure(f"within {part:.0%}", 1 / (1 + part), 1 + part)


@dataclass(frozen=True, slots=True)
class Route:
    """One comparison. The first contender is what the others are compared with."""

    name: str
    title: str
    source: str
    """A server's flavour, or ``csv``."""
    target: str
    """A server's flavour, ``null`` or ``parquet``."""
    contenders: tuple[Contender, ...]
    figures: Mapping[str, Figure] = field(default_factory=dict)
    """By contender, for the shape `mixed` only."""
    shapes: tuple[str, ...] = ("mixed",)


ALL = ("mixed", "wide", "documents")
FROM_MYSQL_NULL = (p.OURS, p.SSCURSOR, p.CONNECTORX, p.CONNECTORX_SPLIT, p.DUCKDB)
MYSQL_NULL = {
    p.SSCURSOR.name: at_least(12),
    p.CONNECTORX.name: no_slower(),
    p.CONNECTORX_SPLIT.name: no_slower(),
}
FROM_MYSQL_POSTGRES = {
    p.PGLOADER.name: at_least(3.5),
    p.PGLOADER_SPLIT.name: at_least(3.5),
    p.DLT.name: at_least(1.7),
    p.MARIADB_PIPE.name: at_least(1.4),
    p.CSV_COPY.name: no_slower(),
}
TO_PARQUET = (
    p.OURS,
    p.CONNECTORX_PARQUET,
    p.CONNECTORX_PARQUET_SPLIT,
    p.DUCKDB_PARQUET,
    p.RIVET,
)
PARQUET = {p.CONNECTORX_PARQUET.name: faster(), p.CONNECTORX_PARQUET_SPLIT.name: faster()}
BUNDLES = tuple(
    p.ours(f"ours, dataBundleSize {size}", f"dataBundleSize {size}", data_bundle_size=size)
    for size in (500, 1000, 10)
)
BUNDLE_FIGURES = {BUNDLES[1].name: within(0.10), BUNDLES[2].name: within(0.40)}

ROUTES: Mapping[str, Route] = {
    route.name: route
    for route in (
        Route("mysql-null", "MySQL → null", "mysql9", "null", FROM_MYSQL_NULL, MYSQL_NULL, ALL),
        Route("mariadb-null", "MariaDB → null", "mariadb", "null", FROM_MYSQL_NULL, MYSQL_NULL),
        Route(
            "postgres-null",
            "PostgreSQL → null",
            "pg15",
            "null",
            (p.OURS, p.ADBC, p.PSQL_NULL, p.CONNECTORX, p.CONNECTORX_SPLIT, p.DUCKDB),
            {p.ADBC.name: at_least(0.9), p.PSQL_NULL.name: at_least(0.7)},
            (*ALL, "texts"),
        ),
        Route(
            "mysql-postgres",
            "MySQL → PostgreSQL with structure, key and two indexes",
            "mysql9",
            "pg18",
            (p.OURS, p.PGLOADER, p.DLT, p.PGPQ, p.MARIADB_PIPE, p.CSV_COPY),
            FROM_MYSQL_POSTGRES,
            ALL,
        ),
        Route(
            "mariadb-postgres",
            "MariaDB → PostgreSQL with structure, key and two indexes",
            "mariadb",
            "pg18",
            (p.OURS, p.PGLOADER, p.PGLOADER_SPLIT, p.DLT, p.MARIADB_PIPE, p.CSV_COPY),
            FROM_MYSQL_POSTGRES,
        ),
        Route(
            "postgres-postgres",
            "PostgreSQL → PostgreSQL with structure, key and two indexes",
            "pg15",
            "pg18",
            (p.OURS, p.PSQL_PIPE, p.PGCOPYDB, p.PG_DUMP),
            {
                p.PSQL_PIPE.name: at_most_seconds(1.3),
                p.PGCOPYDB.name: faster(),
                p.PG_DUMP.name: faster(),
            },
            ALL,
        ),
        Route(
            "mysql-mysql",
            "MySQL → MySQL with structure, key and two indexes",
            "mysql9",
            "mysql9",
            (p.OURS, p.LOAD_DATA, p.MYDUMPER),
            {p.LOAD_DATA.name: at_most_seconds(1.3), p.MYDUMPER.name: faster()},
            ALL,
        ),
        Route(
            "postgres-mysql",
            "PostgreSQL → MySQL with structure, key and two indexes",
            "pg15",
            "mysql9",
            (p.OURS, p.LOAD_DATA),
            {p.LOAD_DATA.name: at_most_seconds(1.3)},
        ),
        Route("mysql-parquet", "MySQL → Parquet", "mysql9", "parquet", TO_PARQUET, PARQUET),
        Route("postgres-parquet", "PostgreSQL → Parquet", "pg15", "parquet", TO_PARQUET, PARQUET),
        Route(
            "csv-postgres",
            "CSV → PostgreSQL, schema declared",
            "csv",
            "pg18",
            (p.OURS_ROWS_ONLY, p.CSV_ONLY),
            {p.CSV_ONLY.name: at_most_seconds(1.3)},
        ),
        Route(
            "bundles-null",
            "dataBundleSize, MySQL → null",
            "mysql9",
            "null",
            BUNDLES,
            BUNDLE_FIGURES,
        ),
        Route(
            "bundles-postgres",
            "dataBundleSize, MySQL → PostgreSQL",
            "mysql9",
            "pg18",
            BUNDLES,
            BUNDLE_FIGURES,
        ),
    )
}
