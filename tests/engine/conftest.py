"""Streams that need no server: CSV files into Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams_engine import Engine
from tests.support.engine_shop import (
    Shop,
)


@pytest.fixture
def engine_file(tmp_path: Path) -> Path:
    return tmp_path / "engine.db"


@pytest.fixture
def shop(engine_file: Path, tmp_path: Path) -> Iterator[Shop]:
    with Engine(engine_file) as engine:
        yield Shop(engine, tmp_path)
