"""Where the executables of peers are: the machine's own, or unpacked Debian packages."""

from __future__ import annotations

import functools
import importlib.metadata
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.jobs import Unavailable
from streams_engine.testing.packages import cache_directory, open_directory
from streams_engine.testing.provision import ProvisionError, provision

__all__ = ["environment", "java", "module_version", "need_module", "tool", "tool_versions"]

POSTGRES = "usr/lib/postgresql/15/bin"

PLACES = {
    "psql": ("psql", POSTGRES),
    "pg_dump": ("psql", POSTGRES),
    "pg_restore": ("psql", POSTGRES),
    "pg_recvlogical": ("psql", POSTGRES),
    "mariadb": ("mariadb-client", "usr/bin"),
    "mariadb-binlog": ("mariadb-client", "usr/bin"),
    "pgloader": ("pgloader", "usr/bin"),
    "pgcopydb": ("pgcopydb", "usr/bin"),
    "mydumper": ("mydumper", "usr/bin"),
    "myloader": ("mydumper", "usr/bin"),
}
"""Executable: (what `provision` knows it by, the directory within)."""


ENVIRONMENTS: Mapping[str, tuple[str, ...]] = {
    "duckdb": (
        "duckdb==1.5.5",
        "duckdb-extension-mysql-scanner==1.5.5",
        "duckdb-extension-postgres-scanner==1.5.5",
        "pyarrow",
    ),
}
"""What Python packages are installed apart, since they do not fit beside the library's."""
INSTALL_SECONDS = 600


def environment(name: str) -> str:
    """The Python of an environment with packages of its own. Raises `Unavailable`."""
    found = _environment(name)
    if isinstance(found, Unavailable):
        raise found
    return found


@functools.cache
def _environment(name: str) -> str | Unavailable:
    wanted = ENVIRONMENTS[name]
    parent = open_directory(cache_directory()) / "environments"
    made = parent / name
    python, noted = made / "bin/python", made / "installed"
    if noted.exists() and noted.read_text() == "\n".join(wanted):
        return str(python)
    with tempfile.TemporaryFile("w+") as said:
        try:
            for command in (
                [sys.executable, "-m", "venv", "--clear", str(made)],
                [str(python), "-m", "pip", "install", "-q", *wanted],
            ):
                subprocess.run(
                    command, check=True, stdout=said, stderr=said, timeout=INSTALL_SECONDS
                )
        except (OSError, subprocess.SubprocessError) as error:
            return Unavailable(f"{', '.join(wanted)} cannot be installed: {type(error).__name__}")
    noted.write_text("\n".join(wanted))
    return str(python)


def tool(name: str) -> str:
    """How a shell calls an executable, with its libraries. Raises `Unavailable`."""
    found = _find(name)
    _asked.add(name)
    if isinstance(found, Unavailable):
        raise found
    return found


_asked: set[str] = set()


@functools.cache
def _find(name: str) -> str | Unavailable:
    package, inside = PLACES[name]
    own = Path("/") / POSTGRES / name if package == "psql" else None
    if own and own.exists():
        # Not the one on the PATH: Debian's is a wrapper that costs a start of Perl.
        return shlex.quote(str(own))
    found = None if own else shutil.which(name)
    if found:
        return shlex.quote(found)
    try:
        root = provision(package)
    except ProvisionError as error:
        return Unavailable(f"{name} cannot be had: {error}")
    libraries = [str(d) for top in ("usr/lib", "lib") for d in (root / top).glob("*-linux-gnu*")]
    settings = [f"LD_LIBRARY_PATH={':'.join(libraries)}"]
    settings += [f"MARIADB_PLUGIN_DIR={d}" for d in root.glob("usr/lib/*/libmariadb3/plugin")]
    programs = root / POSTGRES if (root / POSTGRES).exists() else Path("/") / POSTGRES
    settings.append(f"PATH={programs}:/usr/bin:/bin")  # pgcopydb calls pg_dump
    return shlex.join(["env", *settings, str(root / inside / name)])


@functools.cache
def _java() -> str | Unavailable:
    try:
        done = subprocess.run(
            ["java", "-version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return Unavailable("there is no java on the PATH; Debezium needs version 17 or newer")
    found = re.search(r'version "(\d+)[^"]*"', done.stderr + done.stdout)
    if not found or int(found[1]) < 17:
        return Unavailable("java is older than version 17, which Debezium needs")
    return found[0]


def java() -> str:
    """The version of the machine's Java. Raises `Unavailable` where there is none that serves."""
    found = _java()
    if isinstance(found, Unavailable):
        raise found
    return found


def tool_versions() -> dict[str, str]:
    """What each executable that was asked for says of itself, by name."""
    return {name: _version(name) for name in sorted(_asked)}


@functools.cache
def _version(name: str) -> str:
    call = _find(name)
    if isinstance(call, Unavailable):
        return str(call)
    done = subprocess.run(
        ["sh", "-c", f"{call} --version"], capture_output=True, text=True, timeout=60, check=False
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    # Some say where they lie, which is nobody's business.
    return re.sub(r"/\S*/", "", lines[0]) if lines else "says nothing"


def module_version(name: str) -> str:
    """The version of an installed distribution."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def need_module(name: str) -> None:
    """Raises `Unavailable` where a distribution is not installed."""
    if module_version(name) == "not installed":
        raise Unavailable(f"{name} is not installed: pip install '.[benchmarks]'")
