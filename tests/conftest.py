"""Fixtures: real private servers, started when first asked for and stopped at the end."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from streams_engine.testing.servers import FLAVOURS, Server, ServerStartError, available, start
from tests.support.buckets import settle
from tests.support.memory_files import keep_in_memory

USED: dict[str, str] = {}
MISSING: dict[str, str] = {}
COUNTED: list[str] = []
LONG = (
    "dask/test_copy.py",
    "adapters/test_conformance.py",
    "e2e/test_resume.py",
    "e2e/test_expressions.py",
    "e2e/test_cdc_files.py",
    "e2e/test_existing_columns.py",
    "e2e/test_lock_waits.py",
    "e2e/test_outages.py",
    "manuals/test_routes.py",
    "e2e/test_large_values.py",
    "e2e/test_cdc_kills.py",
    "e2e/test_round_trips.py",
    "cli/test_demo.py",
    "e2e/test_changing_catalogs.py",
    "e2e/test_sample_databases.py",
    "e2e/test_cdc_states.py",
    "e2e/test_type_routes.py",
    "e2e/test_half_open.py",
    "e2e/test_killed_loads.py",
    "pipeline/test_memory.py",
    "typing/test_faces.py",
)
"""Files that take longest, though some have few tests."""

# How long an example takes says how busy the processors are: several workers share them.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


def pytest_configure() -> None:
    """Servers keep their files in memory where there is much of it."""
    keep_in_memory()


@pytest.hookimpl(tryfirst=True)  # before -m takes its choice
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server; leave twins to the soak; of several workers (pytest-xdist) none
    shall begin a long file when the others are done."""
    tests = Path(__file__).parent
    by_name = {*FLAVOURS, "mysql_server", "pg_server", "database"}
    twins = tomllib.loads((tests / "twins.toml").read_text())["soak"]
    for item in items:
        if by_name.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)
        names = twins.get(item.path.relative_to(tests).as_posix(), ())
        if any(fnmatchcase(item.name, name) for name in names):
            item.add_marker(pytest.mark.soak)
    places = {tests / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(LONG)))


def _server(name: str) -> Iterator[Server]:
    reason = available(name)
    server = None
    if reason is None:
        try:
            server = start(name)
        except ServerStartError as error:
            reason = str(error)
    if server is None:
        MISSING[name] = str(reason)
        if name in os.environ.get("STREAMS_ENGINE_REQUIRE", "").split(","):
            pytest.fail(f"{name} is required and cannot be had: {reason}")
        pytest.skip(f"{name} cannot be had: {reason}")
    USED[name] = server.version
    with server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def _settled(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if hasattr(request.module, "ThreadedMotoServer"):  # elsewhere the collector tells of leaks
        settle()


@pytest.fixture(scope="session")
def mysql9() -> Iterator[Server]:
    yield from _server("mysql9")


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    yield from _server("mariadb")


@pytest.fixture(scope="session")
def pg15() -> Iterator[Server]:
    yield from _server("pg15")


@pytest.fixture(scope="session")
def pg18() -> Iterator[Server]:
    yield from _server("pg18")


@pytest.fixture(scope="session", params=["mysql9", "mariadb"])
def mysql_server(request: pytest.FixtureRequest) -> Server:
    """Each server of MySQL's family in turn."""
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture(scope="session", params=["pg15", "pg18"])
def pg_server(request: pytest.FixtureRequest) -> Server:
    """Each PostgreSQL in turn."""
    server: Server = request.getfixturevalue(request.param)
    return server


class Databases:
    """Hands out fresh databases and drops them after the test."""

    def __init__(self) -> None:
        self._made: list[tuple[Server, str]] = []

    def __call__(self, server: Server) -> str:
        name = server.create_database()
        self._made.append((server, name))
        return name

    def adopt(self, server: Server, name: str) -> str:
        """Drop this database, made elsewhere, as well."""
        self._made.append((server, name))
        return name

    def drop(self) -> None:
        for server, name in self._made:
            server.drop_database(name)


@pytest.fixture
def database() -> Iterator[Databases]:
    """``database(server)`` makes a database that is dropped after the test."""
    databases = Databases()
    yield databases
    databases.drop()


@pytest.fixture(scope="session")
def counted() -> Callable[[str], None]:
    """``counted(line)`` puts a line of figures under the run's output."""
    return COUNTED.append


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of sample databases beside the project, which a checkout alone lacks."""
    path = Path(__file__).parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the sample data beside the project (../shared/data) is not here")
    return path


def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several workers hands over what the summary will say."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["summary"] = (USED, MISSING, COUNTED)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker (pytest-xdist) is done."""
    used, missing, counted = getattr(node, "workeroutput", {}).get("summary", ({}, {}, []))
    USED.update(used)
    MISSING.update(missing)
    COUNTED.extend(counted)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which servers the run used, loudly where one was missing, and what was counted."""
    for name in FLAVOURS:
        if name in USED:
            terminalreporter.write_line(f"server {name}: {USED[name]}")
        elif name in MISSING:
            terminalreporter.write_line(f"!!! server {name} MISSING: {MISSING[name]}", red=True)
        else:
            terminalreporter.write_line(f"server {name}: not used by this run")
    for line in COUNTED:
        terminalreporter.write_line(line)
