"""The import rules of the design, held by reading the sources; and a driverless import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import streams_engine

ROOT = Path(streams_engine.__file__).parent
PACKAGE = "streams_engine"

CORE = {"errors", "lifecycle", "display", "units"}
MIDDLE = CORE | {"model", "contracts", "config", "schema", "arrow", "events", "stats", "health",
                 "alerts", "metrics"}  # fmt: skip
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "display": set(),
    "units": set(),
    "waits": set(),
    "faults": set(),
    "lifecycle": {"errors"},
    "lag": set(),
    "events": {"errors"},
    "model": {"errors", "display"},
    "arrow": {"errors"},
    "contracts": {"errors", "model"},
    "config": {"errors", "contracts"},
    "metrics": CORE,
    "health": {"errors", "display", "units", "model"},
    "alerts": {"errors", "events"},
    "notebook": {"display", "stats", "units"},
    "stats": CORE | {"events", "lag", "model", "metrics"},
    "schema": {"errors", "model", "contracts", "arrow"},
    "target_layout": {"errors", "model", "contracts", "config", "schema"},
    "adapters": {"errors", "model", "contracts", "config", "schema", "arrow"},
    "pipeline": CORE | {"events", "model", "contracts", "schema", "arrow", "stats", "faults"},
    "verify": {"errors", "display", "units", "model", "contracts", "schema", "faults"},
    "query": MIDDLE | {"adapters", "pipeline"},
    "dask": MIDDLE | {"pipeline", "_version"},
    "assembly": MIDDLE | {"target_layout", "adapters", "pipeline", "verify", "query", "dask"},
    "background": MIDDLE | {"pipeline", "verify", "assembly"},
    "stream": MIDDLE | {"sql_capture", "target_layout", "pipeline", "verify", "assembly",
                        "background", "notebook"},
    "aio": MIDDLE | {"pipeline", "verify", "stream", "waits"},
    "api": {"errors", "contracts", "config", "_version"},
    "sql_capture": {"events"},
    "telemetry": MIDDLE | {"stream"},
    "engine": MIDDLE | {"target_layout", "adapters", "pipeline", "verify", "query", "stream",
                        "telemetry", "waits"},
    "_version": set(),
    "": MIDDLE | {"pipeline", "verify", "query", "stream", "aio", "engine", "api", "_version"},
    "testing": {"errors", "model", "contracts"},
    "cli": MIDDLE | {"api", "adapters", "pipeline", "verify", "query", "stream", "engine", "demo",
                     "_version"},
    "__main__": {"cli"},
    "demo": MIDDLE | {"pipeline", "stream", "testing", "cli"},
}  # fmt: skip
"""What each part may import beside itself, in functions and for types too. "" is the root."""

DRIVERS = ("pymysql", "pymysqlreplication", "psycopg", "adbc_driver_postgresql",
           "adbc_driver_manager", "s3fs")  # fmt: skip


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = [PACKAGE, *path.relative_to(ROOT).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in (
        "TYPE_CHECKING",
        "typing.TYPE_CHECKING",
    )


def imports(tree: ast.AST, *, deep: bool) -> set[str]:
    """Names of modules imported; ``deep``: also within functions and for types alone."""
    found: set[str] = set()
    pending: list[ast.AST] = [tree]
    while pending:
        for node in ast.iter_child_nodes(pending.pop()):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, "imports are absolute"
                assert node.module is not None
                found |= {
                    full if (full := f"{node.module}.{alias.name}") in MODULES else node.module
                    for alias in node.names
                }
            lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or for_types_only(node)
            if deep or not lazy:
                pending.append(node)
    return found


def ours(module: str, *, deep: bool) -> set[str]:
    found = imports(ast.parse(MODULES[module].read_text()), deep=deep)
    return {name for name in found if name.split(".")[0] == PACKAGE and name != module}


def part(module: str) -> str:
    return [*module.split("."), ""][1]


def test_every_part_is_named() -> None:
    assert {part(module) for module in MODULES} == set(ALLOWED)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_inward(module: str) -> None:
    allowed = ALLOWED[part(module)] | {part(module)}
    assert not {name for name in ours(module, deep=True) if part(name) not in allowed}


@pytest.mark.parametrize("module", [m for m in MODULES if part(m) == "adapters"])
def test_an_adapter_sees_no_other_adapter(module: str) -> None:
    names = module.split(".")
    if len(names) < 3 or names[2] == "registry":
        return
    others = {
        name
        for name in ours(module, deep=True)
        if part(name) == "adapters" and name.split(".")[2:3] not in ([], [names[2]], ["sql"])
    }
    assert not others


@pytest.mark.parametrize(
    "module", [m for m in MODULES if part(m) in ("schema", "pipeline", "verify")]
)
def test_no_driver_outside_the_adapters(module: str) -> None:
    named = imports(ast.parse(MODULES[module].read_text()), deep=True)
    assert not {name for name in named if name.split(".")[0] in DRIVERS}


@pytest.mark.parametrize("deep", [False, True], ids=["at import", "in functions too"])
def test_no_cycles(deep: bool) -> None:
    graph = {module: ours(module, deep=deep) for module in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for following in sorted(graph.get(module, ())):
            visit(following, (*path, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def test_importing_the_package_imports_no_driver() -> None:
    code = (
        "import sys, streams_engine\n"
        "for name in streams_engine.__all__: getattr(streams_engine, name)\n"
        f"print([m for m in {DRIVERS!r} if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: path.name)
def test_a_test_imports_no_test(path: Path) -> None:
    """What tests share lies in `tests/support`."""
    named = imports(ast.parse(path.read_text()), deep=True)
    last = {
        name.split(".")[2] for name in named if name.startswith("tests.") and name[6:].count(".")
    }
    assert not {name for name in last if name.startswith("test_") or name == "conftest"}
