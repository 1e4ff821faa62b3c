"""How text files are written, and what the name of a file says about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streams_engine.errors import ConfigError, MalformedFile

__all__ = ["CODECS", "FORMATS", "CsvOptions", "RecordLimits", "format_of", "stem_of"]

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
    """The dialect of CSV files. Raises `ConfigError` where it could not be read back."""

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
                    f"CSV {name}: one ASCII character that no number or time is written with, "
                    f"not {value!r}.",
                    path=f"$.target.spec.files.format.csv.{name}",
                )
        if self.delimiter == self.quote:
            raise ConfigError("CSV: the delimiter and the quote are one character.")


@dataclass(frozen=True, slots=True)
class RecordLimits:
    """How large a record of a file may be: what a few compressed megabytes unfold to is no claim
    on memory."""

    record_bytes: int = 64 << 20
    """Bytes of one CSV row, one JSONL line, or of the mean row of a Parquet row group."""
    columns: int = 1600
    """As many as a table of PostgreSQL has at most
    (https://www.postgresql.org/docs/current/limits.html)."""

    def too_long(self, where: str, place: str, **details: Any) -> MalformedFile:
        """Return the error for a record that is larger; ``place`` says which."""
        return MalformedFile(
            f"{where}, {place}: a record is longer than {self.record_bytes:,} bytes.",
            remedy="Check delimiter, quote and line ends; where it is meant, raise maxRecordBytes "
            "of the source.",
            file=where,
            **details,
        )

    def too_wide(self, where: str, place: str = "") -> MalformedFile:
        """Return the error for a file of more columns."""
        return MalformedFile(
            f"{where}{place}: it has more than {self.columns:,} columns.",
            remedy="Check the delimiter; where it is meant, raise maxColumns of the source.",
            file=where,
        )


def format_of(path: str) -> tuple[str, str | None] | None:
    """The format and the codec that a path's endings name; None where it is no data file."""
    lower = path.lower()
    codec = next((name for ending, name in CODECS.items() if lower.endswith(ending)), None)
    if codec is not None:
        lower = lower.rsplit(".", 1)[0]
    found = next((name for ending, name in FORMATS.items() if lower.endswith(ending)), None)
    return None if found is None else (found, codec)


def stem_of(name: str) -> str:
    """A file's name without the endings that say format and codec."""
    lower = name.lower()
    for endings in (CODECS, FORMATS):
        ending = next((e for e in endings if lower.endswith(e)), "")
        lower = lower.removesuffix(ending)
    return name[: len(lower)]
