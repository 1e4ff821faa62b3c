"""What a single file tells of itself: by its name and footer, or by its first bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import pyarrow as pa

from streams_engine.adapters.files.formats import csv, jsonl, parquet
from streams_engine.adapters.files.formats.options import CsvOptions, RecordLimits, format_of
from streams_engine.adapters.files.formats.type_detection import TypeDetection
from streams_engine.adapters.files.stores.store import Store
from streams_engine.adapters.files.stores.streams import stream
from streams_engine.errors import MalformedFile

__all__ = ["details_of", "sniffed"]

SAMPLE_ROWS = 1000
SAMPLE_BYTES = 64 << 10
LIMITS = RecordLimits()

CODECS: Mapping[bytes, str] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
"""First bytes, and the compression that they tell: RFC 1952, RFC 8878."""
PARQUET = b"PAR1"


def details_of(store: Store, path: str) -> dict[str, Any]:
    """Return what name and footer tell; no row is read."""
    known = format_of(path)
    if known is None:
        return {"format": None, "compression": None}
    details: dict[str, Any] = {"format": known[0], "compression": known[1]}
    return details | _parquet(store, path) if known[0] == "parquet" else details


def sniffed(store: Store, path: str) -> dict[str, Any]:
    """Return what the first bytes and rows tell, whatever the name says. Raises `MalformedFile`."""
    with store.open(path) as file:
        begin = file.read(4)
    if begin == PARQUET:
        return {"format": "parquet", "compression": None} | _parquet(store, path)
    codec = next((name for mark, name in CODECS.items() if begin.startswith(mark)), None)
    try:
        with stream(store, path, codec) as source:
            text = source.read(SAMPLE_BYTES)
    except (OSError, pa.ArrowException):
        raise MalformedFile(f"{store.show(path)}: damaged, or not a {codec} file.") from None
    if b"\0" in text:
        raise MalformedFile(
            f"{store.show(path)} is not a text or Parquet file.",
            remedy="CSV, JSON Lines, JSON and Parquet files are known.",
        )
    begun = text.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    kind = {b"{": "jsonl", b"[": "json"}.get(bytes(begun), "csv")
    found = SNIFFERS[kind](store, path, codec, bytes(text))
    return {"format": kind, "compression": codec} | found


def _columns(names_and_types: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "type": str(kind)} for name, kind in names_and_types.items()]


def _parquet(store: Store, path: str) -> dict[str, Any]:
    footer = parquet.footer(store, path, LIMITS)
    return {
        "rows": sum(footer.groups),
        "rowGroups": len(footer.groups),
        "columns": _columns({column.name: column.arrow for column in footer.columns}),
    }


def _csv(store: Store, path: str, codec: str | None, text: bytes) -> dict[str, Any]:
    dialect = csv.dialect_of(text, path, CsvOptions(), LIMITS)
    options = CsvOptions(dialect.delimiter, dialect.quote)
    detections: dict[str, TypeDetection] = {}
    rows = 0
    for batch, _ in csv.read_texts(store, path, codec, options, LIMITS):
        sample = batch.slice(0, SAMPLE_ROWS - rows)
        for name, values in zip(batch.schema.names, sample.columns, strict=True):
            detections.setdefault(name, TypeDetection()).show(values)
        rows += sample.num_rows
        if rows >= SAMPLE_ROWS:
            break
    return {
        "delimiter": dialect.delimiter,
        "quote": dialect.quote,
        "columns": _columns({name: one.arrow for name, one in detections.items()}),
    }


def _jsonl(store: Store, path: str, codec: str | None, _: bytes) -> dict[str, Any]:
    detections: dict[str, jsonl.JsonDetection] = {}
    blocks = jsonl.read_records(store, path, codec, LIMITS)
    for records, _line in islice(blocks, 1):
        sample = records[:SAMPLE_ROWS]
        for name in dict.fromkeys(name for record in sample for name in record):
            values = [record.get(name) for record in sample]
            detections.setdefault(name, jsonl.JsonDetection()).show(values)
    return {"columns": _columns({name: one.arrow for name, one in detections.items()})}


SNIFFERS: Mapping[str, Callable[[Store, str, str | None, bytes], dict[str, Any]]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "json": _jsonl,
}
