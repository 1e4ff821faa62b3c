"""The tables that are moved: their structure in both dialects, and statements that fill them.

All values are computed by the server from the row's number, so that two runs move the same data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streams_engine.testing.servers import Server

__all__ = ["SHAPES", "Shape", "fill", "fill_many", "fill_small", "index_statements"]

FILL_STEP = 1_000_000
"""Rows that one INSERT makes."""

NUMBERS = {
    "mysql": (
        "WITH RECURSIVE d(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM d WHERE n < 999),"
        " s(i) AS (SELECT {first} + a.n * 1000 + b.n FROM d a JOIN d b"
        " WHERE {first} + a.n * 1000 + b.n <= {last})"
    ),
    "postgresql": "WITH s(i) AS (SELECT * FROM generate_series({first}::bigint, {last}))",
}

SUMS = {
    "mysql": "LEFT(SHA2(i, 256), 32)",
    "postgresql": "substr(sha256(i::text::bytea)::text, 3, 32)",
}
"""What ``{sum}`` in a SELECT list stands for: 32 hexadecimal digits."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One table, by dialect; every table has the key ``id``."""

    name: str
    share: float
    """Rows of this table for each row that the command line asks for."""
    columns: Mapping[str, str]
    """Column definitions without the key's constraint."""
    values: Mapping[str, str]
    """The SELECT list that makes row ``i``."""
    indexed: tuple[str, ...]
    declared: Mapping[str, str]
    """Arrow types, for reading the table from CSV."""

    @property
    def table(self) -> str:
        """The table's name, as every peer makes it."""
        return self.name

    def create(self, dialect: str, *, key: bool = True) -> str:
        """CREATE TABLE, with or without the primary key."""
        constraint = ", PRIMARY KEY (id)" if key else ""
        return f"CREATE TABLE {self.table} ({self.columns[dialect]}{constraint})"


def index_statements(shape: Shape, *, key: bool, schema: str = "") -> list[str]:
    """What is run after the data by peers that move rows only, valid in both dialects."""
    made = [f"ALTER TABLE {schema}{shape.table} ADD PRIMARY KEY (id)"] if key else []
    return made + [
        f"CREATE INDEX {shape.table}_{column} ON {schema}{shape.table} ({column})"
        for column in shape.indexed
    ]


MIXED = Shape(
    "mixed",
    1.0,
    {
        "mysql": (
            "id BIGINT NOT NULL, customer INT NOT NULL, status VARCHAR(32) NOT NULL,"
            " amount DECIMAL(12,2) NOT NULL, price DOUBLE NOT NULL, active SMALLINT NOT NULL,"
            " created DATETIME(6) NOT NULL, note VARCHAR(80)"
        ),
        "postgresql": (
            "id bigint NOT NULL, customer int NOT NULL, status varchar(32) NOT NULL,"
            " amount numeric(12,2) NOT NULL, price float8 NOT NULL, active smallint NOT NULL,"
            " created timestamp NOT NULL, note varchar(80)"
        ),
    },
    {
        "mysql": (
            "i, i % 5000, ELT(i % 4 + 1, 'new', 'paid', 'shipped', 'returned by customer'),"
            " i * 1.37, i / 7.0, i % 2, TIMESTAMP '2024-01-01 00:00:00' + INTERVAL i SECOND,"
            " IF(i % 4, REPEAT('note ', i % 15), NULL)"
        ),
        "postgresql": (
            "i, i % 5000, (ARRAY['new', 'paid', 'shipped', 'returned by customer'])[i % 4 + 1],"
            " i * 1.37, i / 7.0::float8, i % 2, timestamp '2024-01-01' + i * interval '1 second',"
            " CASE WHEN i % 4 > 0 THEN repeat('note ', (i % 15)::int) END"
        ),
    },
    ("customer", "created"),
    {
        "id": "int64",
        "customer": "int32",
        "status": "string",
        "amount": "decimal128(12, 2)",
        "price": "double",
        "active": "int16",
        "created": "timestamp[us]",
        "note": "string",
    },
)

WIDE_KINDS = (
    ("INT NOT NULL", "int NOT NULL", "i % {n}000", "i % {n}000", "int32"),
    ("BIGINT", "bigint", "i * {n}", "i * {n}", "int64"),
    (
        "VARCHAR(40)",
        "varchar(40)",
        "CONCAT('value ', i % {n}77)",
        "'value ' || i % {n}77",
        "string",
    ),
    (
        "DECIMAL(14,3)",
        "numeric(14,3)",
        "IF(i % {n}, i * 0.125, NULL)",
        "CASE WHEN i % {n} > 0 THEN i * 0.125 END",
        "decimal128(14, 3)",
    ),
    ("DOUBLE", "float8", "i / {n}.0", "i / {n}.0::float8", "double"),
    (
        "DATETIME",
        "timestamp(0)",
        "TIMESTAMP '2020-01-01 00:00:00' + INTERVAL i * {n} SECOND",
        "timestamp '2020-01-01' + i * {n} * interval '1 second'",
        "timestamp[us]",
    ),
)


def _wide(columns: int) -> Shape:
    """A table of a key and ``columns - 1`` columns of the six kinds in turn."""
    kinds = [WIDE_KINDS[n % len(WIDE_KINDS)] for n in range(1, columns)]

    def joined(first: str, place: int, naming: bool) -> str:
        parts = (
            (f"c{n} " if naming else "") + kind[place].format(n=n % 9 + 2)
            for n, kind in enumerate(kinds, 1)
        )
        return ", ".join((first, *parts))

    return Shape(
        "wide",
        0.2,
        {
            "mysql": joined("id BIGINT NOT NULL", 0, True),
            "postgresql": joined("id bigint NOT NULL", 1, True),
        },
        {"mysql": joined("i", 2, False), "postgresql": joined("i", 3, False)},
        ("c6", "c5"),
        {"id": "int64"} | {f"c{n}": kind[4] for n, kind in enumerate(kinds, 1)},
    )


