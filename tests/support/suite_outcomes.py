"""Run tests that are not part of this run, and say how each went."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

__all__ = ["outcomes", "run"]


def run(*arguments: str | Path) -> str:
    """What pytest says, one line a test, of tests that are not part of this run."""
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "--tb=no", "-p", "no:cacheprovider"]
    found = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=240, check=False
    )
    assert found.returncode in (0, 1), found.stdout + found.stderr
    return found.stdout


def outcomes(said: str) -> dict[tuple[str, str], set[str]]:
    """Of each (class, test without its parameters): how it went."""
    went: dict[tuple[str, str], set[str]] = {}
    for how, name, test in re.findall(
        r"^(PASSED|FAILED|ERROR) \S+?::(\w+)::test_(\w+)", said, re.M
    ):
        went.setdefault((name, test), set()).add(how)
    return went
