"""A real Dask cluster of this machine: a scheduler, and workers that are processes of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from distributed import Client, LocalCluster

from tests.support.dask_cluster import (
    WORKERS,
)
from tests.support.dask_runs import ends, workers_alone  # noqa: F401


@pytest.fixture(scope="module")
def local() -> Iterator[LocalCluster]:
    """Two workers of one thread each, and a nanny that starts a killed one again."""
    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster


@pytest.fixture
def client(local: LocalCluster) -> Iterator[Client]:
    """A client of the cluster, all of whose workers are there."""
    with Client(local, set_as_default=False) as client:
        client.wait_for_workers(WORKERS, timeout=120)
        yield client
