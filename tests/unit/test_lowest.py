"""The versions that `tox -e lowest` installs are the floors that pyproject.toml declares."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOOR = re.compile(r"([A-Za-z0-9_-]+)(?:\[[^\]]*\])?>=([\d.]+)")


def version(text: str) -> tuple[int, ...]:
    """The numbers of a version, without zeros at its end."""
    parts = [int(part) for part in text.split(".")]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def floors() -> dict[str, tuple[int, ...]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["test"]]
    # What the tests need of an extra has the floor of that extra.
    for name in ("cli", "cluster", "lsp", "query", "s3", "ssh", "top"):
        lines += extras[name]
    found: dict[str, tuple[int, ...]] = {}
    for line in lines:
        match = FLOOR.fullmatch(line)
        assert match is not None, line
        name, floor = match[1].lower(), version(match[2])
        assert found.setdefault(name, floor) == floor, f"{name} has two floors"
    return found


def test_the_oldest_versions_are_those_that_are_tried() -> None:
    lines = (ROOT / "tests/lowest.txt").read_text().splitlines()
    pinned = dict(line.lower().split("==") for line in lines if not line.startswith("#"))
    declared = floors()
    assert {name: version(pinned[name]) for name in declared} == declared
