"""Connection documents and URLs, of every form, brought to one form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import Field, model_validator

from streams_engine.config.secret import Secret
from streams_engine.config.tracebacks import without_locals
from streams_engine.config.validation import IGNORED, Document, validate
from streams_engine.errors import ConfigError

__all__ = [
    "Connection",
    "DatabaseConnection",
    "FilesConnection",
    "NullConnection",
    "S3Connection",
    "Ssh",
    "Ssl",
    "parse_connection",
]

Kind = Literal["mysql", "mariadb", "postgresql"]
PORTS: Mapping[str, int] = {"mysql": 3306, "mariadb": 3306, "postgresql": 5432}
SCHEMES: Mapping[str, str] = {
    "mysql": "mysql",
    "mariadb": "mariadb",
    "postgres": "postgresql",
    "postgresql": "postgresql",
}
SslMode = Literal["disabled", "prefer", "require", "verify-ca", "verify-full"]


class Ssl(Document):
    """TLS: the mode, and certificates as PEM text or as a path."""

    mode: SslMode = "prefer"
    """`prefer`: TLS where the server offers it, but none for MySQL on this machine. `verify-ca`:
    with a certificate of a known authority; `verify-full`: and of this very host. `require` with a
    `ca` is `verify-ca`."""
    ca: str | None = None
    """The certificate of the authority, as PEM text or as a path."""
    client_cert: str | None = Field(None, alias="client_cert")
    """The client's certificate, as PEM text or as a path."""
    client_key: str | None = Field(None, alias="client_key", repr=False)
    """Its private key, as PEM text or as a path."""
    allow_clear_text: bool = False
    """Send the password as it is, without TLS, to a server that asks for it so (LDAP, PAM)."""

    @model_validator(mode="after")
    def _fits(self) -> Ssl:
        if self.mode == "disabled" and (self.ca or self.client_cert or self.client_key):
            raise ValueError("mode 'disabled' has no use for certificates")
        if self.client_key and not self.client_cert:
            raise ValueError("'client_key' needs 'client_cert'")
        return self


@dataclass(frozen=True, slots=True)
class Ssh:
    """A server that the database is reached through."""

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
        """Return what messages call it, without account and secrets; ``database`` and ``schema``
        stand in place of its own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        where = f"{host}:{self.port}" if self.unix_socket is None else f"({self.unix_socket})"
        schema = schema or self.schema
        shown = f"{self.kind}://{where}/{database or self.database or ''}"
        return f"{shown}, schema {schema}" if schema else shown

    def identity(self) -> dict[str, Any]:
        """What names this connection, without secrets."""
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
    """A local folder."""

    base_path: str
    file_format: str | None = None
    name: str | None = None

    def show(self, path: str | None = None) -> str:
        """Return what messages call it; ``path`` stands in place of its own."""
        return path or self.base_path

    def identity(self) -> dict[str, Any]:
        """What names this connection."""
        return {"type": "files", "basePath": self.base_path, "fileFormat": self.file_format}


@dataclass(frozen=True, slots=True)
class S3Connection:
    """A bucket of an S3-compatible store."""

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

    def show(self, bucket: str | None = None) -> str:
        """Return what messages call it, without secrets; ``bucket`` stands in place of its own."""
        parts = (bucket or self.bucket or "", self.prefix)
        return "s3://" + "/".join(part for part in parts if part)

    def identity(self) -> dict[str, Any]:
        """What names this connection, without secrets."""
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

    name: str | None = None

    def show(self) -> str:
        """Return what messages call it."""
        return "null://"

    def identity(self) -> dict[str, Any]:
        """What names this connection."""
        return {"type": "null"}


Connection = DatabaseConnection | FilesConnection | S3Connection | NullConnection


class _Ssh(Document):
    host: str
    """The host that is logged in to."""
    port: int = Field(22, ge=1, le=65535)
    """Its port."""
    username: str
    """The account on it."""
    password: str | None = Field(None, repr=False)
    """Its password, or a reference. This, or `privateKey`, or both."""
    private_key: str | None = Field(None, repr=False)
    """A PEM or OpenSSH key as text, as a path, or a reference."""
    passphrase: str | None = Field(None, repr=False)
    """What the key is encrypted with, or a reference."""
    known_hosts: str | None = None
    """Lines of a known_hosts file, or its path; null: the account's own file."""

    @model_validator(mode="after")
    def _proves_itself(self) -> _Ssh:
        if self.password is None and self.private_key is None:
            raise ValueError("expected 'password' or 'privateKey'")
        if self.passphrase is not None and self.private_key is None:
            raise ValueError("'passphrase' needs 'privateKey'")
        return self

    def settings(self) -> Ssh:
        """With its secrets held as such."""
        secrets = {
            name: None if value is None else Secret(value)
            for name in ("password", "private_key", "passphrase")
            for value in [getattr(self, name)]
        }
        return Ssh(self.host, self.username, self.port, known_hosts=self.known_hosts, **secrets)


