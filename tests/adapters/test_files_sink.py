"""The sink of files, driven through its protocol on a folder."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import math
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams_engine import Stream
from streams_engine.adapters.files.formats.options import CsvOptions
from streams_engine.adapters.files.sink import FilesSink
from streams_engine.adapters.files.source import FilesSource
from streams_engine.adapters.files.stores.store import Store
from streams_engine.adapters.memory import MemoryDatabase, MemorySource
from streams_engine.contracts import Checkpoint, LayoutSink, QuarantinedRow, Scope, WritePlan
from streams_engine.errors import (
    ConfigError,
    InternalError,
    RowRejected,
    TargetConflict,
    UnsupportedType,
)
from streams_engine.model import (
    Column,
    Dialect,
    Extract,
    Index,
    IndexPart,
    NativeType,
    TableId,
    TableSchema,
    TypeKind,
)

T = TableId("", "t")
FORMATS = [
    (f, c)
    for f, codecs in {"csv": "none gzip zstd", "jsonl": "none gzip zstd",
                      "parquet": "none snappy gzip zstd"}.items()
    for c in codecs.split()
]  # fmt: skip
UTC = dt.UTC
VALUES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "id": (pa.int64(), [1, -(2**63), 2**63 - 1, None]),
    "big": (pa.uint64(), [0, 2**64 - 1, 2**53 + 1, None]),
    "flag": (pa.bool_(), [True, False, None, True]),
    "real": (pa.float32(), [0.5, -0.0, math.inf, None]),
    "double": (pa.float64(), [0.1, 1e300, -math.inf, None]),
    "money": (pa.decimal128(38, 2), [Decimal("1.50"), Decimal(10) ** 35, None, Decimal("-0.01")]),
    "wide": (pa.decimal256(76, 10), [Decimal(10) ** 60, None, Decimal("0.0000000001"), None]),
    "text": (pa.string(), ["", None, 'a,"b"\r\n\x00\x1f\t\\', "\ufeff😀"]),
    "raw": (pa.binary(), [b"", None, b"\x00\xff", b"abc"]),
    "day": (pa.date32(), [dt.date(1, 1, 1), None, dt.date(9999, 12, 31), dt.date(1970, 1, 1)]),
    "at": (pa.timestamp("us"), [dt.datetime(2020, 1, 2, 3, 4, 5, 6), None, dt.datetime.min, None]),
    "seen": (pa.timestamp("us", "UTC"), [dt.datetime(2020, 1, 1, tzinfo=UTC), None, None, None]),
    "clock": (pa.time64("us"), [dt.time(23, 59, 59, 999999), None, dt.time(0), None]),
    "spent": (pa.duration("us"), [dt.timedelta(hours=-838), None, dt.timedelta(0), None]),
}


def column(name: str, arrow: pa.DataType, native: NativeType | None = None, **k: Any) -> Column:
    return Column(name, native or NativeType(Dialect.FILES, str(arrow), "x"), arrow, **k)


COLUMNS = tuple(column(name, arrow) for name, (arrow, _) in VALUES.items())
BATCH = pa.RecordBatch.from_pydict({n: pa.array(v, t) for n, (t, v) in VALUES.items()})
NUMBERS = (column("n", pa.int64()),)


def numbers(*values: int | None) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"n": pa.array(values, pa.int64())})


def test_a_format_that_is_not_written_is_refused(tmp_path: Path) -> None:
    source = MemorySource(MemoryDatabase())
    with pytest.raises(ConfigError, match="unknown format 'xml'") as caught:
        Stream(source, f"file://{tmp_path}?format=xml").run()
    assert caught.value.details["path"] == "$.target"


def mark(rows: int = 0, key: str = "chunk:s.t:0", done: bool = True, quarantined: Any = ()) -> Any:
    return lambda: Checkpoint(key, {"done": done, "rows": rows, "last": None}, quarantined)


def schema(columns: tuple[Column, ...] = NUMBERS, table: TableId = T) -> TableSchema:
    key = Index("pk", (IndexPart("n"),), primary=True, unique=True)
    return TableSchema(table, Dialect.FILES, columns, primary_key=key)


def rows_of(store: Store, table: str = "t") -> list[dict[str, Any]]:
    source = FilesSource(store)
    with source.snapshot(Scope(tables=(table,)), 1) as view:
        found = view.catalog.tables[0]
        return [
            row
            for chunk in view.chunks(found, 100_000)
            for batch in view.read(Extract(found.id, found.columns), chunk)
            for row in batch.to_pylist()
        ]


def files(root: Path) -> set[str]:
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(root=str(tmp_path))


@pytest.fixture
def sink(store: Store) -> FilesSink:
    return FilesSink(store, file_format="csv")


@pytest.mark.parametrize("file_format, compression", FORMATS)
def test_every_value_comes_back_in_its_type(
    store: Store, file_format: str, compression: str
) -> None:
    sink = FilesSink(store, file_format=file_format, compression=compression)
    sink.check()
    written = sink.write_rows("s", WritePlan(T, COLUMNS), iter([BATCH, BATCH]), mark(8))
    assert (written.rows, written.quarantined) == (8, 0)
    sink.finish("s", [T])
    with FilesSource(store).snapshot(Scope(), 2) as view:
        (found,) = view.catalog.tables
        assert [(c.name, c.arrow, c.type) for c in found.columns] == [
            (c.name, c.arrow, c.type) for c in COLUMNS
        ]
        (chunk,) = view.chunks(found, 1000)
        batches = list(view.read(Extract(found.id, found.columns), chunk))
        assert sum(b.num_rows for b in batches) == 8
        assert pa.Table.from_batches(batches).to_batches()
        want = pa.Table.from_batches([BATCH, BATCH])
        assert (
            pa.Table.from_batches(batches)
            .cast(want.schema)
            .combine_chunks()
            .equals(want.combine_chunks())
        )
    path = store.list("t")[1].path
    assert written.bytes == store.stat(path).size


def test_csv_on_disk(store: Store) -> None:
    columns = (column("a", pa.string()), column('b"c', pa.int64()))
    batch = pa.RecordBatch.from_arrays(
        [pa.array(["x", "", None, 'q"', "d;"]), pa.array([1, None, 2, 3, 4])], ["a", 'b"c']
    )
    FilesSink(store, file_format="csv").write_rows(
        "s", WritePlan(T, columns), iter([batch]), mark()
    )
    text = (Path(store.root) / "t/part-0-0.csv").read_bytes()
    assert text == b'a,"b""c"\nx,1\n"",\n,2\n"q""",3\n"d;",4\n'
    options = CsvOptions(delimiter=";", quote="'", header=False)
    other = FilesSink(store, file_format="csv", csv=options)
    other.write_rows(
        "s", WritePlan(TableId("", "u"), columns), iter([batch]), mark(key="chunk:u:0")
    )
    assert (Path(store.root) / "u/part-0-0.csv").read_bytes() == b"x;1\n'';\n;2\nq\";3\n'd;';4\n"
    assert rows_of(store, "u") == batch.to_pylist()


