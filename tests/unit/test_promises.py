"""The page of what the guides of the REST API promise names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"^\| .+ \| `(?P<file>tests/[\w/]+\.py)::(?P<name>\w+)` \|$", re.M)


def test_every_promise_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "promises.md").read_text()
    named = [(found["file"], found["name"]) for found in LINE.finditer(page)]
    assert len(named) == len(re.findall(r"^\| (?!promised)(?!---).+\|$", page, re.M)) > 50
    known: dict[str, set[str]] = {}
    for file, _ in named:
        tree = ast.parse((ROOT / file).read_text())
        functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
        known[file] = {node.name for node in functions}
    assert [one for one in named if one[1] not in known[one[0]]] == []
