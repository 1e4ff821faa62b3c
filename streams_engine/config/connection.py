"""Connection documents and URLs, of every form, brought to one form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from streams_engine.config.adapters import adapter_of, frames_adapter, known_kinds
from streams_engine.config.connection_documents import (
    FilesDocument,
    ScopeDocument,
    ServerDocument,
    SshDocument,
    Ssl,
    StorageDocument,
)
from streams_engine.config.secret import Secret
from streams_engine.config.server_urls import (
    SCHEMES,
    ServerUrl,
    SqlalchemyEngine,
    SqlalchemyUrl,
    given_twice,
    known_parameters,
    parse_server_url,
    scheme_of,
    sqlalchemy_server,
    url_parameters,
)
from streams_engine.config.tracebacks import without_locals
from streams_engine.config.validation import IGNORED_IN_CONNECTIONS, SCHEMA, validate
from streams_engine.errors import ConfigError

__all__ = [
    "AdapterConnection",
    "Connection",
    "DatabaseConnection",
    "FilesConnection",
    "NullConnection",
    "ObjectConnection",
    "Place",
    "S3Connection",
    "Ssh",
    "Ssl",
    "below",
    "files_connection",
    "null_connection",
    "parse_connection",
    "server_connection",
]

Kind = Literal["mysql", "mariadb", "postgresql"]
PORTS: Mapping[str, int] = {"mysql": 3306, "mariadb": 3306, "postgresql": 5432}


@dataclass(frozen=True, slots=True)
class Ssh:
    """The SSH server through which the database is reached."""

    host: str
    username: str
    port: int = 22
    password: Secret | None = None
    private_key: Secret | None = None
    """PEM or OpenSSH, as text or as a path."""
    passphrase: Secret | None = None
    known_hosts: str | None = None
    """Lines of known_hosts, or the path of such a file; None: the account's own."""


@dataclass(frozen=True, slots=True)
class DatabaseConnection:
    """A MySQL, MariaDB or PostgreSQL server."""

    kind: Kind
    host: str
    port: int
    username: str
    password: Secret | None = None
    database: str | None = None
    schema: str | None = None
    ssl: Ssl = field(default_factory=lambda: Ssl())
    unix_socket: str | None = None
    ssh: Ssh | None = None
    name: str | None = None

    def show(self, database: str | None = None, schema: str | None = None) -> str:
        """Return the connection for messages, without account and secrets; ``database`` and
        ``schema`` replace its own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        where = f"{host}:{self.port}" if self.unix_socket is None else f"({self.unix_socket})"
        schema = schema or self.schema
        shown = f"{self.kind}://{where}/{database or self.database or ''}"
        return f"{shown}, schema {schema}" if schema else shown

    def identity(self) -> dict[str, Any]:
        """Identify this connection, without secrets."""
        return {
            "type": self.kind,
            "host": self.unix_socket or self.host,
            "port": self.port,
            "username": self.username,
            "database": self.database,
            "schema": self.schema,
            **({} if self.ssh is None else {"ssh": f"{self.ssh.host}:{self.ssh.port}"}),
        }


@dataclass(frozen=True, slots=True)
class FilesConnection:
    """A local folder, or one of an fsspec filesystem."""

    kind: ClassVar[str] = "files"
    base_path: str
    """A path; or a URL without secrets, where ``protocol`` is not file."""
    file_format: str | None = None
    name: str | None = None
    protocol: str = "file"
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What the filesystem is made with; texts are `Secret`."""

    def show(self, path: str | None = None) -> str:
        """Return the place for messages; ``path`` replaces its own."""
        return path or self.base_path

    def identity(self) -> dict[str, Any]:
        """Identify this connection, without secrets."""
        return {"type": "files", "basePath": self.base_path, "fileFormat": self.file_format}


STORAGE_REFERENCE = "$.storage_config.credentials_ref"


