"""The sources that a statement names: ``alias.schema.table``, ``read_parquet('alias://...')``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlglot import exp

from streams_engine.config.connection import FilesConnection, S3Connection
from streams_engine.config.documents import FilesSourceDocument, S3SourceDocument, SourceConnection
from streams_engine.errors import QueryRefused
from streams_engine.query.connections import QueryConnections
from streams_engine.query.validation import at, refuse

__all__ = ["READERS", "NamedSource", "named_file", "named_sources"]

READERS: Mapping[str, str] = {
    "READ_PARQUET": "parquet",
    "PARQUET_SCAN": "parquet",
    "READ_CSV": "csv",
    "READ_CSV_AUTO": "csv",
    "READ_JSON": "jsonl",
    "READ_JSON_AUTO": "jsonl",
    "READ_NDJSON": "jsonl",
}
GENERATORS = {"GENERATE_SERIES", "RANGE", "UNNEST", "EXPLODING_GENERATE_SERIES"}
"""Functions that make rows of nothing but their arguments."""


@dataclass(frozen=True, slots=True)
class NamedSource:
    """A table, a view or a file of a source, as a statement names it."""

    alias: str
    schema: str | None
    """Of PostgreSQL; MySQL's database; None: the connection's own, or files."""
    name: str
    """The table; of a file, what it is called where nothing else is said."""
    path: str | None = None
    """Of a file, relative to the connection's folder or prefix."""
    bucket: str | None = None
    file_format: str | None = None

    @property
    def full(self) -> str:
        """As the adapters take it."""
        return f"{self.schema}.{self.name}" if self.schema else self.name

    def document(self) -> SourceConnection:
        """Return what to open of its connection."""
        if self.path is None:
            return SourceConnection()
        if self.bucket is not None:
            return SourceConnection(s3=S3SourceDocument(bucket=self.bucket, prefixes=[self.path]))
        return SourceConnection(files=FilesSourceDocument(paths=[self.path]))

    def __str__(self) -> str:
        if self.path is not None:
            return f"{self.alias}://{'/'.join(filter(None, (self.bucket, self.path)))}"
        return f"{self.alias}.{self.full}"


def named_sources(tree: Any, places: QueryConnections) -> list[tuple[exp.Table, NamedSource]]:
    """Return each table of a parsed statement with the source that it names.

    Raises `QueryRefused` for a name that is neither a connection's nor one of the statement's own,
    and for a function that would read something else.
    """
    own = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    sources = []
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Func):
            named = _file(table, places)
        else:
            named = _table(table, places, own)
        if named is not None:
            sources.append((table, named))
    return sources


def _table(table: exp.Table, places: QueryConnections, own: set[str]) -> NamedSource | None:
    parts = list(table.parts)
    if len(parts) == 1:
        if table.name.lower() in own:
            return None
        raise refuse(
            f"'{table.name}' is not a table of this statement.",
            table.this,
            "Write alias.schema.table (PostgreSQL), alias.database.table (MySQL, MariaDB), or "
            "alias.table.",
        )
    if len(parts) > 3 or not all(isinstance(part, exp.Identifier) for part in parts):
        raise refuse(
            "A table name has at most three parts.", parts[-1], "Write alias.schema.table."
        )
    alias = places.alias(parts[0].name)
    family = places.family(alias)
    names = [_folded(part, family) for part in parts[1:]]
    if family == "files" and len(names) > 1:
        raise refuse("Files have no schemas.", parts[1], f"Write {alias}.table.")
    schema = names[0] if len(names) > 1 else places.schema(alias)
    if family == "postgres":
        schema = schema or "public"
    elif family == "mysql" and not schema:
        raise refuse(
            f"The connection '{alias}' names no database.",
            parts[0],
            f"Write {alias}.database.{names[-1]}.",
        )
    return NamedSource(alias, schema, names[-1])


def _folded(part: Any, family: str) -> str:
    """Fold a name as PostgreSQL does: to lower case unless it is quoted."""
    name = str(part.name)
    return name.lower() if family == "postgres" and not part.args.get("quoted") else name


def _file(table: exp.Table, places: QueryConnections) -> NamedSource | None:
    function = table.this
    name = _function_name(function)
    if name in GENERATORS:
        return None
    file_format = READERS.get(name)
    arguments = [a for a in (function.args.get("this"), *function.expressions) if a is not None]
    if isinstance(function, exp.Anonymous):
        arguments = list(function.expressions)
    if file_format is None:
        raise refuse(
            f"The function {name.lower()} cannot be used as a table here.",
            function,
            "Use a table, or read_parquet, read_csv or read_json.",
        )
    literal = arguments[0] if len(arguments) == 1 else None
    if not isinstance(literal, exp.Literal) or not literal.is_string:
        raise refuse(
            f"{name.lower()} takes one argument: a path as a text.",
            function,
            "The delimiter and types of CSV files are detected, or set in the connection.",
        )
    return named_file(literal, file_format, places, name.lower())


def _function_name(function: Any) -> str:
    if isinstance(function, exp.Anonymous):
        return str(function.name).upper()
    return str(function.sql_name()).upper()


def named_file(
    literal: Any, file_format: str, places: QueryConnections, function: str
) -> NamedSource:
    """Return the file that a literal names. Raises `QueryRefused`."""
    text = str(literal.this)
    if "://" in text and not text.startswith("file:"):
        alias, _, rest = text.partition("://")
        return _of_alias(places.alias(alias), rest, file_format, places, literal, function)
    return _of_folder(text.removeprefix("file://"), file_format, places, literal, function)


def _of_alias(
    alias: str, rest: str, file_format: str, places: QueryConnections, literal: Any, function: str
) -> NamedSource:
    connection = places.parsed(alias)
    path = rest.strip("/")
    if isinstance(connection, FilesConnection):
        return NamedSource(alias, None, function, path or ".", None, file_format)
    if not isinstance(connection, S3Connection):
        raise refuse(f"The connection '{alias}' is not a connection to files.", literal)
    bucket, _, key = path.partition("/")
    prefix = connection.prefix.strip("/")
    inside = not prefix or key == prefix or key.startswith(f"{prefix}/")
    if (connection.bucket and bucket != connection.bucket) or not inside or not key:
        scope = "/".join(filter(None, (connection.bucket, prefix)))
        raise refuse(
            f"The path is outside of what the connection '{alias}' contains.",
            literal,
            f"Write '{alias}://{scope}/...'.",
        )
    return NamedSource(alias, None, function, key[len(prefix) :].strip("/"), bucket, file_format)


def _of_folder(
    text: str, file_format: str, places: QueryConnections, literal: Any, function: str
) -> NamedSource:
    """Resolve a plain path, which must be in the folder of one of the connections, with links
    resolved."""
    folders = places.folders()
    if not Path(text).is_absolute() and len(folders) == 1:
        (alias,) = folders
        return NamedSource(alias, None, function, text, None, file_format)
    wanted = Path(text).resolve() if Path(text).is_absolute() else None
    for alias, folder in folders.items():
        if wanted is not None and wanted != folder and wanted.is_relative_to(folder):
            return NamedSource(
                alias, None, function, str(wanted.relative_to(folder)), None, file_format
            )
    raise QueryRefused(
        "A path must be in the folder of a connection of type files.",
        remedy="Add a connection for the folder, and write 'alias://path/in/it'.",
        **at(literal),
    )
