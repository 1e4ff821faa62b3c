"""``streams-engine health`` and ``metrics``: how the streams of a stored engine do."""

from __future__ import annotations

from typing import Annotated

import typer

from streams_engine.cli.exit_codes import Exit
from streams_engine.cli.names import complete_streams, stream_id
from streams_engine.cli.session import Column, Session, command, grid

__all__ = ["register"]

HEALTH: tuple[Column, ...] = (
    ("stream", "stream"),
    ("status", "status"),
    ("lag s", "lagSeconds"),
    ("retained B", "retainedBytes"),
    ("quarantined", "quarantined"),
    ("since", "since"),
)


def register(root: typer.Typer) -> None:
    """Add the commands."""
    command(root, "health")(health)
    command(root, "metrics")(metrics)


def health(
    session: Session,
    stream: Annotated[
        str | None,
        typer.Argument(
            metavar="[STREAM]",
            help="A run's id, or a config's name; without, the newest run of each config.",
            autocompletion=complete_streams,
        ),
    ] = None,
) -> Exit:
    """Show whether streams are ok, degraded or failed. Exit code 0 means all are ok."""
    with session.engine() as engine:
        if stream is None:
            told = engine.health()
            found = [{"stream": run, **one} for run, one in told["streams"].items()]
        else:
            told = engine.streams.health(stream_id(engine, stream))
            found = [{"stream": stream, **told}]
    session.answer(told, grid(found, HEALTH) if found else "no streams")
    return Exit.FINISHED if told["status"] == "ok" else Exit.FAILED


def metrics(session: Session) -> None:
    """Print the metrics of each config's newest run in Prometheus' text format."""
    with session.engine() as engine:
        text = engine.metrics()
    if session.as_json:
        session.answer({"metrics": text})
    else:
        print(text, end="")
