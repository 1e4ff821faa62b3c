"""A source's ALTER TABLE, carried to real servers: the table must equal one that is made anew.

Each case is said in the source's own SQL. The source's server shows the table before and after;
the target gets the table as it was with rows in it, then the statements of `evolve`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from streams_engine.adapters.mysql.connection import MysqlConnect
from streams_engine.adapters.mysql.sink.sink import MysqlSink
from streams_engine.adapters.postgres.connection import PostgresConnect
from streams_engine.adapters.postgres.sink.sink import PostgresSink
from streams_engine.model import Catalog, Column, Dialect, Index, TableId, TableSchema
from streams_engine.schema.evolution.plan import SchemaChangePlan, create, drop, evolve, pending
from streams_engine.schema.mapping.routes import map_catalog
from streams_engine.schema.mapping.tables import MappingOptions, TableMapping
from streams_engine.testing.servers import Server

MARKS = {Dialect.MYSQL: "`", Dialect.POSTGRES: '"'}


@dataclass(frozen=True)
class Case:
    """A change in the source's SQL."""

    name: str
    table: str
    change: tuple[str, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[str, ...] = ("(1, 10, 'one')", "(2, NULL, 'two')")
    now: str = "t"
    loses: int = 0
    values: bool = True
    """The rows can be compared by value."""


PLAIN = "id INT PRIMARY KEY, a INT, b VARCHAR(20) NOT NULL"
LABELS = "id INT PRIMARY KEY, e ENUM('x','y'), s SET('u','v')"
LABELLED = ("(1, 'x', 'u,v')", "(2, 'y', NULL)")

OF_MYSQL = [
    Case(
        "add",
        PLAIN,
        (
            "ADD c INT DEFAULT 7 AFTER id, ADD d VARCHAR(9) NOT NULL FIRST,"
            " ADD e DECIMAL(9,2) NOT NULL DEFAULT 1.5, ADD f ENUM('p','q') NOT NULL DEFAULT 'q',"
            " ADD g BIGINT AS (a + 1) STORED, ADD h SET('m','n'), ADD i TEXT COMMENT 'it''s'",
        ),
    ),
    Case(
        "add required",
        PLAIN,
        (
            "ADD c INT NOT NULL, ADD d DECIMAL(5,2) NOT NULL, ADD e ENUM('p','q') NOT NULL,"
            " ADD f SET('p','q') NOT NULL, ADD g BIT(3) NOT NULL, ADD h BLOB NOT NULL",
        ),
        values=False,
    ),
    Case("drop", PLAIN, ("DROP a",), loses=1),
    Case("rename", PLAIN, ("RENAME COLUMN a TO `a``\"1`",), {"a": 'a`"1'}),
    Case("widen", PLAIN, ("MODIFY a BIGINT, MODIFY b VARCHAR(40) NOT NULL",)),
    Case("narrow", PLAIN, ("MODIFY a SMALLINT, MODIFY b VARCHAR(5) NOT NULL",), loses=2),
    Case("to text", PLAIN, ("MODIFY a LONGTEXT",)),
    Case("nullability", PLAIN, ("MODIFY b VARCHAR(20) NULL",)),
    Case(
        "required",
        PLAIN,
        ("MODIFY a INT NOT NULL",),
        rows=("(1, 10, 'one')",),
    ),
    Case("default", PLAIN, ("ALTER a SET DEFAULT 5, ALTER b SET DEFAULT 'it''s'",)),
    Case("no default", "id INT PRIMARY KEY, a INT DEFAULT 5, b TEXT", ("ALTER a DROP DEFAULT",)),
    Case(
        "rename and type",
        PLAIN,
        ("CHANGE a c BIGINT DEFAULT 3, CHANGE b a VARCHAR(30)",),
        {"a": "c", "b": "a"},
    ),
    Case(
        "swap",
        "id INT PRIMARY KEY, a INT, b INT",
        ("CHANGE a b INT, CHANGE b a INT",),
        {"a": "b", "b": "a"},
        ("(1, 10, 20)", "(2, NULL, 5)"),
    ),
    Case(
        "ring",
        "id INT PRIMARY KEY, a INT, b VARCHAR(5), KEY k (a, b)",
        ("CHANGE a b BIGINT, CHANGE b id VARCHAR(5), CHANGE id a INT",),
        {"a": "b", "b": "id", "id": "a"},
    ),
    Case(
        "drop and add",
        PLAIN,
        ("DROP a, ADD a DATE DEFAULT '2020-02-03'",),
        {"a": ""},
        loses=1,
    ),
    Case("order", PLAIN, ("MODIFY b VARCHAR(20) NOT NULL FIRST, ADD c INT AFTER b",)),
    Case("table", PLAIN, ("RENAME TO `t 2`",), now="t 2"),
    Case(
        "table with types",
        f"{LABELS}, n BIGINT UNSIGNED AUTO_INCREMENT UNIQUE",
        ("RENAME TO t2",),
        rows=("(1, 'x', 'u,v', 4)",),
        now="t2",
    ),
    Case(
        "labels",
        LABELS,
        ("MODIFY e ENUM('w','x','xx','y','z') DEFAULT 'z', MODIFY s SET('u','v','w')",),
        rows=LABELLED,
    ),
    Case(
        "labels lost",
        LABELS,
        ("MODIFY e ENUM('y','x')", "MODIFY e ENUM('y') DEFAULT 'y', MODIFY s LONGTEXT"),
        rows=("(2, 'y', NULL)", "(3, 'y', 'u,v')"),
        loses=1,
    ),
    Case(
        "labels and names",
        "id INT PRIMARY KEY, e ENUM('x','y'), f ENUM('p')",
        ("CHANGE e f ENUM('x','y','z'), CHANGE f e ENUM('p','q')",),
        {"e": "f", "f": "e"},
        rows=("(1, 'x', 'p')",),
    ),
    Case("labels to text", LABELS, ("MODIFY e VARCHAR(10)",), rows=LABELLED, loses=-1),
    Case(
        "generated",
        "id INT PRIMARY KEY, a INT, g BIGINT AS (a + 1) STORED, KEY kg (g)",
        ("DROP KEY kg, DROP g, ADD g BIGINT AS (a + 2) STORED, ADD KEY kg (g)",),
        rows=("(1, 10, DEFAULT)",),
    ),
    Case(
        "generated of another type",
        "id INT PRIMARY KEY, a INT, g BIGINT AS (a + 1) STORED",
        ("MODIFY a BIGINT",),
        rows=("(1, 10, DEFAULT)",),
    ),
    Case(
        "indexes",
        f"{PLAIN}, KEY k1 (a), UNIQUE k2 (b), KEY k3 (a, b), KEY k6 (b)",
        (
            "DROP KEY k1, DROP KEY k2, ADD KEY k1 (b, a), ADD UNIQUE k4 (b, id),"
            " RENAME INDEX k3 TO k5, DROP KEY k6, ADD CHECK (a < 100)",
        ),
    ),
    Case(
        "indexes of renamed columns",
        f"{PLAIN}, KEY k1 (a), UNIQUE k2 (b(5)), CHECK (a < 100)",
        ("DROP CHECK t_chk_1", "RENAME COLUMN a TO c, ADD CONSTRAINT t_chk_1 CHECK (c < 100)"),
        {"a": "c"},
    ),
    Case("key", PLAIN, ("DROP PRIMARY KEY, ADD PRIMARY KEY (b, id)",)),
    Case("key away", PLAIN, ("DROP PRIMARY KEY",)),
    Case(
        "key of a dropped column",
        "id INT PRIMARY KEY, a INT, b INT, KEY k (a, b), UNIQUE k2 (b)",
        ("DROP KEY k, DROP a, DROP PRIMARY KEY, ADD PRIMARY KEY (b)",),
        rows=("(1, 2, 3)",),
        loses=1,
    ),
    Case(
        "numbers",
        "id INT PRIMARY KEY, a INT",
        ("MODIFY id INT AUTO_INCREMENT",),
        rows=("(1, 2)",),
    ),
    Case(
        "numbers away",
        "id INT AUTO_INCREMENT PRIMARY KEY, a INT",
        ("MODIFY id BIGINT NOT NULL",),
        rows=("(1, 2)",),
    ),
    Case(
        "numbers added",
        "a INT",
        ("ADD id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY",),
        rows=("(5)",),
        loses=1,
    ),
    Case(
        "foreign keys",
        "id INT PRIMARY KEY, a INT, b INT, KEY ka (a), KEY kb (b),"
        " CONSTRAINT f1 FOREIGN KEY (a) REFERENCES t (id)",
        (
            "DROP FOREIGN KEY f1",
            "ADD CONSTRAINT f1 FOREIGN KEY (b) REFERENCES t (id) ON DELETE CASCADE,"
            " RENAME COLUMN a TO c",
        ),
        {"a": "c"},
        rows=("(1, NULL, NULL)", "(2, 1, 1)"),
    ),
    Case("comments", f"{PLAIN}, c INT COMMENT 'old'", (
        "COMMENT 'a \\\\ table', MODIFY c INT, MODIFY a INT COMMENT 'new'",
    ), rows=("(1, 2, 'x', 3)",)),
]  # fmt: skip

PG_PLAIN = "id int PRIMARY KEY, a int, b varchar(20) NOT NULL"

OF_POSTGRES = [
    Case(
        "add",
        PG_PLAIN,
        ("ADD c int DEFAULT 7, ADD d text NOT NULL DEFAULT 'x', ADD e boolean, ADD f mood",),
    ),
    Case("drop", PG_PLAIN, ("DROP a",), loses=1),
    Case("rename", PG_PLAIN, ('RENAME a TO "c d"',), {"a": "c d"}),
    Case("widen", PG_PLAIN, ("ALTER a TYPE bigint, ALTER b TYPE varchar(40)",)),
    Case("narrow", PG_PLAIN, ("ALTER a TYPE smallint, ALTER b TYPE varchar(5)",), loses=2),
    Case("labels", "id int PRIMARY KEY, m mood", (
        "!ALTER TYPE mood ADD VALUE 'glad' BEFORE 'sad'",
    ), rows=("(1, 'sad')",)),
    Case("another type", PG_PLAIN, (
        "ALTER a TYPE boolean USING a > 0, ALTER a SET DEFAULT true",
    ), loses=1, values=False),
    Case("identity", PG_PLAIN, ("ALTER id ADD GENERATED ALWAYS AS IDENTITY",)),
    Case("identity away", "id int PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, a int, b text", (
        "ALTER id DROP IDENTITY", "ALTER id TYPE bigint",
    )),
    Case("keys", f"{PG_PLAIN}, UNIQUE (b), CHECK (a < 50)", (
        "DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (b), DROP CONSTRAINT t_b_key,"
        " DROP CONSTRAINT t_a_check, ADD CONSTRAINT more CHECK (a < 99)",
        "!CREATE INDEX k ON t (a DESC) WHERE a > 0",
        "!COMMENT ON COLUMN t.a IS 'why'",
    )),
    Case("table", PG_PLAIN, ("RENAME TO t2",), now="t2"),
]  # fmt: skip


class Place:
    """A database of one server, with a sink on it."""

    def __init__(self, server: Server, database: str) -> None:
        self.mysql = server.kind in ("mysql", "mariadb")
        self.maria = server.kind == "mariadb"
        self.dialect = Dialect.MYSQL if self.mysql else Dialect.POSTGRES
        self.schema = database if self.mysql else "public"
        account = (server.host, server.port, server.user, server.password)
        self.sink: Any = (
            MysqlSink(MysqlConnect(server.kind, *account, database))
            if self.mysql
            else PostgresSink(PostgresConnect(*account, database))
        )
        self.connection = server.connect(database)

    def id(self, name: str) -> TableId:
        return TableId(self.schema, name)

    def name(self, table: TableId) -> str:
        mark = MARKS[self.dialect]
        parts = (part.replace(mark, mark * 2) for part in (table.schema, table.name))
        return ".".join(f"{mark}{part}{mark}" for part in parts)

    def column(self, name: str) -> str:
        mark = MARKS[self.dialect]
        return f"{mark}{name.replace(mark, mark * 2)}{mark}"

    def run(self, *statements: str) -> None:
        with closing(self.connection.cursor()) as cursor:
            for statement in statements:
                cursor.execute(statement)

    def rows(self, table: TableId, columns: list[str]) -> list[tuple[str, ...]]:
        shown = ", ".join(map(self.column, columns))
        with closing(self.connection.cursor()) as cursor:
            cursor.execute(f"SELECT {shown} FROM {self.name(table)}")
            return sorted(tuple(map(text, row)) for row in cursor.fetchall())

    def catalog(self, name: str) -> Catalog:
        found: Catalog = self.sink.inspect([self.id(name)])
        assert found.tables, name
        return found

    def close(self) -> None:
        self.sink.close()
        self.connection.close()


def text(value: object) -> str:
    """Values of either family in one spelling."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list | set):
        return ",".join(sorted(map(str, value)))
    return "NULL" if value is None else str(value)


@dataclass
class Change:
    """A case on its two servers, up to where the target has the table as it was."""

    source: Place
    target: Place
    old: TableMapping
    new: TableMapping
    renamed: Mapping[str, str]
    anew: MappingOptions
    after: Catalog

    def evolve(self) -> SchemaChangePlan:
        return evolve(self.old, self.new, self.renamed)

    def there(self) -> TableSchema:
        ids = [self.new.target.id, self.old.target.id]
        found = {table.id: table for table in self.target.sink.inspect(ids).tables}
        return next(found[table_id] for table_id in ids if table_id in found)

    def wanted(self) -> TableSchema:
        """The table as it is where it is made anew, elsewhere on the target."""
        mapping = map_catalog(self.after, self.target.dialect, self.anew).tables[0]
        self.target.sink.execute(create(mapping))
        made: TableSchema = self.target.sink.inspect([mapping.target.id]).tables[0]
        return made


def begin(case: Case, source: Place, target: Place, elsewhere: str) -> Change:
    source.run(f"CREATE TABLE t ({case.table})")
    before = source.catalog("t")
    options = MappingOptions(target_schema=target.schema, mariadb=target.maria)
    old = map_catalog(before, target.dialect, options).tables[0]
    target.sink.execute(create(old))
    columns = [column.name for column in old.source.columns]
    carried = {mapping.source.name: mapping.target for mapping in old.columns}
    for row in case.rows:
        source.run(f"INSERT INTO t VALUES {row}")
    shown = ", ".join(map(source.column, columns))
    with closing(source.connection.cursor()) as cursor:
        cursor.execute(f"SELECT {shown} FROM t ORDER BY 1")
        rows = cursor.fetchall()
    for row in rows:
        values = {name: value for name, value in zip(columns, row, strict=True) if name in carried}
        insert(target, old.target.id, {carried[name]: v for name, v in values.items()})
    for change in case.change:
        source.run(change[1:] if change.startswith("!") else f"ALTER TABLE t {change}")
    after = source.catalog(case.now)
    new = map_catalog(after, target.dialect, options).tables[0]
    return Change(
        source, target, old, new, case.renamed, replace(options, target_schema=elsewhere), after
    )


def insert(place: Place, table: TableId, values: Mapping[Column, Any]) -> None:
    names = ", ".join(place.column(column.name) for column in values)
    marks = ", ".join(["%s"] * len(values))
    rendered = []
    for column, value in values.items():
        if column.type.name == "_text" and value is not None:
            rendered.append(value.split(","))
        elif column.type.name == "bool" and value is not None:
            rendered.append(bool(value))
        else:
            rendered.append(value)
    with closing(place.connection.cursor()) as cursor:
        cursor.execute(f"INSERT INTO {place.name(table)} ({names}) VALUES ({marks})", rendered)


def index(of: Index) -> tuple[object, ...]:
    # Its name is made unique among those of the place.
    return (of.parts, of.unique, of.primary, of.method, of.include)


def shape(table: TableSchema, ordered: bool) -> dict[str, object]:
    """What of a table is compared; the place's own name is left out."""

    def local(sql: object) -> str:
        return str(sql).replace(table.id.schema, "here")

    columns = {
        c.name: (
            local(c.type.text),
            c.type.labels,
            c.nullable,
            local(c.default and c.default.sql),
            c.generated and c.generated.sql,
            c.identity is not None and c.identity.always,
            c.collation,
            c.comment,
        )
        for c in table.columns
    }
    return {
        "columns": list(columns.items()) if ordered else columns,
        "key": table.primary_key and table.primary_key.columns,
        "indexes": {i.name: index(i) for i in table.indexes},
        "checks": sorted(local(c.expression.sql) for c in table.checks),
        "foreign": [(k.columns, k.referenced_columns, k.on_delete) for k in table.foreign_keys],
        "comment": table.comment,
    }


@pytest.fixture(params=["pg15", "pg18", "mysql9", "mariadb"])
def target(
    request: pytest.FixtureRequest, database: Callable[[Server], str]
) -> Iterator[tuple[Place, str]]:
    """A target, and another schema of it."""
    server = request.getfixturevalue(request.param)
    place = Place(server, database(server))
    elsewhere = database(server) if place.mysql else "elsewhere"
    yield place, elsewhere
    place.close()


@pytest.fixture
def mysql_source(mysql9: Server, database: Callable[[Server], str]) -> Iterator[Place]:
    place = Place(mysql9, database(mysql9))
    yield place
    place.close()


@pytest.fixture
def postgres_source(pg18: Server, database: Callable[[Server], str]) -> Iterator[Place]:
    place = Place(pg18, database(pg18))
    place.run("CREATE TYPE mood AS ENUM ('sad', 'happy')")
    yield place
    place.close()


def check(case: Case, source: Place, target: tuple[Place, str]) -> None:
    place, elsewhere = target
    change = begin(case, source, place, elsewhere)
    found = change.evolve()
    if case.loses >= 0:
        assert len(found.losses) + len(found.unknown) == case.loses, found
    left = pending(change.old, change.new, change.there(), case.renamed) if seen(case) else None
    for statement in found.statements[: found.alone]:
        place.sink.execute([statement])
    warned = place.sink.execute(found.statements[found.alone :])
    assert not warned
    there = change.there()
    assert shape(there, place.mysql) == shape(change.wanted(), place.mysql)
    if case.values:
        columns = change.new.columns
        ours = place.rows(change.new.target.id, [c.target.name for c in columns])
        theirs = source.rows(change.new.source.id, [c.source.name for c in columns])
        assert ours == theirs
    if left is not None:
        assert left == found.statements
        again = pending(change.old, change.new, there, case.renamed)
        assert all("AUTO_INCREMENT =" in statement.sql for statement in again)
    place.sink.execute(drop(change.new))
    assert not place.sink.inspect([change.new.target.id]).tables
    place.sink.execute(drop(change.new))  # which may be repeated


def seen(case: Case) -> bool:
    """Whether the table alone tells that a case's change was made."""
    return case.name not in ("swap", "generated", "default", "comments", "labels to text")


@pytest.mark.parametrize("case", OF_MYSQL, ids=lambda case: case.name)
def test_mysql_alters(case: Case, mysql_source: Place, target: tuple[Place, str]) -> None:
    check(case, mysql_source, target)


@pytest.mark.parametrize("case", OF_POSTGRES, ids=lambda case: case.name)
def test_postgres_alters(case: Case, postgres_source: Place, target: tuple[Place, str]) -> None:
    check(case, postgres_source, target)
