"""What servers, files and documents say is checked by errors of the library, never by assert."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import streams_engine
from streams_engine.errors import InternalError, require

PACKAGE = Path(streams_engine.__file__).parent
TESTS_OF_ADAPTERS = PACKAGE / "testing"


def test_no_module_asserts() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if TESTS_OF_ADAPTERS not in path.parents
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
        or (isinstance(node, ast.Raise) and "AssertionError" in ast.unparse(node))
    ]
    assert not found


def test_what_is_not_there_is_named() -> None:
    assert require(0, "a number") == 0
    with pytest.raises(InternalError, match="the position of a set") as caught:
        require(None, "the position of a set")
    assert caught.value.remedy
