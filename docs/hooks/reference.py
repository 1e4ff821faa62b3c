"""What the site takes from the code: the keys of the documents, and the list of decisions.

A comment ``<!-- generated: NAME -->`` in a page is replaced when the site is built. The meaning
of a key is the docstring after it in its model, so every key is described where it is defined.
"""

from __future__ import annotations

import ast
import enum
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from streams_engine.config import connection_documents as connections
from streams_engine.config import documents
from streams_engine.config.keywords import KEYWORDS
from streams_engine.config.validation import IGNORED_IN_CONNECTIONS
from streams_engine.faults import POINTS

MARKER = re.compile(r"<!-- generated: ([\w-]+) -->")

ALLOWED: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("FilterDocument", "operator"): documents.OPERATORS,
}
"""Values that a validator allows, and no type says."""

ANYTHING: Mapping[tuple[str, str], str] = {
    ("FilterDocument", "value"): "a value, or a list of values",
    ("SourceConnection", "connection"): "document or URL",
    ("TargetDocument", "connection"): "document or URL",
    ("Options", "executor"): "object",
}
"""What keys of type Any take."""

FROM_TEXT = dict.fromkeys(
    (
        ("Options", "memory_budget"),
        ("FilesSourceDocument", "max_record_bytes"),
        ("S3SourceDocument", "max_record_bytes"),
    ),
    "whole number or text",
)
"""Keys whose text is turned into another type."""

CONNECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("A database", connections.ServerDocument),
    ("Files", connections.FilesDocument),
)


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a model."""

    name: str
    type: str
    default: str
    allowed: str
    meaning: str
    model: type[BaseModel] | None
    """The model of the documents below it."""
    many: bool
    """It is a list of them."""


# Reading the models


@cache
def _meanings_of(path: str) -> Mapping[str, Mapping[str, str]]:
    """By class, by attribute: the docstrings after the attributes."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(Path(path).read_text()).body:
        if not isinstance(node, ast.ClassDef):
            continue
        fields = found.setdefault(node.name, {})
        for before, after in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(before, ast.AnnAssign)
                and isinstance(before.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            ):
                fields[before.target.id] = " ".join(after.value.value.split())
    return found


def keys(model: type[BaseModel]) -> Iterator[Key]:
    """The keys of a model in their order; ``meaning`` is empty where nobody wrote one."""
    meanings = _meanings_of(str(inspect.getsourcefile(model))).get(model.__name__, {})
    for attribute, field in model.model_fields.items():
        place = (model.__name__, attribute)
        inner, many = _model_in(field.annotation)
        yield Key(
            field.alias or attribute,
            ANYTHING.get(place) or FROM_TEXT.get(place) or _type(field.annotation),
            _default(field),
            _allowed(field, ALLOWED.get(place, ())),
            meanings.get(attribute, ""),
            inner,
            many,
        )


def models() -> Iterator[type[BaseModel]]:
    """Every model of a document, once."""
    seen: set[type[BaseModel]] = set()
    pending = [documents.StreamDocument, *(model for _, model in CONNECTIONS)]
    while pending:
        model = pending.pop(0)
        if model not in seen:
            seen.add(model)
            yield model
            pending += [key.model for key in keys(model) if key.model is not None]


def _parts(annotation: Any) -> list[Any]:
    """The members of a union without None; else the annotation itself."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [part for part in typing.get_args(annotation) if part is not type(None)]
    return [annotation]


def _model_in(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    for part in _parts(annotation):
        if typing.get_origin(part) is list:
            return _model_in(typing.get_args(part)[0])[0], True
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part, False
    return None, False


NAMES: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
}


def _type(annotation: Any) -> str:
    [part] = _parts(annotation)
    origin = typing.get_origin(part)
    if origin is Literal:
        return "text"
    if origin in (list, tuple):
        inner = _parts(typing.get_args(part)[0])[0]
        return "list of objects" if _model_in(inner)[0] else f"list of {_type(inner)}s"
    if origin is dict or (isinstance(part, type) and issubclass(part, BaseModel)):
        return "object"
    return NAMES[part]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return ""
    return _shown(value)


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list | tuple):
        return "`[]`" if not value else ", ".join(_shown(one) for one in value)
    if isinstance(value, str):
        return f'`"{value}"`' if value in ("", "null") else f"`{value}`"
    if isinstance(value, int) and value and not value % (1 << 20):
        return f"`{value >> 20}MB`"
    return f"`{value}`"


def _allowed(field: FieldInfo, known: tuple[str, ...]) -> str:
    values = known or _literals(field.annotation)
    if values:
        return ", ".join(_shown(value) for value in values)
    said = {
        name: getattr(rule, name)
        for rule in field.metadata
        for name in ("ge", "le", "min_length", "max_length", "pattern")
        if getattr(rule, name, None) is not None
    }
    if "ge" in said and "le" in said:
        return f"{said['ge']} to {said['le']}"
    if "ge" in said:
        return f"at least {_shown(said['ge']).strip('`')}"
    if said.get("min_length") == said.get("max_length") == 1:
        return "one character"
    if said.get("min_length") == 1:
        return "not empty"
    return ""


def _literals(annotation: Any) -> tuple[str, ...]:
    for part in _parts(annotation):
        if typing.get_origin(part) is Literal:
            return tuple(typing.get_args(part))
        if typing.get_origin(part) in (list, tuple):
            return _literals(typing.get_args(part)[0])
    return ()


# Writing the pages


def _table(model: type[BaseModel]) -> list[str]:
    lines = ["| key | type | default | allowed | meaning |", "|---|---|---|---|---|"]
    for key in keys(model):
        cells = (f"`{key.name}`", key.type, key.default, key.allowed, key.meaning)
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return [*lines, ""]


def _sections(model: type[BaseModel], title: str, path: str, seen: dict[Any, str]) -> list[str]:
    """The model's own table and those of the documents below it, each model once."""
    seen[model] = path
    lines = [f"### {title}", ""]
    if model.__doc__:
        lines += [inspect.cleandoc(model.__doc__), ""]
    lines += _table(model)
    below = [key for key in keys(model) if key.model is not None]
    places = {key.name: f"{path}.{key.name}".lstrip(".") + "[]" * key.many for key in below}
    again = [
        f"`{places[key.name]}` has the keys of `{seen[key.model]}`."
        for key in below
        if key.model in seen
    ]
    lines += [*again, ""] if again else []
    for key in below:
        if key.model is not None and key.model not in seen:
            place = places[key.name]
            lines += _sections(key.model, f"`{place}`", place, seen)
    return lines


