"""Tables that are read again, under the name that they have when the view is opened."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from streams_engine.errors import SchemaChangeRefused
from streams_engine.model import Dialect, SchemaChange, TableId, TableSchema
from streams_engine.pipeline.changes import table_reload
from streams_engine.pipeline.changes.table_reload import TableGone, TableReload

TABLE = TableSchema(TableId("public", "t"), Dialect.POSTGRES, (), oid=7)
OTHER = TableId("public", "u")


class Source:
    """Has a table under each of these names in turn; the last one stays."""

    def __init__(self, *names: TableId | None) -> None:
        self.names = list(names)

    def present_name(self, table: TableSchema) -> TableId | None:
        return self.names.pop(0) if len(self.names) > 1 else self.names[0]


def opened(monkeypatch: pytest.MonkeyPatch, source: Source, there: TableId | None) -> list[TableId]:
    """The names under which a table is looked for, until it is found under ``there``."""
    tried = []

    @contextlib.contextmanager
    def reloading(origin: Any, present: TableSchema, *rest: Any) -> Iterator[Any]:
        tried.append(present.id)
        if present.id != there:
            raise TableGone(SchemaChangeRefused("gone", remedy="none"))
        yield SimpleNamespace(is_another=False, schemas={})

    monkeypatch.setattr(table_reload, "reloading", reloading)
    counters = SimpleNamespace(phase="", found=None)
    origin = SimpleNamespace(source=source, alias="", mapping=None)
    log: Any = SimpleNamespace(
        origin=origin, counters=counters, applier=SimpleNamespace(control=None)
    )
    unused: Any = None
    reload = TableReload(log, unused, unused, unused)
    change = SchemaChange(TABLE, replace(TABLE), 0, rewritten=True)
    with reload._opened(change, True):
        return tried


def test_a_table_renamed_before_its_view_is_opened_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert opened(monkeypatch, Source(TABLE.id, OTHER), OTHER) == [TABLE.id, OTHER]


def test_a_table_dropped_before_its_view_is_opened_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(TableGone):
        opened(monkeypatch, Source(TABLE.id, None), None)
