"""The suites for change logs and change writers: run by the built-in adapters, and able to fail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from streams_engine.adapters.mysql.binlog.source import MysqlChangeSource
from streams_engine.adapters.postgres.replication.source import PostgresChangeSource
from streams_engine.contracts import ChangeSource, SlotSource
from streams_engine.model import LogOptions, Op
from streams_engine.testing.change_log_place import Change, ChangeLogPlace
from streams_engine.testing.conformance_change_log import ChangeLogConformance
from streams_engine.testing.conformance_change_writer import ChangeWriterConformance
from streams_engine.testing.conformance_sink import SinkPlace
from streams_engine.testing.servers import Server
from tests.support.change_fakes import (
    BROKEN_LOGS,
    BROKEN_WRITERS,
    MemoryLogPlace,
)
from tests.support.change_fakes import MemorySinkPlace as MemoryWriterPlace
from tests.support.conformance_sinks import MysqlSinkPlace, PostgresSinkPlace
from tests.support.conformance_sources import mysql_connect, postgres_connect
from tests.support.suite_outcomes import outcomes, run

# Logs


class ServerLogPlace(ChangeLogPlace):
    """A database of its own with both tables."""

    types = "bigint", "text"

    def __init__(self, server: Server) -> None:
        self.server = server
        self.database = server.create_database()
        self.opened: list[ChangeSource] = []
        number, text = self.types
        for table in ("followed", "other"):
            self.run([f"CREATE TABLE {table} (id {number} PRIMARY KEY, text {text})"])

    def run(self, statements: Sequence[str], *, keep: bool = True) -> None:
        """Run statements in one transaction."""
        with contextlib.closing(self.server.connect(self.database)) as connection:
            cursor: Any = connection.cursor()
            cursor.execute("BEGIN")
            for statement in statements:
                cursor.execute(statement)
            cursor.execute("COMMIT" if keep else "ROLLBACK")

    def open(self) -> ChangeSource:
        made: Any = self.made(LogOptions(f"suite {len(self.opened)}"))
        self.opened.append(made)
        found: ChangeSource = made
        return found

    def made(self, options: LogOptions) -> Any:
        raise NotImplementedError

    def commit(self, *changes: Change, table: str = "followed") -> None:
        self.run([statement(change, table) for change in changes])

    def roll_back(self, *changes: Change) -> None:
        self.run([statement(change, "followed") for change in changes], keep=False)

    def add_column(self, name: str) -> None:
        self.run([f"ALTER TABLE followed ADD COLUMN {name} {self.types[1]}"])

    def truncate(self) -> None:
        self.run(["TRUNCATE TABLE followed"])

    def close(self) -> None:
        for source in self.opened:
            if isinstance(source, SlotSource):
                source.release()
            source.close()
        self.server.drop_database(self.database)


def statement(change: Change, table: str) -> str:
    text = "NULL" if change.text is None else f"'{change.text}'"
    if change.op is Op.INSERT:
        return f"INSERT INTO {table} (id, text) VALUES ({change.id}, {text})"
    if change.op is Op.DELETE:
        return f"DELETE FROM {table} WHERE id = {change.id}"
    new = change.id if change.new_id is None else change.new_id
    return f"UPDATE {table} SET id = {new}, text = {text} WHERE id = {change.id}"


class MysqlLogPlace(ServerLogPlace):
    types = "BIGINT", "VARCHAR(90)"

    def made(self, options: LogOptions) -> Any:
        return MysqlChangeSource(mysql_connect(self.server, self.database), options)


class PostgresLogPlace(ServerLogPlace):
    def made(self, options: LogOptions) -> Any:
        return PostgresChangeSource(postgres_connect(self.server, self.database), options)


class TestMemoryLog(ChangeLogConformance):
    @pytest.fixture
    def place(self) -> ChangeLogPlace:
        return MemoryLogPlace()


class TestMysqlLog(ChangeLogConformance):
    @pytest.fixture
    def place(self, mysql_server: Server) -> Iterator[ChangeLogPlace]:
        with contextlib.closing(MysqlLogPlace(mysql_server)) as place:
            yield place


class TestPostgresLog(ChangeLogConformance):
    @pytest.fixture
    def place(self, pg18: Server) -> Iterator[ChangeLogPlace]:
        with contextlib.closing(PostgresLogPlace(pg18)) as place:
            yield place


# Writers


class TestMemoryWriter(ChangeWriterConformance):
    @pytest.fixture
    def place(self) -> SinkPlace:
        return MemoryWriterPlace()


class TestMysqlWriter(ChangeWriterConformance):
    @pytest.fixture
    def place(self, mysql9: Server) -> Iterator[SinkPlace]:
        with contextlib.closing(MysqlSinkPlace(mysql9)) as place:
            yield place


class TestPostgresWriter(ChangeWriterConformance):
    @pytest.fixture
    def place(self, pg18: Server) -> Iterator[SinkPlace]:
        with contextlib.closing(PostgresSinkPlace(pg18)) as place:
            yield place


class TestPostgresWriterAtOnce(TestPostgresWriter):
    at_once = True


class TestPostgresWriterAsTexts(TestPostgresWriter):
    as_texts = True


# The suites can fail


BROKEN: dict[str, set[str]] = {
    **{name: fails for name, (_, fails) in BROKEN_LOGS.items()},
    **{name: fails for name, (_, fails) in BROKEN_WRITERS.items()},
}


@pytest.fixture(scope="module")
def fakes() -> dict[tuple[str, str], set[str]]:
    """How those tests went on the broken fakes that must fail."""
    file = Path(__file__).parents[1] / "support" / "change_fakes.py"
    tests = [f"{file}::Test{name}::test_{t}" for name, fails in BROKEN.items() for t in fails]
    return outcomes(run(*tests))


@pytest.mark.parametrize("name", list(BROKEN))
def test_the_suites_find_a_fault(fakes: dict[tuple[str, str], set[str]], name: str) -> None:
    unnoticed = [t for t in BROKEN[name] if "FAILED" not in fakes.get((f"Test{name}", t), set())]
    assert not unnoticed
