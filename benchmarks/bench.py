"""The bench: private servers, data made when it is first asked for, targets, and checks."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType

from benchmarks.data import SHAPES, fill, fill_many, fill_small
from benchmarks.jobs import Contender, Job, Unavailable
from benchmarks.measuring import Failed, Measured, measure
from benchmarks.tools import tool
from streams_engine.testing.packages import PACKAGES
from streams_engine.testing.provision import ProvisionError, provision
from streams_engine.testing.servers import Server, ServerStartError, available, start

__all__ = ["Bench"]


class Bench:
    """Everything that runs need; a context manager that leaves nothing behind."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._servers: dict[tuple[str, str], Server] = {}
        self._data: dict[tuple[str, str, int], str] = {}
        self._missing: dict[str, str] = {}
        self._ready: dict[tuple[str, int], Path] = {}
        self._scratch = Path()

    def __enter__(self) -> Bench:
        self._scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def scratch(self) -> Path:
        """A directory that goes with the benchmark."""
        return self._scratch

    def server(self, flavour: str, side: str) -> Server:
        """A private server for one side, started when first asked for. Raises `Unavailable`."""
        if flavour in self._missing:
            raise Unavailable(self._missing[flavour])
        if (flavour, side) not in self._servers:
            try:
                if flavour in PACKAGES and available(flavour) is not None:
                    provision(flavour)
                server = self._stack.enter_context(start(flavour))
            except (ProvisionError, ServerStartError, OSError) as error:
                self._missing[flavour] = f"the server {flavour} cannot be had: {error}"
                raise Unavailable(self._missing[flavour]) from None
            self._servers[flavour, side] = server
        return self._servers[flavour, side]

    @property
    def servers(self) -> dict[str, str]:
        """Versions of the servers that were started."""
        return {flavour: server.version for (flavour, _), server in self._servers.items()}

    def source(self, flavour: str, shape: str, rows: int) -> str:
        """The URL of a database with one filled table; ``csv:`` where files are the source."""
        if flavour == "csv":
            return "csv:"
        server = self.server(flavour, "source")
        key = (flavour, shape, rows)
        if key not in self._data:
            self._data[key] = fill(server, SHAPES[shape], rows)
        return server.url(self._data[key])

    def small_tables(self, tables: int) -> str:
        """The URL of a MySQL database of many tables with ten rows each."""
        server = self.server("mysql9", "source")
        return server.url(fill_small(server, tables, 10))

    def many_tables(self, flavour: str, tables: int, rows: int) -> str:
        """The URL of a database of so many tables like the mixed one, ``small_0000`` and on."""
        server = self.server(flavour, "source")
        key = (flavour, f"{tables} tables", rows)
        if key not in self._data:
            self._data[key] = fill_many(server, SHAPES["mixed"], tables, rows)
        return server.url(self._data[key])

    def ready(self, shape: str, rows: int) -> Path:
        """A directory with the table as CSV with a header, and as tab-separated text."""
        if (shape, rows) not in self._ready:
            directory = self._scratch / f"ready-{shape}-{rows}"
            directory.mkdir()
            url, table = self.source("pg15", shape, rows), SHAPES[shape].table
            for name, form in (("csv", "format csv, header"), ("tsv", "format text")):
                copy = f"\\copy {table} to '{directory / table}.{name}' ({form})"
                line = f'{tool("psql")} -qX -c "set datestyle = iso" -c "{copy}" "{url}"'
                measure(["bash", "-c", line], measures_itself=False)
            self._ready[shape, rows] = directory
        return self._ready[shape, rows]

    def run(
        self, contender: Contender, source: str, target: str, shape: str, rows: int
    ) -> Measured:
        """One run into a fresh target. Raises `Failed` where it fails or the result is wrong."""
        directory = self._scratch / "work"
        directory.mkdir()
        try:
            server = None if target in ("null", "parquet") else self.server(target, "target")
            database = server.create_database() if server else ""
        except Unavailable:
            directory.rmdir()
            raise
        try:
            ready = str(self.ready(shape, rows)) if contender.reads_file else ""
            job = Job(
                self.source(source, shape, rows),
                server.url(database) if server else _place_of(target, directory),
                shape,
                rows,
                str(directory),
                ready,
            )
            settle(server)
            measured = measure(contender.command(job), measures_itself=contender.measures_itself)
            try:
                found, indexes = _brought(server, database, job, target, directory, measured)
            except Exception as error:
                raise Failed(f"the result cannot be read: {error}") from error
            wanted = 1 + len(job.shape.indexed) if server and contender.indexed else 0
            if (found, indexes) != (rows, wanted):
                raise Failed(
                    f"{found} rows and {indexes} indexes came, not {rows} and {wanted}."
                    + (f" It said: {measured.said}" if measured.said else "")
                )
            return measured
        finally:
            if server:
                server.drop_database(database)
            shutil.rmtree(directory, ignore_errors=True)

    def run_many(self, contender: Contender, source: str, target: str, tables: int) -> Measured:
        """One run of a whole database of many tables. Raises `Failed`."""
        server = self.server(target, "target")
        database = server.create_database()
        try:
            job = Job(source, server.url(database), "mixed", 0, str(self._scratch))
            settle(server)
            measured = measure(contender.command(job), measures_itself=contender.measures_itself)
            with closing(server.connect(database)) as connection:
                found = connection.execute(
                    "SELECT count(*) FROM pg_class c WHERE relkind = 'r' AND relname LIKE 'small_%'"
                ).fetchone()
            if found != (tables,) or measured.rows != tables * 10:
                raise Failed(f"{found} tables and {measured.rows} rows came, not {tables}")
            return measured
        finally:
            server.drop_database(database)


def settle(server: Server | None) -> None:
    """Let a target finish what earlier runs left it to write."""
    if server and server.kind == "postgresql":
        with closing(server.connect()) as connection:
            connection.execute("CHECKPOINT")


def _place_of(target: str, directory: Path) -> str:
    return "null://" if target == "null" else f"file://{directory}/out?format=parquet"


def _brought(
    server: Server | None,
    database: str,
    job: Job,
    target: str,
    directory: Path,
    measured: Measured,
) -> tuple[int, int]:
    """Rows and indexes that a run brought."""
    if server:
        return _look(server, database, job.shape.table)
    return (_parquet_rows(directory) if target == "parquet" else measured.rows or 0), 0


def _look(server: Server, database: str, table: str) -> tuple[int, int]:
    """Rows and indexes of a table, in whatever schema a contender has put it."""
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        if server.kind != "postgresql":
            cursor.execute(f"SELECT count(*) FROM {table}")
            rows = cursor.fetchone()[0]
            cursor.execute(
                "SELECT count(DISTINCT index_name) FROM information_schema.statistics"
                f" WHERE table_schema = '{database}' AND table_name = '{table}'"
            )
            return rows, cursor.fetchone()[0]
        cursor.execute(
            "SELECT c.oid::regclass::text, (SELECT count(*) FROM pg_index WHERE indrelid = c.oid)"
            f" FROM pg_class c WHERE relkind = 'r' AND relname = '{table}'"
        )
        found = cursor.fetchall()
        if len(found) != 1:
            return 0, 0
        cursor.execute(f"SELECT count(*) FROM {found[0][0]}")
        return cursor.fetchone()[0], found[0][1]


def _parquet_rows(directory: Path) -> int:
    from pyarrow import parquet

    files = directory.rglob("*.parquet")
    return sum(parquet.ParquetFile(path).metadata.num_rows for path in files)
