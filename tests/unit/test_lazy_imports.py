"""`import streams_engine` is cheap: each name loads where it is used, and type checkers see all."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

import streams_engine

OPTIONAL = (
    "adbc_driver_manager", "adbc_driver_postgresql", "asyncssh", "cryptography", "distributed",
    "duckdb", "fsspec", "opentelemetry", "psycopg", "pyarrow.compute",
    "pyarrow.csv", "pyarrow.dataset", "pyarrow.parquet", "pymysql", "pymysqlreplication", "rich",
    "s3fs", "sqlglot", "sqlite3", "typer",
    "streams_engine.assembly", "streams_engine.dask", "streams_engine.engine",
    "streams_engine.query", "streams_engine.schema", "streams_engine.telemetry",
    "streams_engine.verify",
)  # fmt: skip
"""What loads with a connection, a run, a query or an engine, and not before."""

BUILD = "from streams_engine import Stream; Stream('mysql://root@h/shop', 'postgresql://me@h/shop')"


def loaded(code: str) -> set[str]:
    """The modules that a fresh interpreter has after ``code``."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(ran.stdout.split())


@pytest.mark.parametrize(
    "code", ["import streams_engine", "from streams_engine import Stream", BUILD]
)
def test_nothing_optional_is_imported_before_it_is_used(code: str) -> None:
    assert loaded(code).isdisjoint(OPTIONAL)


def test_the_package_alone_imports_neither_pyarrow_nor_pydantic() -> None:
    assert loaded("import streams_engine").isdisjoint({"pyarrow", "pydantic", "numpy"})


def test_a_stream_between_databases_plans_without_the_query_part() -> None:
    modules = loaded("import streams_engine.assembly")
    assert not [name for name in modules if name.startswith("streams_engine.query")]


def test_a_convert_loads_neither_the_change_log_nor_verification_nor_a_parser() -> None:
    modules = loaded("import streams_engine.assembly")
    unneeded = {"asyncio", "sqlglot", "streams_engine.pipeline.changes.cdc"}
    assert modules.isdisjoint({*unneeded, "streams_engine.verify.verification"})


def imported_for_types() -> dict[str, str]:
    """The names that the root imports under TYPE_CHECKING, and their modules."""
    tree = ast.parse(Path(streams_engine.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name: str(node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_type_checkers_see_the_names_that_load_at_first_use() -> None:
    assert imported_for_types() == streams_engine._LAZY


def test_every_public_name_is_there_and_listed() -> None:
    for name in streams_engine.__all__:
        assert getattr(streams_engine, name) is not None
        assert name in dir(streams_engine)
    assert sorted(streams_engine._LAZY) == list(streams_engine._LAZY)
    assert set(streams_engine._LAZY) <= set(streams_engine.__all__)


def test_every_error_is_public() -> None:
    assert set(streams_engine.errors.__all__) <= set(streams_engine.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Steam'"):
        streams_engine.Steam  # noqa: B018


def processor_seconds(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.soak
@pytest.mark.parametrize(
    ("code", "most"),
    [("import streams_engine", 1.5), ("from streams_engine import Stream", 2.0), (BUILD, 2.5)],
)
def test_imports_take_little_longer_than_arrow_and_pydantic(code: str, most: float) -> None:
    """In processor time of fresh interpreters, in turn; the bounds leave room for noise."""
    pairs = [
        (processor_seconds(code), processor_seconds("import pyarrow, pydantic")) for _ in range(15)
    ]
    assert median(ours / theirs for ours, theirs in pairs) <= most


def test_servers_are_fetched_without_any_other_package() -> None:
    """`.ci/run` loads it in an environment where nothing of what the package needs is installed."""
    code = "import sys; sys.path[:0] = ['.', 'streams_engine/testing']; import provision"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-S", "-c", code], check=True, cwd=root)