def test_a_single_column_keeps_null_apart_from_the_empty_text(store: Store) -> None:
    columns = (column("a", pa.string()),)
    batch = pa.RecordBatch.from_pydict({"a": [None, "", "x", None]})
    FilesSink(store, file_format="csv").write_rows(
        "s", WritePlan(T, columns), iter([batch]), mark()
    )
    assert rows_of(store) == batch.to_pylist()


def test_jsonl_on_disk(store: Store) -> None:
    columns = (
        column("i", pa.int64()),
        column("d", pa.decimal128(20, 2)),
        column("f", pa.float64()),
    )
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([2**53, 2**53 + 1]),
            pa.array([Decimal("1.50"), Decimal("12345678901234.56")], pa.decimal128(20, 2)),
            pa.array([0.1, math.nan]),
        ],
        ["i", "d", "f"],
    )
    sink = FilesSink(store, file_format="jsonl", compression="gzip")
    sink.write_rows("s", WritePlan(T, columns), iter([batch]), mark())
    lines = gzip.decompress((Path(store.root) / "t/part-0-0.jsonl.gz").read_bytes()).splitlines()
    assert lines == [
        b'{"i":9007199254740992,"d":1.50,"f":0.1}',
        b'{"i":"9007199254740993","d":"12345678901234.56","f":"NaN"}',
    ]


