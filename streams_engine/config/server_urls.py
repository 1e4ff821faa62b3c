"""URLs of database servers: this library's own, and SQLAlchemy's, as text or as objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from streams_engine.config.connection_documents import Ssl
from streams_engine.config.secret import Secret
from streams_engine.config.validation import validate
from streams_engine.errors import ConfigError

__all__ = [
    "SCHEMES",
    "ServerUrl",
    "SqlalchemyEngine",
    "SqlalchemyUrl",
    "given_twice",
    "known_parameters",
    "parse_server_url",
    "scheme_of",
    "sqlalchemy_server",
    "url_parameters",
]

SCHEMES: Mapping[str, str] = {
    "mysql": "mysql",
    "mariadb": "mariadb",
    "postgres": "postgresql",
    "postgresql": "postgresql",
}
OF_MYSQL = ("aiomysql", "asyncmy", "cymysql", "mariadbconnector", "mysqlconnector", "mysqldb",
            "pymysql")  # fmt: skip
OF_POSTGRESQL = ("asyncpg", "pg8000", "psycopg", "psycopg2", "psycopg2cffi", "psycopg_async")
DRIVERS: Mapping[str, tuple[str, ...]] = {
    "mysql": OF_MYSQL,
    "mariadb": OF_MYSQL,
    "postgresql": OF_POSTGRESQL,
}
"""The drivers that SQLAlchemy names in a URL, by kind; pyodbc has parameters of ODBC.
https://docs.sqlalchemy.org/en/20/dialects/"""

