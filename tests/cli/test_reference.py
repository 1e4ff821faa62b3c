"""The page of the command line has every command, argument and option, each with a meaning."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

from streams_engine.cli import exit_codes
from streams_engine.cli.app import app
from streams_engine.cli.session import COMMON

DOCS = Path(__file__).parents[2] / "docs"


def load_hook() -> ModuleType:
    """As mkdocs does."""
    spec = importlib.util.spec_from_file_location("cli_reference", DOCS / "hooks/reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


PAGE = load_hook().filled((DOCS / "command-line.md").read_text())


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(path), command
    for name, inner in (below or {}).items():
        yield from leaves(inner, (*path, name))


COMMANDS = dict(leaves(get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_told(name: str) -> None:
    section = PAGE.split(f"\n## {name}\n", 1)[1].split("\n## ")[0]
    assert (COMMANDS[name].help or "").endswith("."), "a sentence says what it does"
    assert f"`streams-engine {name}" in section
    own = [one for one in COMMANDS[name].params if one.name not in (*COMMON, "help")]
    for parameter in own:
        spelled = [*parameter.opts] if parameter.param_type_name == "option" else []
        assert all(f"`{option}" in section for option in spelled), spelled
    told = [line for line in section.splitlines() if line.startswith("| `")]
    assert len(told) == len(own)


def test_the_options_of_every_command_are_told_once() -> None:
    for option in ("--engine FILE", "--json", "--log-format", "--log-level", "--debug"):
        assert PAGE.count(f"| `{option}") == 1 + (option == "--engine FILE"), "validate has its own"


SERVICE = (DOCS / "howto/run-as-a-service.md").read_text()


def test_services_give_options_that_are_there() -> None:
    unit = re.search(r"^ExecStart=\S+/streams-engine run (.+)$", SERVICE, re.M)
    pod = re.search(r"args: \[streams-engine, run, (.+)\]$", SERVICE, re.M)
    assert unit is not None and pod is not None
    known = {option for one in COMMANDS["run"].params for option in one.opts}
    for given in (unit[1].split(), pod[1].split(", ")):
        options = [word for word in given if word.startswith("-")]
        assert "--cdc" in options and {*options} <= known


def test_services_know_the_exit_codes() -> None:
    told = dict(re.findall(r"^\| (\d) ([^|]+) \|", SERVICE, re.M))
    assert {int(code) for code in told} <= {*exit_codes.MEANING}
    assert {int(code) for code in told} == {0, 1, 2, 3, 4, 6}
    assert f"SuccessExitStatus={int(exit_codes.Exit.STOPPED)}" in SERVICE
    never = f"{int(exit_codes.Exit.USAGE)} {int(exit_codes.Exit.ERRORS_TOLD)}"
    assert f"RestartPreventExitStatus={never}" in SERVICE
