"""What information_schema says, as one form for both flavours."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.adapters.mysql.catalog.reader import read_catalog
from streams_engine.adapters.mysql.catalog.types import labels_of, unescape
from streams_engine.adapters.mysql.connection import MysqlConnect, translate
from streams_engine.contracts import Scope
from streams_engine.errors import NotFound
from streams_engine.model import Catalog, Column, TableSchema
from streams_engine.testing.servers import Server, running


class Place:
    """A database of its own, described on request."""

    def __init__(self, server: Server, name: str) -> None:
        self.maria = server.kind == "mariadb"
        self.name = name
        self.connect = MysqlConnect(
            server.kind, server.host, server.port, server.user, server.password, name
        )
        self.connection = self.connect.open()

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def catalog(self, *tables: str) -> Catalog:
        return read_catalog(self.connection, Scope(self.name, tables or None))

    def table(self, definition: str, name: str = "t") -> TableSchema:
        self.run(f"CREATE TABLE {name} {definition}")
        return self.catalog(name).tables[0]

    def column(self, definition: str) -> Column:
        self.run("DROP TABLE IF EXISTS t")
        return self.table(f"(v {definition}) CHARACTER SET utf8mb4").columns[0]


@pytest.fixture
def place(mysql_server: Server, database: Any) -> Iterator[Place]:
    found = Place(mysql_server, database(mysql_server))
    yield found
    found.connection.close()


# Columns

TYPES: dict[str, tuple[str, tuple[int, ...], bool, pa.DataType]] = {
    "TINYINT(1)": ("tinyint", (1,), False, pa.int8()),
    "SMALLINT UNSIGNED": ("smallint", (), True, pa.uint16()),
    "MEDIUMINT": ("mediumint", (), False, pa.int32()),
    "INTEGER UNSIGNED ZEROFILL": ("int", (10,), True, pa.uint32()),
    "BIGINT UNSIGNED": ("bigint", (), True, pa.uint64()),
    "NUMERIC(12,2)": ("decimal", (12, 2), False, pa.decimal128(12, 2)),
    "DECIMAL(65,30) UNSIGNED": ("decimal", (65, 30), True, pa.decimal256(65, 30)),
    "DECIMAL": ("decimal", (10, 0), False, pa.decimal128(10, 0)),
    "FLOAT": ("float", (), False, pa.float32()),
    "DOUBLE PRECISION": ("double", (), False, pa.float64()),
    "BIT(9)": ("bit", (9,), False, pa.uint64()),
    "YEAR": ("year", (), False, pa.int16()),
    "DATE": ("date", (), False, pa.date32()),
    "DATETIME(3)": ("datetime", (3,), False, pa.timestamp("us")),
    "TIMESTAMP(6) NULL": ("timestamp", (6,), False, pa.timestamp("us", "UTC")),
    "TIME(2)": ("time", (2,), False, pa.duration("us")),
    "VARCHAR(30)": ("varchar", (30,), False, pa.string()),
    "LONGTEXT": ("longtext", (), False, pa.string()),
    "JSON": ("json", (), False, pa.string()),
    "VARBINARY(8)": ("varbinary", (8,), False, pa.binary()),
    "MEDIUMBLOB": ("mediumblob", (), False, pa.binary()),
    "POINT": ("point", (), False, pa.binary()),
    "GEOMETRYCOLLECTION": ("geometrycollection", (), False, pa.binary()),
    "ENUM('unsigned', 'b')": ("enum", (), False, pa.string()),
}


@pytest.mark.parametrize("definition", TYPES)
def test_types(place: Place, definition: str) -> None:
    name, args, unsigned, arrow = TYPES[definition]
    column = place.column(definition)
    width = () if place.maria and name.endswith("int") and not args else args
    seen = () if place.maria and name.endswith("int") and not args else column.type.args
    if place.maria and name == "year":
        seen = ()
    assert (column.type.name, column.type.unsigned, column.arrow) == (name, unsigned, arrow)
    assert seen == width


@pytest.mark.parametrize("kind", ["uuid", "inet4", "inet6"])
def test_types_of_mariadb(mariadb: Server, database: Any, kind: str) -> None:
    place = Place(mariadb, database(mariadb))
    with contextlib.closing(place.connection):
        column = place.column(kind)
        assert (column.type.name, column.arrow) == (kind, pa.string())


# information_schema itself shows characters beyond the basic plane as "?".
LABELS = ["a", "", "it's", "b\\s", "c,d", "é€", "n\nl", 'q"q', "x') , ('y", "100", "t\tz", "%_"]


@pytest.mark.parametrize("kind", ["ENUM", "SET"])
def test_labels(place: Place, kind: str) -> None:
    labels = [label for label in LABELS if kind == "ENUM" or "," not in label]
    written = ", ".join("'" + x.replace("\\", "\\\\").replace("'", "''") + "'" for x in labels)
    assert place.column(f"{kind}({written})").type.labels == tuple(labels)


def test_labels_of_escapes() -> None:
    assert labels_of("enum('a''b','c\\\\d',')')") == ("a'b", "c\\d", ")")


DEFAULTS = [
    "INT DEFAULT -1",
    "INT NOT NULL DEFAULT '5'",
    "DECIMAL(5,2) DEFAULT 1.50",
    "DOUBLE DEFAULT 1e10",
    "BIT(8) DEFAULT b'101'",
    "BINARY(3) DEFAULT 'ab'",
    "VARCHAR(50) DEFAULT ''",
    "VARCHAR(50) DEFAULT 'NULL'",
    "VARCHAR(50) DEFAULT 'CURRENT_TIMESTAMP'",
    "VARCHAR(50) DEFAULT 'it''s \\\\ \"q\" \\n é€ %'",
    "VARCHAR(50) DEFAULT (CONCAT('it''s', '\\\\', 'é'))",
    "TEXT DEFAULT ('x''y')",
    "DATE DEFAULT '2020-01-02'",
    "DATETIME(3) DEFAULT '2020-01-02 03:04:05.678'",
    "TIME DEFAULT '-01:02:03'",
    "YEAR DEFAULT 1999",
    "ENUM('a','it''s') DEFAULT 'it''s'",
    "SET('a','b') DEFAULT 'a,b'",
    "JSON DEFAULT ('{\"a\": \"it''s\"}')",
]


@pytest.mark.parametrize("definition", DEFAULTS)
def test_a_default_is_sql_that_gives_the_same_value(place: Place, definition: str) -> None:
    column = place.column(definition)
    assert column.default is not None
    place.run("INSERT INTO t () VALUES ()")
    place.run("ALTER TABLE t ADD COLUMN id INT PRIMARY KEY AUTO_INCREMENT")
    place.run(f"INSERT INTO t (v) VALUES ({column.default.sql})")
    ((first,), (second,)) = place.run("SELECT v FROM t ORDER BY id")
    assert first == second and first is not None


@pytest.mark.parametrize("definition", ["INT", "INT DEFAULT NULL", "INT NOT NULL", "TEXT"])
def test_no_default_and_null_are_none(place: Place, definition: str) -> None:
    assert place.column(definition).default is None


def test_moments_of_now(place: Place) -> None:
    column = place.column(
        "TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)"
    )
    assert column.default and column.default.sql.lower() == "current_timestamp(3)"
    assert column.on_update and column.on_update.sql.lower() == "current_timestamp(3)"
    assert not column.nullable


def test_generated_columns_identity_charsets_and_comments(place: Place) -> None:
    table = place.table(
        "(id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT COMMENT 'the ''key''',"
        " a VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_bin,"
        " s VARCHAR(90) AS (CONCAT(a, 'it''s', '\\\\', 'é')) STORED,"
        " w INT AS (id + 1) VIRTUAL, h INT INVISIBLE DEFAULT 4)".replace("(id + 1)", "(h + 1)")
        + " AUTO_INCREMENT = 41 COMMENT 'a table' CHARACTER SET utf8mb4"
    )
    key, a, stored, virtual, hidden = table.columns
    assert key.identity is not None and key.identity.next_value == 41
    assert key.comment == "the 'key'" and table.comment == "a table" and table.engine == "InnoDB"
    assert (a.charset, a.collation) == ("latin1", "latin1_bin")
    assert stored.stored and not virtual.stored and hidden.invisible and not a.invisible
    # The text that is read gives the same values as the column.
    assert stored.generated is not None
    place.run("INSERT INTO t (a) VALUES ('x')")
    ((same, text),) = place.run(f"SELECT s = {stored.generated.sql}, s FROM t")
    assert same == 1 and text == "xit's\\é"
    assert place.catalog("t").tables[0].columns[0].identity.next_value == 42  # type: ignore[union-attr]


def test_a_generated_invisible_primary_key(mysql9: Server, database: Any) -> None:
    place = Place(mysql9, database(mysql9))
    with contextlib.closing(place.connection):
        place.run("SET SESSION sql_generate_invisible_primary_key = ON")
        table = place.table("(a INT)")
        assert [(c.name, c.invisible) for c in table.columns] == [
            ("my_row_id", True),
            ("a", False),
        ]
        assert table.primary_key is not None and table.primary_key.columns == ("my_row_id",)


# Keys and constraints


def test_indexes(place: Place) -> None:
    hidden = "IGNORED" if place.maria else "INVISIBLE"
    table = place.table(
        "(id INT, a VARCHAR(300), b TEXT, g POINT NOT NULL, `q``r` INT, PRIMARY KEY (id),"
        " UNIQUE KEY u (a(10), `q``r` DESC), KEY k (`q``r`) COMMENT 'a note',"
        f" KEY h (a) {hidden}, FULLTEXT KEY f (a, b), SPATIAL KEY s (g))"
    )
    assert table.primary_key is not None and table.primary_key.columns == ("id",)
    found = {index.name: index for index in table.indexes}
    unique = found["u"]
    assert unique.unique and unique.columns == ("a", "q`r")
    assert [part.length for part in unique.parts] == [10, None]
    assert [part.descending for part in unique.parts] == [False, True]
    assert found["k"].comment == "a note" and not found["k"].unique and found["k"].visible
    assert not found["h"].visible
    assert found["f"].method == "fulltext" and found["f"].columns == ("a", "b")
    assert found["s"].method == "spatial" and found["s"].parts[0].length is None


def test_functional_key_parts(mysql9: Server, database: Any) -> None:
    place = Place(mysql9, database(mysql9))
    with contextlib.closing(place.connection):
        table = place.table(
            "(id INT PRIMARY KEY, a VARCHAR(20), KEY f ((CONCAT(a, 'it''s', '\\\\', 'é😀')), id))"
        )
        (index,) = table.indexes
        assert [column.name for column in table.columns] == ["id", "a"]
        expression = index.parts[0].expression
        assert expression is not None and index.parts[1].column == "id"
        place.run("INSERT INTO t VALUES (1, 'x')")
        assert place.run(f"SELECT {expression.sql} FROM t") == [("xit's\\é😀",)]


def test_foreign_keys(place: Place) -> None:
    place.run("CREATE TABLE p (a INT, b INT, PRIMARY KEY (a, b))")
    table = place.table(
        "(x INT, y INT, s INT, KEY (x, y), CONSTRAINT one FOREIGN KEY (y, x) REFERENCES p (a, b)"
        " ON DELETE CASCADE ON UPDATE SET NULL, KEY (s))"
    )
    (key,) = table.foreign_keys
    assert (key.name, key.columns, key.referenced_columns) == ("one", ("y", "x"), ("a", "b"))
    assert (str(key.referenced), key.on_delete, key.on_update) == (
        f"{place.name}.p",
        "CASCADE",
        "SET NULL",
    )


def test_checks(place: Place) -> None:
    table = place.table(
        "(a INT CHECK (a <> 5), d VARCHAR(20), j JSON,"
        " CONSTRAINT c CHECK (d NOT IN ('it''s', '\\\\', 'é', 'a\\nb')))"
    )
    assert len(table.checks) == 2 and table.column("j").type.name == "json"
    found = {check.name: check.expression.sql for check in table.checks}
    for text, holds in (("it's", 0), ("\\", 0), ("é", 0), ("a\nb", 0), ("its", 1)):
        with place.connection.cursor() as cursor:
            cursor.execute(f"SELECT {found['c']} FROM (SELECT %s AS d) AS t", (text,))
            assert cursor.fetchall() == ((holds,),), text


def test_a_check_that_is_not_enforced_says_so(mysql9: Server, database: Any) -> None:
    place = Place(mysql9, database(mysql9))
    with contextlib.closing(place.connection):
        table = place.table("(a INT, CONSTRAINT soft CHECK (a > 0) NOT ENFORCED)")
        assert [(check.name, check.enforced) for check in table.checks] == [("soft", False)]


# Tables


def test_partitions_are_noted(place: Place) -> None:
    table = place.table(
        "(id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION a VALUES LESS THAN (10),"
        " PARTITION b VALUES LESS THAN MAXVALUE)"
    )
    (note,) = table.source_notes
    assert "partitioned by RANGE (" in note and "2 partitions" in note
    keyed = place.table("(id INT PRIMARY KEY) PARTITION BY KEY () PARTITIONS 3", "k")
    assert "None" not in keyed.source_notes[0] and "3 partitions" in keyed.source_notes[0]


def test_system_versioning_and_sequences(mariadb: Server, database: Any) -> None:
    place = Place(mariadb, database(mariadb))
    with contextlib.closing(place.connection):
        plain = place.table("(a INT) WITH SYSTEM VERSIONING")
        assert [column.name for column in plain.columns] == ["a"]
        assert "system-versioned" in plain.source_notes[0]
        place.run("CREATE SEQUENCE s")
        catalog = place.catalog()
        assert [table.id.name for table in catalog.tables] == ["t"]
        assert ("sequence", f"{place.name}.s") in {(b.kind, b.name) for b in catalog.skipped}


def test_what_is_left_behind_is_named(place: Place) -> None:
    place.run(
        "CREATE TABLE t (a INT)",
        "CREATE VIEW v AS SELECT a FROM t",
        "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1",
        "CREATE PROCEDURE p() SELECT 1",
        "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1",
        "CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DO SELECT 1",
    )
    found = {(b.kind, b.name.removeprefix(f"{place.name}.")) for b in place.catalog().skipped}
    assert found == {
        ("view", "v"),
        ("trigger", "t.g"),
        ("procedure", "p"),
        ("function", "f"),
        ("event", "e"),
    }


def test_every_user_database_where_none_is_named(place: Place) -> None:
    place.table("(a INT)", "mine")
    catalog = read_catalog(place.connection, Scope())
    names = {str(table.id) for table in catalog.tables}
    assert f"{place.name}.mine" in names
    assert not {table.id.schema for table in catalog.tables} & {"mysql", "sys"}
    one = read_catalog(place.connection, Scope(None, (f"{place.name}.mine",)))
    assert [str(table.id) for table in one.tables] == [f"{place.name}.mine"]


def test_names_differ_by_case_as_the_server_says(place: Place) -> None:
    place.run("CREATE TABLE Users (a INT)", "CREATE TABLE users (b INT)")
    assert [c.name for c in place.catalog("users").tables[0].columns] == ["b"]
    with pytest.raises(NotFound, match="'USERS'"):
        place.catalog("USERS")
    with pytest.raises(NotFound, match="no database"):
        read_catalog(place.connection, Scope(place.name.upper()))


@pytest.mark.parametrize("kind", ["mariadb"])
def test_names_that_the_server_folds(kind: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(kind)
    with running(kind, {"lower_case_table_names": "1"}) as server:
        place = Place(server, server.create_database())
        with contextlib.closing(place.connection):
            place.run("CREATE TABLE Users (a INT)")
            (table,) = place.catalog("USERS").tables
            assert table.id.name == "users"


def test_many_tables_are_read_in_few_questions(place: Place) -> None:
    place.run(
        *(
            f"CREATE TABLE t{n} (id INT PRIMARY KEY, a VARCHAR(9) CHECK (a <> 'x'), j JSON,"
            " t LONGTEXT, KEY (a))"
            for n in range(300)
        )
    )
    started = time.monotonic()
    catalog = place.catalog()
    assert time.monotonic() - started < 10
    assert len(catalog.tables) == 300
    assert all(len(table.checks) == 1 for table in catalog.tables)


# Errors


def test_an_error_never_holds_the_servers_text() -> None:
    import pymysql

    for number, code in (
        (1045, "AUTHENTICATION_FAILED"),
        (1142, "PERMISSION_DENIED"),
        (1146, "NOT_FOUND"),
        (1205, "LOCK_TIMEOUT"),
        (2013, "CONNECTION_FAILED"),
        (1062, "TARGET_CONFLICT"),
    ):
        error = translate(pymysql.err.OperationalError(number, "entry 'secret-5'"), "table t")
        assert error.code == code and "secret" not in f"{error}{error.details}"


def test_unescape() -> None:
    assert unescape(r"concat(_utf8mb4\'it\\\'s\',_utf8mb4\'\\\\\')") == (
        r"concat(_utf8mb4'it\'s',_utf8mb4'\\')"
    )
    assert unescape("`é`") == "`é`" and unescape("`\xc3\xa9`") == "`é`"
