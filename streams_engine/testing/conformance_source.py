"""The conformance suite of sources, for a third party to run against its own.

Subclass `SourceConformance` in a test file and give it a fixture ``place``, a
`SourcePlace` whose source holds the tables of `sample_rows.TABLES`. See docs/adapters.md.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from streams_engine.contracts import Scope, Snapshot
from streams_engine.errors import NotFound, SnapshotLost
from streams_engine.model import Catalog, Chunk, Dialect, Finding, Severity, TableId, TableSchema
from streams_engine.testing.sample_rows import EVENTS, PEOPLE, TABLES, together
from streams_engine.testing.source_place import (
    READERS,
    SourcePlace,
    found,
    rows_of,
    same,
    scoped,
    whole,
)
from streams_engine.testing.source_reads import ReadingConformance
from streams_engine.testing.source_selections import SelectingConformance

__all__ = ["SourceConformance", "SourcePlace"]

IDENTITY = ("system", "server")
"""The keys of a position, one of which names the source itself."""


class SourceConformance(ReadingConformance, SelectingConformance):
    """The conformance suite of sources. A subclass gives the fixture ``place``, of the class's
    scope."""

    @pytest.fixture(scope="class")
    @classmethod
    def view(cls, place: SourcePlace) -> Iterator[Snapshot]:
        """Open one snapshot of the sample tables for all tests that only read."""
        with place.source.snapshot(scoped(place, *TABLES), READERS) as view:
            yield view

    # Check and catalog

    def test_check_finds_nothing_that_forbids_a_start(self, place: SourcePlace) -> None:
        """`check` connects and returns findings, none of them an error where all is well."""
        findings = place.source.check()
        assert all(isinstance(finding, Finding) for finding in findings)
        assert not [finding for finding in findings if finding.severity is Severity.ERROR]
        assert isinstance(place.source.dialect, Dialect)

    def test_the_catalog_describes_the_tables_in_scope(self, place: SourcePlace) -> None:
        """`catalog` describes the tables named, and no others, with columns in their order."""
        for names in (list(TABLES), [PEOPLE.name]):
            catalog = place.source.catalog(scoped(place, *names))
            assert catalog.dialect is place.source.dialect
            assert sorted(table.id.name for table in catalog.tables) == sorted(names)
            for table in catalog.tables:
                columns = [column.name for column in table.columns]
                assert columns == list(TABLES[table.id.name].columns)
                assert table.dialect is place.source.dialect

    def test_no_names_mean_every_table(self, place: SourcePlace) -> None:
        """A scope without names holds every table of the source."""
        catalog = place.source.catalog(replace(place.scope, tables=None))
        assert {table.id.name for table in catalog.tables} >= set(TABLES)

    def test_an_empty_scope_is_empty(self, place: SourcePlace) -> None:
        """A scope of no tables holds none."""
        assert place.source.catalog(scoped(place)).tables == ()

    def test_keys_and_nullability_are_described(self, place: SourcePlace) -> None:
        """A column that can hold NULL is never called not nullable; keys are found."""
        for table in place.source.catalog(scoped(place, *TABLES)).tables:
            sample = TABLES[table.id.name]
            strict = {column.name for column in table.columns if not column.nullable}
            assert strict <= sample.required | set(sample.key)
            key = table.primary_key.columns if table.primary_key else ()
            assert key == (sample.key if place.has_keys else ())

    def test_an_unknown_table_is_named_with_near_ones(self, place: SourcePlace) -> None:
        """A table that is not there raises `NotFound` with its name and the names near it."""

        def opened(scope: Scope) -> None:
            with place.source.snapshot(scope, 1):
                pass

        ways: list[Callable[[Scope], object]] = [place.source.catalog, opened]
        for way in ways:
            with pytest.raises(NotFound) as caught:
                way(scoped(place, PEOPLE.name, "peopel"))
            assert "peopel" in str(caught.value)
            assert PEOPLE.name in str(caught.value), "the near name is not said"

    def test_the_catalog_is_stable(self, place: SourcePlace, view: Snapshot) -> None:
        """Two readings of the catalog, and that of a snapshot, say the same."""
        first = settled(place.source.catalog(scoped(place, *TABLES)))
        assert settled(place.source.catalog(scoped(place, *TABLES))) == first
        assert settled(view.catalog) == first

    # Position and findings

    def test_the_position_names_the_source_and_is_json(
        self, place: SourcePlace, view: Snapshot
    ) -> None:
        """A position is JSON-able, and names the source in the same way each time."""
        position = json.loads(json.dumps(view.position))
        assert position == dict(view.position)
        with place.source.snapshot(scoped(place, PEOPLE.name), 1) as other:
            names = [[view_.position.get(key) for key in IDENTITY] for view_ in (view, other)]
        assert any(names[0]), f"a position has none of {', '.join(IDENTITY)}"
        assert names[0] == names[1]

    def test_a_view_says_how_many_may_read(self, place: SourcePlace, view: Snapshot) -> None:
        """A snapshot has at least one reader and never more than asked for."""
        assert 1 <= view.readers <= READERS
        with place.source.snapshot(scoped(place, PEOPLE.name), 1) as alone:
            assert alone.readers == 1
        assert all(isinstance(finding, Finding) for finding in view.findings)

    def test_a_query_is_read_like_a_table(self, place: SourcePlace) -> None:
        """A query of the scope is described and read like a table of its name."""
        if place.query is None:
            pytest.skip("this source answers no queries")
        scope = replace(scoped(place), queries=(("some", place.query),))
        with place.source.snapshot(scope, 1) as view:
            table = found(view, "some")
            assert [column.name for column in table.columns] == ["id", "kind"]
            read = rows_of(view, whole(table), Chunk(table.id))
        wanted = [row for row in PEOPLE.rows if row["id"] < 100]
        same(read, wanted, PEOPLE, ["id", "kind"])

    # The view

    def test_later_rows_are_not_seen(self, place: SourcePlace) -> None:
        """A row that is written after the snapshot opened is not in it: it is either not seen,
        or the view is lost and says so. The next view has it, and another position."""
        with contextlib.ExitStack() as stack:
            view = stack.enter_context(place.source.snapshot(scoped(place, *TABLES), READERS))
            table = found(view, EVENTS.name)
            before = view.chunks(table, 100)
            stack.enter_context(place.inserted(EVENTS))
            with contextlib.suppress(SnapshotLost):
                for chunks in (before, view.chunks(table, 100)):
                    same(rows_of(view, whole(table), *chunks), EVENTS.rows, EVENTS)
            later = stack.enter_context(place.source.snapshot(scoped(place, *TABLES), 1))
            table = found(later, EVENTS.name)
            read = rows_of(later, whole(table), *later.chunks(table, 100))
            same(read, (*EVENTS.rows, EVENTS.more), EVENTS)
            assert dict(later.position) != dict(view.position), "a change did not move it"

    # The end

    def test_close_is_idempotent(self, place: SourcePlace) -> None:
        """`close` may be called twice, with views open or without, and before any use."""
        place.open().close()
        source = place.open()
        source.catalog(scoped(place, PEOPLE.name))
        with contextlib.suppress(Exception), source.snapshot(scoped(place, PEOPLE.name), 1):
            together(source.close, seconds=30)
        source.close()
        source.close()


def settled(catalog: Catalog) -> dict[TableId, TableSchema]:
    """Return a catalog's tables without what a server only estimates."""
    return {t.id: replace(t, estimated_rows=None, bytes=None) for t in catalog.tables}
