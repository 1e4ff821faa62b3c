"""Writes `streams_engine/api/inputs.py`: typed dictionaries of the documents that users write.

``python -m tests.support.input_types`` makes it anew; a test compares it.
"""

from __future__ import annotations

import re
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

# ruff: noqa: E501, UP013 - one form for all, for some have keys that are no names of Python
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


'''
TAIL = """
FlatTableDict = TypedDict(
    "FlatTableDict",
    {"name": Required[str], "query": str, "operations": list[str], "selection": SelectionDict},
    total=False,
)
"\""One table, or a query whose result becomes one, of a flat document."\""

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
        lines = ['    "$schema": str,'] if model in ROOTS else []
        if model is connection_documents.ServerDocument:
            lines.append('    "spec": dict[str, Any],')
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
            lines.append(f'    "{field.alias or attribute}": {kind},')
        told = " ".join((model.__doc__ or "").split("\n\n")[0].split())
        body = "\n".join(lines)
        made[name] = f'{name} = TypedDict("{name}", {{\n{body}\n}}, total=False)'
        if told:
            made[name] += f'\n"""{told}"""'
        pending = [*inner, *pending]
    ordered = list(reversed(made.values()))
    names = sorted([*made, "FlatTableDict", "FlatStreamDict", "ConnectionDict"])
    used = sorted(name for name in KNOWN if any(name in text for text in ordered))
    head = HEAD.replace("{known}", "\n".join(f"    {name}," for name in used))
    head = head.replace("{names}", "\n".join(f'    "{name}",' for name in names))
    return head + "\n\n".join(_sorted(made)) + "\n" + TAIL


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
