"""The public conformance suites, run on every adapter of this library; and that they can fail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from streams_engine.contracts import Snapshot
from streams_engine.testing.conformance_sink import SinkConformance, SinkPlace
from streams_engine.testing.conformance_source import SourceConformance, SourcePlace
from streams_engine.testing.sample_rows import PEOPLE
from streams_engine.testing.servers import Server
from streams_engine.testing.source_place import found
from streams_engine.testing.source_reads import CHUNK
from tests.support.conformance_fakes import BROKEN_SOURCES
from tests.support.conformance_sink_fakes import BROKEN_SINKS
from tests.support.conformance_sinks import (
    FilesSinkPlace,
    MysqlSinkPlace,
    NullSinkPlace,
    PostgresSinkPlace,
)
from tests.support.conformance_sources import (
    FilesSourcePlace,
    MysqlSourcePlace,
    PostgresSourcePlace,
)
from tests.support.suite_outcomes import outcomes, run

# Our sources


class DatabaseSource(SourceConformance):
    def test_the_sample_is_large_enough_to_be_cut(self, view: Snapshot) -> None:
        """Else the suite would say nothing of the edges of chunks."""
        assert len(view.chunks(found(view, PEOPLE.name), CHUNK)) > 1


class TestMysqlSource(DatabaseSource):
    @pytest.fixture(scope="class", params=["mysql9", "mariadb"])
    @classmethod
    def place(cls, request: pytest.FixtureRequest) -> Iterator[SourcePlace]:
        with contextlib.closing(MysqlSourcePlace(request.getfixturevalue(request.param))) as place:
            yield place


class TestPostgresSource(DatabaseSource):
    @pytest.fixture(scope="class", params=["pg15", "pg18"])
    @classmethod
    def place(cls, request: pytest.FixtureRequest) -> Iterator[SourcePlace]:
        server = request.getfixturevalue(request.param)
        with contextlib.closing(PostgresSourcePlace(server)) as place:
            yield place


class TestFilesSource(SourceConformance):
    @pytest.fixture(scope="class", params=["csv", "jsonl", "parquet"])
    @classmethod
    def place(
        cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> SourcePlace:
        return FilesSourcePlace(tmp_path_factory.mktemp(request.param), request.param)


# Our sinks


class TestMysqlSink(SinkConformance):
    @pytest.fixture
    def place(self, mysql_server: Server) -> Iterator[SinkPlace]:
        with contextlib.closing(MysqlSinkPlace(mysql_server)) as place:
            yield place


class TestPostgresSink(SinkConformance):
    @pytest.fixture
    def place(self, pg_server: Server) -> Iterator[SinkPlace]:
        with contextlib.closing(PostgresSinkPlace(pg_server)) as place:
            yield place


class TestFilesSink(SinkConformance):
    @pytest.fixture(params=["csv", "jsonl", "parquet"])
    def place(self, request: pytest.FixtureRequest, tmp_path: Path) -> SinkPlace:
        return FilesSinkPlace(tmp_path, request.param)


class TestNullSink(SinkConformance):
    @pytest.fixture
    def place(self) -> SinkPlace:
        return NullSinkPlace()


# The suites can fail


BROKEN: dict[str, set[str]] = {
    **{name: fails for name, (_, fails) in BROKEN_SOURCES.items()},
    **{name: fails for name, (_, fails) in BROKEN_SINKS.items()},
}
GOOD: Sequence[str] = ("TestGoodSource", "TestGoodSink")


@pytest.fixture(scope="module")
def fakes() -> dict[tuple[str, str], set[str]]:
    """How the suites went on the good fakes, and those tests on the broken ones that must fail."""
    support = Path(__file__).parents[1] / "support"
    tests = []
    for name, good, broken in (
        ("conformance_fakes", "TestGoodSource", BROKEN_SOURCES),
        ("conformance_sink_fakes", "TestGoodSink", BROKEN_SINKS),
    ):
        file = support / f"{name}.py"
        tests.append(f"{file}::{good}")
        tests += [f"{file}::Test{n}::test_{t}" for n, (_, fails) in broken.items() for t in fails]
    return outcomes(run(*tests))


@pytest.mark.parametrize("name", GOOD)
def test_the_suites_pass_where_all_is_well(
    fakes: dict[tuple[str, str], set[str]], name: str
) -> None:
    went = {test: how for (of, test), how in fakes.items() if of == name}
    assert len(went) > 20
    assert not [test for test, how in went.items() if how != {"PASSED"}]


@pytest.mark.parametrize("name", list(BROKEN))
def test_the_suites_find_a_fault(fakes: dict[tuple[str, str], set[str]], name: str) -> None:
    unnoticed = [t for t in BROKEN[name] if "FAILED" not in fakes.get((f"Test{name}", t), set())]
    assert not unnoticed
