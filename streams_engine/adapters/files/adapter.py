"""Open folders and buckets of a stream's documents as sources and sinks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from streams_engine.config import Resolver
from streams_engine.config.connection import (
    FilesConnection,
    S3Connection,
    below,
    files_connection,
)
from streams_engine.config.documents import (
    CsvFormat,
    FilesSourceDocument,
    ParquetFormat,
    S3SourceDocument,
    SourceConnection,
    TargetSpec,
    Upload,
)
from streams_engine.config.secret import BUILT_IN, DEFAULT, Secret
from streams_engine.contracts import Adapter, SinkRequest, SourceRequest
from streams_engine.errors import ConfigError
from streams_engine.model import Dialect

if TYPE_CHECKING:
    from streams_engine.adapters.files.browser import FilesBrowser
    from streams_engine.adapters.files.canonical import FilesCanonical
    from streams_engine.adapters.files.discovery import Places
    from streams_engine.adapters.files.explorer import FilesExplorer
    from streams_engine.adapters.files.formats.options import (
        CsvOptions,
        ParquetOptions,
        RecordLimits,
    )
    from streams_engine.adapters.files.navigation import FilesNavigator
    from streams_engine.adapters.files.sink import FilesSink
    from streams_engine.adapters.files.source import FilesSource
    from streams_engine.adapters.files.stores.store import Store

__all__ = ["ADAPTER"]

Place = FilesConnection | S3Connection


def _source(request: SourceRequest) -> FilesSource:
    """Create the source of files. Raises `ConfigError` naming the path of a missing key."""
    from streams_engine.adapters.files.formats.options import read_as
    from streams_engine.adapters.files.source import FilesSource

    connection = request.connection
    store, places = _read(connection, request.document, request.resolvers, request.path)
    chosen = _chosen(connection, request.document)
    return FilesSource(
        store,
        file_format=read_as(connection.file_format),
        places=places,
        csv=_csv(chosen.csv if chosen else CsvFormat()),
        columns=chosen.columns if chosen else {},
        limits=_limits(chosen),
    )


def _explorer(request: SourceRequest) -> FilesExplorer:
    from streams_engine.adapters.files.explorer import FilesExplorer

    return FilesExplorer(_source(request))


def _navigator(request: SourceRequest) -> FilesNavigator:
    from streams_engine.adapters.files.navigation import FilesNavigator

    return FilesNavigator(_source(request))


def _files(request: SourceRequest) -> FilesBrowser:
    """Open the folder or bucket. Raises `ConfigError` if the base is one file."""
    from streams_engine.adapters.files.browser import BucketBrowser, FilesBrowser
    from streams_engine.adapters.files.stores.store import Store

    connection, resolvers = request.connection, request.resolvers
    if isinstance(connection, S3Connection):
        if connection.bucket:
            store, _ = _read(connection, request.document, resolvers, request.path)
            return BucketBrowser(store)
        return BucketBrowser(_account(connection, resolvers))
    if connection.protocol != "file":
        return FilesBrowser(_remote(connection, connection.base_path, resolvers))
    base = _local(connection.base_path)
    if base.is_file():
        raise ConfigError(
            "$.spec.files.basePath: it is one file; files are listed, read and written in folders.",
            path="$.spec.files.basePath",
            remedy="Use a connection to the folder.",
        )
    return FilesBrowser(Store("file", str(base)))


def _canonical(request: SourceRequest | SinkRequest) -> FilesCanonical:
    """Create the reader of the same files, or of the written ones, for `verify`."""
    from streams_engine.adapters.files.canonical import FilesCanonical
    from streams_engine.adapters.files.formats.options import read_as

    connection = request.connection
    if isinstance(request, SinkRequest):
        store = _written(connection, request.spec, request.resolvers)
        return FilesCanonical(store, written=True)
    store, places = _read(connection, request.document, request.resolvers, request.path)
    chosen = _chosen(connection, request.document)
    return FilesCanonical(
        store,
        file_format=read_as(connection.file_format),
        places=places,
        csv=_csv(chosen.csv if chosen else CsvFormat()),
    )


def _limits(chosen: FilesSourceDocument | S3SourceDocument | None) -> RecordLimits:
    from streams_engine.adapters.files.formats.options import RecordLimits

    return RecordLimits(chosen.max_record_bytes, chosen.max_columns) if chosen else RecordLimits()


def _chosen(
    connection: Place, document: SourceConnection
) -> FilesSourceDocument | S3SourceDocument | None:
    return document.s3 if isinstance(connection, S3Connection) else document.files


def _read(
    connection: Place, document: SourceConnection, resolvers: Mapping[str, Resolver], path: str
) -> tuple[Store, Places]:
    """Return the store of a source, and what is selected in it."""
    from streams_engine.adapters.files.discovery import Places
    from streams_engine.adapters.files.stores.store import Store

    scope = f"{path}.scopePath"
    if isinstance(connection, S3Connection):
        s3 = document.s3 or S3SourceDocument()
        prefix = below(connection.prefix, document.scope_path, scope)
        bucket = s3.bucket or connection.bucket
        store = _bucket(connection, bucket, prefix, resolvers, f"{path}.s3.bucket")
        return store, Places(tuple(s3.prefixes), tuple(s3.objects), s3.manifest_path)
    base = (document.files and document.files.base_path) or connection.base_path
    base = below(base, document.scope_path, scope)
    chosen = tuple(document.files.paths) if document.files else ()
    if connection.protocol != "file":
        root, paths = _remote_folder(_on_same_server(connection, base, path), chosen)
        return _remote(connection, root, resolvers), Places(paths)
    root, paths = _folder(base, chosen)
    return Store("file", root), Places(paths)


def _remote(connection: FilesConnection, root: str, resolvers: Mapping[str, Resolver]) -> Store:
    from streams_engine.adapters.files.stores.store import Store

    options = {
        key: value.reveal(resolvers) if isinstance(value, Secret) else value
        for key, value in connection.storage_options.items()
    }
    return Store(connection.protocol, root, options=json.dumps(options) if options else "")


def _on_same_server(connection: FilesConnection, base: str, path: str) -> str:
    """Return the URL of a path that the stream's document names instead of the connection's.

    Raises `ConfigError` for a full URL: the connection's secrets are for its own server only.
    """
    if base == connection.base_path or base.startswith(f"{connection.base_path.rstrip('/')}/"):
        return base
    if "://" in base:
        raise ConfigError(
            f"{path}.files.basePath: expected a path on the server that the connection names.",
            path=f"{path}.files.basePath",
            remedy="For another server, use another connection.",
        )
    parts = urlsplit(connection.base_path)
    return f"{parts.scheme}://{parts.netloc}/{base.strip('/')}"


def _remote_folder(base: str, paths: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Split a URL into a folder and the paths in it, without asking the server.

    A URL that ends like a file of a known format is that file in its folder.
    """
    from streams_engine.adapters.files.formats.options import format_of

    folder, _, name = base.rpartition("/")
    if not paths and format_of(name) is not None:
        return folder, (name,)
    return base, paths


