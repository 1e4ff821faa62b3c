"""Tables in memory as a source: of pyarrow, pandas, polars and DuckDB, and streams of batches."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams_engine import State, Stream
from streams_engine.errors import ConfigError, NotFound, RowRejected

ROWS = {
    "id": [1, 2, 3],
    "name": ["Ann", None, "Eve\x1f"],
    "price": [Decimal("12.50"), Decimal("0.10"), None],
    "at": [dt.datetime(2026, 1, 2, 3, 4, 5, 678901), None, dt.datetime(9999, 12, 31)],
}
SCHEMA = pa.schema(
    [("id", pa.uint64()), ("name", pa.large_string()), ("price", pa.decimal128(20, 2)),
     ("at", pa.timestamp("us"))]
)  # fmt: skip


def table() -> pa.Table:
    return pa.table(ROWS, schema=SCHEMA)


def pandas_frame() -> Any:
    return pandas.DataFrame({"id": [1, 2, 3], "v": [0.5, None, 2.5]})


def test_a_frame_of_pandas_that_was_filtered_has_its_columns_alone(tmp_path: Path) -> None:
    frame = pandas_frame()
    with Stream({"t": frame[frame.id > 1]}, str(tmp_path / "out")) as stream:
        stream.run()
    assert moved(tmp_path / "out") == [{"id": 2, "v": None}, {"id": 3, "v": 2.5}]


def of_pandas() -> Any:
    return table().to_pandas(types_mapper=pandas.ArrowDtype)


def of_polars() -> Any:
    return pytest.importorskip("polars").from_arrow(table())


def of_duckdb() -> Any:
    duckdb = pytest.importorskip("duckdb")
    there = table()
    return duckdb.connect().from_arrow(there)


def batches() -> Iterator[pa.RecordBatch]:
    yield from table().to_batches(max_chunksize=2)


KEPT = {"table": table, "pandas": of_pandas, "polars": of_polars, "duckdb": of_duckdb,
        "function": lambda: batches, "another": lambda: table}  # fmt: skip
ONCE = {"generator": batches, "reader": lambda: table().to_reader(max_chunksize=2)}


def moved(target: Path, name: str = "t") -> list[dict[str, Any]]:
    rows = pq.read_table(sorted((target / name).glob("*.parquet"))).to_pylist()
    return sorted(rows, key=lambda row: str(row["id"]))


def expected() -> list[dict[str, Any]]:
    return table().to_pylist()


@pytest.mark.parametrize("make", KEPT.values(), ids=KEPT)
def test_a_table_arrives_and_is_compared(make: Any, tmp_path: Path) -> None:
    with Stream({"t": make()}, str(tmp_path / "out")) as stream:
        assert stream.run().state is State.FINISHED
        assert stream.verify().ok
    assert moved(tmp_path / "out") == expected()


@pytest.mark.parametrize("make", ONCE.values(), ids=ONCE)
def test_a_stream_of_batches_arrives_once(make: Any, tmp_path: Path) -> None:
    with Stream({"t": make()}, str(tmp_path / "out")) as stream:
        stream.run()
    assert moved(tmp_path / "out") == expected()


@pytest.mark.parametrize("make", ONCE.values(), ids=ONCE)
def test_a_second_reading_of_a_stream_of_batches_is_told(make: Any, tmp_path: Path) -> None:
    given = make()
    with Stream({"t": given, "kept": table()}, str(tmp_path / "out")) as stream:
        stream.run()
        report = stream.verify()
    kept, once = sorted(report.tables, key=lambda one: one.table)
    assert kept.equal is True and once.equal is None and not report.ok
    assert "which is read once" in str(once.note) and "a function" in str(once.note)


def test_a_reader_that_another_stream_read_is_refused(tmp_path: Path) -> None:
    reader = table().to_reader()
    Stream({"t": reader}, str(tmp_path / "out")).run()
    again = Stream({"t": reader}, str(tmp_path / "out"), write_mode="truncate_and_load")
    with pytest.raises(NotFound, match="rows of the frame t are gone"):
        again.run()


def test_a_generator_that_another_stream_read_is_refused(tmp_path: Path) -> None:
    given = batches()
    Stream({"t": given}, str(tmp_path / "out")).run()
    with pytest.raises(ConfigError, match="was read already"):
        Stream({"t": given}, str(tmp_path / "out"))


def test_several_tables_and_only_some_of_them(tmp_path: Path) -> None:
    frames = {"a": table(), "b": table(), "c": table()}
    with Stream(frames, str(tmp_path / "out"), tables=["a", "c"]) as stream:
        assert stream.run().rows == 6
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.name[0] != "_") == [
        "a",
        "c",
    ]
    with pytest.raises(NotFound, match="no table bb"):
        Stream(frames, str(tmp_path / "out"), tables=["bb"]).plan()


def test_a_difference_is_found(tmp_path: Path) -> None:
    frame = table()
    with Stream({"t": frame}, str(tmp_path / "out")) as stream:
        stream.run()
    other = frame.set_column(0, SCHEMA.field(0), pa.array([1, 2, 4], pa.uint64()))
    assert not Stream({"t": other}, str(tmp_path / "out")).verify().ok


def test_pause_and_stop(tmp_path: Path) -> None:
    def slowly() -> Iterator[pa.RecordBatch]:
        for number in range(10_000):
            yield pa.record_batch({"id": [number]})

    with Stream({"t": slowly()}, str(tmp_path / "out"), data_bundle_size=10) as stream:
        stream.start()
        stream.stop()
        assert stream.wait(timeout=30) in (State.STOPPED, State.FINISHED)


def test_categories_arrive_as_texts(tmp_path: Path) -> None:
    """Polars has views in its categories, which PyArrow does not take by itself."""
    words = pa.array(["a", "b"]).cast(pa.string_view())
    column = pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.uint32()), words)
    with Stream({"t": pa.table({"id": [1, 2, 3], "c": column})}, str(tmp_path / "out")) as stream:
        stream.run()
        assert stream.verify().ok
    assert [row["c"] for row in moved(tmp_path / "out")] == ["b", None, "a"]


def twice() -> Any:
    frame = pandas_frame()
    return frame[["id", "id"]]


def test_nanoseconds_are_refused_with_what_to_do(tmp_path: Path) -> None:
    frame = pa.table({"t": pa.array([1, 1000], pa.timestamp("ns"))})
    stream = Stream({"t": frame}, str(tmp_path / "out"))
    with pytest.raises(RowRejected) as caught:
        stream.run()
    assert 'astype("datetime64[us]")' in str(caught.value.remedy)


def test_one_name_is_verified_and_an_unknown_one_names_what_is_near(tmp_path: Path) -> None:
    with Stream({"orders": table()}, str(tmp_path / "out")) as stream:
        stream.run()
        assert [one.table for one in stream.verify("orders").tables] == ["orders"]
        with pytest.raises(NotFound, match="Similar names: orders"):
            stream.verify("order")
    with pytest.raises(NotFound, match="Similar names: orders"):
        Stream({"orders": table()}, str(tmp_path / "out"), tables="oders").plan()


def test_objects_of_python_are_refused(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"id": [1], "o": polars.Series([object()], dtype=polars.Object)})
    with pytest.raises(ConfigError, match="column o holds objects of Python"):
        Stream({"t": frame}, str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ({"t": iter([1, 2])}, "expected pyarrow record batches, not int"),
        ({"t": iter(())}, "no record batch came"),
        ({"": table()}, "name of a frame"),
        ({"t": pa.table([[1], [2]], names=["a", "a"])}, "two columns have the same name"),
        ({"t": pa.table({"a": pa.array([None], pa.month_day_nano_interval())})}, "not supported"),
        ({"t": table(), "type": "mysql"}, "connection.t: unknown key"),
        ({"t": table(), "u": [1]}, "connection.u: expected a table in memory, not list"),
        ({"t": lambda: [1]}, "this list is no table"),
        ({"t": pa.array([1])}, "this Int64Array is no table"),
        ({"t": pandas_frame().set_index("id")}, "the index id of the frame is no column"),
        ({"t": pandas_frame()["id"]}, "this Series is no table"),
        ({"t": pandas_frame().assign(o=[[1], "x", 2])}, "this DataFrame is no table"),
        ({"t": [{"id": 1}]}, "connection.t: expected a table in memory, not list"),
        (table(), "a table in memory needs a name"),
        ({"t": 3}, "connection.t: expected a table in memory, not int"),
        ({}, "give {name: table}, with at least one"),
        ({"t": twice()}, "two columns have the same name: id"),
    ],
    ids=[
        "numbers",
        "nothing",
        "no name",
        "names twice",
        "type",
        "document",
        "list",
        "function",
        "array",
        "index",
        "series",
        "objects",
        "rows",
        "no mapping",
        "number",
        "no table",
        "names twice in pandas",
    ],
)
def test_what_is_no_table_is_refused_by_name(frames: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        Stream(frames, str(tmp_path / "out")).plan()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (pa.record_batch({"id": [2], "x": [1]}), "other columns"),
        (pa.record_batch({"id": ["x"]}), "column id"),
    ],
    ids=["columns", "types"],
)
def test_a_batch_that_is_unlike_the_first_ends_the_stream(
    second: pa.RecordBatch, message: str, tmp_path: Path
) -> None:
    source = {"t": iter([pa.record_batch({"id": [1]}), second])}
    with Stream(source, str(tmp_path / "out")) as stream, pytest.raises(RowRejected, match=message):
        stream.run()


def test_a_log_is_not_to_be_had(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Stream({"t": table()}, str(tmp_path / "out"), mode="cdc").run()


def test_they_are_shown_without_their_rows(tmp_path: Path) -> None:
    stream = Stream({"t": table()}, str(tmp_path / "out"))
    assert "frames: t" in repr(stream) and "Ann" not in repr(stream)
