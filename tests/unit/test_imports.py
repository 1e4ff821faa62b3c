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

ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "lifecycle": {"errors"},
    "required": {"errors"},
    "model": {"errors"},
    "changes": {"model", "required"},
    "bundles": {"model"},
    "isolating": {"errors", "model"},
    "bounds": {"errors"},
    "cutting": {"bounds"},
    "row_text": set(),
    "server_text": set(),
    "faults": set(),
    "journal": set(),
    "exploring": {"model"},
    "config": {"errors", "lifecycle", "model"},
    "protocols": {"errors", "model", "changes", "config"},
    "sharing": {"protocols"},
    "stats": {"errors", "journal", "lifecycle", "model", "config", "protocols"},
    "schema": {"errors", "required", "model", "config", "protocols"},
    "runtime": {"errors", "required", "lifecycle", "model", "changes", "config", "protocols",
                "sharing", "stats", "schema", "bundles", "faults", "row_text"},
    "adapters": {"errors", "required", "model", "changes", "config", "protocols", "schema",
                 "sharing", "bundles", "bounds", "isolating", "cutting", "exploring", "row_text",
                 "server_text"},
    "testing": {"errors", "model", "changes", "protocols", "schema", "bundles"},
}  # fmt: skip
"""What each part may import beside itself; who is not named here composes and may import all."""

DRIVERS = ("pymysql", "pymysqlreplication", "psycopg", "psycopg_pool", "adbc_driver_postgresql",
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


@pytest.mark.parametrize("module", [m for m in MODULES if part(m) in ALLOWED])
def test_imports_point_inward(module: str) -> None:
    allowed = ALLOWED[part(module)] | {part(module)}
    outward = {name for name in ours(module, deep=True) if part(name) not in allowed}
    if module == f"{PACKAGE}.adapters.registry":
        return
    assert not outward


@pytest.mark.parametrize("module", [m for m in MODULES if part(m) == "adapters"])
def test_an_adapter_sees_no_other_adapter(module: str) -> None:
    names = module.split(".")
    if len(names) < 3 or names[2] == "registry":
        return
    others = {
        name
        for name in ours(module, deep=True)
        if part(name) == "adapters" and name.split(".")[2:3] not in ([], [names[2]])
    }
    assert not others


@pytest.mark.parametrize("module", [m for m in MODULES if part(m) in ("schema", "runtime")])
def test_no_driver_outside_the_adapters(module: str) -> None:
    named = imports(ast.parse(MODULES[module].read_text()), deep=True)
    assert not {name for name in named if name.split(".")[0] in DRIVERS}


def test_no_cycles() -> None:
    graph = {module: ours(module, deep=False) for module in MODULES}
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
