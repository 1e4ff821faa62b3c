"""An adapter of another package: the SQLite example, installed, through `Stream` by its URL."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.contracts import Sink, Source
from streams_engine.errors import ConfigError, NotFound, StreamsError, TargetConflict
from streams_engine.model import Column, TableId
from streams_engine.schema.types.files import files_type
from streams_engine.testing.conformance_change_writer import ChangeWriterConformance
from streams_engine.testing.conformance_sink import BadRow, SinkConformance, SinkPlace
from streams_engine.testing.conformance_source import SourceConformance, SourcePlace
from streams_engine.testing.sample_rows import FAMILIES, SECRET, TABLES, SampleTable
from streams_engine.testing.servers import Server
from streams_engine.testing.sink_place import batch
from tests.support.databases import End
from tests.support.sqlite_package import install


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package on the path, for this module alone."""
    site = tmp_path_factory.mktemp("site")
    install(site)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        yield
    for name in [name for name in sys.modules if name.startswith("streams_engine_sqlite")]:
        del sys.modules[name]


# The suites


STORED = {
    "int64": "INTEGER",
    "bool": "INTEGER",
    "decimal": "REAL",
    "float64": "REAL",
    "text": "TEXT",
    "date": "TEXT",
    "timestamp": "TEXT",
    "bytes": "BLOB",
}


def stored(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, datetime.date):
        return value.isoformat()
    return float(value) if isinstance(value, decimal.Decimal) else value


class SqlitePlace(SourcePlace):
    """A file as other programs make it, without this adapter's own declared types."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = sqlite3.connect(path, isolation_level=None)
        self.writer.execute("PRAGMA journal_mode = WAL")  # who reads hinders no writer
        self.writer.execute("PRAGMA synchronous = off")
        for table in TABLES.values():
            columns = [
                f'"{name}" {STORED[family]}'
                + (" NOT NULL" if name in table.required else "")
                + (" PRIMARY KEY" if (name,) == table.key else "")
                for name, family in table.columns.items()
            ]
            self.writer.execute(f'CREATE TABLE "{table.name}" ({", ".join(columns)})')
            for row in table.rows:
                self.insert(table, row)
        self.source = self.open()

    def insert(self, table: SampleTable, row: Mapping[str, Any]) -> None:
        places = ", ".join("?" * len(row))
        self.writer.execute(
            f'INSERT INTO "{table.name}" VALUES ({places})', [stored(v) for v in row.values()]
        )

    def open(self) -> Source:
        from streams_engine_sqlite.source import SqliteSource

        source: Source = SqliteSource(self.path)
        return source

    @contextlib.contextmanager
    def inserted(self, table: SampleTable) -> Iterator[None]:
        self.insert(table, table.more)
        yield
        self.writer.execute(f'DELETE FROM "{table.name}" WHERE rowid = last_insert_rowid()')

    def close(self) -> None:
        self.source.close()
        self.writer.close()


class TestSqliteSource(SourceConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SourcePlace]:
        with contextlib.closing(SqlitePlace(tmp_path_factory.mktemp("sqlite") / "db")) as place:
            yield place


class SqliteSinkPlace(SinkPlace):
    """A new file; tables are made by the sink's own `prepare`, as a run makes them."""

    types = {  # noqa: RUF012
        name: files_type(family.arrow)
        for name, family in FAMILIES.items()
        if name not in ("float64 special", "texts")
    }
    upserts = True

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> Sink:
        from streams_engine_sqlite.sink import SqliteSink

        sink: Sink = SqliteSink(str(self.path))
        return sink

    def create(self, name: str, columns: Sequence[Column], key: Sequence[str] = ()) -> TableId:
        from streams_engine_sqlite.storage import connect, declared, quoted

        table = TableId("", name)
        parts = [f"{quoted(c.name)} {declared(c.arrow, table, c.name)}" for c in columns]
        parts += [f"PRIMARY KEY ({', '.join(map(quoted, key))})"] if key else []
        with contextlib.closing(connect(str(self.path))) as connection:
            connection.execute(f"CREATE TABLE {quoted(name)} ({', '.join(parts)})")
        return table

    def rows(self, table: TableId, columns: Sequence[Column]) -> list[Mapping[str, Any]]:
        from streams_engine_sqlite.storage import column_of, connect, quoted

        names = ", ".join(quoted(c.name) for c in columns)
        with contextlib.closing(connect(str(self.path))) as connection:
            found = connection.execute(f"SELECT {names} FROM {quoted(table.name)}").fetchall()
        values = list(zip(*found, strict=True)) or [()] * len(columns)
        arrays = [column_of(v, c.arrow).to_pylist() for v, c in zip(values, columns, strict=True)]
        return [
            {c.name: v for c, v in zip(columns, row, strict=True)}
            for row in zip(*arrays, strict=True)
        ]

    def bad_rows(self) -> Sequence[BadRow]:
        columns = tuple(
            Column(name, self.types[family], FAMILIES[family].arrow, nullable=name != "text")
            for name, family in (("n", "int64"), ("text", "text"))
        )
        table = self.create("keyed", columns, ("n",))
        good = batch(columns, [{"n": n, "text": f"row {n}"} for n in range(1, 5)])
        twice = batch(columns, [{"n": 1, "text": SECRET}])
        return [BadRow("a key twice", table, columns, good, twice, alone=False)]

    def quarantine_rows(self, stream: str) -> int | None:
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            there = "SELECT 1 FROM sqlite_schema WHERE name = '_streams_engine_rejected'"
            if connection.execute(there).fetchone() is None:
                return 0
            counted = "SELECT count(*) FROM _streams_engine_rejected WHERE stream = ?"
            found: int = connection.execute(counted, (stream,)).fetchone()[0]
            return found


