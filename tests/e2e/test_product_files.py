"""Files as the product's documents ask for them: JSON arrays, settings of Parquet, places."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams_engine import State, Stream, StreamsError


def folder_to(
    source: Path, target: Path, files: dict[str, Any], chosen: dict[str, Any] | None = None,
    **more: Any,
) -> Stream:  # fmt: skip
    return Stream.from_config({
        "mode": "convert",
        "source": {"connections": [{"connection": str(source), **(chosen or {})}]},
        "target": {"connection": str(target), "spec": {"files": files}},
        **more,
    })  # fmt: skip


@pytest.fixture
def times(tmp_path: Path) -> Path:
    """A folder with 1,000 rows that have whole milliseconds."""
    folder = tmp_path / "in"
    folder.mkdir()
    when = [datetime(2024, 1, 1, 0, 0, i % 60, 250_000) for i in range(1000)]
    pq.write_table(pa.table({"id": range(1000), "at": when}), folder / "t.parquet")
    return folder


@pytest.mark.parametrize("compression", ["uncompressed", "gzip", "zstd"])
def test_an_array_of_objects_there_and_back(times: Path, tmp_path: Path, compression: str) -> None:
    how = {"fileFormat": "json", "format": {"compression": compression}}
    out, back = tmp_path / "out", tmp_path / "back"
    with folder_to(times, out, how) as stream:
        assert stream.run().rows == 1000
        assert stream.verify().ok
        assert stream.verify(mode="sample", sample=0.5).ok
    ending = {"uncompressed": "", "gzip": ".gz", "zstd": ".zst"}[compression]
    [file] = [f for f in (out / "t").iterdir() if f.name.startswith("part")]
    assert file.name == f"part-0-0.json{ending}"
    if not ending:
        assert [row["id"] for row in json.loads(file.read_text())] == list(range(1000))
    with folder_to(out, back, {"fileFormat": "parquet"}) as stream:
        assert stream.run().rows == 1000
        assert stream.verify().ok
    [file] = (back / "t").glob("*.parquet")
    assert pq.read_table(file).column("at").to_pylist()[1] == datetime(2024, 1, 1, 0, 0, 1, 250_000)


ARRAYS = {
    "pretty": ('[\n  {\n    "id": 1,\n    "n": 12345678901234567890.5\n  },\n  {"id": 2}\n]\n', 2),
    "empty": ("[ ]", 0),
    "one line": ('\ufeff [{"id":1},{"id":2},{"id":3}]', 3),
    "lines": ('{"id":1}\n{"id":2}\n', 2),
    "brackets in texts": ('[{"id": 1, "t": "]},{["}]', 1),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_of_others_are_read(tmp_path: Path, case: str) -> None:
    text, rows = ARRAYS[case]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.json").write_text(text)
    with folder_to(tmp_path / "in", tmp_path / "out", {"fileFormat": "jsonl"}) as stream:
        assert stream.run().rows == rows
        assert stream.verify().ok
    if case == "pretty":
        [part] = (tmp_path / "out/t").glob("part*")
        assert "12345678901234567890.5" in part.read_text()


BROKEN = {
    "cut": ('[{"id": 1},\n{"id": 2', 2, "invalid JSON"),
    "no comma": ('[{"id": 1}\n{"id": 2}]', 2, "separated"),
    "more": ('[{"id": 1}]\n[]', 2, "follows"),
    "no object": ('[{"id": 1},\n7]', 2, "not a JSON object"),
    "twice": ('[\n{"id": 1, "id": 2}]', 2, "same key"),
    "not closed": ('[{"id": 1}\n', 2, "separated"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_array_is_named_with_its_line(tmp_path: Path, case: str) -> None:
    text, line, says = BROKEN[case]
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(StreamsError, match=says) as caught:
        folder_to(tmp_path, tmp_path / "out", {"fileFormat": "csv"}).run()
    assert caught.value.code == "MALFORMED_FILE" and caught.value.details["line"] == line


def parquet(times: Path, out: Path, **settings: Any) -> pq.ParquetFile:
    with folder_to(times, out, {"fileFormat": "parquet", "format": {"parquet": settings}}) as run:
        assert run.run().rows == 1000
        assert run.verify().ok
        assert run.verify(mode="sample", sample=0.5).ok
    [file] = (out / "t").glob("*.parquet")
    with folder_to(out, out.with_name("again"), {"fileFormat": "csv"}) as back:
        assert back.run().rows == 1000
    return pq.ParquetFile(file)


def test_the_codec_of_parquet(times: Path, tmp_path: Path) -> None:
    found = parquet(times, tmp_path / "out", compressionCodec="GZIP", compressionLevel=9)
    assert found.metadata.row_group(0).column(0).compression == "GZIP"


def test_the_row_groups_of_parquet(times: Path, tmp_path: Path) -> None:
    found = parquet(times, tmp_path / "out", maxRowGroupSize=300, targetRowGroupSizeMB=1)
    groups = [found.metadata.row_group(i).num_rows for i in range(found.num_row_groups)]
    assert max(groups) <= 300 and sum(groups) == 1000


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_the_unit_of_timestamps(times: Path, tmp_path: Path, unit: str) -> None:
    found = parquet(times, tmp_path / "out", timestampUnit=unit)
    assert found.schema_arrow.field("at").type == pa.timestamp(unit)
    assert found.read().column("at").to_pylist()[1] == datetime(2024, 1, 1, 0, 0, 1, 250_000)


@pytest.mark.parametrize("value, unit", [
    (datetime(2024, 1, 1, 0, 0, 0, 1), "ms"), (datetime(9999, 1, 1), "ns"),
])  # fmt: skip
def test_a_timestamp_that_does_not_fit(tmp_path: Path, value: datetime, unit: str) -> None:
    pq.write_table(pa.table({"id": [1, 2], "at": [value, None]}), tmp_path / "t.parquet")
    how = {"fileFormat": "parquet", "format": {"parquet": {"timestampUnit": unit}}}
    with pytest.raises(StreamsError, match="at: a timestamp") as caught:
        folder_to(tmp_path, tmp_path / "out", how).run()
    assert caught.value.code == "ROW_REJECTED"
    held = folder_to(tmp_path, tmp_path / "held", how, options={"onError": "quarantine"})
    with held as stream:
        assert stream.run().rows == 1
        assert stream.stats().target.failed_counter == 1


def test_a_scope_path(tmp_path: Path) -> None:
    for name in ("a/t.csv", "b/u.csv"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        (tmp_path / "in" / name).write_text("id\n1\n")
    scoped = {"scopePath": "b"}
    run = folder_to(tmp_path / "in", tmp_path / "out", {"fileFormat": "csv"}, scoped)
    assert [table.table for table in run.run().tables] == ["u"]


def test_a_stream_without_reports(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id\n1\n")
    stream = folder_to(tmp_path, tmp_path / "out", {"fileFormat": "csv"}, reportingInterval=0)
    seen: list[State] = []
    stream.on_progress(lambda stats: seen.append(stats.state))
    stream.run()
    assert seen == [State.FINISHED]
