"""A real Dask cluster of this machine: a scheduler, and workers that are processes of their own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from distributed import Client, LocalCluster

WORKERS = 2


@pytest.fixture(scope="module")
def local() -> Iterator[LocalCluster]:
    """Two workers of one thread each, and a nanny that starts a killed one again."""
    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


@pytest.fixture
def client(local: LocalCluster) -> Iterator[Client]:
    """A client of the cluster, all of whose workers are there."""
    with Client(local, set_as_default=False) as client:
        client.wait_for_workers(WORKERS, timeout=60)
        yield client


def processes(client: Client) -> dict[str, int]:
    """The process of each worker, by its address."""
    found: dict[str, Any] = client.run(os.getpid)
    return found


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Ask until it holds; each question is a trip to a server."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to hold"
