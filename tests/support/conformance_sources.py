"""Our sources, as the conformance suite asks for them."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streams_engine.adapters.files.sink import FilesSink
from streams_engine.adapters.files.source import FilesSource
from streams_engine.adapters.files.stores.store import Store
from streams_engine.adapters.mysql.connection import MysqlConnect
from streams_engine.adapters.mysql.snapshot.source import MysqlSource
from streams_engine.adapters.postgres.connection import PostgresConnect
from streams_engine.adapters.postgres.snapshot.source import PostgresSource
from streams_engine.contracts import Scope
from streams_engine.model import Column, Dialect, NativeType, TableId, TableSchema
from streams_engine.testing.conformance_source import SourcePlace
from streams_engine.testing.sample_rows import TABLES, SampleTable
from streams_engine.testing.servers import Server

Row = Mapping[str, Any]


def mysql_connect(server: Server, database: str) -> MysqlConnect:
    return MysqlConnect(
        server.kind, server.host, server.port, server.user, server.password, database
    )


def postgres_connect(server: Server, database: str) -> PostgresConnect:
    return PostgresConnect(server.host, server.port, server.user, server.password, database)


QUERY = "SELECT id, kind FROM people WHERE id < 100"


class DatabaseSourcePlace(SourcePlace):
    """The sample tables in a database of their own."""

    query = QUERY
    types: Mapping[str, str]
    analyze: str
    settings: Sequence[str] = ()
    mark: str
    """What a name is quoted with."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.database = server.create_database()
        self.source = self.open()
        with (
            contextlib.closing(server.connect(self.database)) as connection,
            connection.cursor() as cursor,
        ):
            for setting in self.settings:
                cursor.execute(setting.format(self.database))
            for table in TABLES.values():
                cursor.execute(self.ddl(table))
                if table.rows:
                    self.insert(cursor, table, table.rows)
                cursor.execute(self.analyze.format(table.name))  # chunks are cut by estimates

    def quoted(self, name: str) -> str:
        return f"{self.mark}{name}{self.mark}"

    def ddl(self, table: SampleTable) -> str:
        columns = [
            f"{self.quoted(name)} {self.types[family]}"
            + (" NOT NULL" if name in table.required else "")
            for name, family in table.columns.items()
        ]
        key = [f"PRIMARY KEY ({', '.join(table.key)})"] if table.key else []
        return f"CREATE TABLE {table.name} ({', '.join([*columns, *key])})"

    def insert(self, cursor: Any, table: SampleTable, rows: Sequence[Row]) -> None:
        names = ", ".join(map(self.quoted, table.columns))
        places = ", ".join(["%s"] * len(table.columns))
        query = f"INSERT INTO {table.name} ({names}) VALUES ({places})"
        cursor.executemany(query, [tuple(row.values()) for row in rows])

    @contextlib.contextmanager
    def inserted(self, table: SampleTable) -> Iterator[None]:
        column, value = next(iter(table.more.items()))
        with (
            contextlib.closing(self.server.connect(self.database)) as connection,
            connection.cursor() as cursor,
        ):
            self.insert(cursor, table, [table.more])
            yield
            cursor.execute(f"DELETE FROM {table.name} WHERE {column} = {value}")

    def close(self) -> None:
        self.source.close()
        self.server.drop_database(self.database)


class MysqlSourcePlace(DatabaseSourcePlace):
    mark = "`"
    analyze = "ANALYZE TABLE {}"
    types = {  # noqa: RUF012
        "int64": "BIGINT", "text": "VARCHAR(2000)", "decimal": "DECIMAL(12,2)", "date": "DATE",
        "timestamp": "DATETIME(6)", "bool": "TINYINT(1)", "float64": "DOUBLE", "bytes": "BLOB",
    }  # fmt: skip

    def open(self) -> MysqlSource:
        return MysqlSource(mysql_connect(self.server, self.database))


class PostgresSourcePlace(DatabaseSourcePlace):
    mark = '"'
    analyze = "ANALYZE {}"
    scope = Scope(schema="public")
    types = {  # noqa: RUF012
        "int64": "bigint", "text": "text", "decimal": "numeric(12,2)", "date": "date",
        "timestamp": "timestamp", "bool": "boolean", "float64": "float8", "bytes": "bytea",
    }  # fmt: skip

    def open(self) -> PostgresSource:
        return PostgresSource(postgres_connect(self.server, self.database))


# Sources: files


def shown(value: Any, file_format: str) -> Any:
    """A value as the files of this library write it."""
    if isinstance(value, bytes):
        return value.hex() if file_format == "csv" else base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, bool) and file_format == "csv":
        return str(value).lower()
    return value


def csv_line(row: Row) -> str:
    """NULL is an empty field without quotes; every text has them."""

    def field(value: Any) -> str:
        if value is None:
            return ""
        text = str(shown(value, "csv"))
        return '"' + text.replace('"', '""') + '"' if isinstance(value, str | bytes) else text

    return ",".join(map(field, row.values())) + "\n"


def file_of(table: SampleTable, rows: Sequence[Row], file_format: str) -> bytes:
    if file_format == "csv":
        head = csv_line({name: name for name in table.columns})
        return "".join([head, *map(csv_line, rows)]).encode()
    if file_format == "jsonl":
        lines = [json.dumps({k: shown(v, "jsonl") for k, v in row.items()}) for row in rows]
        return "".join(line + "\n" for line in lines).encode()
    buffer = io.BytesIO()
    schema = table.arrow_schema()
    pq.write_table(pa.Table.from_pylist(list(rows), schema), buffer, row_group_size=300)
    return buffer.getvalue()


class FilesSourcePlace(SourcePlace):
    """A folder a table, with two files in it."""

    has_keys = False

    def __init__(self, root: Path, file_format: str) -> None:
        self.root = root
        self.file_format = file_format
        for table in TABLES.values():
            if file_format == "jsonl" and not table.rows:
                self.put_manifest(table)
                continue
            (root / table.name).mkdir()
            cut = len(table.rows) * 2 // 3
            for number, rows in enumerate((table.rows[:cut], table.rows[cut:])):
                self.put(table, f"{number}", rows)
        self.source = self.open()

    def put_manifest(self, table: SampleTable) -> None:
        """An empty JSONL file has no columns: they come from a manifest."""
        columns = tuple(
            Column(f.name, NativeType(Dialect.FILES, str(f.type), str(f.type)), f.type, f.nullable)
            for f in table.arrow_schema()
        )
        written = TableId("", table.name)
        sink = FilesSink(Store(root=str(self.root)), file_format=self.file_format)
        schema = TableSchema(written, Dialect.FILES, columns)
        sink.prepare("empty", [schema], write_mode="fail_if_not_empty", keep=False)
        sink.finish("empty", [written])

    def put(self, table: SampleTable, name: str, rows: Sequence[Row]) -> Path:
        path = self.root / table.name / f"{name}.{self.file_format}"
        path.write_bytes(file_of(table, rows, self.file_format))
        return path

    def open(self) -> FilesSource:
        declared: dict[str, dict[str, str]] = {}
        if self.file_format != "parquet":
            for table in TABLES.values():
                if self.file_format == "jsonl" and not table.rows:
                    continue
                fields = table.arrow_schema()
                declared[table.name] = {field.name: str(field.type) for field in fields}
        return FilesSource(Store(root=str(self.root)), columns=declared)

    @contextlib.contextmanager
    def inserted(self, table: SampleTable) -> Iterator[None]:
        path = self.put(table, "2", [table.more])
        yield
        path.unlink()
