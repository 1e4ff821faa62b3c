"""Streams into folders and back: formats, compression, re-runs, stops, and damaged files."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams_engine import Stream
from streams_engine.errors import StreamsError
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.stream_control import SECONDS, SMALL_CHUNKS, big, equal, held

ROWS = 6000
FORMS = [("csv", "gzip"), ("csv", "zstd"), ("jsonl", "gzip"), ("jsonl", "zstd"),
         ("parquet", "zstd"), ("parquet", "gzip")]  # fmt: skip
ENDINGS = {"gzip": ".gz", "zstd": ".zst", "none": ""}


@pytest.fixture
def source(mysql9: Server, database: Any) -> End:
    """A MySQL database with one table of some thousand rows."""
    end = End(mysql9, database(mysql9))
    big(end, rows=ROWS)
    return end


@pytest.fixture
def target(pg18: Server, database: Any) -> End:
    """An empty PostgreSQL."""
    return End(pg18, database(pg18))


def into(
    source: Any, folder: Path, form: str = "csv", compression: str = "none", **more: Any
) -> Stream:
    """A stream into a folder, by its document."""
    url = source.url if isinstance(source, End) else str(source)
    spec: dict[str, Any] = {
        "files": {"fileFormat": form, "format": {"compression": compression}},
        "db": {key: more.pop(key) for key in ("writeMode",) if key in more},
    }
    connection = {"type": "files", "spec": {"files": {"basePath": str(folder)}}}
    return Stream.from_config({
        "mode": "convert",
        "source": {"connections": [{"connection": url}], "options": {"dataBundleSize": 100}},
        "target": {"connection": connection, "spec": spec},
        **more,
    })  # fmt: skip


def read(part: Path) -> list[dict[str, Any]]:
    """The rows of a part, with nothing of the engine's."""
    name = part.name.removesuffix(".gz").removesuffix(".zst")
    if name.endswith(".parquet"):
        return list(pq.read_table(part).to_pylist())
    compression = {".gz": "gzip", ".zst": "zstd"}.get(part.suffix)
    with pa.input_stream(part, compression=compression) as stream:
        text = stream.read().decode()
    if name.endswith(".csv"):
        return list(csv.DictReader(io.StringIO(text)))
    return [json.loads(line) for line in text.splitlines()]


def parts(folder: Path, table: str = "t") -> list[Path]:
    return sorted((folder / table).glob("part-*"))


def manifest(folder: Path, table: str = "t") -> Any:
    return json.loads((folder / table / "_manifest.json").read_text())


def ids(folder: Path) -> list[int]:
    return sorted(int(row["id"]) for part in parts(folder) for row in read(part))


def halt(made: Stream, rows: int, **how: Any) -> None:
    with held(rows) as gate:
        made.start()
        gate.wait()
        made.stop(**how)
        gate.open()
        assert made.wait(timeout=SECONDS) == "STOPPED"


# There and back


@pytest.mark.parametrize("form, compression", FORMS)
def test_equal_rows_after_the_way_through_files(
    source: End, target: End, tmp_path: Path, form: str, compression: str
) -> None:
    into(source, tmp_path, form, compression, options=SMALL_CHUNKS).run()
    found = parts(tmp_path)
    ending = f".{form}" + (ENDINGS[compression] if form != "parquet" else "")
    assert len(found) > 1 and all(part.name.endswith(ending) for part in found)
    expected = source.rows("SELECT id, n, v, d FROM t ORDER BY id")
    rows = sorted((row for part in found for row in read(part)), key=lambda row: int(row["id"]))
    assert [int(row["id"]) for row in rows] == [row[0] for row in expected]
    assert [row["v"] or None for row in rows] == [row[2] for row in expected]
    assert [f"{float(row['d']):.2f}" for row in rows] == [str(row[3]) for row in expected]
    told = manifest(tmp_path)
    assert (told["complete"], told["rows"]) == (True, ROWS)
    Stream(str(tmp_path), target.url).run()
    equal(source, target)