def test_native_types_survive(store: Store) -> None:
    element = NativeType(Dialect.POSTGRES, "int4", "int4")
    native = NativeType(
        Dialect.POSTGRES, '"my enum"[]', "_x", (3,), True, TypeKind.ARRAY, ("a", "b"), element,
        TableId("public", "my enum"), "ext",
    )  # fmt: skip
    columns = (column("n", pa.int64(), native, nullable=False),)
    for number, file_format in enumerate(("csv", "jsonl", "parquet")):
        table = TableId("", f"t{number}")
        sink = FilesSink(store, file_format=file_format)
        sink.prepare("s", [schema(columns, table)], write_mode="fail_if_not_empty", keep=False)
        sink.write_rows(
            "s", WritePlan(table, columns), iter([numbers(1)]), mark(key=f"chunk:{number}")
        )
    tables = FilesSource(store).catalog(Scope()).tables
    assert [t.column("n") for t in tables] == [columns[0]] * 3
    assert [t.primary_key.columns for t in tables if t.primary_key] == [("n",)] * 3
    field = pq.read_schema(Path(store.root) / "t2/part-0-0.parquet").field("n")
    assert json.loads(field.metadata[b"streams_engine:type"])["text"] == '"my enum"[]'


def test_the_manifest_and_the_records(store: Store, sink: FilesSink) -> None:
    assert isinstance(sink, LayoutSink)
    pickle.loads(pickle.dumps(store))
    sink.prepare("s", [schema()], write_mode="fail_if_not_empty", keep=False)
    assert rows_of(store) == []
    sink.save_state("s", {"run": {"a": 1}, "table:t": {"b": 2}})
    sink.write_rows("s", WritePlan(T, NUMBERS, chunk=4), iter([numbers(1, 2)]), mark(2, done=False))
    sink.write_rows("s", WritePlan(T, NUMBERS, chunk=4), iter([]), mark(2, done=False))
    sink.write_rows("s", WritePlan(T, NUMBERS, chunk=4), iter([numbers(3)]), mark(3))
    document = json.loads((Path(store.root) / "t/_manifest.json").read_text())
    assert [p["path"] for p in document["parts"]] == ["part-4-0.csv", "part-4-1.csv"]
    assert (document["rows"], document["complete"]) == (3, False)
    assert document["primaryKey"] == ["n"]
    again = FilesSink(store, file_format="csv")
    assert again.load_state("s") == {
        "run": {"a": 1},
        "table:t": {"b": 2},
        "chunk:s.t:0": {"done": True, "rows": 3, "last": None},
    }
    assert again.load_state("other") == {}
    again.finish("s", [T])
    again.forget("s")
    assert again.load_state("s") == {}
    assert files(Path(store.root)) == {"t/_manifest.json", "t/part-4-0.csv", "t/part-4-1.csv"}
    assert [row["n"] for row in rows_of(store)] == [1, 2, 3]
    assert json.loads((Path(store.root) / "t/_manifest.json").read_text())["complete"]


def test_removing_a_chunks_record_removes_its_parts(store: Store, sink: FilesSink) -> None:
    sink.prepare("s", [schema()], write_mode="fail_if_not_empty", keep=False)
    sink.write_rows("s", WritePlan(T, NUMBERS), iter([numbers(1)]), mark())
    other = WritePlan(T, NUMBERS, chunk=1)
    sink.write_rows("s", other, iter([numbers(2)]), mark(key="chunk:s.t:1"))
    sink.save_state("s", {"chunk:s.t:0": None})
    assert "t/part-0-0.csv" not in files(Path(store.root))
    assert [row["n"] for row in rows_of(store)] == [2]


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
def test_an_error_in_the_middle_leaves_nothing(store: Store, file_format: str) -> None:
    def breaking() -> Iterator[pa.RecordBatch]:
        for _ in range(3):
            yield numbers(*range(70_000))
        raise InternalError("the source died")

    def no_mark() -> Checkpoint:
        raise InternalError("no record")

    sink = FilesSink(store, file_format=file_format)
    sink.prepare("s", [schema()], write_mode="fail_if_not_empty", keep=False)
    before = files(Path(store.root))
    with pytest.raises(InternalError):
        sink.write_rows("s", WritePlan(T, NUMBERS), breaking(), mark())
    with pytest.raises(InternalError):
        sink.write_rows("s", WritePlan(T, NUMBERS), iter([numbers(1)]), no_mark)
    assert files(Path(store.root)) == before
    assert sink.load_state("s") == {}


