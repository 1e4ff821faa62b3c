"""PostgreSQL tables, mapped to PostgreSQL: the same types, and a value's own wire form.

Types whose values Arrow holds exactly travel as such; types of one fixed binary form
travel in that form (``typsend`` to ``typreceive``); what carries object ids inside
(composites, arrays of user types) or comes from extensions travels as the server's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Sequence as Many
from dataclasses import dataclass, replace

import pyarrow as pa

from streams_engine.errors import TargetConflict
from streams_engine.model import (
    Catalog,
    Column,
    Expression,
    ForeignKey,
    Identity,
    Index,
    NativeType,
    Partitioning,
    Sequence,
    TableId,
    TableSchema,
    TypeKind,
    UserType,
)
from streams_engine.schema.ddl.names import shorten
from streams_engine.schema.ddl.postgres import literal, name_of
from streams_engine.schema.mapping.tables import (
    ColumnMapping,
    Findings,
    MappedCatalog,
    MappingOptions,
    TableMapping,
    TextConversion,
    chosen_type,
    unchanged,
)
from streams_engine.schema.types.postgres import WIRE, base_of, extensions_of, has_binary_form

__all__ = [
    "NEXT_VALUE",
    "map_postgres",
    "sequence_called",
    "target_name",
    "transport",
    "without_wire",
]


NEXT_VALUE = re.compile(r"^nextval\('(.+)'::regclass\)$")
"""How the server renders the default of a serial column."""

_CALL = re.compile(r"nextval\('((?:[^']|'')+)'::regclass\)")
_NAME_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')

_EXACT_IN_ARROW = {
    "bool",
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "text",
    "varchar",
    "bpchar",
    "bytea",
}
_PORTABLE_WIRE = {
    "date",
    "timestamp",
    "timestamptz",
    "time",
    "timetz",
    "interval",
    "numeric",
    "uuid",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "bit",
    "varbit",
    "json",
    "jsonb",
    "point",
    "line",
    "lseg",
    "box",
    "path",
    "polygon",
    "circle",
    "oid",
}


def map_postgres(catalog: Catalog, options: MappingOptions) -> MappedCatalog:
    """Map every table of a PostgreSQL catalog to PostgreSQL."""
    return _Mapper(catalog, options).run()


def sequence_called(name: str, sequences: Iterable[Sequence]) -> Sequence | None:
    """Return the sequence that ``nextval('NAME'::regclass)`` names, as the server renders it, or
    None."""
    parts = [
        quoted.replace('""', '"') or plain
        for quoted, plain in _NAME_PART.findall(name.replace("''", "'"))
    ]
    for sequence in sequences:
        if parts in ([sequence.id.name], [sequence.id.schema, sequence.id.name]):
            return sequence
    return None


def target_name(options: MappingOptions, source: TableId) -> TableId:
    """Return the name of a PostgreSQL source's relation on a PostgreSQL target."""
    return TableId(options.target_schema or source.schema, _prefixed(options, source.name))


def _prefixed(options: MappingOptions, name: str) -> str:
    return shorten(options.prefix + name) if options.prefix else name


def transport(native: NativeType, arrow: pa.DataType) -> pa.DataType:
    """Return the Arrow type in which a column of this type is read and written."""
    base = native
    while base.kind is TypeKind.DOMAIN and base.element is not None:
        base = base.element
    if base.extension is not None or base.user is not None:
        return pa.string()
    if base.kind is TypeKind.ARRAY and base.element is not None:
        inner = base.element
        plain = inner.kind is TypeKind.BASE and inner.user is None and inner.extension is None
        portable = plain and inner.name in _EXACT_IN_ARROW | _PORTABLE_WIRE
        return WIRE if portable else pa.string()
    if native.kind is TypeKind.BASE and base.name in _EXACT_IN_ARROW:
        return arrow
    return WIRE if base.name in _EXACT_IN_ARROW | _PORTABLE_WIRE else pa.string()


def same_text(column: ColumnMapping) -> TextConversion | None:
    """Return that a value's text is the target's too; None if it is converted."""
    same = column.convert is None and column.fit is None
    return unchanged if same and column.source.arrow == column.target.arrow else None


