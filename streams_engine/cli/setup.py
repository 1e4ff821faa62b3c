"""``streams-engine init``, ``validate``, ``completion``: before anything moves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from streams_engine.cli.arguments import connections_of
from streams_engine.cli.documents import read_object, write_document
from streams_engine.cli.session import Session, command
from streams_engine.errors import ConfigError

__all__ = ["register"]

SOURCE, TARGET = (
    "mysql://reader:env:SOURCE_PASSWORD@localhost/shop",
    "postgresql://me@localhost/shop",
)

YAML = """\
# A stream config. Check it: streams-engine validate {name}
#                Run it:   streams-engine run {name}
mode: {mode}            # convert copies once; cdc copies, then follows the log
source:
  connections:
    - connection: {source}   # or env:NAME for a whole URL
      # tables: [{{name: orders}}]   # without: all of them
target:
  connection: {target}
options:
  parallelism: 4
"""
TOML = """\
# A stream config. Check it: streams-engine validate {name}
#                Run it:   streams-engine run {name}
mode = "{mode}"            # convert copies once; cdc copies, then follows the log

[[source.connections]]
connection = "{source}"   # or "env:NAME" for a whole URL
# tables = [{{name = "orders"}}]   # without: all of them

[target]
connection = "{target}"

[options]
parallelism = 4
"""


def register(root: typer.Typer) -> None:
    """Add the commands."""
    command(root, "init", "plain")(init)
    command(root, "validate", "plain")(validate)
    command(root, "completion", "plain")(completion)


def init(
    session: Session,
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="The new document: .yaml, .toml or .json.")
    ] = Path("stream.yaml"),
    source: Annotated[str, typer.Option(help="The URL of the source.")] = SOURCE,
    target: Annotated[str, typer.Option(help="The URL of the target.")] = TARGET,
    cdc: Annotated[bool, typer.Option("--cdc", help="Follow the log after the load.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Write a stream config to start from."""
    mode = "cdc" if cdc else "convert"
    document = {
        "mode": mode,
        "source": {"connections": [{"connection": source}]},
        "target": {"connection": target},
        "options": {"parallelism": 4},
    }
    forms = {".yaml": YAML, ".yml": YAML, ".toml": TOML, ".json": None}
    ending = path.suffix.lower()
    if ending not in forms:
        raise ConfigError(f"{path}: expected a name that ends in {', '.join(forms)}.")
    form = forms[ending]
    text = (
        json.dumps(document, indent=2) + "\n"
        if form is None
        else form.format(name=path, mode=mode, source=source, target=target)
    )
    write_document(path, text, force=force)
    session.answer({"path": str(path), "document": document}, f"wrote {path}")


def validate(
    session: Session,
    paths: Annotated[
        list[str], typer.Argument(metavar="DOCUMENT...", help="Stream configs or connections.")
    ],
    connections: Annotated[
        Path | None,
        typer.Option(help="File of connection documents by id, for configs that refer to ids."),
    ] = None,
    stored: Annotated[
        Path | None, typer.Option("--engine", metavar="FILE", help="An engine that knows the ids.")
    ] = None,
) -> None:
    """Check documents without connecting to anything."""
    from streams_engine.config import parse_connection
    from streams_engine.engine import Engine
    from streams_engine.stream import Stream

    known = {} if connections is None else connections_of(connections)
    if stored is not None:
        with Engine(stored) as engine:
            for one in engine.connections.all():
                known |= {one["id"]: one, one["name"]: one}
    checked = []
    for path in paths:
        document = read_object(path, "document")
        kind = "stream config" if "mode" in document or "source" in document else "connection"
        try:
            if kind == "connection":
                parse_connection(document)
            else:
                Stream.from_config(document, known)
        except ConfigError as fault:
            raise ConfigError(
                f"{path}: {fault.message}", path=fault.path, remedy=fault.remedy
            ) from None
        checked.append({"path": path, "kind": kind})
    session.answer(checked, "\n".join(f"{one['path']}: a valid {one['kind']}" for one in checked))


def completion(
    session: Session,
    shell: Annotated[
        Literal["bash", "zsh", "fish"], typer.Argument(metavar="bash|zsh|fish", help="The shell.")
    ],
) -> None:
    """Print the script that completes commands, options and names in a shell."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    script = get_completion_script(
        prog_name="streams-engine", complete_var="_STREAMS_ENGINE_COMPLETE", shell=shell
    )
    session.answer({"shell": shell, "script": script}, script)
