"""Connection documents: their keys, types and defaults."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidatorFunctionWrapHandler, field_validator, model_validator

from streams_engine.config.validation import Document

__all__ = [
    "FileFormatName",
    "FilesDocument",
    "ServerDocument",
    "SshDocument",
    "Ssl",
    "StorageDocument",
]


FileFormatName = Literal["csv", "json", "jsonl", "parquet"]
SslMode = Literal["disabled", "prefer", "require", "verify-ca", "verify-full"]


class Ssl(Document):
    """TLS: the mode, and certificates as PEM text or as a path."""

    mode: SslMode = "prefer"
    """`prefer`: TLS if the server offers it, but none for MySQL on this machine. `verify-ca`: the
    server's certificate must be of a known authority; `verify-full`: it must also name this host.
    `require` with a `ca` means `verify-ca`."""
    ca: str | None = None
    """The certificate of the authority, as PEM text or as a path."""
    client_cert: str | None = Field(None, alias="client_cert")
    """The client's certificate, as PEM text or as a path."""
    client_key: str | None = Field(None, alias="client_key", repr=False)
    """The client's private key, as PEM text or as a path."""
    allow_clear_text: bool = False
    """Send the password in clear text without TLS if the server asks for that (LDAP, PAM)."""

    @model_validator(mode="after")
    def _fits(self) -> Ssl:
        if self.mode == "disabled" and (self.ca or self.client_cert or self.client_key):
            raise ValueError("mode 'disabled' does not use certificates")
        if self.client_key and not self.client_cert:
            raise ValueError("'client_key' needs 'client_cert'")
        return self


class SshDocument(Document):
    host: str
    """The host of the SSH server."""
    port: int = Field(22, ge=1, le=65535)
    """The port of the SSH server."""
    username: str
    """The account on the SSH server."""
    password: str | None = Field(None, repr=False)
    """The account's password, or a reference to it. This, `privateKey`, or both."""
    private_key: str | None = Field(None, repr=False)
    """A PEM or OpenSSH key: its text, its path, or a reference to it."""
    passphrase: str | None = Field(None, repr=False)
    """The passphrase of the key, or a reference to it."""
    known_hosts: str | None = None
    """Lines of a known_hosts file, or the path of one; null: the account's own file."""

    @model_validator(mode="after")
    def _proves_itself(self) -> SshDocument:
        if self.password is None and self.private_key is None:
            raise ValueError("expected 'password' or 'privateKey'")
        if self.passphrase is not None and self.private_key is None:
            raise ValueError("'passphrase' needs 'privateKey'")
        return self


class ServerDocument(Document):
    host: str
    """The host name or address."""
    port: int | None = Field(None, ge=1, le=65535)
    """The port; null: 3306 for MySQL and MariaDB, 5432 for PostgreSQL."""
    username: str
    """The account."""
    password: str | None = Field(None, repr=False)
    """The account's password, or a reference to it. In Python also a callable without arguments
    that returns it; it is called at each connection, by several threads."""
    database: str | None = None
    """The database. null: on MySQL and MariaDB all databases of the server, on PostgreSQL
    `postgres`."""
    default_database: str | None = None
    """The same as `database`."""
    schema_: str | None = Field(None, alias="schema")
    """PostgreSQL: the schema; null: all schemas."""
    ssl: Ssl | None = None
    """The settings of TLS."""
    ssh: SshDocument | None = None
    """The SSH server through which the database is reached."""
    name: str | None = None
    """The name by which stream configs refer to it. An `Engine` requires one, and it is unique."""
    type: str
    """`mysql`, `mariadb`, `postgresql` or `postgres`, in any letter case."""

    @field_validator("password", mode="wrap")
    @classmethod
    def _text_or_callable(cls, given: Any, text: ValidatorFunctionWrapHandler) -> Any:
        return given if callable(given) else text(given)


class CredentialsDocument(Document):
    access_key: str | None = Field(None, repr=False)
    """The access key id, or a reference to it."""
    secret_key: str | None = Field(None, repr=False)
    """The secret access key, or a reference to it."""
    session_token: str | None = Field(None, repr=False)
    """The session token, or a reference to it."""
    credentials_ref: str | None = None
    """Instead of the keys: a reference to `{"accessKey": ..., "secretKey": ..., "sessionToken":
    ...}` as JSON. One without a scheme is resolved by `resolvers["default"]`."""

    @model_validator(mode="after")
    def _complete(self) -> CredentialsDocument:
        keys = [self.access_key, self.secret_key]
        if self.credentials_ref is None and None in keys:
            raise ValueError("expected 'accessKey' and 'secretKey', or 'credentialsRef'")
        if self.credentials_ref is not None and any([*keys, self.session_token]):
            raise ValueError("'credentialsRef' stands instead of the keys: give one of both")
        return self


class ScopeDocument(Document):
    bucket: str | None = None
    """The bucket."""
    prefix: str = ""
    """The prefix of all objects' names."""


class S3Document(Document):
    region: str | None = None
    """The region."""
    endpoint: str | None = None
    """The URL of a store other than Amazon's."""
    credentials: CredentialsDocument | None = None
    """The keys; null: those that AWS's default credential chain finds."""
    scope: ScopeDocument | None = None
    """The place in the store."""


class FolderDocument(Document):
    base_path: str
    """The folder, or one file."""
    scope_path: str | None = None
    """Only what lies below this path of the folder."""


class StoreDocument(Document):
    url: str
    """The URL of a folder or a file, such as `sftp://user@host/path` or `gs://bucket/path`."""
    storage_options: dict[str, Any] = Field(default_factory=dict, repr=False)
    """Options of the fsspec filesystem, under the names of its package; texts may be
    references."""


class FilesSpecDocument(Document):
    files: FolderDocument | None = None
    """A folder of this machine."""
    s3: S3Document | None = None
    """A bucket."""
    store: StoreDocument | None = None
    """A place in any other fsspec filesystem."""


class StorageDocument(Document):
    provider: Literal["s3", "local"]
    """A bucket, or a folder of this machine."""
    uri: str
    """`s3://bucket/prefix`, or a path."""
    region: str | None = None
    """The region."""
    endpoint: str | None = None
    """The URL of a store other than Amazon's."""
    credentials_ref: str | None = Field(None, alias="credentials_ref")
    """A reference to `{"accessKey": ..., "secretKey": ..., "sessionToken": ...}` as JSON;
    null: those that AWS's default credential chain finds. A reference without a scheme is resolved
    by `resolvers["default"]`."""


class FilesDocument(Document):
    type: str
    """`files`, or `s3` for a bucket, in any letter case."""
    name: str | None = None
    """The name by which stream configs refer to it. An `Engine` requires one, and it is unique."""
    spec: FilesSpecDocument | None = None
    """Where the files are: this, or `storage_config`."""
    file_format: FileFormatName | None = Field(None, alias="file_format")
    """The format of the files; for a target only if the stream document names none. null: a source
    goes by the endings of the files, a target writes Parquet."""
    storage_config: StorageDocument | None = Field(None, alias="storage_config")
    """Where the files are: this, or `spec`."""