def without_wire(columns: list[ColumnMapping]) -> list[ColumnMapping]:
    """Return the columns as texts instead of binary forms if one of them forces a text COPY."""
    if all(has_binary_form(c.target.type, c.target.arrow) or c.fit for c in columns) and not any(
        c.fit and pa.types.is_string(c.target.arrow) for c in columns
    ):
        return columns
    return [
        replace(
            c,
            source=replace(c.source, arrow=pa.string()),
            target=replace(c.target, arrow=pa.string()),
        )
        if c.source.arrow == WIRE and c.fit is None
        else c
        for c in columns
    ]


@dataclass
class _Mapper:
    catalog: Catalog
    options: MappingOptions

    def run(self) -> MappedCatalog:
        self.findings = Findings()
        self.captured = {table.id for table in self.catalog.tables}
        for table in self.catalog.tables:
            if table.partitioning is not None:
                self.captured |= {part.id for part in table.partitioning.every()}
        self._demand_room()
        tables = tuple(self._table(table) for table in self.catalog.tables)
        target = replace(
            self.catalog,
            tables=tuple(t.target for t in tables),
            types=tuple(self._user_type(t) for t in self.catalog.types),
            sequences=tuple(self._sequence(s) for s in self.catalog.sequences),
            extensions=tuple(dict.fromkeys(e for t in tables for e in t.target.extensions)),
            skipped=(),
        )
        return MappedCatalog(self.catalog, target, tables, tuple(self.findings.items))

    def _demand_room(self) -> None:
        """Raise `TargetConflict` if one target schema would mix what several schemas hold."""
        seen: dict[TableId, TableId] = {}
        catalog = self.catalog
        names = [(table.id, self._id(table.id)) for table in catalog.tables]
        names += [(user_type.id, self._type_id(user_type.id)) for user_type in catalog.types]
        names += [(sequence.id, self._id(sequence.id)) for sequence in catalog.sequences]
        for source, target in names:
            other = seen.setdefault(target, source)
            if other != source:
                raise TargetConflict(
                    f"{other} and {source} would both become {target} on the target.",
                    remedy="Leave the target's schema out, or move one schema at a time.",
                    table=str(target),
                )

    def _id(self, source: TableId) -> TableId:
        """Return the target's name of a table or sequence."""
        return target_name(self.options, source)

    def _named(self, name: str) -> str:
        return _prefixed(self.options, name)

    def _type_id(self, source: TableId) -> TableId:
        """Return the target's name of a type. Types keep their names, which expressions contain;
        several sources share equal types."""
        return TableId(self.options.target_schema or source.schema, source.name)

    def _table(self, source: TableSchema) -> TableMapping:
        columns = without_wire([self._column(source, column) for column in source.columns])
        for note in source.source_notes:
            self.findings.warn("not-carried", source.id, note)
        target = replace(
            source,
            extensions=extensions_of(replace(source, columns=tuple(c.target for c in columns))),
            id=self._id(source.id),
            columns=tuple(c.target for c in columns),
            primary_key=source.primary_key and self._index(source.primary_key),
            query=None,
            foreign_keys=tuple(
                fk
                for original in source.foreign_keys
                if (fk := self._foreign_key(source.id, original))
            ),
            checks=tuple(
                check
                for check in source.checks
                if self._carried(check.expression, f"{source.id}.{check.name}", "check")
            ),
            indexes=tuple(
                self._index(index)
                for index in source.indexes
                if self._classed(index.needs, f"{source.id}.{index.name}", "index")
                and all(
                    self._carried(e, f"{source.id}.{index.name}", "index")
                    for e in (*(p.expression for p in index.parts), index.where)
                )
            ),
            partitioning=self._tree(source),
            inherits=tuple(self._id(parent) for parent in source.inherits),
            types=tuple(self._user_type(user) for user in source.types),
        )
        carried = tuple(c for c in columns if c.target.generated is None)
        computed = tuple(c for c in columns if c.target.generated is not None)
        unchanged = self._unchanged(carried)
        return TableMapping(source, target, carried, tuples=unchanged, generated=computed)

    def _unchanged(self, columns: tuple[ColumnMapping, ...]) -> bool:
        """Return True if the target's server accepts each value exactly as the source's sends
        it."""
        return bool(columns) and all(
            has_binary_form(c.target.type, c.target.arrow)
            and self._native(c.source.type) == c.target.type
            and base_of(c.source.type).name != "xml"  # which is sent with its encoding
            for c in columns
        )

    def _column(self, table: TableSchema, source: Column) -> ColumnMapping:
        where = f"{table.id}.{source.name}"
        override = chosen_type(self.options, table.id, source, postgres_source=True)
        native = override or self._native(source.type)
        arrow = pa.string() if override else transport(source.type, source.arrow)
        keeps_default = self._carried(source.default, where, "default")
        keeps_rule = self._carried(source.generated, where, "generation expression")
        target = replace(
            source,
            type=native,
            arrow=arrow,
            default=self._default(source) if keeps_default else None,
            generated=source.generated if keeps_rule else None,
            identity=source.identity and self._identity(source.identity),
        )
        return ColumnMapping(replace(source, arrow=arrow), target)

    def _default(self, source: Column) -> Expression | None:
        """Return the default with the new names of the sequences that it calls."""
        if source.default is None or not (self.options.prefix or self.options.target_schema):
            return source.default

        def renamed(call: re.Match[str]) -> str:
            sequence = sequence_called(call[1], self.catalog.sequences)
            if sequence is None:
                return call[0]
            return f"nextval({literal(name_of(self._id(sequence.id)))}::regclass)"

        return replace(source.default, sql=_CALL.sub(renamed, source.default.sql))

    def _index(self, index: Index) -> Index:
        """Return the index under its new name: indexes share a namespace with tables."""
        return replace(index, name=self._named(index.name)) if self.options.prefix else index

    def _carried(self, expression: Expression | None, where: str, what: str) -> bool:
        """Return True if the expression can be carried over; warn and return False if it calls
        functions."""
        if expression is None or not expression.functions:
            return True
        self.findings.warn(
            "needs-function",
            where,
            f"Its {what} calls {', '.join(expression.functions)}, which is not moved: left out.",
            "Create the function on the target and add it by hand.",
        )
        return False

    def _classed(self, needs: Many[str], where: str, what: str) -> bool:
        """Return True if an index needs no operator class of the user's; warn and return False if
        it does."""
        if needs:
            self.findings.warn(
                "needs-function",
                where,
                f"Its {what} uses {', '.join(needs)}, which is not moved: left out.",
                "Create it on the target, and the rest by hand.",
            )
        return not needs

    def _tree(self, source: TableSchema) -> Partitioning | None:
        """Return the partitions; None where the target cannot tell which one a row is of."""
        tree = source.partitioning
        if tree is None:
            return None
        if tree.needs:
            self.findings.warn(
                "partitions",
                source.id,
                f"Its partition key needs {', '.join(tree.needs)}, which is not moved: its "
                "partitions become one table.",
            )
            return None
        return self._partitioning(tree)

    def _identity(self, identity: Identity) -> Identity:
        return replace(identity, sequence=identity.sequence and self._id(identity.sequence))

    def _native(self, native: NativeType) -> NativeType:
        return replace(
            native,
            user=native.user and self._type_id(native.user),
            element=native.element and self._native(native.element),
        )

    def _foreign_key(self, table: TableId, fk: ForeignKey) -> ForeignKey | None:
        if fk.referenced not in self.captured:
            self.findings.warn(
                "foreign-key",
                f"{table}.{fk.name}",
                f"The foreign key refers to {fk.referenced}, which is not moved: it is left out.",
            )
            return None
        return replace(fk, referenced=self._id(fk.referenced))

    def _partitioning(self, tree: Partitioning) -> Partitioning:
        return replace(
            tree,
            partitions=tuple(
                replace(
                    part,
                    id=self._id(part.id),
                    foreign_keys=tuple(
                        fk for own in part.foreign_keys if (fk := self._foreign_key(part.id, own))
                    ),
                    partitioning=part.partitioning and self._partitioning(part.partitioning),
                )
                for part in tree.partitions
            ),
        )

    def _user_type(self, user: UserType) -> UserType:
        checks = tuple(
            check
            for check in user.checks
            if self._carried(check.expression, f"{user.id}.{check.name}", "check")
        )
        default = user.default
        return replace(
            user,
            id=self._type_id(user.id),
            checks=checks,
            default=default if self._carried(default, str(user.id), "default") else None,
            base=user.base and self._native(user.base),
            attributes=tuple((name, self._native(native)) for name, native in user.attributes),
        )

    def _sequence(self, sequence: Sequence) -> Sequence:
        owner = sequence.owner and (self._id(sequence.owner[0]), sequence.owner[1])
        return replace(sequence, id=self._id(sequence.id), owner=owner)
