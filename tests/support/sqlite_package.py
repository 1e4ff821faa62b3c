"""The SQLite example as an installed distribution."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

__all__ = ["install"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "sqlite_adapter"


def install(site: Path) -> None:
    """Do what pip does with the example: its package, and what its pyproject.toml says of it.

    Building a wheel needs hatchling, which a test's environment does not have.
    """
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    shutil.copytree(EXAMPLE / "streams_engine_sqlite", site / "streams_engine_sqlite")
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
