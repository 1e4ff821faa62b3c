"""The command line: a thin layer over `streams_engine.stream.Stream`.

Its own dependencies come with the extra ``cli`` (or ``demo``), so nothing in the
library may import this package.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code (see `streams_engine.cli.exit_codes`)."""
    try:
        from streams_engine.cli.app import run
    except ModuleNotFoundError as missing:
        if missing.name not in {"rich", "typer"}:
            raise
        print(
            "error [USAGE]: The command line is not installed. "
            "Install it with: pip install 'streams-engine[cli]'",
            file=sys.stderr,
        )
        return 2
    return run(arguments)
