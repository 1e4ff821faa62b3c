"""Results of queries and pages of tables in pandas, polars and DuckDB, and as sources."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams_engine import Engine, Stream
from streams_engine.errors import QueryStopped
from streams_engine.query.result import QueryResult

WANTED = pa.table(
    {
        "id": pa.array([1, 2], pa.int64()),
        "price": pa.array([Decimal("10.50"), None], pa.decimal128(12, 2)),
        "at": pa.array([dt.datetime(2026, 1, 2, 3, 4, 5, 678901), None], pa.timestamp("us")),
        "name": pa.array(["Ann", None]),
    }
)
ASKED = "SELECT id, price, at, name FROM lake.t ORDER BY id"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    pq.write_table(WANTED, tmp_path / "t.parquet")
    with Engine() as made:
        spec = {"files": {"basePath": str(tmp_path)}}
        made.connections.create({"name": "lake", "type": "files", "spec": spec})
        yield made


def polars_of(given: Any) -> Any:
    return pytest.importorskip("polars").from_arrow(given).to_arrow()


READ: dict[str, Callable[[QueryResult], Any]] = {
    "pandas": lambda result: pa.Table.from_pandas(result.to_pandas(), preserve_index=False),
    "polars": lambda result: pytest.importorskip("polars") and result.to_polars().to_arrow(),
    "duckdb": lambda result: result.to_duckdb().to_arrow_table(),
    "duckdb of one's own": lambda result: result.to_duckdb(duckdb.connect()).to_arrow_table(),
    "interface": lambda result: pa.table(result),
}


@pytest.mark.parametrize("read", READ.values(), ids=READ)
def test_a_result_is_whole_in_every_library(
    read: Callable[[QueryResult], Any], engine: Engine
) -> None:
    with engine.query(ASKED) as result:
        assert read(result).cast(WANTED.schema).to_pylist() == WANTED.to_pylist()


def test_a_result_given_by_the_interface_is_read_once(engine: Engine) -> None:
    with engine.query(ASKED) as result:
        assert pa.table(result).num_rows == 2
        with pytest.raises(QueryStopped, match="have been read"):
            pa.table(result)


def test_a_page_is_an_arrow_table_for_every_library(engine: Engine) -> None:
    page = engine.data("lake", "t", sort=[{"column": "id"}])["items"]
    assert page.to_pandas(types_mapper=pandas.ArrowDtype)["name"].tolist()[0] == "Ann"
    assert duckdb.connect().from_arrow(page).fetchall()[0][0] == 1
    assert page.cast(WANTED.schema).to_pylist() == WANTED.to_pylist()


def test_a_page_in_polars(engine: Engine) -> None:
    page = engine.data("lake", "t", sort=[{"column": "id"}])["items"]
    assert polars_of(page).cast(WANTED.schema).to_pylist() == WANTED.to_pylist()


def test_a_result_is_a_source(engine: Engine, tmp_path: Path) -> None:
    with engine.query(ASKED) as result, Stream({"t": result}, str(tmp_path / "out")) as stream:
        assert stream.run().rows == 2
        assert stream.verify().ok
