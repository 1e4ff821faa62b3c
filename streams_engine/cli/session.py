"""What every command shares: its options, how it answers, and the engine that it opens."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from streams_engine.cli import exit_codes, views
from streams_engine.cli.error_output import LogFormat, LogLevel, listening, without_secrets
from streams_engine.errors import ConfigError

if TYPE_CHECKING:
    from streams_engine.engine import Engine

__all__ = ["CODES", "ENGINE_VARIABLE", "Column", "Session", "command", "grid", "group"]

ENGINE_VARIABLE = "STREAMS_ENGINE_FILE"
UNBOUND = 10_000
"""Columns of a file or pipe: wider than any line."""

CODES = "\n\n".join(["Exit codes:", *(f"{c.value}  {m}" for c, m in exit_codes.MEANING.items())])

Column = tuple[str, str | Callable[[Mapping[str, Any]], Any]]
"""The head of a column; the key of its value, a dot leading into objects, or a function."""


@dataclass(frozen=True)
class Session:
    """The options that every command takes."""

    file: Path | None
    as_json: bool
    debug: bool

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """Open the stored engine. Raises `ConfigError` if none is named or the file is no engine's.

        References to variables and files (``env:``, ``file:``) are resolved: who types commands
        may read both anyway.
        """
        from streams_engine.engine import Engine

        if self.file is None:
            raise ConfigError(
                "No engine is named.",
                remedy=f"Give --engine FILE, or set {ENGINE_VARIABLE}.",
            )
        with Engine(self.file, references={"env", "file"}) as engine:
            yield engine

    def answer(self, document: Any, view: RenderableType | str | None = None) -> None:
        """Print the answer of a command: ``view`` for people, the document with ``--json``."""
        if self.as_json:
            print(json.dumps(document, default=str), flush=True)
        elif view is not None:
            out = views.console(width=UNBOUND)  # in a file no line is wrapped
            out.print(view, soft_wrap=isinstance(view, str))
        else:
            print(json.dumps(document, indent=2, default=str, ensure_ascii=False), flush=True)

    def listed(self, page: Mapping[str, Any], columns: Sequence[Column], none: str) -> None:
        """Print a page of a list as a table, and how many more there are."""
        if self.as_json or page["items"]:
            self.answer(page, None if self.as_json else grid(page["items"], columns))
        else:
            print(none)
        shown = page["offset"] + len(page["items"])
        if not self.as_json and page["items"] and shown < page["total"]:
            print(f"{shown} of {page['total']}; --offset {shown} shows the next")


def grid(items: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> Table:
    """Return documents as a table; names are whole, for they are copied from there."""
    table = Table(box=None, padding=(0, 1), header_style="dim", pad_edge=False)
    for head, _ in columns:
        table.add_column(head, overflow="fold")
    for item in items:
        table.add_row(*(Text(_text(_value(item, of))) for _, of in columns))
    return table


def _value(item: Any, of: str | Callable[[Mapping[str, Any]], Any]) -> Any:
    if callable(of):
        return of(item)
    for key in of.split("."):
        item = item.get(key) if isinstance(item, Mapping) else None
    return item


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return without_secrets(str(value))


# The options that every command has, by the name of the parameter

COMMON: Mapping[str, tuple[Any, Any]] = {
    "engine_file": (
        Annotated[
            Path | None,
            typer.Option(
                "--engine", metavar="FILE", envvar=ENGINE_VARIABLE, help="The file of the engine."
            ),
        ],
        None,
    ),
    "as_json": (Annotated[bool, typer.Option("--json", help="Print only JSON.")], False),
    "log_format": (
        Annotated[
            LogFormat, typer.Option("--log-format", help="How log records and errors are printed.")
        ],
        "text",
    ),
    "log_level": (
        Annotated[
            LogLevel, typer.Option("--log-level", help="The lowest level of log records to print.")
        ],
        "warning",
    ),
    "debug": (
        Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")],
        False,
    ),
}
WITHOUT_ENGINE = {"engine_file"}

Kind = Literal["engine", "plain"]
Command = Callable[..., Any]


def command(app: typer.Typer, name: str, kind: Kind = "engine") -> Callable[[Command], Command]:
    """Register a function whose first parameter is a `Session`, under the options of every command.

    A ``plain`` command works without an engine. The function returns an `Exit`; None is FINISHED.
    """

    def register(function: Command) -> Command:
        hints = typing.get_type_hints(function, include_extras=True)
        own = list(inspect.signature(function).parameters.values())[1:]
        common = {k: v for k, v in COMMON.items() if kind == "engine" or k not in WITHOUT_ENGINE}

        def called(**given: Any) -> Any:
            options = {key: given.pop(key) for key in common}
            session = Session(options.get("engine_file"), options["as_json"], options["debug"])
            with listening(options["log_level"], options["log_format"], debug=session.debug):
                return function(session, **given)

        only = inspect.Parameter.KEYWORD_ONLY
        parameters = [p.replace(annotation=hints[p.name], kind=only) for p in own]
        parameters += [
            inspect.Parameter(key, only, default=default, annotation=annotation)
            for key, (annotation, default) in common.items()
        ]
        called.__doc__ = function.__doc__
        called.__name__ = function.__name__
        called.__annotations__ = {p.name: p.annotation for p in parameters}
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        app.command(name, epilog=CODES)(called)
        return function

    return register


def group(name: str, what: str) -> typer.Typer:
    """Return a group of commands."""
    return typer.Typer(name=name, help=what, no_args_is_help=True, rich_markup_mode=None)