@dataclass(frozen=True, slots=True)
class S3Connection:
    """A bucket of an S3-compatible store."""

    kind: ClassVar[str] = "s3"
    bucket: str | None
    prefix: str
    region: str | None = None
    endpoint: str | None = None
    access_key: Secret | None = None
    secret_key: Secret | None = None
    session_token: Secret | None = None
    credentials_ref: str | None = None
    file_format: str | None = None
    name: str | None = None
    credentials_path: str = field(default=STORAGE_REFERENCE, compare=False)
    """The JSON path of ``credentials_ref`` in its document."""

    def show(self, bucket: str | None = None) -> str:
        """Return the place for messages, without secrets; ``bucket`` replaces its own."""
        parts = (bucket or self.bucket or "", self.prefix)
        return "s3://" + "/".join(part for part in parts if part)

    def identity(self) -> dict[str, Any]:
        """Identify this connection, without secrets."""
        return {
            "type": "s3",
            "bucket": self.bucket,
            "prefix": self.prefix,
            "endpoint": self.endpoint,
            "fileFormat": self.file_format,
        }


@dataclass(frozen=True, slots=True)
class NullConnection:
    """A target that counts and drops."""

    kind: ClassVar[str] = "null"
    name: str | None = None

    def show(self) -> str:
        """Return the name for messages."""
        return "null://"

    def identity(self) -> dict[str, Any]:
        """Identify this connection, without secrets."""
        return {"type": "null"}


@dataclass(frozen=True, slots=True)
class AdapterConnection:
    """Connection that only another package's adapter understands."""

    kind: str
    """The kind by which the adapter is found again."""
    location: str
    """Where it is, without account and secrets: messages show it, checkpoints are kept by it."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """All else that the adapter needs; hold secrets as `Secret`."""
    name: str | None = None

    def show(self) -> str:
        """Return the name for messages."""
        return self.location

    def identity(self) -> dict[str, Any]:
        """Identify this connection, without secrets."""
        return {"type": self.kind, "location": self.location}


@dataclass(frozen=True, slots=True)
class ObjectConnection:
    """A source or sink that the caller made. The caller closes it."""

    end: Any
    kind: ClassVar[str] = "object"
    name: ClassVar[None] = None

    def show(self) -> str:
        """Return the name for messages: the object's ``location``, or its class."""
        return str(getattr(self.end, "location", type(self.end).__name__))

    def identity(self) -> dict[str, Any]:
        """Identify it by its attribute ``location``, else by its class."""
        kind = type(self.end)
        named = f"{kind.__module__}.{kind.__qualname__}"
        return {"type": "object", "location": getattr(self.end, "location", named)}


Connection = (
    DatabaseConnection
    | FilesConnection
    | S3Connection
    | NullConnection
    | AdapterConnection
    | ObjectConnection
)

Place: TypeAlias = str | Mapping[str, Any] | Connection | SqlalchemyUrl | SqlalchemyEngine
"""A URL, a connection document, a parsed one, or SQLAlchemy's URL or Engine."""


@without_locals
def parse_connection(document: Any, root: str = "$") -> Connection:
    """Return the connection of a document or URL (SQLAlchemy's too), or wrap a source or sink
    object of the caller.

    The adapter of its kind parses it; a connection stays as it is. Raises `ConfigError` with the
    JSON path.
    """
    if isinstance(document, Connection):
        return document
    server = sqlalchemy_server(document, root)
    if server is not None:
        return _server_at(server)
    if isinstance(document, str):
        scheme = _SCHEME.match(document)
        kind = scheme_of(scheme["kind"]) if scheme else "file"
        return _parsed(document, kind, root, root)
    if are_frames(document):
        frames: Connection = frames_adapter().connection(document, root)
        return frames
    if isinstance(document, Mapping):
        without = IGNORED_IN_CONNECTIONS | {SCHEMA}
        kept = {key: value for key, value in document.items() if key not in without}
        if "type" not in kept and _means_frames(kept):
            name = next(name for name, value in kept.items() if not _is_frame(value))
            raise ConfigError(
                f"{root}.{name}: expected a table in memory, not {type(kept[name]).__name__}.",
                path=f"{root}.{name}",
                remedy="Give a table of Arrow, pandas or polars (a lazy one collected), a DuckDB "
                "relation, or an iterator of record batches; or a connection document with its "
                "type.",
            )
        if not isinstance(kept.get("type"), str):
            raise ConfigError(
                f"{root}.type: expected one of {', '.join(known_kinds())}.",
                path=f"{root}.type",
                remedy="For tables in memory give {name: table}, with at least one.",
            )
        return _parsed(kept, kept["type"].lower(), root, f"{root}.type")
    if callable(getattr(document, "check", None)) and callable(getattr(document, "close", None)):
        return ObjectConnection(document)
    if any(hasattr(document, name) for name in ARROW_STREAMS):
        raise ConfigError(
            f"{root}: a table in memory needs a name.",
            path=root,
            remedy='Give it as {"name": table}.',
        )
    raise ConfigError(f"{root}: expected a document, a URL, or a source or sink object.", path=root)


