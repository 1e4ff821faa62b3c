"""Small files that unfold to large ones are refused by name, and not held in memory."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams_engine.adapters.files.formats.options import RecordLimits
from streams_engine.adapters.files.source import FilesSource
from streams_engine.adapters.files.stores.store import Store
from streams_engine.contracts import Scope
from streams_engine.errors import MalformedFile
from streams_engine.model import Extract

MEGABYTES = 1 << 20
LARGE = 300
"""Megabytes that a bomb unfolds to."""
MOST = 750
"""Megabytes that the process may take: 64 are a record, held a few times over while it grows."""


def compressed(path: Path, pieces: Iterator[bytes]) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for piece in pieces:
            file.write(piece)


def long(begin: bytes, letter: bytes = b"x") -> Iterator[bytes]:
    yield begin
    for _ in range(LARGE):
        yield letter * MEGABYTES


def repeated(size: int, rows: int) -> pa.Table:
    """One large value that every row refers to."""
    values = pa.array([b"x" * size], pa.binary())
    return pa.table({"a": pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), values)})


def bomb(folder: Path, kind: str) -> tuple[str, str]:
    """Make a file. Returns its name, and what of the error says where it is."""
    if kind == "a line of JSON":
        compressed(folder / "t.jsonl.gz", long(b'{"a": 1}\n{"a": "'))
        return "t.jsonl.gz", "line 2"
    if kind == "an unquoted field":
        compressed(folder / "t.csv.gz", long(b"a,b\n1,2\n3,"))
        return "t.csv.gz", "line 3"
    if kind == "a quote that is never closed":
        compressed(folder / "t.csv.gz", long(b'a,b\n1,2\n3,"', b"word\n,23"))
        return "t.csv.gz", "line 3"
    if kind == "columns of CSV":
        (folder / "t.csv").write_bytes(b",".join(b"c%d" % i for i in range(100_000)) + b"\n")
        return "t.csv", "1,600 columns"
    if kind == "keys of one object":
        (folder / "t.jsonl").write_text(json.dumps({f"k{i}": i for i in range(100_000)}))
        return "t.jsonl", "1,600 columns"
    if kind == "keys of many objects":
        (folder / "t.jsonl").write_text("".join(f'{{"k{i}": 1}}\n' for i in range(100_000)))
        return "t.jsonl", "1,600 columns"
    if kind == "columns of Parquet":
        columns = {f"c{i}": pa.array([1]) for i in range(2000)}
        pq.write_table(pa.table(columns), folder / "t.parquet")
        return "t.parquet", "1,600 columns"
    if kind == "a value of a Parquet dictionary":
        pq.write_table(repeated(100 * MEGABYTES, 3000), folder / "t.parquet", compression="zstd")
        return "t.parquet", "row group 0"
    table = pa.table({"a": pa.array([b"x" * (LARGE * MEGABYTES)])})
    pq.write_table(table, folder / "t.parquet", compression="zstd")
    return "t.parquet", "row group 0"


KINDS = (
    "a line of JSON",
    "an unquoted field",
    "a quote that is never closed",
    "columns of CSV",
    "keys of one object",
    "keys of many objects",
    "columns of Parquet",
    "a value of Parquet",
    "a value of a Parquet dictionary",
)


def read(folder: Path, limits: RecordLimits | None = None) -> int:
    source = FilesSource(Store(root=str(folder)), limits=limits or RecordLimits())
    rows = 0
    with source.snapshot(Scope(), 1) as view:
        for table in view.catalog.tables:
            for chunk in view.chunks(table, 10_000):
                extract = Extract(table.id, table.columns)
                rows += sum(batch.num_rows for batch in view.read(extract, chunk))
    return rows


READING = """
import resource, sys
from pathlib import Path
from tests.adapters.test_files_bombs import read
from streams_engine.errors import MalformedFile
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(read(Path(sys.argv[1])), "rows")
except MalformedFile as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_is_refused_by_name_and_not_held(kind: str, tmp_path: Path) -> None:
    name, place = bomb(tmp_path, kind)
    found = subprocess.run(
        [sys.executable, "-c", READING, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    *message, megabytes = found.stdout.splitlines()
    assert name in message[0] and place in message[0], message
    assert int(megabytes) < MOST


def test_a_large_value_of_a_dictionary_is_read_a_few_rows_at_once(tmp_path: Path) -> None:
    pq.write_table(repeated(8 * MEGABYTES, 200), tmp_path / "t.parquet", compression="zstd")
    found = subprocess.run(
        [sys.executable, "-c", READING, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    rows, megabytes = found.stdout.splitlines()
    assert rows == "200 rows"
    assert int(megabytes) < MOST


def test_limits_can_be_raised_and_lowered(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,{}\n".format("x" * 5_000_000))
    assert read(tmp_path) == 1
    with pytest.raises(MalformedFile, match="maxRecordBytes"):
        read(tmp_path, RecordLimits(record_bytes=3_900_000))
    (tmp_path / "t.csv").write_text(",".join(f"c{i}" for i in range(2000)) + "\n" + "1," * 1999)
    with pytest.raises(MalformedFile, match="maxColumns"):
        read(tmp_path)
    assert read(tmp_path, RecordLimits(columns=2000)) == 1
