"""A local Dask cluster, and waits for what happens on it."""

from __future__ import annotations

import os
from typing import Any

from distributed import Client

WORKERS = 2


def processes(client: Client) -> dict[str, int]:
    """The process of each worker, by its address."""
    found: dict[str, Any] = client.run(os.getpid)
    return found