def _folder(base: str, paths: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return a folder and the paths in it; a base that is one file is that file in its folder."""
    local = _local(base)
    if local.is_file() and not paths:
        return str(local.parent), (local.name,)
    return str(local), paths


def _local(base: str) -> Path:
    # Absolute at once: where the process goes later means nothing.
    return Path(unquote(urlsplit(base).path) if base.startswith("file:") else base).absolute()


def _sink(request: SinkRequest) -> FilesSink:
    """Create the sink of the target folder or bucket. Raises `ConfigError`."""
    from streams_engine.adapters.files.sink import FilesSink

    connection, spec = request.connection, request.spec
    chosen = spec.s3 if isinstance(connection, S3Connection) else spec.files
    return FilesSink(
        _written(connection, spec, request.resolvers),
        file_format=_format(chosen.file_format if chosen else connection.file_format),
        compression=chosen.format.codec if chosen else None,
        csv=_csv(chosen.format.csv if chosen else CsvFormat()),
        parquet=_parquet(chosen.format.parquet if chosen else ParquetFormat()),
    )


def _format(chosen: str | None) -> str:
    """Return the format of a target. Raises `ConfigError` for one that this library does not
    write."""
    from streams_engine.adapters.files.formats.options import COMPRESSIONS

    if chosen is not None and chosen not in COMPRESSIONS:
        raise ConfigError(
            f"$.target: unknown format '{chosen}'; expected one of {', '.join(COMPRESSIONS)}.",
            path="$.target",
        )
    return chosen or "parquet"


def _written(connection: Place, spec: TargetSpec, resolvers: Mapping[str, Resolver]) -> Store:
    from streams_engine.adapters.files.stores.store import Store

    if not isinstance(connection, S3Connection):
        if connection.protocol != "file":
            _demand_writable(connection)
            return _remote(connection, connection.base_path, resolvers)
        return Store("file", str(_local(connection.base_path)))
    upload = spec.s3.upload if spec.s3 else Upload()
    last = spec.s3.output_directory if spec.s3 else ""
    # An absolute path is a folder in which the product stages objects; here there is none.
    parts = (connection.prefix, upload.prefix, "" if last.startswith("/") else last)
    prefix = "/".join(part.strip("/") for part in parts if part.strip("/"))
    bucket = upload.bucket or connection.bucket
    path = "$.target.spec.s3.upload.bucket"
    return _bucket(connection, bucket, prefix, resolvers, path, upload)


def _demand_writable(connection: FilesConnection) -> None:
    """Raise `ConfigError` for a filesystem that is not known to replace a file in one step."""
    from streams_engine.adapters.files.stores.remote import WRITERS

    if connection.protocol not in WRITERS:
        raise ConfigError(
            f"$.target: {connection.protocol}:// can only be a source: it gives no guarantee "
            "that a file appears whole.",
            path="$.target",
            remedy=f"Use a folder, s3://, or one of {', '.join(sorted(WRITERS))}.",
        )


def _csv(document: CsvFormat) -> CsvOptions:
    from streams_engine.adapters.files.formats.options import CsvOptions

    return CsvOptions(document.delimiter or "", document.quote, document.header)


def _parquet(document: ParquetFormat) -> ParquetOptions:
    from streams_engine.adapters.files.formats.options import ParquetOptions

    return ParquetOptions(
        document.compression_level,
        document.max_row_group_size,
        document.target_row_group_size_mb and document.target_row_group_size_mb << 20,
        document.timestamp_unit,
    )


def _bucket(
    connection: S3Connection,
    bucket: str | None,
    prefix: str,
    resolvers: Mapping[str, Resolver],
    path: str,
    upload: Upload | None = None,
) -> Store:
    from streams_engine.adapters.files.stores.store import Store

    if not bucket:
        raise ConfigError(f"{path}: the URL names no bucket.", path=path)
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


def _account(connection: S3Connection, resolvers: Mapping[str, Resolver]) -> Store:
    """Return the store of all buckets."""
    from streams_engine.adapters.files.stores.store import Store

    key, secret, token = _credentials(connection, resolvers)
    endpoint, region = connection.endpoint or "", connection.region or ""
    return Store("s3", "", key, secret, token, endpoint, region)


def _referred(reference: str, resolvers: Mapping[str, Resolver], path: str) -> str:
    """Resolve a reference. Raises `ConfigError` naming the resolver that it lacks."""
    scheme, colon, _ = reference.partition(":")
    if scheme in {*BUILT_IN, *resolvers} if colon else DEFAULT in resolvers:
        return Secret.reference(reference).reveal(resolvers)
    what = f"no resolver is registered for '{scheme}:'" if colon else "it has no scheme"
    scheme = scheme if colon else "vault"
    written = "" if colon else f", and write '{scheme}:{reference}'"
    raise ConfigError(
        f"{path}: {what}.",
        path=path,
        remedy=f"Register one: resolvers={{'{scheme}': lookup}}{written}. env:NAME and file:PATH "
        f"need no resolver; resolvers['{DEFAULT}'] takes references without a scheme.",
    )


def _keys(text: str) -> tuple[str, str, str] | None:
    """Return the keys of a JSON text, or None.

    It raises no error, because a traceback's local variables would contain the text.
    """
    try:
        keys = json.loads(text)
        return keys["accessKey"], keys["secretKey"], keys.get("sessionToken", "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _credentials(
    connection: S3Connection, resolvers: Mapping[str, Resolver]
) -> tuple[str, str, str]:
    """Return the keys of the document, or of the JSON that ``credentials_ref`` refers to; empty if
    there are none."""
    if connection.credentials_ref is not None:
        path = connection.credentials_path
        keys = _keys(_referred(connection.credentials_ref, resolvers, path))
        if keys is None:
            raise ConfigError(
                f"{path}: the reference could not be resolved.",
                path=path,
                remedy='Refer to a JSON document {"accessKey": ..., "secretKey": ...}.',
            )
        return keys

    def shown(secret: Secret | None) -> str:
        return "" if secret is None else secret.reveal(resolvers)

    return (
        shown(connection.access_key),
        shown(connection.secret_key),
        shown(connection.session_token),
    )


ADAPTER = Adapter(
    kinds=("files", "file", "s3"),
    dialect=Dialect.FILES,
    connection=files_connection,
    source=_source,
    sink=_sink,
    explorer=_explorer,
    files=_files,
    navigator=_navigator,
    canonical=_canonical,
)