def are_frames(document: Any) -> bool:
    """Return True for a mapping of names to tables in memory, which is no connection document."""
    return (
        isinstance(document, Mapping) and bool(document) and all(map(_is_frame, document.values()))
    )


def _means_frames(document: Mapping[str, Any]) -> bool:
    """Return whether a mapping seems to be one of tables: no value is one of a document's."""
    of_documents = (str, int, float, Mapping, type(None))
    unlike = not any(isinstance(value, of_documents) for value in document.values())
    unlike |= not document.keys() & KEYS_OF_DOCUMENTS
    return bool(document) and (unlike or any(map(_is_frame, document.values())))


def _is_frame(value: Any) -> bool:
    batches = isinstance(value, Iterator) or callable(value)
    return batches or any(hasattr(value, name) for name in ARROW_STREAMS)


KEYS_OF_DOCUMENTS = frozenset(
    one.alias or name
    for model in (ServerDocument, FilesDocument)
    for name, one in model.model_fields.items()
)

ARROW_STREAMS = ("__arrow_c_stream__", "__arrow_c_array__")
"""What a table or a batch of any library has that speaks Arrow.
https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html"""

_SCHEME = re.compile(r"(?P<kind>[^:/@]*)://")


def _parsed(document: Any, kind: str, root: str, path: str) -> Connection:
    parsed: Connection = adapter_of(kind, path).connection(document, root)
    return parsed


def server_connection(document: Mapping[str, Any] | str, root: str) -> DatabaseConnection:
    """Parse the document or URL of a database server."""
    if isinstance(document, str):
        return _server_at(parse_server_url(document, root))
    return _server(dict(document), SCHEMES[document["type"].lower()], root)


def files_connection(document: Mapping[str, Any] | str, root: str) -> Connection:
    """Parse the document, URL or path of a folder or bucket."""
    if isinstance(document, str):
        scheme = document.partition("://")[0].lower() if "://" in document else ""
        if scheme not in ("", "file", "files", "s3"):
            return _remote_url(document, scheme, {}, None, root)
        if scheme == "files":
            raise ConfigError(f"{root}: a URL of files begins with file:// or s3://.", path=root)
        return _store_url(document, scheme, root)
    kind = document["type"].lower()
    if kind not in ("files", "s3"):
        raise ConfigError(
            f"{root}.type: a folder has type files and spec.files, a bucket has spec.s3.",
            path=f"{root}.type",
        )
    found = _files(validate(FilesDocument, document, root), root)
    if kind == "s3" and not isinstance(found, S3Connection):
        raise ConfigError(
            f"{root}.spec: a connection of type s3 has spec.s3.",
            path=f"{root}.spec",
            remedy="Write type files for a folder.",
        )
    return found


def null_connection(document: Mapping[str, Any] | str, root: str) -> NullConnection:
    """Parse the URL of the null target, which discards all rows."""
    if not isinstance(document, str):
        raise ConfigError(f"{root}.type: write the URL null://.", path=f"{root}.type")
    return NullConnection()


def _server(document: dict[str, Any], kind: str, root: str) -> DatabaseConnection:
    spec = document.pop("spec", None)
    if isinstance(spec, Mapping) and isinstance(spec.get("database"), Mapping):
        _demand_one_kind(spec, {"database"}, f"{root}.spec")
        root += ".spec.database"
        for key, value in spec["database"].items():
            if document.setdefault(key, value) != value:
                raise given_twice(f"{root}.{key}", "or it contradicts the key given above 'spec'")
    elif spec is not None:
        raise ConfigError(f"{root}.spec: expected {{'database': ...}}.", path=f"{root}.spec")
    server = validate(ServerDocument, document, root)
    if server.database and server.default_database and server.database != server.default_database:
        raise given_twice(f"{root}.defaultDatabase", "'database' names another database")
    if server.schema_ and kind != "postgresql":
        raise ConfigError(
            f"{root}.schema: {kind} has databases, but no schemas.",
            path=f"{root}.schema",
            remedy="Leave it out, or use database.",
        )
    return DatabaseConnection(
        kind=kind,  # type: ignore[arg-type]
        host=server.host,
        port=server.port or PORTS[kind],
        username=server.username,
        password=None if server.password is None else Secret(server.password),
        database=server.database or server.default_database,
        schema=server.schema_,
        ssl=server.ssl or Ssl(),
        ssh=None if server.ssh is None else _ssh(server.ssh),
        name=server.name,
    )