class TestSqliteSink(SinkConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> SinkPlace:
        return SqliteSinkPlace(tmp_path / "db")


class TestSqliteWriter(ChangeWriterConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> SinkPlace:
        return SqliteSinkPlace(tmp_path / "db")


# Through Stream


ROWS = 2000


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A file with one table of some rows, of SQLite's own types."""
    path = tmp_path / "shop.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, who TEXT NOT NULL, price REAL, raw BLOB)"
        )
        connection.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?)",
            [(n, f"näme {n}", n / 8 if n % 7 else None, bytes([n % 256])) for n in range(ROWS)],
        )
    return path


def count(path: Path, table: str = "orders") -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return found


def test_a_plan_names_tables_and_types(shop: Path, pg18: Server, database: Any) -> None:
    target = End(pg18, database(pg18))
    stream = Stream(f"sqlite://{shop}", target.url)
    assert stream.state == "READY" and f"sqlite://{shop}" in repr(stream)
    (table,) = stream.plan().tables
    assert [column.target_type for column in table.columns] == [
        "bigint", "text", "double precision", "bytea",
    ]  # fmt: skip


def test_into_postgres_and_verified(shop: Path, pg18: Server, database: Any) -> None:
    target = End(pg18, database(pg18))
    stream = Stream(f"sqlite://{shop}", target.url)
    assert stream.run().rows == ROWS and stream.state == "FINISHED"
    assert Stream(f"sqlite://{shop}", target.url).verify().ok
    target.run("UPDATE orders SET who = 'x' WHERE id = 7")
    (verdict,) = Stream(f"sqlite://{shop}", target.url).verify().tables
    assert verdict.keys == ("7",) and verdict.kinds == ("different",)


def test_out_of_mysql_with_every_exact_value(mysql9: Server, database: Any, tmp_path: Path) -> None:
    source = End(mysql9, database(mysql9))
    source.run(
        "CREATE TABLE exact (id BIGINT UNSIGNED PRIMARY KEY, price DECIMAL(30,10), at DATETIME(6), "
        "day DATE, yes BOOLEAN, raw VARBINARY(9), half FLOAT)",
        "INSERT INTO exact VALUES (18446744073709551615, 12345678901234567890.0123456789, "
        "'2024-02-29 23:59:59.999999', '1000-01-01', TRUE, 0x00FF, 0.1), "
        "(0, NULL, NULL, NULL, NULL, NULL, NULL)",
    )
    path = tmp_path / "out.db"
    Stream(source.url, f"sqlite://{path}").run()
    report = Stream(source.url, f"sqlite://{path}").verify()
    assert report.ok, report.to_dict()
    back = End(mysql9, database(mysql9))
    Stream(f"sqlite://{path}", back.url).run()
    query = "SELECT * FROM exact ORDER BY id"
    assert back.rows(query) == source.rows(query)


def test_between_files_and_sqlite(shop: Path, tmp_path: Path) -> None:
    Stream(f"sqlite://{shop}", str(tmp_path / "lake")).run()
    Stream(str(tmp_path / "lake"), f"sqlite://{tmp_path}/back.db").run()
    assert Stream(str(tmp_path / "lake"), f"sqlite://{tmp_path}/back.db").verify().ok
    assert Stream(f"sqlite://{shop}", f"sqlite://{tmp_path}/back.db").verify().ok