class _Server(Document):
    host: str
    """The host name or address."""
    port: int | None = Field(None, ge=1, le=65535)
    """The port; null: 3306 for MySQL and MariaDB, 5432 for PostgreSQL."""
    username: str
    """The account."""
    password: str | None = Field(None, repr=False)
    """Its password, or a reference."""
    database: str | None = None
    """The database. MySQL without it: every database of the server. PostgreSQL without it:
    `postgres`."""
    default_database: str | None = None
    """The same as `database`."""
    schema_: str | None = Field(None, alias="schema")
    """PostgreSQL: the schema; null: every schema."""
    ssl: Ssl | None = None
    """TLS."""
    ssh: _Ssh | None = None
    """A server that the database is reached through."""
    name: str | None = None
    """What a stream config may call it. An `Engine` requires it, and it is unique there."""
    type: str
    """mysql, mariadb, postgresql or postgres, in any letter case."""


class _Credentials(Document):
    access_key: str = Field(repr=False)
    """The access key id, or a reference."""
    secret_key: str = Field(repr=False)
    """The secret access key, or a reference."""
    session_token: str | None = Field(None, repr=False)
    """The session token, or a reference."""


class _Scope(Document):
    bucket: str | None = None
    """The bucket."""
    prefix: str = ""
    """What the names of all objects begin with."""


class _S3(Document):
    region: str | None = None
    """The region."""
    endpoint: str | None = None
    """The URL of a store that is not Amazon's."""
    credentials: _Credentials | None = None
    """The keys; null: what AWS's own chain finds."""
    scope: _Scope | None = None
    """Where in the store."""


class _Files(Document):
    base_path: str
    """The folder, or one file."""


class _FilesSpec(Document):
    files: _Files | None = None
    """A folder of this machine."""
    s3: _S3 | None = None
    """A bucket."""


class _Storage(Document):
    provider: Literal["s3", "local"]
    """A bucket, or a folder of this machine."""
    uri: str
    """`s3://bucket/prefix`, or a path."""
    region: str | None = None
    """The region."""
    endpoint: str | None = None
    """The URL of a store that is not Amazon's."""
    credentials_ref: str | None = Field(None, alias="credentials_ref")
    """A reference to `{"accessKey": ..., "secretKey": ..., "sessionToken": ...}` as JSON;
    null: what AWS's own chain finds."""


class _FilesDocument(Document):
    type: str
    """files, in any letter case."""
    name: str | None = None
    """What a stream config may call it. An `Engine` requires it, and it is unique there."""
    spec: _FilesSpec | None = None
    """Where the files are: this, or `storage_config`."""
    file_format: Literal["csv", "jsonl", "parquet"] | None = Field(None, alias="file_format")
    """The format of the files, and of a target whose stream names none; null: what the files'
    names say, and Parquet."""
    storage_config: _Storage | None = Field(None, alias="storage_config")
    """Where the files are: this, or `spec`."""


@without_locals
def parse_connection(document: Mapping[str, Any] | str, root: str = "$") -> Connection:
    """A connection from its document or URL. Raises `ConfigError` with the JSON path."""
    if isinstance(document, str):
        return _from_url(document, root)
    if not isinstance(document, Mapping):
        raise ConfigError(f"{root}: a connection is a document or a URL.", path=root)
    kept = {key: value for key, value in document.items() if key not in IGNORED}
    kind = kept.get("type")
    if not isinstance(kind, str):
        raise ConfigError(
            f"{root}.type: expected mysql, mariadb, postgresql or files.", path=f"{root}.type"
        )
    if kind.lower() in SCHEMES:
        return _server(kept, SCHEMES[kind.lower()], root)
    if kind.lower() == "files":
        return _files(validate(_FilesDocument, kept, root), root)
    raise ConfigError(
        f"{root}.type: '{kind}' is none of mysql, mariadb, postgresql, postgres, files.",
        path=f"{root}.type",
    )


