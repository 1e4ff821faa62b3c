"""The command ``schema``: print the JSON Schema of a document, or the OpenAPI document."""

from __future__ import annotations

from typing import Annotated

import typer

from streams_engine.cli.exit_codes import Exit
from streams_engine.cli.session import Session
from streams_engine.errors import NotFound

__all__ = ["schema"]


def schema(
    session: Session,
    name: Annotated[
        str | None, typer.Argument(help="connection, stream, ..., or openapi; without: all names.")
    ] = None,
) -> int:
    """Print the JSON Schema of a document, for editors and for other programs."""
    from streams_engine.api.openapi import openapi
    from streams_engine.api.schemas import schemas

    known = schemas()
    if name is None:
        session.answer([*known, "openapi"], "\n".join([*known, "openapi"]))
        return Exit.FINISHED
    if name != "openapi" and name not in known:
        raise NotFound(
            f"There is no schema '{name}'.", remedy=f"Known are: {', '.join([*known, 'openapi'])}."
        )
    session.answer(openapi() if name == "openapi" else known[name])
    return Exit.FINISHED
