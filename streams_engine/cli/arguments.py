"""From arguments to a stream: the document is read or made, changed by options, and opened."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streams_engine.cli.documents import from_environment, read_document, read_object
from streams_engine.errors import ConfigError

if TYPE_CHECKING:
    from streams_engine.stream import Stream

__all__ = ["Arguments", "connections_of", "document", "open_stream"]

# option -> its path in a nested document, and in a flat one where that has it
_PATHS: Mapping[str, tuple[str, str | None]] = {
    "tables": ("source.connections.0.tables", "tables"),
    "write_mode": ("target.spec.db.writeMode", None),
    "schema_policy": ("target.spec.db.schemaPolicy", None),
    "create_database": ("target.spec.db.createDatabase", None),
    "bundle_size": ("source.options.dataBundleSize", "dataBundleSize"),
    "limit_rows": ("limits.numberOfEvents", "limits.numberOfEvents"),
    "limit_seconds": ("limits.elapsedTime", "limits.elapsedTime"),
    "parallelism": ("options.parallelism", "options.parallelism"),
}

_SERVERS = frozenset({"mysql", "mariadb", "postgres", "postgresql"})
"""Schemes of servers that have databases."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of the command line; None leaves the document's value."""

    what: Sequence[str]
    """One path of a config document (``-``: standard input), or two URLs."""
    connections: Path | None = None
    tables: Sequence[str] = ()
    write_mode: str | None = None
    schema_policy: str | None = None
    create_database: bool | None = None
    bundle_size: int | None = None
    limit_rows: int | None = None
    limit_seconds: float | None = None
    parallelism: int | None = None
    cdc: bool = False
    """Follow the source's log, whatever mode the document says."""
    settings: Sequence[str] = field(default=())
    """``dotted.path=value``, the value JSON or else a plain text (``env:NAME``: that variable)."""


def open_stream(request: Arguments) -> Stream:
    """Create the stream that the arguments describe. Raises `ConfigError`."""
    from streams_engine.stream import Stream

    connections = None if request.connections is None else connections_of(request.connections)
    return Stream.from_config(document(request), connections=connections)


def document(request: Arguments) -> dict[str, Any]:
    """Build the stream config that the arguments describe."""
    made = _between(*request.what) if len(request.what) == 2 else _read(request.what)
    flat = isinstance(made.get("source"), str)
    for option, paths in _PATHS.items():
        value = getattr(request, option)
        if value is None or value == ():
            continue
        path = paths[flat]
        if path is None:
            raise ConfigError(
                f"A flat document has no key for --{option.replace('_', '-')}.",
                remedy="Use the nested form of the document.",
            )
        _put(made, path, [{"name": n} for n in value] if option == "tables" else value)
    if request.cdc:
        made["mode"] = "cdc"
    for setting in request.settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise ConfigError(
                "--set expects KEY=VALUE.", remedy="For example: --set options.onError=fail"
            )
        _put(made, path, _value(text))
    return made


def _between(source: str, target: str) -> dict[str, Any]:
    """Build the config between two URLs. A name that is typed may be wrong: it makes no database
    unless an option says so."""
    made: dict[str, Any] = {"connection": from_environment(target, "TARGET_URL")}
    if made["connection"].partition("://")[0].lower() in _SERVERS:
        made["spec"] = {"db": {"createDatabase": False}}
    return {
        "mode": "convert",
        "source": {"connections": [{"connection": from_environment(source, "SOURCE_URL")}]},
        "target": made,
    }


def _read(what: Sequence[str]) -> dict[str, Any]:
    if len(what) != 1:
        raise ConfigError(
            f"Expected a config document or two URLs, got {len(what)} arguments.",
            remedy="For example: streams-engine run config.json",
        )
    if "://" in what[0] or what[0].startswith("env:"):
        raise ConfigError(
            "The target is missing.",
            remedy="Give two URLs (source and target), or the path of a document.",
        )
    return read_object(what[0], "stream config")


def connections_of(path: Path) -> dict[str, Any]:
    """Read connection documents by id or name, from an object or a list of them."""
    made = read_document(str(path))
    if isinstance(made, dict):
        return made
    if isinstance(made, list) and all(isinstance(item, dict) for item in made):
        keys = ("id", "name")
        return {str(item[key]): item for item in made for key in keys if key in item}
    raise ConfigError(
        f"{path} contains no connections.",
        remedy="It must be an object of connection documents by id, or a list of them.",
    )


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return from_environment(text, "--set")


def _put(made: dict[str, Any], path: str, value: Any) -> None:
    """Set ``a.b.0.c``, making the objects on the way; a number steps into a list."""
    here: Any = made
    *parents, last = path.split(".")
    try:
        for name in parents:
            here = here[int(name)] if isinstance(here, list) else here.setdefault(name, {})
        here[int(last) if isinstance(here, list) else last] = value
    except (AttributeError, IndexError, TypeError, ValueError):
        raise ConfigError(
            f"The document has no key {path}.",
            path=f"$.{path}",
            remedy="A path names the keys of objects and the indexes of lists.",
        ) from None
