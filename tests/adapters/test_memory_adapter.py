"""The adapter in memory passes the suites that every adapter passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from streams_engine.adapters.memory import MemoryDatabase, MemorySource
from streams_engine.contracts import Source
from streams_engine.testing.conformance_sink import SinkConformance, SinkPlace
from streams_engine.testing.conformance_source import SourceConformance, SourcePlace
from streams_engine.testing.sample_rows import TABLES, SampleTable
from tests.support.conformance_sink_fakes import KeyedMemorySinkPlace


class MemorySourcePlace(SourcePlace):
    def __init__(self) -> None:
        self.database = MemoryDatabase("sample")
        for table in TABLES.values():
            self.database.create_table(table.name, table.arrow_schema(), table.key)
            self.database.insert(table.name, *table.rows)
        self.source: Source = self.open()

    def open(self) -> Source:
        return MemorySource(self.database)

    @contextmanager
    def inserted(self, table: SampleTable) -> Iterator[None]:
        self.database.insert(table.name, table.more)
        yield
        with self.database.transaction() as transaction:
            transaction.delete(table.name, table.more, 1)


class TestMemorySource(SourceConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls) -> SourcePlace:
        return MemorySourcePlace()


class TestMemorySink(SinkConformance):
    @pytest.fixture
    def place(self) -> SinkPlace:
        return KeyedMemorySinkPlace()