def test_a_part_without_its_commit_does_not_count_and_is_overwritten(
    store: Store, sink: FilesSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink.prepare("s", [schema()], write_mode="fail_if_not_empty", keep=False)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sink, "_commit", killed)
        with pytest.raises(KeyboardInterrupt):
            sink.write_rows("s", WritePlan(T, NUMBERS), iter([numbers(1)]), mark())
    assert "t/part-0-0.csv" in files(Path(store.root))
    assert rows_of(store) == []
    again = FilesSink(store, file_format="csv")
    again.prepare("s", [schema()], write_mode="fail_if_not_empty", keep=True)
    again.write_rows("s", WritePlan(T, NUMBERS), iter([numbers(2, 3)]), mark())
    assert [row["n"] for row in rows_of(store)] == [2, 3]


def test_a_rerun_replaces_its_own_files_and_nothing_else(store: Store, sink: FilesSink) -> None:
    root = Path(store.root)
    for value in (1, 2):
        sink.prepare("s", [schema()], write_mode="fail_if_not_empty", keep=False)
        sink.write_rows("s", WritePlan(T, NUMBERS, chunk=value), iter([numbers(value)]), mark())
        sink.finish("s", [T])
        sink.forget("s")
    assert files(root) == {"t/_manifest.json", "t/part-2-0.csv"}
    with pytest.raises(TargetConflict, match="stream 's'"):
        sink.prepare("other", [schema()], write_mode="fail_if_not_empty", keep=False)
    (root / "t/theirs.csv").write_text("n\n7\n")
    for write_mode in ("fail_if_not_empty", "truncate_and_load"):
        with pytest.raises(TargetConflict, match=str(root / "t")):
            sink.prepare("s", [schema()], write_mode=write_mode, keep=False)
    assert [row["n"] for row in rows_of(store)] == [2, 7]
    (root / "t/theirs.csv").unlink()
    sink.prepare("other", [schema()], write_mode="truncate_and_load", keep=False)
    assert rows_of(store) == []


def test_append_lets_the_files_of_others_be(store: Store, sink: FilesSink) -> None:
    root = Path(store.root)
    (root / "t").mkdir()
    (root / "t/part-0-0.csv").write_text("n\n7\n")
    for value in (1, 2):
        sink.prepare("s", [schema()], write_mode="append", keep=False)
        sink.write_rows("s", WritePlan(T, NUMBERS), iter([numbers(value)]), mark())
        sink.finish("s", [T])
        sink.forget("s")
    assert (root / "t/part-0-0.csv").read_text() == "n\n7\n"
    assert sorted(row["n"] for row in rows_of(store)) == [1, 2, 7]
    sink.prepare("s", [schema()], write_mode="append", keep=False)
    sink.write_rows("s", WritePlan(T, NUMBERS), iter([numbers(9)]), mark(done=False))
    with pytest.raises(TargetConflict, match="has not finished"):
        sink.prepare("other", [schema()], write_mode="append", keep=False)
    sink.prepare("s", [schema()], write_mode="append", keep=False)  # the unfinished run goes
    assert sorted(row["n"] for row in rows_of(store)) == [1, 2, 7]
    with pytest.raises(TargetConflict, match="other columns"):
        sink.prepare("s", [schema((column("m", pa.int8()),))], write_mode="append", keep=False)


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
def test_bad_rows_are_set_aside(store: Store, file_format: str) -> None:
    columns = (column("d", pa.timestamp("us")), column("s", pa.string()))
    values = [0, -(2**63), 5, None, -(2**63)]
    batch = pa.RecordBatch.from_arrays(
        [pa.array(values, pa.int64()).view(pa.timestamp("us")), pa.array(list("abcde"))], ["d", "s"]
    )
    sink = FilesSink(store, file_format=file_format)
    with pytest.raises(RowRejected, match="t: Column d") as caught:
        sink.write_rows("s", WritePlan(T, columns), iter([batch]), mark())
    assert caught.value.details["column"] == "d"
    early = QuarantinedRow(T, "policy", "POLICY", {"s": "z"})
    load = WritePlan(T, columns, quarantine=True)
    written = sink.write_rows("s", load, iter([batch]), mark(quarantined=(early,)))
    assert (written.rows, written.quarantined) == (3, 3)
    assert [row["s"] for row in rows_of(store)] == ["a", "c", "d"]
    aside = Path(store.root) / "_streams_engine/quarantine/s/t-0-0.jsonl"
    found = [json.loads(line) for line in aside.read_text().splitlines()]
    assert [row["row"]["s"] for row in found] == ["z", "b", "e"]
    only_bad = sink.write_rows("s", load, iter([batch.slice(1, 1)]), mark())
    assert (only_bad.rows, only_bad.quarantined, only_bad.bytes) == (0, 1, 0)
    assert len(rows_of(store)) == 3


