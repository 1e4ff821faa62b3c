"""Our sinks, as the conformance suite asks for them."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from streams_engine.adapters.files.sink import FilesSink
from streams_engine.adapters.files.stores.store import Store
from streams_engine.adapters.mysql.sink.sink import MysqlSink
from streams_engine.adapters.null import NullSink
from streams_engine.adapters.postgres.sink.sink import PostgresSink
from streams_engine.contracts import Sink
from streams_engine.model import Column, Dialect, NativeType, TableId, TypeKind
from streams_engine.testing.conformance_sink import BadRow, SinkPlace
from streams_engine.testing.sample_rows import FAMILIES, SECRET
from streams_engine.testing.servers import Server
from streams_engine.testing.sink_place import batch
from tests.support.conformance_sources import mysql_connect, postgres_connect

Row = Mapping[str, Any]


# Sinks: databases


class DatabaseSinkPlace(SinkPlace):
    """A database of its own for each test."""

    upserts = True
    mark: str
    settings: str
    """What a connection that reads back needs, whatever the server's own settings."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.database = server.create_database()
        self.opened: list[Sink] = []

    def made(self) -> Sink:
        raise NotImplementedError

    def open(self) -> Sink:
        self.opened.append(self.made())
        return self.opened[-1]

    def close(self) -> None:
        for sink in self.opened:
            sink.close()
        self.server.drop_database(self.database)

    def run(self, query: str) -> list[tuple[Any, ...]]:
        with (
            contextlib.closing(self.server.connect(self.database)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(self.settings)
            cursor.execute(query)
            return list(cursor.fetchall()) if cursor.description else []

    def quoted(self, name: str) -> str:
        return f"{self.mark}{name}{self.mark}"

    def table(self, name: str) -> TableId:
        raise NotImplementedError

    def create(
        self, name: str, columns: Sequence[Column], key: Sequence[str] = (), more: str = ""
    ) -> TableId:
        parts = [f"{self.quoted(c.name)} {c.type.text}" for c in columns]
        parts += [f"PRIMARY KEY ({', '.join(map(self.quoted, key))})"] if key else []
        parts += [more] if more else []
        self.run(f"CREATE TABLE {self.quoted(name)} ({', '.join(parts)})")
        return self.table(name)

    def rows(self, table: TableId, columns: Sequence[Column]) -> list[Row]:
        names = ", ".join(self.read_as(c) for c in columns)
        found = self.run(f"SELECT {names} FROM {self.quoted(table.name)}")
        return [
            {c.name: self.read(c, v) for c, v in zip(columns, row, strict=True)} for row in found
        ]

    def read_as(self, column: Column) -> str:
        return self.quoted(column.name)

    def read(self, column: Column, value: Any) -> Any:
        return value

    def refusing(
        self, label: str, native: NativeType, arrow: pa.DataType, value: Any, more: str = ""
    ) -> BadRow:
        """A table whose third column refuses a value, out of all rows one."""
        of = (
            Column("n", self.types["int64"], pa.int64()),
            Column("text", self.types["text"], pa.string()),
            Column("picky", native, arrow),
        )
        numeric = pa.types.is_integer(arrow)
        fine = 1 if numeric else "10.0.0.1" if label == "form" else "fine"
        table = self.create(label, of, more=more)
        picky = [n if label == "key" else fine for n in range(4)]
        good = batch(of, [{"n": n, "text": "fine", "picky": p} for n, p in enumerate(picky)])
        bad = batch(of, [{"n": 77, "text": SECRET, "picky": value}])
        return BadRow(label, table, of, good, bad, alone=label != "key")


def mysql_type(text: str, *args: int, unsigned: bool = False) -> NativeType:
    name = text.split("(")[0].split()[0]
    return NativeType(Dialect.MYSQL, text, name, args, unsigned)


class MysqlSinkPlace(DatabaseSinkPlace):
    mark = "`"
    settings = "SET time_zone = '+00:00'"
    types = {  # noqa: RUF012
        "bool": mysql_type("tinyint(1)", 1),
        "int64": mysql_type("bigint"),
        "uint64": mysql_type("bigint unsigned", unsigned=True),
        "float32": mysql_type("float"),
        "float64": mysql_type("double"),
        "decimal": mysql_type("decimal(18,4)", 18, 4),
        "wide decimal": mysql_type("decimal(60,20)", 60, 20),
        "text": mysql_type("longtext"),
        "bytes": mysql_type("longblob"),
        "date": mysql_type("date"),
        "timestamp": mysql_type("datetime(6)", 6),
        "timestamptz": mysql_type("timestamp(6)", 6),
        "time": mysql_type("time(6)", 6),
        "duration": mysql_type("time(6)", 6),
    }

    def made(self) -> MysqlSink:
        return MysqlSink(mysql_connect(self.server, self.database))

    def table(self, name: str) -> TableId:
        return TableId(self.database, name)

    def create(
        self, name: str, columns: Sequence[Column], key: Sequence[str] = (), more: str = ""
    ) -> TableId:
        nullable = [
            c if c.type.name != "timestamp" else
            Column(c.name, mysql_type(f"{c.type.text} NULL"), c.arrow)
            for c in columns
        ]  # fmt: skip
        return super().create(name, nullable, key, more)

    def read_as(self, column: Column) -> str:
        name = self.quoted(column.name)
        return f"{name} * 1E0" if column.type.name == "float" else name  # else six digits

    def read(self, column: Column, value: Any) -> Any:
        if pa.types.is_timestamp(column.arrow) and column.arrow.tz and value is not None:
            return value.replace(tzinfo=dt.UTC)
        return value

    def bad_rows(self) -> Sequence[BadRow]:
        short = mysql_type("varchar(10)", 10)
        small = mysql_type("tinyint")
        whole = FAMILIES["int64"].arrow
        text = FAMILIES["text"].arrow
        return [
            self.refusing("too long", short, text, SECRET),
            self.refusing("range", small, whole, 300),
            self.refusing("NULL", mysql_type("int NOT NULL"), whole, None),
            self.refusing("check", small, whole, 7, "CHECK (`picky` <> 7)"),
            self.refusing("key", small, whole, 2, "UNIQUE (picky)"),
            self.refusing("unique text", short, text, "fine"[:2] + SECRET, "UNIQUE (text(30), n)"),
        ]

    def quarantine_rows(self, stream: str) -> int:
        if not self.run("SHOW TABLES LIKE 'streams_engine_quarantine'"):
            return 0
        query = f"SELECT count(*) FROM streams_engine_quarantine WHERE stream = '{stream}'"
        return int(self.run(query)[0][0])


def postgres_type(text: str, name: str, *args: int) -> NativeType:
    kind = TypeKind.ARRAY if name.startswith("_") else TypeKind.BASE
    return NativeType(Dialect.POSTGRES, text, name, args, kind=kind)


class PostgresSinkPlace(DatabaseSinkPlace):
    mark = '"'
    settings = "SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'"
    types = {  # noqa: RUF012
        "bool": postgres_type("boolean", "bool"),
        "int64": postgres_type("bigint", "int8"),
        "uint64": postgres_type("numeric(20)", "numeric", 20),
        "float32": postgres_type("real", "float4"),
        "float64": postgres_type("double precision", "float8"),
        "float64 special": postgres_type("double precision", "float8"),
        "decimal": postgres_type("numeric(18,4)", "numeric", 18, 4),
        "wide decimal": postgres_type("numeric(60,20)", "numeric", 60, 20),
        "text": postgres_type("text", "text"),
        "bytes": postgres_type("bytea", "bytea"),
        "date": postgres_type("date", "date"),
        "timestamp": postgres_type("timestamp", "timestamp"),
        "timestamptz": postgres_type("timestamptz", "timestamptz"),
        "time": postgres_type("time", "time"),
        "duration": postgres_type("interval", "interval"),
        "texts": postgres_type("text[]", "_text"),
    }

    def made(self) -> PostgresSink:
        return PostgresSink(postgres_connect(self.server, self.database))

    def table(self, name: str) -> TableId:
        return TableId("public", name)

    def bad_rows(self) -> Sequence[BadRow]:
        text, whole = FAMILIES["text"].arrow, FAMILIES["int64"].arrow
        plain = self.types["text"]
        small = postgres_type("smallint", "int2")
        return [
            self.refusing("NUL", plain, text, f"{SECRET}\0"),
            self.refusing("too long", postgres_type("varchar(10)", "varchar", 10), text, SECRET),
            self.refusing("range", small, whole, 70_000),
            self.refusing("NULL", postgres_type("smallint NOT NULL", "int2"), whole, None),
            self.refusing("check", small, whole, 7, "CHECK (picky <> 7)"),
            self.refusing("key", small, whole, 2, "UNIQUE (picky)"),
            self.refusing("form", postgres_type("inet", "inet"), text, SECRET),
        ]

    def quarantine_rows(self, stream: str) -> int:
        if self.run("SELECT to_regclass('streams_engine.quarantine')") == [(None,)]:
            return 0
        query = f"SELECT count(*) FROM streams_engine.quarantine WHERE stream = '{stream}'"
        return int(self.run(query)[0][0])


# Sinks: files


def csv_fields(text: str) -> Iterator[list[str | None]]:
    """The lines of a CSV text; a field without quotes and characters is None."""
    line: list[str | None] = []
    at = 0
    while at < len(text):
        if text[at] == '"':
            end = at + 1
            while text[end : end + 2] == '""' or text[end] != '"':
                end += 2 if text[end] == '"' else 1
            line.append(text[at + 1 : end].replace('""', '"'))
            at = end + 1
        else:
            end = at
            while text[end] not in ",\n":
                end += 1
            line.append(text[at:end] or None)
            at = end
        if text[at] == "\n":
            yield line
            line = []
        at += 1


def json_int(text: str) -> int | float:
    """JSON has a negative zero, which Python's reader takes for a whole number."""
    return -0.0 if text == "-0" else int(text)


FROM_TEXT = {
    pa.bool_(): lambda text: {"true": True, "false": False}[text],
    pa.binary(): bytes.fromhex,
}


class FilesSinkPlace(SinkPlace):
    def __init__(self, root: Path, file_format: str) -> None:
        self.root = root
        self.file_format = file_format
        names = [name for name in FAMILIES if name != "texts"]
        self.types = {
            name: NativeType(Dialect.FILES, str(FAMILIES[name].arrow), str(FAMILIES[name].arrow))
            for name in names
        }

    def open(self) -> FilesSink:
        return FilesSink(Store(root=str(self.root)), file_format=self.file_format)

    def create(self, name: str, columns: Sequence[Column], key: Sequence[str] = ()) -> TableId:
        return TableId("", name)

    def rows(self, table: TableId, columns: Sequence[Column]) -> list[Row]:
        folder = self.root / table.name.replace(" ", "%20")
        if not (folder / "_manifest.json").exists():
            return []
        manifest = json.loads((folder / "_manifest.json").read_text())
        parts = [folder / part["path"] for part in manifest["parts"]]
        return [row for part in parts for row in self.part(part, columns)]

    def part(self, path: Path, columns: Sequence[Column]) -> list[Row]:
        if self.file_format == "parquet":
            rows: list[Row] = pq.read_table(path).to_pylist()
            return rows
        text = path.read_bytes().decode()
        if self.file_format == "jsonl":
            lines = text.split("\n")[:-1]
            found: list[dict[str, Any]] = [
                json.loads(line, parse_float=Decimal, parse_int=json_int) for line in lines
            ]
            binary = [c.name for c in columns if pa.types.is_binary(c.arrow)]
            for row in found:
                row.update({n: base64.b64decode(row[n]) for n in binary if row[n] is not None})
            return found
        names, *fields = csv_fields(text)
        assert names == [c.name for c in columns]
        return [
            {
                c.name: None if v is None else FROM_TEXT.get(c.arrow, str)(v)
                for c, v in zip(columns, line, strict=True)
            }
            for line in fields
        ]

    def bad_rows(self) -> Sequence[BadRow]:
        of = (
            Column("n", self.types["int64"], pa.int64()),
            Column("text", self.types["text"], pa.string()),
            Column("at", self.types["timestamp"], pa.timestamp("us")),
        )

        def rows(text: str, **of: int) -> pa.RecordBatch:
            at = pa.array(of.values(), pa.int64()).view(pa.timestamp("us"))
            numbers = pa.array([int(name[1:]) for name in of], pa.int64())
            texts = pa.array([text] * len(of), pa.string())
            return pa.RecordBatch.from_arrays([numbers, texts, at], ["n", "text", "at"])

        zero = BadRow("zero date", self.create("zero_date", of), of,
                      rows("fine", n1=0, n2=1, n3=2), rows(SECRET, n77=-(2**63)))  # fmt: skip
        strict = (*of[:2], Column("at", of[2].type, of[2].arrow, nullable=False))
        null = rows(SECRET, n77=0).set_column(2, "at", pa.nulls(1, pa.timestamp("us")))
        good = rows("fine", n1=0, n2=1, n3=2)
        return [zero, BadRow("NULL", self.create("not_null", strict), strict, good, null)]

    def quarantine_rows(self, stream: str) -> int:
        """Those that a manifest lists."""
        manifests = self.root.glob("*/_manifest.json")
        documents = [json.loads(path.read_text()) for path in manifests]
        return sum(part["rows"] for d in documents for part in d["quarantined"])


# A sink that keeps nothing


class NullSinkPlace(SinkPlace):
    types = {  # noqa: RUF012
        name: NativeType(Dialect.FILES, name, name) for name in FAMILIES
    }
    keeps_rows = False

    def __init__(self) -> None:
        self.only = NullSink()

    def open(self) -> NullSink:
        return self.only

    def create(self, name: str, columns: Sequence[Column], key: Sequence[str] = ()) -> TableId:
        return TableId("", name)