def _stream() -> str:
    return "\n".join(_sections(documents.StreamDocument, "The document", "", {}))


def _connection() -> str:
    lines: list[str] = []
    for title, model in CONNECTIONS:
        lines += _sections(model, title, "", {})
    return "\n".join(lines)


def _keywords() -> str:
    lines = ["| keyword | key of the document |", "|---|---|"]
    return "\n".join(
        [*lines, *(f"| `{word}` | `{'.'.join(path)}` |" for word, path in KEYWORDS.items())]
    )


def _ignored() -> str:
    return ", ".join(f"`{name}`" for name in sorted(IGNORED_IN_CONNECTIONS))


def _decisions() -> str:
    lines = []
    for path in sorted((Path(__file__).parents[1] / "adr").glob("*.md")):
        number, title = re.match(r"# (\d+)\. (.+)", path.read_text()).groups()  # type: ignore[union-attr]
        lines.append(f"{number}. [{title}](adr/{path.name})")
    return "\n".join(lines)


def _commands() -> str:
    """The command line, from its typer app."""
    from typer.main import get_command

    from streams_engine.cli.app import app

    lines = ["## Options of every command", "", *_options(COMMON_OPTIONS, get_command(app)), ""]
    for path, command in _leaves(get_command(app), ()):
        usage = " ".join(("streams-engine", *path, *_arguments(command)))
        lines += [f"## {' '.join(path)}", "", _sentence(command.help), "", f"`{usage}`", ""]
        lines += _options(None, command)
    return "\n".join(lines)


COMMON_OPTIONS = ("engine_file", "as_json", "log_format", "log_level", "debug")


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
        return
    for name, inner in below.items():
        yield from _leaves(inner, (*path, name))


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())


def _arguments(command: Any) -> Iterator[str]:
    for one in command.params:
        if one.param_type_name == "argument":
            name = one.metavar or one.name.upper()
            yield name if one.required else f"[{name}]"


def _options(names: tuple[str, ...] | None, command: Any) -> list[str]:
    """A table of a command's own options and arguments; with ``names`` of those of any command."""
    if names is not None:
        # any command that works on an engine has them
        command = dict(_leaves(command, ()))[("streams", "list")]
        shown = [one for one in command.params if one.name in names]
    else:
        shown = [one for one in command.params if one.name not in (*COMMON_OPTIONS, "help")]
    rows = [f"| {_spelled(one)} | {_sentence(one.help)} | {_preset(one)} |" for one in shown]
    return ["| option | meaning | default |", "|---|---|---|", *rows, ""] if rows else []


def _spelled(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{(parameter.metavar or parameter.name.upper())}`".replace("|", "or")
    names = [*parameter.opts, *parameter.secondary_opts]
    taken = " or ".join(_choices(parameter)) or parameter.metavar or parameter.name.upper()
    value = "" if parameter.is_flag else f" {taken}"
    return ", ".join(f"`{name}{value}`" for name in names)


def _choices(parameter: Any) -> list[str]:
    """What an option may be, as old and new versions of typer keep it."""
    kind = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    while typing.get_origin(kind) in (list, typing.Union, types.UnionType):
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) is Literal:
        return [str(one) for one in typing.get_args(kind)]
    known = kind if isinstance(kind, type) and issubclass(kind, enum.Enum) else ()
    known = known or getattr(getattr(parameter, "type", None), "choices", ())
    return [str(getattr(one, "value", one)) for one in known]


def _preset(parameter: Any) -> str:
    if parameter.param_type_name == "argument" and parameter.required:
        return "required"
    preset = parameter.default
    known = isinstance(preset, str | int | float) and not isinstance(preset, bool) and preset != ""
    return f"`{preset}`" if known else ""


def _faults() -> str:
    lines = [f"| `{name}` | {meaning} |" for name, meaning in POINTS.items()]
    return "\n".join(["| point | what has happened |", "|---|---|", *lines])


GENERATED: Mapping[str, Callable[[], str]] = {
    "stream": _stream,
    "connection": _connection,
    "keywords": _keywords,
    "ignored": _ignored,
    "decisions": _decisions,
    "faults": _faults,
    "commands": _commands,
}


def filled(markdown: str) -> str:
    """A page with what its markers stand for."""
    return MARKER.sub(lambda found: GENERATED[found[1]](), markdown)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page (https://www.mkdocs.org/user-guide/configuration/#hooks)."""
    return filled(markdown)
