"""The page of the guides: each line has tests that exist, or says that it is open."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guides_coverage.md").read_text()
LINES = re.findall(r"^\| (?!promise \||-)(.+?) \| (.+) \|$", PAGE, re.M)
GUIDES = 4
PARTS = 8
"""Of what was built for the guides."""


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def test_every_part_and_every_guide_has_lines() -> None:
    sections = re.split(r"^###? ", PAGE, flags=re.M)[1:]
    filled = {text.splitlines()[0] for text in sections if "| held by |" in text}
    numbers = {title.split(".")[0] for title in filled if title[0].isdigit()}
    assert numbers == {str(number) for number in range(1, PARTS + 1)}
    assert len(filled) == PARTS + GUIDES


@pytest.mark.parametrize(("promise", "held"), LINES, ids=[line[0][:40] for line in LINES])
def test_what_holds_a_promise_is_there(promise: str, held: str) -> None:
    if held == "open":
        return
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", held)
    assert len(named) == held.count("::") > 0
    assert [name for path, name in named if name not in names_in(path)] == []
