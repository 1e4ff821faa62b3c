"""Map the catalogs of the sources to the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from streams_engine.contracts import Sink
from streams_engine.model import Catalog, RowObservations, TableSchema
from streams_engine.pipeline.context import Job, RunContext
from streams_engine.pipeline.multi_source import (
    SourceSpec,
    demand_names,
    demand_tables,
    error_context,
    merged,
    with_alias,
)
from streams_engine.schema.dialects import spec_of
from streams_engine.schema.mapping.routes import map_catalog
from streams_engine.schema.mapping.selection import apply_selections
from streams_engine.schema.mapping.tables import Findings, MappedCatalog

__all__ = ["CatalogMapper", "RowScan"]


@runtime_checkable
class RowScan(Protocol):
    """Source or snapshot that scans rows for facts that a mapping to PostgreSQL needs and the
    catalog lacks."""

    def observe(
        self,
        tables: Sequence[TableSchema],
        *,
        booleans: bool,
        zero_dates: bool,
        times: bool,
        foreign_keys: bool,
    ) -> RowObservations:
        """Scan the tables for the requested facts."""
        ...


@runtime_checkable
class TupleSink(Protocol):
    """A sink that takes rows whole, as PostgreSQL's COPY BINARY has them."""

    takes_tuples: bool


@runtime_checkable
class FlavouredSink(Protocol):
    """Sink whose dialect has flavours, of which only the server tells which one it is."""

    def is_mariadb(self) -> bool:
        """Return True for MariaDB. Connects."""
        ...


def observes_rows(sink: Sink) -> bool:
    """Return True if types of the target depend on the contents of the source's rows."""
    return sink.dialect is not None and spec_of(sink.dialect).observes_rows


class CatalogMapper:
    """Maps catalogs by the settings of a job. Only `flavour` asks the target."""

    def __init__(self, job: Job, sink: Sink) -> None:
        self._job = job
        self._sink = sink

    @classmethod
    def of(cls, context: RunContext) -> CatalogMapper:
        """Return the mapper of a run."""
        return cls(context.job, context.sink)

    def flavour(self) -> bool | None:
        """Return True for a target in MariaDB; None if the dialect has no flavours."""
        return self._sink.is_mariadb() if isinstance(self._sink, FlavouredSink) else None

    def map_sources(self, sources: Sequence[SourceSpec]) -> MappedCatalog:
        """Map the present catalogs of all sources; the target is not asked."""
        mapped = []
        for source in sources:
            with error_context(source.alias):
                catalog = source.source.catalog(source.scope)
            mapped.append(self.map(source, catalog, source.source))
        return merged(mapped)

    def map(
        self, source: SourceSpec, catalog: Catalog, scanner: object, flavour: bool | None = None
    ) -> MappedCatalog:
        """Map one source's catalog.

        ``scanner`` scans rows if it is a `RowScan`; ``flavour`` is what `flavour` returned.
        """
        options = source.mapping
        if flavour is not None:
            options = replace(options, mariadb=flavour)
        findings = Findings()
        whole = isinstance(self._sink, TupleSink) and self._sink.takes_tuples
        if not self._job.allow_empty:
            demand_tables(source, catalog)
        demand_names(catalog)
        catalog, chosen = apply_selections(catalog, source.selections, findings)
        tables = [table for table in catalog.tables if table.query is None]
        if observes_rows(self._sink) and isinstance(scanner, RowScan):
            observed = scanner.observe(
                tables,
                booleans=True,
                zero_dates=options.zero_dates == "null",
                times=True,
                foreign_keys=self._job.structure.foreign_keys,
            )
            options = replace(options, observed=observed.stamped(source.alias))
        mapped = map_catalog(with_alias(catalog, source.alias), self._sink.dialect, options)
        return replace(
            mapped,
            tables=tuple(
                replace(
                    m,
                    selection=chosen.get(replace(m.source.id, alias="")),
                    # A bad row that is quarantined is shown, which takes a look inside.
                    tuples=m.tuples and whole and not self._job.quarantine,
                )
                for m in mapped.tables
            ),
            findings=(*findings.items, *mapped.findings),
        )
