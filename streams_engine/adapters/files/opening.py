"""Folders and buckets of a stream's documents, as stores of the files adapter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from streams_engine.config import Resolver
from streams_engine.config.connection import FilesConnection, S3Connection
from streams_engine.config.documents import CsvFormat, SourceConnection, TargetSpec, Upload
from streams_engine.config.documents import FilesSource as FilesSourceDocument
from streams_engine.config.documents import S3Source as S3SourceDocument
from streams_engine.config.secret import BUILT_IN, Secret
from streams_engine.errors import ConfigError

if TYPE_CHECKING:
    from streams_engine.adapters.files.canonical import FilesCanonical
    from streams_engine.adapters.files.options import CsvOptions, RecordLimits
    from streams_engine.adapters.files.sink import FilesSink
    from streams_engine.adapters.files.source import FilesSource
    from streams_engine.adapters.files.store import Store

__all__ = ["open_sink", "open_source", "open_source_canonical", "open_target_canonical"]

Place = FilesConnection | S3Connection


def open_source(
    connection: Place, document: SourceConnection, resolvers: Mapping[str, Resolver], path: str
) -> FilesSource:
    """The files of a source. Raises `ConfigError` naming the path of what is missing."""
    from streams_engine.adapters.files.source import FilesSource

    store, paths = _read(connection, document, resolvers, path)
    chosen = _chosen(connection, document)
    return FilesSource(
        store,
        file_format=connection.file_format,
        paths=paths,
        csv=_csv(chosen.csv if chosen else CsvFormat()),
        columns=chosen.columns if chosen else {},
        limits=_limits(chosen),
    )


def open_source_canonical(
    connection: Place, document: SourceConnection, resolvers: Mapping[str, Resolver]
) -> FilesCanonical:
    """The same files for `verify`."""
    from streams_engine.adapters.files.canonical import FilesCanonical

    store, paths = _read(connection, document, resolvers, "$.source")
    chosen = _chosen(connection, document)
    return FilesCanonical(
        store,
        file_format=connection.file_format,
        paths=paths,
        csv=_csv(chosen.csv if chosen else CsvFormat()),
    )


def _limits(chosen: FilesSourceDocument | S3SourceDocument | None) -> RecordLimits:
    from streams_engine.adapters.files.options import RecordLimits

    return RecordLimits(chosen.max_record_bytes, chosen.max_columns) if chosen else RecordLimits()


def _chosen(
    connection: Place, document: SourceConnection
) -> FilesSourceDocument | S3SourceDocument | None:
    return document.s3 if isinstance(connection, S3Connection) else document.files


def _read(
    connection: Place, document: SourceConnection, resolvers: Mapping[str, Resolver], path: str
) -> tuple[Store, tuple[str, ...]]:
    """The store of a source, and the paths in it that are meant."""
    from streams_engine.adapters.files.store import Store

    if isinstance(connection, S3Connection):
        bucket = (document.s3 and document.s3.bucket) or connection.bucket
        store = _bucket(connection, bucket, connection.prefix, resolvers, f"{path}.s3.bucket")
        return store, tuple(document.s3.prefixes) if document.s3 else ()
    base = (document.files and document.files.base_path) or connection.base_path
    root, paths = _folder(base, tuple(document.files.paths) if document.files else ())
    return Store("file", root), paths


def _folder(base: str, paths: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """A folder and the paths in it; a base that is one file is that file of its folder."""
    local = _local(base)
    if local.is_file() and not paths:
        return str(local.parent), (local.name,)
    return str(local), paths


def _local(base: str) -> Path:
    # Absolute at once: where the process goes later means nothing.
    return Path(unquote(urlsplit(base).path) if base.startswith("file:") else base).absolute()


def open_sink(connection: Any, spec: TargetSpec, resolvers: Mapping[str, Resolver]) -> FilesSink:
    """The folder or bucket that is written to. Raises `ConfigError`."""
    from streams_engine.adapters.files.sink import FilesSink

    chosen = spec.s3 if isinstance(connection, S3Connection) else spec.files
    return FilesSink(
        _written(connection, spec, resolvers),
        file_format=(chosen.file_format if chosen else connection.file_format) or "parquet",
        compression=chosen.format.compression if chosen else None,
        csv=_csv(chosen.format.csv if chosen else CsvFormat()),
    )


def open_target_canonical(
    connection: Place, spec: TargetSpec, resolvers: Mapping[str, Resolver]
) -> FilesCanonical:
    """What was written, for `verify`."""
    from streams_engine.adapters.files.canonical import FilesCanonical

    return FilesCanonical(_written(connection, spec, resolvers))


def _written(connection: Place, spec: TargetSpec, resolvers: Mapping[str, Resolver]) -> Store:
    from streams_engine.adapters.files.store import Store

    if not isinstance(connection, S3Connection):
        return Store("file", str(_local(connection.base_path)))
    upload = spec.s3.upload if spec.s3 else Upload()
    parts = (connection.prefix, upload.prefix, spec.s3.output_directory if spec.s3 else "")
    prefix = "/".join(part.strip("/") for part in parts if part.strip("/"))
    bucket = upload.bucket or connection.bucket
    path = "$.target.spec.s3.upload.bucket"
    return _bucket(connection, bucket, prefix, resolvers, path, upload)


def _csv(document: CsvFormat) -> CsvOptions:
    from streams_engine.adapters.files.options import CsvOptions

    return CsvOptions(document.delimiter or "", document.quote, document.header)


def _bucket(
    connection: S3Connection,
    bucket: str | None,
    prefix: str,
    resolvers: Mapping[str, Resolver],
    path: str,
    upload: Upload | None = None,
) -> Store:
    from streams_engine.adapters.files.store import Store

    if not bucket:
        raise ConfigError(f"{path}: no bucket is named.", path=path)
    key, secret, token = _credentials(connection, resolvers)
    return Store(
        "s3",
        "/".join(part for part in (bucket, prefix.strip("/")) if part),
        key,
        secret,
        token,
        connection.endpoint or "",
        connection.region or "",
        upload.storage_class if upload else "",
        upload.server_side_enc if upload else "",
        (upload.kms_key_id or "") if upload else "",
    )


CREDENTIALS_REF = "$.storage_config.credentials_ref"


def _referred(reference: str, resolvers: Mapping[str, Resolver]) -> str:
    """What a reference leads to. Raises `ConfigError` naming the resolver that it lacks."""
    scheme, colon, _ = reference.partition(":")
    if colon and scheme in {*BUILT_IN, *resolvers}:
        return Secret(reference).reveal(resolvers)
    what = f"no resolver is registered for '{scheme}:'" if colon else "it has no scheme"
    scheme = scheme if colon else "vault"
    written = "" if colon else f", and write '{scheme}:{reference}'"
    raise ConfigError(
        f"{CREDENTIALS_REF}: {what}.",
        path=CREDENTIALS_REF,
        remedy=f"Register one, as in resolvers={{'{scheme}': lookup}}{written}; env:NAME and "
        "file:PATH need none.",
    )


def _keys(text: str) -> tuple[str, str, str] | None:
    """The keys of a JSON text, or None: no error is raised where local variables hold it."""
    try:
        found = json.loads(text)
        return found["accessKey"], found["secretKey"], found.get("sessionToken", "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _credentials(
    connection: S3Connection, resolvers: Mapping[str, Resolver]
) -> tuple[str, str, str]:
    """Keys of the document, or of the JSON that ``credentials_ref`` leads to; else none."""
    if connection.credentials_ref is not None:
        keys = _keys(_referred(connection.credentials_ref, resolvers))
        if keys is None:
            raise ConfigError(
                "credentials_ref leads to no credentials.",
                path=CREDENTIALS_REF,
                remedy='It must be a reference to {"accessKey": ..., "secretKey": ...} as JSON.',
            )
        return keys

    def shown(secret: Secret | None) -> str:
        return "" if secret is None else secret.reveal(resolvers)

    return (
        shown(connection.access_key),
        shown(connection.secret_key),
        shown(connection.session_token),
    )
