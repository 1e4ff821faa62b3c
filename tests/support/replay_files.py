"""The rows that a folder of files comes to: those of the load, and the log of changes over them.

Written from the documentation alone: nothing of the library is used.
"""

from __future__ import annotations

import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

__all__ = ["changes", "counting", "dropped", "folder_files", "replayed", "rows_in"]

Files = Mapping[str, bytes]
Row = dict[str, Any]


def folder_files(folder: Path) -> dict[str, bytes]:
    """The files below a folder by their paths in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def rows_in(name: str, data: bytes) -> list[Row]:
    """The rows of a file, every value as text."""
    if name.endswith(".parquet"):
        return [_texts(row) for row in pq.read_table(io.BytesIO(data)).to_pylist()]
    for suffix, codec in ((".gz", "gzip"), (".zst", "zstd")):
        if name.endswith(suffix):
            with pa.CompressedInputStream(pa.BufferReader(data), codec) as stream:
                data = stream.read()
    if ".jsonl" in name:
        lines = data.decode().splitlines()
        return [_texts(json.loads(line, parse_float=str, parse_int=str)) for line in lines]
    header = next(iter(data.decode().splitlines()))
    convert = arrow_csv.ConvertOptions(
        column_types={column: pa.string() for column in header.split(",")},
        strings_can_be_null=True,
        null_values=[""],
        quoted_strings_can_be_null=False,
    )
    parse = arrow_csv.ParseOptions(newlines_in_values=True)
    table = arrow_csv.read_csv(io.BytesIO(data), parse_options=parse, convert_options=convert)
    return [dict(row) for row in table.to_pylist()]


def _texts(row: Row) -> Row:
    return {name: None if value is None else str(value) for name, value in row.items()}


def counting(files: Files, table: str) -> list[str]:
    """The files of changes that count, in order."""
    told = json.loads(files[f"{table}/_manifest.json"]).get("changes")
    if told is None:
        return []
    log = json.loads(files[told["log"]])
    found = []
    for path in sorted(files):
        if not path.startswith(f"{table}/{told['folder']}/"):
            continue
        number, epoch = re.fullmatch(r"(\d+)-e(\d+)-.*", path.rsplit("/", 1)[-1]).groups()  # type: ignore[union-attr]
        mine = [e for e, first in log["epochs"] if first <= int(number)]
        if int(number) <= log["number"] and mine and mine[-1] == int(epoch):
            found.append(path)
    return found


def changes(files: Files, table: str) -> Iterator[tuple[Row, list[str]]]:
    """(change, the table's identity) in order."""
    versions = json.loads(files[f"{table}/_manifest.json"]).get("changes", {}).get("versions")
    for path in counting(files, table):
        name = path.rsplit("/", 1)[-1]
        version = [v for v in versions if v["from"] <= name][-1]
        rows = rows_in(name, files[path])
        assert list(rows[0]) == [column["name"] for column in version["columns"]]
        assert [int(row["_seq"]) for row in rows] == sorted({int(row["_seq"]) for row in rows})
        for row in rows:
            yield row, version["identity"]


def dropped(files: Files, table: str) -> bool:
    """Whether the table no longer exists after the last change."""
    last = [change for change, _ in changes(files, table)][-1:]
    return bool(last) and last[0]["_op"] == "drop"


def replayed(files: Files, table: str) -> list[Row]:
    """The table's rows after the last change."""
    manifest = json.loads(files[f"{table}/_manifest.json"])
    rows: list[Row] = []
    for part in manifest["parts"]:
        rows += rows_in(part["path"], files[f"{table}/{part['path']}"])
    by: list[str] = []
    index: dict[tuple[Any, ...], list[Row]] = {(): rows}
    for change, identity in changes(files, table):
        if identity != by:
            by, index = identity, _indexed([r for some in index.values() for r in some], identity)
        _apply(index, by, change)
    return [row for some in index.values() for row in some]


def _indexed(rows: list[Row], by: list[str]) -> dict[tuple[Any, ...], list[Row]]:
    index: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        index[tuple(row.get(name) for name in by)].append(row)
    return index


def _apply(index: dict[tuple[Any, ...], list[Row]], by: list[str], change: Row) -> None:
    if change["_op"] in ("truncate", "drop"):
        index.clear()
        return
    row: Row = {}
    if change["_op"] in ("update", "delete"):
        row = index[tuple(change[f"_before_{name}"] for name in by)].pop()
    if change["_op"] == "delete":
        return
    missing = json.loads(change["_missing"]) if change["_missing"] else []
    assert change["_op"] == "update" or not missing
    new = {n: v for n, v in change.items() if n[0] != "_" and n not in missing}
    row = {**row, **new}
    index.setdefault(tuple(row.get(name) for name in by), []).append(row)