@pytest.mark.parametrize("way", ["source", "target"])
def test_a_run_that_was_cut_goes_on(shop: Path, tmp_path: Path, way: str) -> None:
    """The limit cuts within the only chunk; nothing is read or written twice."""
    lake, file = str(tmp_path / "lake"), tmp_path / "cut.db"
    ends = (f"sqlite://{shop}", f"sqlite://{file}" if way == "target" else lake)
    options: dict[str, Any] = {"name": "cut", "data_bundle_size": 100}
    Stream(*ends, limits={"numberOfEvents": 700}, **options).run()
    assert way == "source" or count(file) == 700
    stats = Stream(*ends, **options).run()
    assert stats.rows == ROWS - 700
    report = Stream(*ends).verify()
    assert report.ok, report.to_dict()


def test_a_run_that_was_cut_begins_again_where_the_source_changed(
    shop: Path, tmp_path: Path
) -> None:
    ends = (f"sqlite://{shop}", f"sqlite://{tmp_path}/cut.db")
    options: dict[str, Any] = {"name": "cut", "data_bundle_size": 100}
    Stream(*ends, limits={"numberOfEvents": 700}, **options).run()
    with contextlib.closing(sqlite3.connect(shop)) as connection, connection:
        connection.execute("UPDATE orders SET who = 'other' WHERE id < 10")
    Stream(*ends, **options).run()
    assert count(tmp_path / "cut.db") == ROWS
    assert Stream(*ends).verify().ok


def test_rows_of_others_are_not_written_over(shop: Path, tmp_path: Path) -> None:
    ends = (f"sqlite://{shop}", f"sqlite://{tmp_path}/there.db")
    Stream(*ends).run()
    with pytest.raises(TargetConflict):
        Stream(*ends).run()
    Stream(*ends, write_mode="truncate_and_load").run()
    assert count(tmp_path / "there.db") == ROWS
    assert not [name for name in tables(tmp_path / "there.db") if name.startswith("_")]


def tables(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM sqlite_schema")]


def test_changes_of_a_log_are_applied(mysql9: Server, database: Any, tmp_path: Path) -> None:
    """A cdc: changes, an added column, a renamed one, and a restart from the checkpoint."""
    source = End(mysql9, database(mysql9))
    source.run(
        "CREATE TABLE t (id INT PRIMARY KEY, a INT)",
        "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)",
    )
    file = tmp_path / "log.db"

    def stream() -> Stream:
        return Stream(source.url, f"sqlite://{file}", mode="cdc", name="log")

    def followed(*statements: str) -> None:
        with stream() as running:
            running.start()
            source.run(*statements)
            assert running.catch_up(120)

    followed("UPDATE t SET a = 10 WHERE id = 1", "DELETE FROM t WHERE id = 2")
    followed(
        "ALTER TABLE t ADD COLUMN b VARCHAR(9)",
        "INSERT INTO t VALUES (4, 4, 'four')",
        "ALTER TABLE t RENAME COLUMN a TO c",
        "UPDATE t SET id = 30 WHERE id = 3",
    )
    with contextlib.closing(sqlite3.connect(file)) as connection:
        found = sorted(connection.execute("SELECT id, c, b FROM t"))
    assert found == [(1, 10, None), (4, 4, "four"), (30, 3, None)]
    assert stream().verify().ok
    stream().release()


def test_what_it_cannot_do_is_refused_by_path(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no change log") as caught:
        Stream(f"sqlite://{shop}", "null://", mode="cdc").run()
    assert caught.value.path == "$.mode"
    with pytest.raises(ConfigError) as caught:
        Stream("sqlite://", "null://")
    assert caught.value.path == "$.source.connections[0].connection"
    with pytest.raises(ConfigError) as caught:
        Stream({"type": "sqlite", "path": str(shop), "colour": 1}, "null://")
    assert caught.value.path == "$.source.connections[0].connection.colour"
    with pytest.raises(NotFound):
        Stream(f"sqlite://{tmp_path}/no.db", "null://").run()


def test_two_streams_of_one_file_are_told_apart(shop: Path, tmp_path: Path) -> None:
    one = Stream(f"sqlite://{shop}", f"sqlite://{tmp_path}/a.db")
    other = Stream(f"sqlite://{shop}", f"sqlite://{tmp_path}/b.db")
    assert one.name != other.name
    assert (
        one.name == Stream({"type": "sqlite", "path": str(shop)}, f"sqlite://{tmp_path}/a.db").name
    )


def test_an_error_of_the_file_is_one_of_the_stream(tmp_path: Path) -> None:
    (tmp_path / "no.db").write_bytes(b"this is no database file, and long enough to be read")
    with pytest.raises(StreamsError):
        Stream(f"sqlite://{tmp_path}/no.db", "null://").run()
