"""Options of text files, and formats and codecs by file name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from streams_engine.errors import ConfigError, MalformedFile

__all__ = [
    "CODECS",
    "COMPRESSIONS",
    "FORMATS",
    "CsvOptions",
    "FileForm",
    "ParquetOptions",
    "RecordLimits",
    "file_form",
    "format_of",
    "read_as",
    "stem_of",
]

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}
"""File name endings, and the format of each."""

CODECS = {".gz": "gzip", ".zst": "zstd"}
"""Second endings, and the compression of each, as Arrow calls it."""


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """The dialect of CSV files. Raises `ConfigError` if it could not be read back."""

    delimiter: str = ""
    """One character; empty: a reader finds out, a writer takes the comma."""
    quote: str = '"'
    header: bool = True
    """False: no header line; a reader calls the columns c1, c2, ..."""

    def __post_init__(self) -> None:
        for name, value in (("delimiter", self.delimiter), ("quote", self.quote)):
            if name == "delimiter" and not value:
                continue
            plain = len(value) == 1 and value.isascii() and (value == "\t" or value.isprintable())
            if not plain or value.isalnum() or value in "+-.:_":
                raise ConfigError(
                    f"CSV {name}: expected one ASCII character that does not occur in numbers or "
                    f"dates, got {value!r}.",
                    path=f"$.target.spec.files.format.csv.{name}",
                )
        if self.delimiter == self.quote:
            raise ConfigError("CSV: the delimiter and the quote must be different characters.")


COMPRESSIONS: Mapping[str, Mapping[str, str]] = {
    "csv": {"none": ".csv", "gzip": ".csv.gz", "zstd": ".csv.zst"},
    "json": {"none": ".json", "gzip": ".json.gz", "zstd": ".json.zst"},
    "jsonl": {"none": ".jsonl", "gzip": ".jsonl.gz", "zstd": ".jsonl.zst"},
    "parquet": dict.fromkeys(("none", "snappy", "gzip", "zstd"), ".parquet"),
}
"""The compressions of each format, and the endings of its files."""


@dataclass(frozen=True, slots=True)
class ParquetOptions:
    """How Parquet files are written; None: our own choice."""

    level: int | None = None
    group_rows: int | None = None
    group_bytes: int | None = None
    unit: str | None = None
    """Of timestamps: ms, us or ns."""


@dataclass(frozen=True, slots=True)
class FileForm:
    """Format and compression of the files of a target."""

    file_format: str
    compression: str
    csv: CsvOptions = CsvOptions()
    parquet: ParquetOptions = ParquetOptions()

    @property
    def ending(self) -> str:
        """The ending of a data file's name."""
        return COMPRESSIONS[self.file_format][self.compression]

    @property
    def dialect(self) -> dict[str, Any] | None:
        """The dialect of CSV files, for a manifest; None for the other formats."""
        return asdict(self.csv) if self.file_format == "csv" else None


def file_form(
    file_format: str,
    compression: str | None = None,
    csv: CsvOptions | None = None,
    parquet: ParquetOptions | None = None,
) -> FileForm:
    """Return the form of the files to write. Raises `ConfigError` for one that does not exist."""
    known = COMPRESSIONS.get(file_format)
    if known is None:
        raise ConfigError(
            f"Unknown file format {file_format}; expected one of {', '.join(COMPRESSIONS)}."
        )
    compression = compression or ("zstd" if file_format == "parquet" else "none")
    if compression not in known:
        raise ConfigError(
            f"{file_format} cannot be written with compression {compression}; expected one "
            f"of {', '.join(known)}."
        )
    parquet = parquet or ParquetOptions()
    return FileForm(file_format, compression, csv or CsvOptions(), parquet)


def read_as(file_format: str | None) -> str | None:
    """Return the format under which files are read: an array of objects is found by its bracket."""
    return "jsonl" if file_format == "json" else file_format


@dataclass(frozen=True, slots=True)
class RecordLimits:
    """Limits of a record's size: a few compressed megabytes must not unfold to fill the memory."""

    record_bytes: int = 64 << 20
    """Bytes of one CSV row, one JSONL line, or of the mean row of a Parquet row group."""
    columns: int = 1600
    """As many as a table of PostgreSQL has at most
    (https://www.postgresql.org/docs/current/limits.html)."""

    def too_long(self, where: str, place: str, **details: Any) -> MalformedFile:
        """Return the error for a record that is larger; ``place`` says which."""
        return MalformedFile(
            f"{where}, {place}: a record is longer than {self.record_bytes:,} bytes.",
            remedy=(
                "Check the delimiter, the quote and the line ends. If records are that long, "
                "raise the source's maxRecordBytes."
            ),
            file=where,
            **details,
        )

    def too_wide(self, where: str, place: str = "") -> MalformedFile:
        """Return the error for a file of more columns."""
        return MalformedFile(
            f"{where}{place}: the record has more than {self.columns:,} columns.",
            remedy=(
                "Check the delimiter. If the file has that many columns, raise the source's "
                "maxColumns."
            ),
            file=where,
        )


def format_of(path: str) -> tuple[str, str | None] | None:
    """Return the format and codec that a path's endings name; None if it is not a data file."""
    lower = path.lower()
    codec = next((name for ending, name in CODECS.items() if lower.endswith(ending)), None)
    if codec is not None:
        lower = lower.rsplit(".", 1)[0]
    file_format = next((name for ending, name in FORMATS.items() if lower.endswith(ending)), None)
    return None if file_format is None else (file_format, codec)


def stem_of(name: str) -> str:
    """Return a file's name without the endings for format and codec."""
    lower = name.lower()
    for endings in (CODECS, FORMATS):
        ending = next((e for e in endings if lower.endswith(e)), "")
        lower = lower.removesuffix(ending)
    return name[: len(lower)]