def _ssh(document: SshDocument) -> Ssh:
    """Return the settings with password, key and passphrase wrapped in `Secret`."""
    secrets = {
        name: None if value is None else Secret(value)
        for name in ("password", "private_key", "passphrase")
        for value in [getattr(document, name)]
    }
    return Ssh(
        document.host, document.username, document.port, known_hosts=document.known_hosts, **secrets
    )


def _secret(value: str | None) -> Secret | None:
    return None if not value else Secret(value)


def _demand_one_kind(spec: Mapping[str, Any], kinds: set[str], path: str) -> None:
    """Raise `ConfigError` if a spec describes another kind of place too."""
    others = sorted(key for key, value in spec.items() if value is not None and key not in kinds)
    if others:
        raise ConfigError(
            f"{path}.{others[0]}: a connection has one kind of place.",
            path=f"{path}.{others[0]}",
            remedy="Leave it out, or define another connection.",
        )


def _storage(storage: StorageDocument, root: str) -> None:
    """Raise `ConfigError` if the keys of a `storage_config` contradict its provider."""
    url = storage.uri.startswith("s3://")
    if (storage.provider == "s3") != url:
        expected = "s3://bucket/prefix" if storage.provider == "s3" else "a path"
        raise ConfigError(
            f"{root}.uri: provider '{storage.provider}' expects {expected}.", path=f"{root}.uri"
        )
    _demand_reference(storage.credentials_ref, f"{root}.credentials_ref")
    if storage.provider == "local":
        for key in ("region", "endpoint", "credentials_ref"):
            if getattr(storage, key) is not None:
                raise ConfigError(
                    f"{root}.{key}: this key is for buckets, and provider is 'local'.",
                    path=f"{root}.{key}",
                    remedy="Leave it out.",
                )


def _demand_reference(reference: str | None, path: str) -> None:
    """Raise `ConfigError` for credentials in the place of a reference to them."""
    if (reference or "").lstrip().startswith("{"):
        raise ConfigError(
            f"{path}: expected a reference, not the credentials themselves.",
            path=path,
            remedy="Write env:NAME or file:PATH, or register a resolver for your own scheme.",
        )


def below(base: str, scope: str | None, path: str) -> str:
    """Return the place below a folder or prefix. Raises `ConfigError` for one that leads out."""
    inner = (scope or "").strip("/").removeprefix("./").strip("/")
    if (scope or "").startswith(("/", "~")) or ".." in inner.split("/"):
        raise ConfigError(
            f"{path}: expected a path below the connection's own place.",
            path=path,
            remedy="Write it without '..' and without a '/' in front.",
        )
    if not inner:
        return base
    return f"{base.rstrip('/')}/{inner}" if base else inner