def _server(document: dict[str, Any], kind: str, root: str) -> DatabaseConnection:
    spec = document.pop("spec", None)
    if isinstance(spec, Mapping) and isinstance(spec.get("database"), Mapping):
        _demand_one_kind(spec, {"database"}, f"{root}.spec")
        root += ".spec.database"
        for key, value in spec["database"].items():
            if document.setdefault(key, value) != value:
                raise _twice(f"{root}.{key}", "it is given above 'spec' too, otherwise")
    elif spec is not None:
        raise ConfigError(f"{root}.spec: expected {{'database': ...}}.", path=f"{root}.spec")
    found = validate(_Server, document, root)
    if found.database and found.default_database and found.database != found.default_database:
        raise _twice(f"{root}.defaultDatabase", "'database' names another one")
    if found.schema_ and kind != "postgresql":
        raise ConfigError(
            f"{root}.schema: {kind} has databases and no schemas.",
            path=f"{root}.schema",
            remedy="Leave it out, or say database.",
        )
    return DatabaseConnection(
        kind=kind,  # type: ignore[arg-type]
        host=found.host,
        port=found.port or PORTS[kind],
        username=found.username,
        password=None if found.password is None else Secret(found.password),
        database=found.database or found.default_database,
        schema=found.schema_,
        ssl=found.ssl or Ssl(),
        ssh=None if found.ssh is None else found.ssh.settings(),
        name=found.name,
    )


def _twice(path: str, message: str) -> ConfigError:
    """What two keys say otherwise; values stay out, for they may be secrets."""
    return ConfigError(f"{path}: {message}.", path=path, remedy="Give it once.")


def _demand_one_kind(spec: Mapping[str, Any], kinds: set[str], path: str) -> None:
    """Raise `ConfigError` where a spec describes another kind of place too."""
    others = sorted(key for key, value in spec.items() if value is not None and key not in kinds)
    if others:
        raise ConfigError(
            f"{path}.{others[0]}: a connection leads to one kind of place.",
            path=f"{path}.{others[0]}",
            remedy="Leave it out, or make a connection of its own.",
        )


def _storage(storage: _Storage, root: str) -> None:
    """Raise `ConfigError` where the keys of a `storage_config` contradict its provider."""
    url = storage.uri.startswith("s3://")
    if (storage.provider == "s3") != url:
        expected = "s3://bucket/prefix" if storage.provider == "s3" else "a path"
        raise ConfigError(
            f"{root}.uri: provider '{storage.provider}' expects {expected}.", path=f"{root}.uri"
        )
    if (storage.credentials_ref or "").lstrip().startswith("{"):
        raise ConfigError(
            f"{root}.credentials_ref: it is a reference, not the credentials themselves.",
            path=f"{root}.credentials_ref",
            remedy="Write env:NAME or file:PATH, or register a resolver for a scheme of your own.",
        )
    if storage.provider == "local":
        for key in ("region", "endpoint", "credentials_ref"):
            if getattr(storage, key) is not None:
                raise ConfigError(
                    f"{root}.{key}: it is of a bucket, and provider is 'local'.",
                    path=f"{root}.{key}",
                    remedy="Leave it out.",
                )


def _files(found: _FilesDocument, root: str) -> Connection:
    if found.spec is not None and found.storage_config is not None:
        raise ConfigError(
            f"{root}.storage_config: 'spec' says where the files are already.",
            path=f"{root}.storage_config",
            remedy="Give one of them.",
        )
    if found.spec is not None and found.spec.files is not None:
        _demand_one_kind({"s3": found.spec.s3}, set(), f"{root}.spec")
    if found.storage_config is not None:
        storage = found.storage_config
        _storage(storage, f"{root}.storage_config")
        if storage.provider == "local":
            return FilesConnection(storage.uri, found.file_format, found.name)
        parts = urlsplit(storage.uri)
        return S3Connection(
            parts.netloc,
            parts.path.strip("/"),
            region=storage.region,
            endpoint=storage.endpoint,
            credentials_ref=storage.credentials_ref,
            file_format=found.file_format,
            name=found.name,
        )
    if found.spec is not None and found.spec.files is not None:
        return FilesConnection(found.spec.files.base_path, found.file_format, found.name)
    if found.spec is not None and found.spec.s3 is not None:
        s3 = found.spec.s3
        scope = s3.scope or _Scope()
        keys = s3.credentials
        return S3Connection(
            scope.bucket,
            scope.prefix,
            region=s3.region,
            endpoint=s3.endpoint,
            access_key=Secret(keys.access_key) if keys else None,
            secret_key=Secret(keys.secret_key) if keys else None,
            session_token=Secret(keys.session_token) if keys and keys.session_token else None,
            file_format=found.file_format,
            name=found.name,
        )
    raise ConfigError(
        f"{root}.spec: expected spec.files, spec.s3 or storage_config.", path=f"{root}.spec"
    )


# URLs

