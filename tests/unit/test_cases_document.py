"""docs/cases.md has every case once, and names only tests that are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES = [
    (int(found[1]), found[2])
    for line in (ROOT / "docs" / "cases.md").read_text().splitlines()
    if (found := re.match(r"(\d+)\. (.+)", line))
]


@cache
def defined_in(path: Path) -> set[str]:
    """The tests that a file defines."""
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def named(text: str) -> list[tuple[str, str]]:
    return re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", text)


def test_every_case_is_there_once() -> None:
    assert [number for number, _ in LINES] == list(range(1, 122))


def test_every_case_has_a_test_or_says_why_not() -> None:
    silent = [
        n for n, text in LINES if not (named(text) or re.search("Cannot arise|Not tested", text))
    ]
    assert not silent


def test_every_named_test_is_there() -> None:
    missing = [
        (number, path, name)
        for number, text in LINES
        for path, name in named(text)
        if not (ROOT / path).is_file() or name not in defined_in(ROOT / path)
    ]
    assert not missing
    assert len([name for _, text in LINES for name in re.findall("`tests/", text)]) == sum(
        len(named(text)) for _, text in LINES
    )
