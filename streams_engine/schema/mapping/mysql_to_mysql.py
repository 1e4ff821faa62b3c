"""MySQL and MariaDB tables, mapped to MySQL or MariaDB: the same types, exact values.

Dates travel as the server's text, since a zero or partial date fits no Arrow date and must
arrive as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import pyarrow as pa

from streams_engine.errors import TargetConflict
from streams_engine.model import (
    Catalog,
    Check,
    Column,
    Dialect,
    Expression,
    ForeignKey,
    Index,
    TableId,
    TableSchema,
)
from streams_engine.schema.mapping.tables import (
    ColumnMapping,
    Findings,
    MappedCatalog,
    MappingOptions,
    TableMapping,
    chosen_type,
    computes_all,
    keyed_by,
)
from streams_engine.schema.types.flavours import (
    collation_for,
    notes_for,
    options_for,
    rule_for,
    type_for,
)

__all__ = ["map_mysql_to_mysql"]

AS_TEXT = {"date", "datetime", "timestamp"}
TEXTUAL = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}


def map_mysql_to_mysql(catalog: Catalog, options: MappingOptions) -> MappedCatalog:
    """Map every table of a MySQL catalog to MySQL. Raises `TargetConflict`."""
    return _Mapper(catalog, options).run()


SEQUENCE_CALL = re.compile(
    r"\b(nextval|lastval|setval)\s*\(|\b(next|previous)\s+value\s+for\b|\.\s*(nextval|currval)\b",
    re.I,
)

PERIOD = ("ROW START", "ROW END")
"""What MariaDB writes into the columns of a system-versioned table's period."""