DOCUMENTS = Shape(
    "documents",
    0.05,
    {
        "mysql": (
            "id BIGINT NOT NULL, kind INT NOT NULL, title VARCHAR(200) NOT NULL,"
            " document JSON, body LONGTEXT, changed DATETIME(6) NOT NULL"
        ),
        "postgresql": (
            "id bigint NOT NULL, kind int NOT NULL, title varchar(200) NOT NULL,"
            " document jsonb, body text, changed timestamp NOT NULL"
        ),
    },
    {
        "mysql": (
            "i, i % 50, CONCAT('Title of document ', i), JSON_OBJECT('id', i, 'name',"
            " {sum}, 'tags', JSON_ARRAY('a', i % 7, TRUE, NULL), 'text', REPEAT({sum}, i % 60)),"
            " IF(i % 10, REPEAT(CONCAT({sum}, ', \\n'), i % 222), NULL),"
            " TIMESTAMP '2024-01-01 00:00:00' + INTERVAL i SECOND"
        ),
        "postgresql": (
            "i, i % 50, 'Title of document ' || i, jsonb_build_object('id', i, 'name',"
            " {sum}, 'tags', jsonb_build_array('a', i % 7, true, NULL), 'text',"
            " repeat({sum}, (i % 60)::int)),"
            " CASE WHEN i % 10 > 0 THEN repeat({sum} || E', \\n', (i % 222)::int) END,"
            " timestamp '2024-01-01' + i * interval '1 second'"
        ),
    },
    ("kind", "changed"),
    {
        "id": "int64",
        "kind": "int32",
        "title": "string",
        "document": "string",
        "body": "string",
        "changed": "timestamp[us]",
    },
)

TEXTS = Shape(
    "texts",
    0.025,
    {
        "mysql": "id BIGINT NOT NULL, body LONGTEXT NOT NULL",
        "postgresql": "id bigint NOT NULL, body text NOT NULL",
    },
    {
        "mysql": "i, REPEAT({sum}, 256)",
        "postgresql": (
            "i, (SELECT string_agg(md5(i::text || j::text), '') FROM generate_series(1, 256) j)"
        ),
    },
    (),
    {"id": "int64", "body": "string"},
)
"""Texts of 8 KB that do not compress."""

SHAPES: Mapping[str, Shape] = {s.name: s for s in (MIXED, _wide(60), DOCUMENTS, TEXTS)}


def fill(server: Server, shape: Shape, rows: int) -> str:
    """A new database with one table of so many rows, its key and its two indexes."""
    dialect = "postgresql" if server.kind == "postgresql" else "mysql"
    name = server.create_database()
    with server.connect(name) as connection, connection.cursor() as cursor:
        if dialect == "mysql":
            cursor.execute("SET SESSION sql_log_bin = 0")
        if server.kind == "mysql":
            cursor.execute("SET SESSION cte_max_recursion_depth = 10000")
        cursor.execute(shape.create(dialect))
        for first in range(1, rows + 1, FILL_STEP):
            last = min(first + FILL_STEP - 1, rows)
            numbers = NUMBERS[dialect].format(first=first, last=last)
            values = shape.values[dialect].replace("{sum}", SUMS[dialect])
            select = f"SELECT {values} FROM s"
            insert = f"INSERT INTO {shape.table}"
            together = f"{insert} {numbers} {select}"
            cursor.execute(together)
        for statement in index_statements(shape, key=False):
            cursor.execute(statement)
        if dialect == "mysql":
            cursor.execute(f"ANALYZE TABLE {shape.table}")
            cursor.fetchall()
        else:
            cursor.execute(f"VACUUM ANALYZE {shape.table}")
    return name


def fill_many(server: Server, shape: Shape, tables: int, rows: int) -> str:
    """A new database with many tables of a shape, each with its key, its indexes and rows."""
    name = fill(server, shape, rows)
    with server.connect(name) as connection, connection.cursor() as cursor:
        if server.kind != "postgresql":
            cursor.execute("SET SESSION sql_log_bin = 0")
        like = "(LIKE {} INCLUDING ALL)" if server.kind == "postgresql" else "LIKE {}"
        for number in range(tables):
            cursor.execute(f"CREATE TABLE small_{number:04} {like.format(shape.table)}")
            cursor.execute(f"INSERT INTO small_{number:04} SELECT * FROM {shape.table}")
        cursor.execute(f"DROP TABLE {shape.table}")
        if server.kind == "postgresql":
            cursor.execute("VACUUM ANALYZE")
    return name


def fill_small(server: Server, tables: int, rows: int) -> str:
    """A new MySQL database of many small tables, each with a key, an index and a few rows."""
    name = server.create_database()
    with server.connect(name) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_log_bin = 0")
        values = ", ".join(f"({i}, 'name {i}', {i} * 1.5)" for i in range(1, rows + 1))
        for number in range(tables):
            cursor.execute(
                f"CREATE TABLE small_{number:04} (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL,"
                " amount DECIMAL(10,2), KEY by_name (name))"
            )
            cursor.execute(f"INSERT INTO small_{number:04} VALUES {values}")
    return name
