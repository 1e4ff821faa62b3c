"""Writes `streams_engine/api/inputs.py`: typed dictionaries of the documents that users write.

``python -m tests.support.input_types`` makes it anew; a test compares it.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
import types
import typing
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from streams_engine.config import connection_documents, documents, options

TARGET = Path(__file__).parents[2] / "streams_engine" / "api" / "inputs.py"
ROOTS = (
    connection_documents.ServerDocument,
    connection_documents.FilesDocument,
    documents.StreamDocument,
)
HEAD = '''"""The documents that users write, as typed dictionaries: connections and stream configs.

Made by ``python -m tests.support.input_types`` of the models that validate them.
"""

# ruff: noqa: E501
# fmt: off

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Required, TypedDict

from streams_engine.config.options import (
{known}
)

__all__ = [
{names}
]


_Document = TypedDict("_Document", {"$schema": str}, total=False)


'''
TAIL = """
class FlatTableDict(TypedDict, total=False):
    "\""One table, or a query whose result becomes one, of a flat document."\""

    name: Required[str]
    query: str
    operations: list[str]
    selection: SelectionDict


FlatStreamDict = TypedDict(
    "FlatStreamDict",
    {
        "$schema": str,
        "name": str,
        "source": Required[str],
        "target": Required[str],
        "mode": Required[Literal["convert", "load", "cdc"]],
        "dataBundleSize": int,
        "reportingIntervals": ReportingIntervalsDict,
        "tables": list[FlatTableDict],
        "limits": LimitsDict,
        "createStructure": bool,
        "skipIndexCreation": bool,
        "options": OptionsDict,
    },
    total=False,
)
"\""The flat document, the form of the first generation."\""

ConnectionDict = ServerConnectionDict | FilesConnectionDict
"\""A connection document."\""
"""


def name_of(model: type[BaseModel]) -> str:
    return NAMES.get(model.__name__) or model.__name__.removesuffix("Document") + "Dict"


NAMES = {
    "FilesDocument": "FilesConnectionDict",
    "FilesSpecDocument": "FilesPlaceDict",
    "ServerDocument": "ServerConnectionDict",
}
KNOWN = {name for name in options.__all__ if name.endswith("Dict")}


def described(module: Any) -> dict[tuple[str, str], str]:
    """By class and attribute: the docstring after the attribute."""
    return {
        (node.name, ast.unparse(before.target)): " ".join(after.value.value.split())
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ClassDef)
        for before, after in zip(node.body, node.body[1:], strict=False)
        if isinstance(before, ast.AnnAssign)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
    }


def hovered(model: type[BaseModel], name: str) -> str:
    """What an editor shows: the key's description in Python's words, and its default."""
    told = described(sys.modules[model.__module__])[model.__name__, name]
    told, key = re.sub(r"\bnull: ", "None: ", told), model.model_fields[name]
    default = None if key.is_required() else key.get_default(call_default_factory=True)
    if key.is_required() or isinstance(default, BaseModel):
        return told
    if default == ("insert", "update", "delete"):
        return f"{told} Default: all."
    return f"{told} Default: `{'256MB' if default == 256 << 20 else default}`."


def text_of(annotation: Any, found: list[type[BaseModel]]) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None):
        return "None"
    if annotation is Any:
        return "Any"
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, arguments)).replace(chr(39), chr(34))}]"
    if origin in (typing.Union, types.UnionType):
        parts = dict.fromkeys(text_of(part, found) for part in arguments)
        return "Any" if "Any" in parts else " | ".join(parts)
    if origin in (list, tuple):
        return f"list[{text_of(arguments[0], found)}]"
    if origin is dict:
        return f"dict[{', '.join(text_of(part, found) for part in arguments)}]"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        found.append(annotation)
        return name_of(annotation)
    return str(annotation.__name__)


def written() -> str:
    """The text of the module."""
    made: dict[str, str] = {}
    pending: list[type[BaseModel]] = list(ROOTS)
    while pending:
        model = pending.pop(0)
        name = name_of(model)
        if name in made or name in KNOWN:
            continue
        inner: list[type[BaseModel]] = []
        told = " ".join((model.__doc__ or "").split("\n\n")[0].split())
        base = "_Document" if model in ROOTS else "TypedDict"
        lines = [f"class {name}({base}, total=False):", *_text(told), *([""] if told else [])]
        if model is connection_documents.ServerDocument:
            lines += ["    spec: dict[str, Any]", *_text('`{"database": {...}}`: the keys below.')]
        for attribute, field in model.model_fields.items():
            kind = text_of(field.annotation, inner)
            if "max_record_bytes" in attribute or attribute == "memory_budget":
                kind = "int | str"
            if (model.__name__, attribute) == ("StreamDocument", "mode"):
                kind = 'Literal["convert", "load", "cdc"]'
            server = model is connection_documents.ServerDocument and attribute != "type"
            if server and attribute == "password":
                kind = "str | Callable[[], str] | None"
            if field.is_required() and not server:
                kind = f"Required[{kind}]"
            lines.append(f"    {field.alias or attribute}: {kind}")
            lines += _text(hovered(model, attribute))
        made[name] = "\n".join(lines)
        pending = [*inner, *pending]
    ordered = list(reversed(made.values()))
    names = sorted([*made, "FlatTableDict", "FlatStreamDict", "ConnectionDict"])
    used = sorted(name for name in KNOWN if any(name in text for text in ordered))
    head = HEAD.replace("{known}", "\n".join(f"    {name}," for name in used))
    head = head.replace("{names}", "\n".join(f'    "{name}",' for name in names))
    return head + "\n\n\n".join(_sorted(made)) + "\n\n" + TAIL


def _text(told: str) -> list[str]:
    """The lines of a docstring, if there is anything to tell."""
    whole = f'    """{told}"""'
    return textwrap.wrap(whole, 100, subsequent_indent="    ") if told else []


def _sorted(made: dict[str, str]) -> list[str]:
    """The definitions, each after those that it names."""
    done: dict[str, str] = {}

    def put(name: str) -> None:
        if name in done:
            return
        for other in made:
            if other != name and re.search(rf"\b{other}\b", made[name]):
                put(other)
        done[name] = made[name]

    for name in made:
        put(name)
    return list(done.values())


if __name__ == "__main__":
    TARGET.write_text(written())