MODES: Mapping[str, str] = {
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
NAMES: Mapping[str, tuple[str, ...]] = {
    "mode": ("sslmode", "ssl-mode", "ssl_mode", "ssl"),
    "ca": ("sslrootcert", "sslca", "ssl_ca"),
    "client_cert": ("sslcert", "ssl_cert"),
    "client_key": ("sslkey", "ssl_key"),
    "check_hostname": ("ssl_check_hostname",),
    "disabled": ("ssl_disabled",),
    "encoding": ("charset", "client_encoding"),
    "schema": ("schema",),
    "socket": ("unix_socket", "host"),
}
"""The parameters of a URL by what they set."""

REFUSED: Mapping[str, str] = {
    **dict.fromkeys(
        ("connect_timeout", "read_timeout", "write_timeout", "command_timeout", "timeout"),
        "Use the options heartbeatTimeout and reconnectTimeout.",
    ),
    **dict.fromkeys(
        ("options", "server_settings", "init_command", "sql_mode"),
        "A stream pins the settings of its sessions; for a search path give schema=NAME.",
    ),
    **dict.fromkeys(
        ("ssl_capath", "ssl_cipher", "sslcrl", "sslpassword"),
        "Give ssl_ca (PostgreSQL: sslrootcert), and a key without a passphrase.",
    ),
}
"""Parameters that mean something to a driver, and what to do instead."""


class SqlalchemyUrl(Protocol):
    """A `sqlalchemy.engine.URL`."""

    @property
    def drivername(self) -> str: ...

    @property
    def query(self) -> Mapping[str, Any]: ...


class SqlalchemyEngine(Protocol):
    """A `sqlalchemy.engine.Engine`, or the one for asyncio."""

    @property
    def url(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """The parts of a URL; None for those that it leaves out."""

    kind: str
    host: str | None
    port: int | None
    username: str | None
    password: Secret | None
    database: str | None
    parameters: Mapping[str, str]
    """By what they set, as in `NAMES`."""
    tls: Ssl


def scheme_of(scheme: str) -> str:
    """Return the scheme of a URL, without SQLAlchemy's driver if it is a database server's."""
    dialect = scheme.partition("+")[0].lower()
    return dialect if dialect in SCHEMES else scheme.lower()


def parse_server_url(url: str, root: str) -> ServerUrl:
    """Take a URL apart. Raises `ConfigError`, which does not show it."""
    scheme, _, rest = url.partition("://")
    kind = _kind(scheme, root)
    try:
        parts = urlsplit(f"{kind}://{rest}")  # no scheme has the _ of a driver's name
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError(
            f"{root}: the {kind} URL is malformed.",
            path=root,
            remedy=(
                "Expected kind://user:password@host:port/database, with special characters "
                "percent-encoded."
            ),
        ) from None
    query = url_parameters(parts.query, root)
    parameters = _settings(query, kind, root)
    return ServerUrl(
        kind,
        host,
        port,
        None if parts.username is None else unquote(parts.username),
        None if parts.password is None else Secret(unquote(parts.password)),
        unquote(parts.path.lstrip("/")) or None,
        parameters,
        _tls(parameters, query, root),
    )


def sqlalchemy_server(given: Any, root: str) -> ServerUrl | None:
    """Take SQLAlchemy's `URL` or `Engine` apart, known by its attributes; None for another thing.

    What `create_engine` was given beside the URL does not show. Raises `ConfigError`.
    """
    url: Any = given if hasattr(given, "drivername") else getattr(given, "url", None)
    if not hasattr(url, "drivername") or not isinstance(getattr(url, "query", None), Mapping):
        return None
    kind = _kind(url.drivername, root)
    for key, value in url.query.items():
        if not isinstance(value, str):
            raise given_twice(root, f"the URL parameter {key} is given twice")
    parameters = _settings(url.query, kind, root)
    if url.host is None and "socket" not in parameters:
        raise ConfigError(
            f"{root}: the URL of this SQLAlchemy object names no server.",
            path=root,
            remedy="What creator= or connect_args= names does not show: give a URL with a host.",
        )
    return ServerUrl(
        kind,
        url.host,
        url.port,
        url.username,
        _password(url.password),
        url.database or None,
        parameters,
        _tls(parameters, url.query, root),
    )


def _password(given: Any) -> Secret | None:
    """Wrap a password: a text, or an object whose text is asked for at each connection."""
    if given is None or isinstance(given, str):
        return None if given is None else Secret.literal(given)
    return Secret(lambda: str(given))


def _kind(scheme: str, root: str) -> str:
    """Return the kind of server. Raises `ConfigError` for an unknown dialect or driver."""
    dialect, plus, driver = scheme.lower().partition("+")
    kind = SCHEMES.get(dialect)
    if kind is None:
        raise ConfigError(
            f"{root}: '{dialect}' is no server that is served here.",
            path=root,
            remedy=f"Known are {', '.join(SCHEMES)}.",
        )
    if plus and driver not in DRIVERS[kind]:
        raise ConfigError(
            f"{root}: unknown driver '{driver}' in {dialect}+{driver}://.",
            path=root,
            remedy=f"Write {dialect}://: this library has its own driver. "
            f"Of SQLAlchemy's are known: {', '.join(DRIVERS[kind])}.",
        )
    return kind


def _settings(query: Mapping[str, str], kind: str, root: str) -> dict[str, str]:
    """Return a URL's parameters by what they set. Raises `ConfigError` for those that set nothing
    here, or the same differently."""
    names = {name: setting for setting, several in NAMES.items() for name in several}
    for name in sorted(query):
        if name in REFUSED:
            raise ConfigError(
                f"{root}: the URL parameter {name} is a driver's, and not followed here.",
                path=root,
                remedy=f"Leave it out. {REFUSED[name]}",
            )
    known_parameters(query, set(names), root)
    settings: dict[str, str] = {}
    for name, value in query.items():
        if settings.setdefault(names[name], value) != value:
            both = " and ".join(one for one in NAMES[names[name]] if one in query)
            raise given_twice(root, f"the URL parameters {both} mean the same, and differ")
    encoding = settings.get("encoding", "utf8mb4")
    if encoding.lower().replace("-", "") not in ("utf8", "utf8mb4"):
        raise ConfigError(
            f"{root}: a stream speaks utf8mb4 with its servers, not '{encoding}'.",
            path=root,
            remedy="Leave charset (client_encoding) out: texts of every character set move.",
        )
    if settings.get("schema") and kind != "postgresql":
        raise ConfigError(
            f"{root}: {kind} has databases, but no schemas.",
            path=root,
            remedy="Leave the URL parameter schema out.",
        )
    return settings


def _tls(settings: Mapping[str, str], query: Mapping[str, str], root: str) -> Ssl:
    """Return the settings of TLS. Without a mode, the names of PyMySQL mean what it does: verify
    the certificate if there is an authority, and the host unless that is switched off."""
    checked = _flag(settings, "check_hostname", root)
    disabled = _flag(settings, "disabled", root)
    mode = settings.get("mode")
    if mode is not None and mode.lower() not in MODES:
        raise ConfigError(
            f"{root}: unknown sslmode '{mode}'; expected one of {', '.join(sorted(set(MODES)))}.",
            path=root,
        )
    meant = None if mode is None else MODES[mode.lower()]
    if disabled:
        if meant not in (None, "disabled"):
            raise given_twice(root, f"the URL parameters ssl_disabled and {mode} contradict")
        meant = "disabled"
    if checked is not None and (meant is not None or "ssl_ca" not in query):
        raise ConfigError(
            f"{root}: ssl_check_hostname has a meaning with ssl_ca, and without a mode.",
            path=root,
            remedy="Write ssl_mode=VERIFY_CA or ssl_mode=VERIFY_IDENTITY alone.",
        )
    if meant is None and "ssl_ca" in query:
        meant = "verify-ca" if checked is False else "verify-full"
    elif meant is None and "ssl_cert" in query:
        meant = "require"
    files = {key: settings.get(key) for key in ("ca", "client_cert", "client_key")}
    return validate(Ssl, {"mode": meant or "prefer", **files}, root)


def _flag(settings: Mapping[str, str], name: str, root: str) -> bool | None:
    """Return a parameter that is true or false; None if it is not given."""
    given = settings.get(name)
    if given is None:
        return None
    if given.lower() not in ("true", "false", "1", "0"):
        raise ConfigError(
            f"{root}: the URL parameter {NAMES[name][0]} is true or false.", path=root
        )
    return given.lower() in ("true", "1")


def url_parameters(text: str, root: str) -> dict[str, str]:
    """Return the parameters of a URL's query. Raises `ConfigError` if one is given twice with
    different values."""
    parameters: dict[str, str] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        if parameters.setdefault(key, value) != value:
            raise given_twice(root, f"the URL parameter {key} is given twice")
    return parameters


def known_parameters(query: Mapping[str, str], known: set[str], root: str) -> None:
    """Raise `ConfigError` that names the parameters that are not among the known."""
    unknown = sorted(set(query) - known)
    if unknown:
        raise ConfigError(
            f"{root}: unknown URL parameter {', '.join(unknown)}.",
            path=root,
            remedy=f"Known are: {', '.join(sorted(known))}.",
        )


def given_twice(path: str, message: str) -> ConfigError:
    """Return the error for two keys that contradict each other; values stay out, for they may be
    secrets."""
    return ConfigError(f"{path}: {message}.", path=path, remedy="Give it once.")