_SSL_MODES: Mapping[str, str] = {
    "disable": "disabled",
    "disabled": "disabled",
    "allow": "prefer",
    "prefer": "prefer",
    "preferred": "prefer",
    "require": "require",
    "required": "require",
    "verify-ca": "verify-ca",
    "verify_ca": "verify-ca",
    "verify-full": "verify-full",
    "verify_identity": "verify-full",
}
_SAME = (("sslmode", "ssl-mode"), ("sslrootcert", "sslca"), ("unix_socket", "host"))
"""URL parameters that are one setting under two names."""
_SERVER_QUERY = {
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "sslca",
    "sslcert",
    "sslkey",
    "schema",
    "host",
    "unix_socket",
}


def _from_url(url: str, root: str) -> Connection:
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    if scheme in SCHEMES:
        return _server_url(url, SCHEMES[scheme], root)
    if scheme == "null":
        return NullConnection()
    if scheme in {"s3", "file", ""}:
        return _store_url(url, scheme, root)
    raise ConfigError(
        f"{root}: '{scheme}://' is no known kind of URL.",
        path=root,
        remedy="Use mysql://, mariadb://, postgresql://, file://, s3://, null:// or a path.",
    )


def _server_url(url: str, kind: str, root: str) -> DatabaseConnection:
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError:
        raise ConfigError(
            f"{root}: the {kind} URL is malformed.",
            path=root,
            remedy="It reads kind://user:password@host:port/database, special characters "
            "percent-encoded.",
        ) from None
    query = _parameters(parts.query, root)
    _known(query, _SERVER_QUERY, root)
    for keys in _SAME:
        if len({query[key] for key in keys if key in query}) > 1:
            raise _twice(root, f"the URL parameters {' and '.join(keys)} mean the same, and differ")
    if query.get("schema") and kind != "postgresql":
        raise ConfigError(
            f"{root}: {kind} has databases and no schemas.",
            path=root,
            remedy="Leave the URL parameter schema out.",
        )
    mode = query.get("sslmode") or query.get("ssl-mode") or "prefer"
    if mode.lower() not in _SSL_MODES:
        raise ConfigError(
            f"{root}: sslmode '{mode}' is none of {', '.join(sorted(set(_SSL_MODES)))}.", path=root
        )
    socket = query.get("unix_socket") or query.get("host")
    return DatabaseConnection(
        kind=kind,  # type: ignore[arg-type]
        host=host or "127.0.0.1",
        port=port or PORTS[kind],
        username=unquote(parts.username or ("root" if kind != "postgresql" else "postgres")),
        password=None if parts.password is None else Secret(unquote(parts.password)),
        database=unquote(parts.path.lstrip("/")) or None,
        schema=query.get("schema"),
        ssl=_url_tls(query, _SSL_MODES[mode.lower()], root),
        unix_socket=socket,
    )


def _url_tls(query: Mapping[str, str], mode: str, root: str) -> Ssl:
    given = {
        "mode": mode,
        "ca": query.get("sslrootcert") or query.get("sslca"),
        "client_cert": query.get("sslcert"),
        "client_key": query.get("sslkey"),
    }
    return validate(Ssl, given, root)


def _parameters(text: str, root: str) -> dict[str, str]:
    """A URL's parameters. Raises `ConfigError` where one is given twice, otherwise."""
    found: dict[str, str] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        if found.setdefault(key, value) != value:
            raise _twice(root, f"the URL parameter {key} is given twice")
    return found


def _demand_path(text: str, root: str) -> None:
    """Raise `ConfigError` for a text that names a server, whose scheme was left out.

    The text is not shown: it may hold a password.
    """
    first = text.partition("/")[0]
    if re.search(r":\d+$", first) or re.search(r"[^/]:[^/]*@", first):
        raise ConfigError(
            f"{root}: it looks like the address of a server, without the kind of server.",
            path=root,
            remedy="Write mysql://, mariadb:// or postgresql:// before it; for a folder of that "
            "name write ./ before it.",
        )


def _store_url(url: str, scheme: str, root: str) -> Connection:
    if not scheme:
        _demand_path(url, root)
    parts = urlsplit(url) if scheme else None
    query = _parameters(parts.query, root) if parts else {}
    _known(query, {"format", "endpoint", "region"} if scheme == "s3" else {"format"}, root)
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


def _known(query: Mapping[str, str], known: set[str], root: str) -> None:
    unknown = sorted(set(query) - known)
    if unknown:
        raise ConfigError(
            f"{root}: unknown URL parameter {', '.join(unknown)}.",
            path=root,
            remedy=f"Known are: {', '.join(sorted(known))}.",
        )