def test_files_from_elsewhere(target: End, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id;name\n1;"x;y"\n2;\n')
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"id": 1, "big": 9007199254740993}\n'))
    (tmp_path / "c").mkdir()
    for number in range(2):
        pq.write_table(pa.table({"n": [number]}), tmp_path / "c" / f"{number}.parquet")
    (tmp_path / "README.txt").write_text("no data")
    Stream(str(tmp_path), target.url).run()
    assert target.rows("SELECT id, name FROM a ORDER BY id") == [(1, "x;y"), (2, None)]
    assert target.rows("SELECT id, big FROM b") == [(1, 9007199254740993)]
    assert target.rows("SELECT n FROM c ORDER BY n") == [(0,), (1,)]
    assert target.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(3,)]


# Damaged input


def damaged_parquet(path: Path) -> None:
    rows = pa.table({"a": [os.urandom(8).hex() for _ in range(4000)]})
    pq.write_table(rows, path, row_group_size=1000, compression="gzip", use_dictionary=False)
    data = bytearray(path.read_bytes())
    offset = pq.read_metadata(path).row_group(2).column(0).data_page_offset
    data[offset : offset + 3000] = os.urandom(3000)
    path.write_bytes(data)


DAMAGED: dict[str, tuple[str, Any, str]] = {
    "ragged": ("t.csv", b"a,b\n1,2\n\n3\n", "line 4"),
    "long": ("t.csv", b'a,b\n"1\n",2\n3,4,s3cret\n', "line 4"),
    "utf8": ("t.csv", b"a,b\n1,2\ns3cret,\xff\n", "line 3"),
    "quote": ("t.csv", b'a,b\n1,2\n3,"s3cret\n', "line 3"),
    "json": ("t.jsonl", b'{"a":1}\n\n{"a":s3cret}\n', "line 3"),
    "cut": ("t.jsonl", b'{"a":1}\n{"a":"s3cret', "line 2"),
    "no parquet": ("t.parquet", b"PAR1 s3cret PAR1", "not a Parquet"),
    "row group": ("t.parquet", damaged_parquet, "row group 2"),
    "cut gzip": ("t.csv.gz", gzip.compress(os.urandom(9999).hex().encode())[:-50], "damaged"),
    "no zstd": ("t.jsonl.zst", b"s3cret", "damaged"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_named_with_its_place(tmp_path: Path, case: str) -> None:
    name, data, place = DAMAGED[case]
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / name
    data(path) if callable(data) else path.write_bytes(data)
    made = into(tmp_path / "in", tmp_path / "out", "jsonl")
    with pytest.raises(StreamsError) as caught:
        made.run()
    assert caught.value.code == "MALFORMED_FILE" and made.state == "FAILED"
    assert name in str(caught.value) and place in str(caught.value), caught.value
    assert "s3cret" not in f"{caught.value} {caught.value.to_dict()}"
    assert not (tmp_path / "out" / "t").exists() or not manifest(tmp_path / "out")["complete"]


def test_a_value_that_is_not_of_the_declared_type(target: End, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n1\ns3cret\n")
    config = {
        "mode": "convert",
        "source": {"connections": [{"connection": str(tmp_path), "files": {
            "basePath": str(tmp_path), "columns": {"t": {"a": "int64"}}}}]},
        "target": {"connection": target.url},
    }  # fmt: skip
    with pytest.raises(StreamsError, match=r"t\.csv.*line.*column a") as caught:
        Stream.from_config(config).run()
    assert caught.value.code == "MALFORMED_FILE" and "s3cret" not in str(caught.value)


# Runs again


def test_a_second_run_replaces_its_own_files_alone(source: End, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "part-0-0.csv").write_text("mine")
    into(source, tmp_path, options=SMALL_CHUNKS).run()
    first = {part.name for part in parts(tmp_path)}
    (tmp_path / "t" / "notes.txt").write_text("mine")
    source.run("DELETE FROM t ORDER BY id LIMIT 5000")
    into(source, tmp_path, options=SMALL_CHUNKS).run()
    assert len(ids(tmp_path)) == ROWS - 5000 == manifest(tmp_path)["rows"]
    assert {part.name for part in parts(tmp_path)} < first
    for path in ("notes.txt", "other/part-0-0.csv", "t/notes.txt"):
        assert (tmp_path / path).read_text() == "mine"


@pytest.mark.parametrize("mode", ["fail_if_not_empty", "truncate_and_load"])
def test_rows_of_others_in_the_folder_are_a_conflict(
    source: End, tmp_path: Path, mode: str
) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "theirs.csv").write_text("id\n1\n")
    with pytest.raises(StreamsError, match=r"theirs\.csv|/t\b") as caught:
        into(source, tmp_path, writeMode=mode).run()
    assert caught.value.code == "TARGET_CONFLICT"
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["theirs.csv"]
    assert (tmp_path / "t" / "theirs.csv").read_text() == "id\n1\n"


def test_append_stays_beside_the_files_of_others(source: End, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "theirs.csv").write_text("id,n,v,d\n1,2,x,3.00\n")
    into(source, tmp_path, writeMode="append").run()
    assert (tmp_path / "t" / "theirs.csv").read_text() == "id,n,v,d\n1,2,x,3.00\n"
    assert len(ids(tmp_path)) == ROWS


def test_upsert_into_files_is_refused(source: End, tmp_path: Path) -> None:
    with pytest.raises(StreamsError, match="upsert"):
        into(source, tmp_path, writeMode="upsert").run()
    assert not list(tmp_path.rglob("part-*"))


# Stopped, paused, limited


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("force", [False, True])
def test_a_stopped_run_goes_on(source: End, tmp_path: Path, form: str, force: bool) -> None:
    halt(into(source, tmp_path, form, options=SMALL_CHUNKS), 3000, force=force)
    told = manifest(tmp_path)
    listed = {part["path"] for part in told["parts"]}
    assert not told["complete"] and told["rows"] < ROWS
    assert listed <= {part.name for part in parts(tmp_path)}
    assert sum(len(read(tmp_path / "t" / name)) for name in listed) == told["rows"]
    again = into(source, tmp_path, form, options=SMALL_CHUNKS)
    assert again.run().rows == ROWS - told["rows"]
    wanted = [row[0] for row in source.rows("SELECT id FROM t ORDER BY id")]
    assert ids(tmp_path) == wanted and manifest(tmp_path)["complete"]
    assert not list(tmp_path.glob("_streams_engine/*"))


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_readers_never_see_half_a_file(source: End, tmp_path: Path, form: str) -> None:
    """While rows flow, whatever bears the name of a part is whole."""
    made = into(source, tmp_path, form, options=SMALL_CHUNKS)
    with held(3000) as gate:
        made.start()
        gate.wait()
        seen = {part: part.read_bytes() for part in parts(tmp_path)}
        for part in seen:
            assert read(part)
        assert not manifest(tmp_path)["complete"]
        gate.open()
        assert made.wait(timeout=SECONDS) == "FINISHED"
    assert {part: part.read_bytes() for part in seen} == seen
    assert len(ids(tmp_path)) == ROWS


def test_a_pause_commits_and_resume_goes_on(source: End, tmp_path: Path) -> None:
    made = into(source, tmp_path)
    with held(1000) as gate:
        made.start()
        gate.wait()
        made.pause()
        gate.open()
        assert made.wait("PAUSED", timeout=SECONDS) == "PAUSED"  # type: ignore[arg-type]
        assert len(ids(tmp_path)) == manifest(tmp_path)["rows"] == made.stats().rows > 0
        made.resume()
        assert made.wait(timeout=SECONDS) == "FINISHED"
    assert len(ids(tmp_path)) == len(set(ids(tmp_path))) == ROWS


def test_the_row_limit_is_exact_and_the_next_run_goes_on(source: End, tmp_path: Path) -> None:
    made = into(source, tmp_path, limits={"numberOfEvents": 1234})
    made.run()
    assert made.state == "EVENT_LIMIT_REACHED" and len(ids(tmp_path)) == 1234
    assert not manifest(tmp_path)["complete"]
    into(source, tmp_path).run()
    assert len(set(ids(tmp_path))) == len(ids(tmp_path)) == ROWS


def test_a_folder_that_may_not_be_written_to(source: End, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StreamsError) as caught:
        into(source, tmp_path / "file").run()
    assert caught.value.code != "INTERNAL_ERROR" and "file" in str(caught.value)
    assert (tmp_path / "file").read_text() == "no folder"