@dataclass
class _Mapper:
    catalog: Catalog
    options: MappingOptions

    def run(self) -> MappedCatalog:
        self.findings = Findings()
        self.captured: dict[TableId, TableId] = {}
        for table in self.catalog.tables:
            target = self._id(table.id)
            other = next((s for s, t in self.captured.items() if t == target), None)
            if other is not None:
                raise TargetConflict(
                    f"{other} and {table.id} would both become {target} on the target.",
                    remedy="Leave the target's database out, or move one database at a time.",
                    table=str(target),
                )
            self.captured[table.id] = target
        self.changed: dict[tuple[str, str], list[str]] = {}
        tables = tuple(self._table(table) for table in self.catalog.tables)
        for (old, new), columns in self.changed.items():
            self.findings.warn(
                "collation",
                old,
                f"The target does not have this collation: {', '.join(columns)} get {new}.",
            )
        target_catalog = Catalog(Dialect.MYSQL, tuple(t.target for t in tables))
        return MappedCatalog(self.catalog, target_catalog, tables, tuple(self.findings.items))

    def _id(self, source: TableId) -> TableId:
        name = self.options.prefix + source.name
        if self.options.identifier_case == "lower":
            name = name.lower()
        return TableId(self.options.target_schema or source.schema, name)

    def _table(self, source: TableSchema) -> TableMapping:
        columns = [self._column(source, column) for column in source.columns]
        for note in source.source_notes:
            self.findings.warn("not-carried", source.id, note)
        if source.engine not in (None, "InnoDB"):
            self.findings.warn(
                "engine", source.id, f"The engine {source.engine} becomes InnoDB on the target."
            )
        target = replace(
            source,
            id=self.captured[source.id],
            columns=tuple(c.target for c in columns),
            indexes=tuple(
                index for original in source.indexes if (index := self._index(source, original))
            ),
            foreign_keys=tuple(
                fk
                for original in source.foreign_keys
                if (fk := self._foreign_key(source, original))
            ),
            checks=tuple(
                check for original in source.checks if (check := self._check(source, original))
            ),
            options=self._options(source),
            versioned=False,
            query=None,
            source_notes=(),
        )
        carried = tuple(c for c in columns if c.target.generated is None)
        computed = tuple(c for c in columns if c.target.generated is not None)
        return TableMapping(source, target, carried, generated=computed)

    def _options(self, source: TableSchema) -> tuple[str, ...]:
        """Return the table's default collation as the target's flavour spells it."""
        collations = [o.removeprefix("COLLATE=") for o in source.options if "COLLATE=" in o]
        return tuple(
            f"COLLATE={collation_for(c, mariadb=self.options.mariadb)}" for c in collations
        )

    def _column(self, table: TableSchema, source: Column) -> ColumnMapping:
        override = chosen_type(self.options, table.id, source, postgres_source=False)
        mariadb = self.options.mariadb
        native = override or type_for(source.type, mariadb=mariadb)
        collation = collation_for(source.collation, mariadb=mariadb)
        if collation != source.collation:
            self.changed.setdefault((str(source.collation), str(collation)), []).append(
                f"{table.id}.{source.name}"
            )
        arrow = pa.string() if source.type.name in AS_TEXT else source.arrow
        if override is not None and native.name in TEXTUAL and not pa.types.is_string(arrow):
            arrow = pa.string()
        target = replace(
            source,
            type=native,
            arrow=arrow,
            collation=collation,
            charset=None if native.name == "json" and not mariadb else source.charset,
            default=self._default(table, source),
            generated=self._generated(table, source),
        )
        if source.generated is not None and source.generated.sql.upper() in PERIOD:
            self.findings.warn(
                "generated-as-plain",
                f"{table.id}.{source.name}",
                f"The server generates its values ({source.generated.sql}): it becomes a plain "
                "column with the values of the current rows.",
            )
            # MariaDB has no invisible column without a default.
            target = replace(target, generated=None, stored=True, invisible=False)
        if native.name in TEXTUAL and source.charset is None:
            target = replace(target, charset="utf8mb4")
        rounds = native.name == "json" and not mariadb
        return ColumnMapping(
            replace(source, arrow=arrow),
            target,
            "json_numbers" if rounds else None,
            notes_for(native, mariadb=mariadb),
        )

    def _default(self, table: TableSchema, source: Column) -> Expression | None:
        """Return the column's default; none if it takes numbers of a sequence, which is not
        moved."""
        if source.default is None or not SEQUENCE_CALL.search(source.default.sql):
            return source.default
        self.findings.warn(
            "default",
            f"{table.id}.{source.name}",
            f"Its default ({source.default.sql}) takes numbers of a sequence, which is not moved: "
            "it is left out.",
            "Create the sequence on the target, and set the default by hand.",
        )
        return None

    def _generated(self, table: TableSchema, source: Column) -> Expression | None:
        """Return the generated column's expression; between MySQL and MariaDB only if both compute
        the same."""
        if source.generated is not None and keyed_by(self.options, table, source):
            self.findings.warn(
                "generated-as-plain",
                f"{table.id}.{source.name}",
                f"It is generated as ({source.generated.sql}), and a key by which changes find "
                "their rows: it becomes a plain column with its values.",
            )
            return None
        if source.generated is not None and computes_all(table):
            self.findings.warn(
                "generated-as-plain",
                f"{table.id}.{source.name}",
                f"It is generated as ({source.generated.sql}), and the table has no column that is "
                "not: it becomes a plain column with its values.",
            )
            return None
        across = self.catalog.mariadb not in (None, self.options.mariadb)
        if source.generated is None or not across:
            return source.generated
        # Loads sqlglot, a tenth of a second: only where there is an expression.
        from streams_engine.schema.mapping.expressions_to_postgres import translate

        columns = {column.name: column for column in table.columns}
        names = {name: name for name in columns}
        if translate(source.generated, columns, names, source.type) is not None:
            return source.generated
        self.findings.warn(
            "generated-as-plain",
            f"{table.id}.{source.name}",
            f"It is generated as ({source.generated.sql}), which MySQL and MariaDB may compute "
            "differently: it becomes a plain column with its values.",
        )
        return None

    def _index(self, table: TableSchema, index: Index) -> Index | None:
        functional = any(part.expression is not None for part in index.parts)
        if functional and self.options.mariadb:
            self.findings.warn(
                "expression-index",
                f"{table.id}.{index.name}",
                "MariaDB has no indexes over expressions: it is left out.",
            )
            return None
        special = index.method not in ("btree", "hash")
        return replace(
            index,
            options=options_for(index, mariadb=self.options.mariadb),
            optional=special or functional,
        )

    def _check(self, table: TableSchema, check: Check) -> Check | None:
        if not check.enforced and self.options.mariadb:
            self.findings.warn(
                "check",
                f"{table.id}.{check.name}",
                "The check is NOT ENFORCED, which MariaDB does not have: it is left out.",
            )
            return None
        return replace(check, optional=True)

    def _foreign_key(self, table: TableSchema, fk: ForeignKey) -> ForeignKey | None:
        referenced = self.captured.get(fk.referenced)
        if referenced is None:
            self.findings.warn(
                "foreign-key",
                f"{table.id}.{fk.name}",
                f"The foreign key refers to {fk.referenced}, which is not moved: it is left out.",
            )
            return None
        return replace(
            fk,
            referenced=referenced,
            name=(self.options.prefix + fk.name)[:64],
            on_update=rule_for(fk.on_update, mariadb=self.options.mariadb),
            on_delete=rule_for(fk.on_delete, mariadb=self.options.mariadb),
        )