def _files(files: FilesDocument, root: str) -> Connection:
    if files.spec is not None and files.storage_config is not None:
        raise ConfigError(
            f"{root}.storage_config: 'spec' already says where the files are.",
            path=f"{root}.storage_config",
            remedy="Give only one of them.",
        )
    if files.spec is not None and files.spec.files is not None:
        _demand_one_kind({"s3": files.spec.s3, "store": files.spec.store}, set(), f"{root}.spec")
    if files.spec is not None and files.spec.s3 is not None:
        _demand_one_kind({"store": files.spec.store}, set(), f"{root}.spec")
    if files.storage_config is not None:
        storage = files.storage_config
        _storage(storage, f"{root}.storage_config")
        if storage.provider == "local":
            return FilesConnection(storage.uri, files.file_format, files.name)
        parts = urlsplit(storage.uri)
        return S3Connection(
            parts.netloc,
            parts.path.strip("/"),
            region=storage.region,
            endpoint=storage.endpoint,
            credentials_ref=storage.credentials_ref,
            file_format=files.file_format,
            name=files.name,
        )
    if files.spec is not None and files.spec.files is not None:
        folder = files.spec.files
        base = below(folder.base_path, folder.scope_path, f"{root}.spec.files.scopePath")
        return FilesConnection(base, files.file_format, files.name)
    if files.spec is not None and files.spec.s3 is not None:
        s3 = files.spec.s3
        scope = s3.scope or ScopeDocument()
        keys = s3.credentials
        reference = f"{root}.spec.s3.credentials.credentialsRef"
        _demand_reference(keys.credentials_ref if keys else None, reference)
        return S3Connection(
            scope.bucket,
            scope.prefix,
            region=s3.region,
            endpoint=s3.endpoint,
            access_key=_secret(keys.access_key if keys else None),
            secret_key=_secret(keys.secret_key if keys else None),
            session_token=_secret(keys.session_token if keys else None),
            credentials_ref=keys.credentials_ref if keys else None,
            file_format=files.file_format,
            name=files.name,
            credentials_path=reference,
        )
    if files.spec is not None and files.spec.store is not None:
        store, path = files.spec.store, f"{root}.spec.store.url"
        scheme = store.url.partition("://")[0].lower() if "://" in store.url else ""
        if scheme in ("", "file", "s3"):
            raise ConfigError(
                f"{path}: a folder needs spec.files, a bucket needs spec.s3.", path=path
            )
        adapter_of(scheme, path)
        made = _remote_url(store.url, scheme, store.storage_options, files.file_format, path)
        return replace(made, name=files.name)
    raise ConfigError(
        f"{root}.spec: expected spec.files, spec.s3, spec.store or storage_config.",
        path=f"{root}.spec",
    )


# URLs


def _server_at(url: ServerUrl) -> DatabaseConnection:
    return DatabaseConnection(
        kind=url.kind,  # type: ignore[arg-type]
        host=url.host or "127.0.0.1",
        port=url.port or PORTS[url.kind],
        username=url.username or ("postgres" if url.kind == "postgresql" else "root"),
        password=url.password,
        database=url.database,
        schema=url.parameters.get("schema"),
        ssl=url.tls,
        unix_socket=url.parameters.get("socket"),
    )


def _demand_path(text: str, root: str) -> None:
    """Raise `ConfigError` for a text that names a server, whose scheme was left out.

    The text is not shown: it may hold a password.
    """
    first = text.partition("/")[0]
    if re.search(r":\d+$", first) or re.search(r"[^/]:[^/]*@", first):
        raise ConfigError(
            f"{root}: this looks like the address of a server, but names no type of server.",
            path=root,
            remedy=(
                "Write mysql://, mariadb:// or postgresql:// in front. If it is a folder of "
                "that name, write ./ in front."
            ),
        )


def _store_url(url: str, scheme: str, root: str) -> Connection:
    if not scheme:
        _demand_path(url, root)
    parts = urlsplit(url) if scheme else None
    query = url_parameters(parts.query, root) if parts else {}
    known_parameters(
        query, {"format", "endpoint", "region"} if scheme == "s3" else {"format"}, root
    )
    if parts is not None and scheme == "s3":
        return S3Connection(
            parts.netloc,
            parts.path.strip("/"),
            region=query.get("region"),
            endpoint=query.get("endpoint"),
            file_format=query.get("format"),
        )
    path = unquote(parts.path) if parts else str(Path(url))
    return FilesConnection(path, query.get("format"))


def _remote_url(
    url: str, protocol: str, options: Mapping[str, Any], file_format: str | None, root: str
) -> FilesConnection:
    """Parse the URL of an fsspec filesystem; a password in the URL becomes a storage option."""
    parts = urlsplit(url)
    query = url_parameters(parts.query, root)
    known_parameters(query, {"format"}, root)
    given = dict(options)
    if parts.password is not None:
        if protocol in ("http", "https"):
            raise ConfigError(
                f"{root}: an http URL must not contain a password.",
                path=root,
                remedy="Give a document with spec.store.storageOptions and client_kwargs.",
            )
        given.setdefault("password", unquote(parts.password))
    account = f"{parts.username}@" if parts.username else ""
    netloc = account + parts.netloc.rpartition("@")[2]
    return FilesConnection(
        f"{protocol}://{netloc}{unquote(parts.path)}",
        query.get("format") or file_format,
        protocol=protocol,
        storage_options={
            key: Secret(value) if isinstance(value, str) else value for key, value in given.items()
        },
    )
