"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Structure"]

Structure = Annotated[
    bool,
    typer.Option(
        "--structure/--no-structure",
        help="Compare keys, indexes, foreign keys, checks and columns too.",
    ),
]
