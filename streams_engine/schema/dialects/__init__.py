"""Dialects: all that this library has to know of a family of types and SQL, one object each.

Whoever works with tables of any dialect asks `spec_of` for an ability, and compares no dialects. An
adapter in a package of its own registers the spec of its dialect where its descriptor stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol

import pyarrow as pa

from streams_engine.contracts import Statement
from streams_engine.errors import InternalError
from streams_engine.model import Catalog, Dialect, NativeType, TableId, UserType
from streams_engine.schema.ddl.postgres_sequences import TargetSequence
from streams_engine.schema.ddl.structure import Ddl
from streams_engine.schema.evolution.differences import TableDifference
from streams_engine.schema.evolution.steps import DdlPlan
from streams_engine.schema.mapping.tables import (
    ColumnMapping,
    MappedCatalog,
    MappingOptions,
    TextConversion,
)

__all__ = ["DialectSpec", "Mapper", "SequenceDdl", "ddl_of", "register", "spec_of"]

Mapper = Callable[[Catalog, MappingOptions], MappedCatalog]
"""Maps a source's catalog to one dialect."""


TextRoute = Callable[[ColumnMapping], "TextConversion | None"]
"""Returns how a column's texts in the log become the target's; None if its values go in columns."""


class SequenceDdl(Protocol):
    """The statements that move what numbers a target's rows; never back."""

    @property
    def standalone(self) -> bool:
        """True if sequences do not move with the rows that are written, and must be moved."""
        ...

    def advance(
        self, values: Iterable[TargetSequence], target: Catalog | None = None
    ) -> Iterator[Statement]:
        """Yield statements that move sequences to where the source has them.

        ``target`` is the target's present catalog; none is given where they are `standalone`.
        """
        ...

    def past_the_rows(self, target: Catalog) -> Iterator[Statement]:
        """Yield statements that move sequences past the rows that are there."""
        ...


@dataclass(frozen=True, slots=True)
class DialectSpec:
    """Facts about one dialect."""

    dialect: Dialect
    arrow_type: Callable[[NativeType], pa.DataType]
    """Return the Arrow type that a source reads a type as."""
    parse_type: Callable[[str], NativeType]
    """Parse a type's text, as ``typeOverrides`` names it. Raises `UnsupportedType`."""
    through_arrow: Mapper
    """Map the catalog of any source that `routes` does not name, by the Arrow types of its
    columns (`schema.mapping.through_arrow` makes such)."""
    routes: Mapping[Dialect, Mapper] = field(default_factory=dict)
    """Mappings of its own from some sources."""
    complete: Callable[[Catalog], Catalog] = lambda catalog: catalog
    """Add to a target's catalog what its types need, as extensions."""
    ddl: Ddl | None = None
    name_of: Callable[[TableId], str] | None = None
    """Return a table's name as a query writes it."""
    evolve: Callable[[TableDifference], DdlPlan] | None = None
    """Plan a schema change; None: a change has no statements here."""
    renew_types: Callable[[Iterable[UserType]], Iterator[Statement]] = lambda types: iter(())
    """Yield statements that make types anew where nothing uses them any more."""
    sequences: SequenceDdl | None = None
    observes_rows: bool = False
    """The mapping depends on what the source's rows hold: TINYINT(1) of 0 and 1 alone is a boolean,
    and foreign keys may be broken."""
    compared_by_arrow: bool = True
    """`verify` compares its columns by their Arrow types instead of its own types."""
    onto_existing: Callable[[list[ColumnMapping]], list[ColumnMapping]] = lambda columns: columns
    """Adapt the columns that are written to a table that existed before."""
    text_routes: Mapping[Dialect, TextRoute] = field(default_factory=dict)
    """Of sources whose log's values go as texts to targets of this dialect."""
    log_texts: bool = False
    """Its log carries values as texts, which a server of the same dialect reads back exactly."""


_SPECS: dict[Dialect, DialectSpec] = {}
_BUILT_IN = {
    Dialect.MYSQL: "streams_engine.schema.dialects.mysql",
    Dialect.POSTGRES: "streams_engine.schema.dialects.postgres",
    Dialect.FILES: "streams_engine.schema.dialects.files",
}
"""Imported when first asked for: a stream between files needs no SQL."""


def register(spec: DialectSpec) -> Dialect:
    """Make a dialect known under its name, and return it. The last one of a name counts."""
    _SPECS[spec.dialect] = spec
    return spec.dialect


def spec_of(dialect: Dialect) -> DialectSpec:
    """Return what is known of a dialect. Raises `InternalError` for one that nobody registered."""
    if dialect not in _SPECS:
        if dialect not in _BUILT_IN:
            raise InternalError(f"The dialect '{dialect}' is not registered.")
        register(import_module(_BUILT_IN[dialect]).SPEC)
    return _SPECS[dialect]


def ddl_of(dialect: Dialect) -> Ddl:
    """Return the DDL of a dialect that has tables. Raises `InternalError` if it has none."""
    ddl = spec_of(dialect).ddl
    if ddl is None:
        raise InternalError(f"The dialect '{dialect}' has no DDL.")
    return ddl