def test_many_threads_write_one_table(store: Store) -> None:
    sink = FilesSink(store, file_format="parquet")
    sink.prepare("s", [schema()], write_mode="fail_if_not_empty", keep=False)

    def write(chunk: int) -> None:
        load = WritePlan(T, NUMBERS, chunk=chunk)
        sink.write_rows("s", load, iter([numbers(chunk)]), mark(1, f"chunk:s.t:{chunk}"))
        sink.save_state("s", {f"x{chunk}": {}})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    assert sorted(row["n"] for row in rows_of(store)) == list(range(40))
    assert len(sink.load_state("s")) == 80


def test_what_files_cannot_do(store: Store, sink: FilesSink) -> None:
    with pytest.raises(ConfigError):
        sink.prepare("s", [], write_mode="upsert", keep=False)
    with pytest.raises(ConfigError):
        FilesSink(store, file_format="csv", compression="snappy")
    with pytest.raises(ConfigError):
        FilesSink(store, file_format="xml")
    with pytest.raises(ConfigError):
        CsvOptions(delimiter="x")
    with pytest.raises(UnsupportedType):
        bad = (column("w", pa.large_binary()),)
        sink.write_rows("s", WritePlan(T, bad), iter([]), mark())


def test_odd_names_stay_below_the_root(store: Store, sink: FilesSink) -> None:
    for number, name in enumerate(("../up", "_hidden", "Ünï/x", ".dot")):
        load = WritePlan(TableId("", name), NUMBERS)
        sink.write_rows("../s", load, iter([numbers(number)]), mark(key=f"chunk:{number}"))
    tables = FilesSource(store).catalog(Scope()).tables
    assert {t.id.name for t in tables} == {"../up", "_hidden", "Ünï/x", ".dot"}
    folders = {p.name for p in Path(store.root).iterdir() if p.name != "_streams_engine"}
    assert folders == {"%2E.%2Fup", "%5Fhidden", "%C3%9Cn%C3%AF%2Fx", "%2Edot"}
    assert not [p for p in Path(store.root).parent.iterdir() if p.name == "up"]


def test_only_columns_that_repeat_have_a_dictionary(store: Store) -> None:
    """A dictionary of keys or moments doubles the time, and the size."""
    batch = BATCH.slice(0, 2).append_column("small", pa.array([1, 2], pa.int32()))
    sink = FilesSink(store, file_format="parquet")
    columns = (*COLUMNS, column("small", pa.int32()))
    sink.write_rows("s", WritePlan(T, columns), iter([batch]), mark())
    group = pq.read_metadata(Path(store.root) / "t/part-0-0.parquet").row_group(0)
    parts = [group.column(i) for i in range(group.num_columns)]
    with_one = {part.path_in_schema for part in parts if part.has_dictionary_page}
    assert with_one == {"text", "raw", "day", "small"}


def test_row_groups_are_limited(store: Store) -> None:
    sink = FilesSink(store, file_format="parquet")
    batches = (numbers(*range(50_000)) for _ in range(6))
    sink.write_rows("s", WritePlan(T, NUMBERS), batches, mark())
    metadata = pq.read_metadata(Path(store.root) / "t/part-0-0.parquet")
    assert metadata.num_rows == 300_000
    assert metadata.num_row_groups == 2 or metadata.num_row_groups == 3
    with FilesSource(store).snapshot(Scope(), 1) as view:
        chunks = view.chunks(view.catalog.tables[0], 100_000)
        assert len(chunks) == metadata.num_row_groups
        read = [sum(b.num_rows for b in view.read(Extract(T, NUMBERS), chunk)) for chunk in chunks]
        assert sum(read) == 300_000
