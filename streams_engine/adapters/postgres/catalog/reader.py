"""A PostgreSQL database's structure, read from its catalogs, set by set."""

from __future__ import annotations

import contextlib
import difflib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import psycopg

from streams_engine.adapters.postgres.catalog import queries
from streams_engine.adapters.postgres.catalog.types import TypeCatalog, check_condition
from streams_engine.adapters.postgres.sink.checkpoint_table import SCHEMA, STATE_TABLES
from streams_engine.contracts import Scope
from streams_engine.errors import NotFound
from streams_engine.model import (
    Catalog,
    Check,
    Column,
    Dialect,
    Exclusion,
    Expression,
    Extension,
    ForeignKey,
    Identity,
    Index,
    IndexPart,
    Partition,
    Partitioning,
    SkippedObject,
    TableId,
    TableSchema,
)
from streams_engine.model import Sequence as SequenceSchema
from streams_engine.schema.types.postgres import arrow_type

__all__ = ["read_catalog", "tables_in_scope", "undisturbed", "unlogged_tables"]

T = TypeVar("T")
ATTEMPTS = 20
"""How often a catalog without locks is read where tables are dropped meanwhile."""

ACTIONS = {
    "a": "NO ACTION",
    "r": "RESTRICT",
    "c": "CASCADE",
    "n": "SET NULL",
    "d": "SET DEFAULT",
}
MATCHES = {"s": "SIMPLE", "f": "FULL", "p": "PARTIAL"}


def undisturbed(read: Callable[[], T]) -> T:
    """Call ``read``, and again while the server meets something that was dropped meanwhile ("cache
    lookup failed").

    Each call has to look in a view of its own: in the same one the answer is the same.
    """
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(psycopg.errors.InternalError_):
            return read()
    return read()


def tables_in_scope(connection: psycopg.Connection, scope: Scope) -> list[TableId]:
    """Return the tables in scope, without partitions. Raises `NotFound` that lists similar
    names."""
    rows = [r for r in connection.execute(queries.TABLES).fetchall() if not r[6]]
    chosen = _chosen(rows, scope)
    if not chosen:
        _demand_schema(connection, scope)
    return [TableId(row[1], row[2]) for row in chosen]


def unlogged_tables(connection: psycopg.Connection) -> set[TableId]:
    """Return the UNLOGGED tables, whose changes are not in the WAL."""
    rows = connection.execute(queries.TABLES).fetchall()
    return {TableId(row[1], row[2]) for row in rows if row[4] == "u"}


def read_catalog(
    connection: psycopg.Connection,
    scope: Scope | None = None,
    tables: Sequence[TableId] | None = None,
    *,
    within: Collection[TableId] | None = None,
    looking: bool = False,
    everywhere: bool = False,
) -> Catalog:
    """Describe the tables of a scope, or those of ``tables`` that exist (with the user types
    and sequences of their schemas, or ``everywhere`` with all). Expressions are rendered under
    the session's search_path.

    Call it in a REPEATABLE READ transaction: it asks many questions. A table that is dropped
    meanwhile is left out; raises `NotFound` if the scope names it.

    ``within``: of the scope only these tables, as those that were locked. ``looking``: without
    what only matters to whom makes the tables again: sequences, identities, extensions, and what
    is left behind.
    """
    reader = _Reader(connection, looking=looking, everywhere=everywhere)
    return reader.read(scope, tables, within)


def _chosen(rows: list[Any], scope: Scope) -> list[Any]:
    if scope.tables is None:
        # The checkpoints of streams into this database are no data of its user's.
        own = {(SCHEMA, name) for name in STATE_TABLES}
        return [r for r in rows if scope.schema in (None, r[1]) and (r[1], r[2]) not in own]
    chosen = []
    for name in scope.tables:
        matching = [r for r in rows if _meant(name, r, scope.schema)]
        if not matching:
            known = sorted({r[2] for r in rows} | {f"{r[1]}.{r[2]}" for r in rows})
            near = ", ".join(difflib.get_close_matches(name, known, 3)) or "none"
            raise NotFound(
                f"The source has no table '{name}'.",
                remedy=f"Similar names: {near}.",
                table=name,
            )
        chosen += [r for r in matching if r not in chosen]
    return chosen


def _demand_schema(connection: psycopg.Connection, scope: Scope) -> None:
    """Raise `NotFound` if all tables of a schema are asked for that is not there."""
    if scope.schema is None or scope.tables is not None:
        return
    known = [row[0] for row in connection.execute(queries.SCHEMAS).fetchall()]
    if scope.schema not in known:
        near = ", ".join(difflib.get_close_matches(scope.schema, known, 3)) or "none"
        raise NotFound(
            f"The source has no schema '{scope.schema}'.",
            remedy=f"Similar names: {near}.",
            schema=scope.schema,
        )


def _meant(name: str, row: Any, schema: str | None) -> bool:
    if name == f"{row[1]}.{row[2]}":
        return True
    return bool(row[2] == name and (schema is None or row[1] == schema))


def _expression(sql: str | None, functions: Iterable[str] = ()) -> Expression | None:
    return None if sql is None else Expression(sql, Dialect.POSTGRES, tuple(functions))


class _Reader:
    def __init__(self, connection: psycopg.Connection, *, looking: bool, everywhere: bool) -> None:
        self._connection = connection
        self._looking = looking
        self._everywhere = everywhere
        self._version = connection.info.server_version

    def _all(self, query: str, **parameters: Any) -> list[Any]:
        return self._connection.execute(query, parameters).fetchall()

    def _of(self, oids: Sequence[int], query: str, **parameters: Any) -> list[Any]:
        """Ask a question about some objects; about none it needs no answer. Planning costs more
        than all else here."""
        return self._all(query, oids=oids, **parameters) if oids else []

    @cached_property
    def _every_sequence(self) -> list[Any]:
        return self._all(queries.SEQUENCES)

    def read(
        self,
        scope: Scope | None,
        tables: Sequence[TableId] | None,
        within: Collection[TableId] | None,
    ) -> Catalog:
        self._by_name = tables is not None
        everything = self._all(queries.TABLES)
        by_oid = {row[0]: row for row in everything}
        self.ids = {row[0]: TableId(row[1], row[2]) for row in everything}
        roots = [row for row in everything if not row[6]]
        if tables is not None:
            wanted = set(tables)
            chosen = [row for row in everything if self.ids[row[0]] in wanted]
        else:
            chosen = _chosen(roots, scope or Scope())
            if not chosen:
                _demand_schema(self._connection, scope or Scope())
        if within is not None:
            chosen = [row for row in chosen if self.ids[row[0]] in within]
        self.oids = [row[0] for row in chosen]
        self._read_inheritance()
        named = scope is not None and scope.tables is not None
        chosen = self._still_there(chosen, named=named)
        self.oids = [row[0] for row in chosen]
        self._read_parts(tables)
        chosen = self._still_there(chosen, named=named)
        leaves = [] if self._by_name else [leaf for oid in self.oids for leaf in self._leaves(oid)]
        self.sizes: dict[int, int] = dict(self._of(leaves, queries.SIZES))
        schemas = tuple(self._table(row, by_oid) for row in chosen)
        if self._looking:
            return Catalog(Dialect.POSTGRES, schemas, types=self.types.user_types())
        return Catalog(
            Dialect.POSTGRES,
            schemas,
            types=self.types.user_types(),
            sequences=self._sequences(tables),
            extensions=tuple(dict.fromkeys(e for t in schemas for e in t.extensions)),
            skipped=() if tables is not None else self._skipped(scope or Scope()),
            schemas=frozenset(r[0] for r in self._all(queries.SCHEMAS)) if tables else frozenset(),
        )

    def _schemas(self, names: set[str]) -> set[str]:
        """Return the schemas whose types and sequences are described too."""
        if not self._everywhere:
            return names
        every = {row[0] for row in self._all(queries.SCHEMAS)}
        return {name for name in every if not name.startswith("pg_")} - {"information_schema"}

    def _about_all(self, query: str) -> list[Any]:
        """Ask a question about the chosen tables and the types that were found."""
        types = self.types.oids
        return self._all(query, oids=self.oids, types=types) if self.oids or types else []

    def _still_there(self, chosen: list[Any], *, named: bool) -> list[Any]:
        """Forget tables and partitions that were dropped while the catalog was read: the server's
        functions returned NULL for them."""
        oids = [oid for oid in {leaf for row in chosen for leaf in self._leaves(row[0])}
                if oid in self.ids]  # fmt: skip
        names = [
            f'"{_doubled(t.schema)}"."{_doubled(t.name)}"' for t in map(self.ids.get, oids) if t
        ]
        gone = {row[0] for row in self._of(oids, queries.VANISHED, names=names)}
        if not gone:
            return chosen
        missing = [str(self.ids[row[0]]) for row in chosen if row[0] in gone]
        if named and missing:
            raise NotFound(
                f"The tables {', '.join(missing)} were dropped or renamed while the catalog was "
                "read.",
                remedy="Start again. If the tables are gone, remove them from the configuration.",
                tables=missing,
            )
        for parent, children in self.children.items():
            self.children[parent] = [child for child in children if child not in gone]
        return [row for row in chosen if row[0] not in gone]

    def _read_parts(self, tables: Sequence[TableId] | None) -> None:
        """Read everything about the chosen tables, grouped by table."""
        newer = self._version >= 150000
        columns = self._of(self.oids, queries.COLUMNS)
        needed = {row[2] for row in columns}
        if tables is not None:
            names = sorted(self._schemas({table.schema for table in tables}))
            needed |= {row[0] for row in self._all(queries.TYPES_IN_SCHEMAS, schemas=names)}
        self.types = TypeCatalog(self._connection, sorted(needed))
        self.functions: dict[tuple[str, int], list[str]] = defaultdict(list)
        self.operator_classes: dict[int, list[str]] = defaultdict(list)
        self.columns = _group(columns)
        self.extensions: list[tuple[Extension, int | None, int | None]] = []
        self._read_keys(newer, columns)
        if self._looking or not (self.oids or self.types.oids):
            return
        for class_name, oid, name in self._all(queries.FUNCTIONS_NEEDED):
            self.functions[class_name, oid].append(name)
        for oid, name in self._all(queries.OPERATOR_CLASSES_NEEDED):
            self.operator_classes[oid].append(name)
        self.types.needs({oid: names for (_, oid), names in self.functions.items()})
        self._read_extensions()
        self.identities = {
            (row[10], row[11]): row for row in self._every_sequence if row[12] == "i"
        }

    def _read_extensions(self) -> None:
        """Read which extensions are needed, each with the table or the type that needs it."""
        oids = sorted({leaf for oid in self.oids for leaf in self._leaves(oid)})
        rows = self._all(queries.EXTENSIONS, oids=oids, types=self.types.oids)
        self.extensions = [(Extension(*row[:3]), row[3], row[4]) for row in rows]

    def _read_inheritance(self) -> None:
        self.parents: dict[int, list[int]] = defaultdict(list)
        self.children: dict[int, list[int]] = defaultdict(list)
        self.links: dict[int, int] = {}
        for child, parent, made in self._all(queries.INHERITS):
            self.links[child] = made
            self.parents[child].append(parent)
            self.children[parent].append(child)

    def _read_keys(self, newer: bool, columns: list[Any]) -> None:
        """Read indexes and constraints, including those that partitions have alone; ``columns``
        are those of the tables."""
        oids = sorted({leaf for oid in self.oids for leaf in self._leaves(oid)})
        if set(oids) != set(self.oids):
            columns = self._of(oids, queries.COLUMNS)
        self.numbers = {(r[0], r[11]): r[1] for r in columns}
        self.leaf_columns = _group(columns)
        index_query = queries.INDEXES.format(
            nulls_not_distinct="i.indnullsnotdistinct" if newer else "false"
        )
        self.indexes = _group(self._of(oids, index_query))
        parts = set(oids) - set(self.oids)
        self.inherited = _group(self._of(sorted(parts), queries.INHERITED_INDEXES))
        constraint_query = queries.CONSTRAINTS.format(
            set_columns="k.confdelsetcols" if newer else "NULL",
            enforced="k.conenforced" if self._version >= 180000 else "true",
            period="k.conperiod" if self._version >= 180000 else "false",
        )
        self.constraints = _group(self._of(oids, constraint_query))

    # Tables

    def _table(self, row: Any, by_oid: dict[int, Any]) -> TableSchema:
        oid, kind = row[0], row[3]
        notes: list[str] = []
        if row[10]:
            notes.append("Row-level security is enabled: its policies are not moved.")
        if row[12]:
            notes.append(
                "Row-level security hides rows of the table from this role: a run is refused."
            )
        keys = [self._index(oid, index, notes) for index in self.indexes[oid] if index[17] != "x"]
        present = [key for key in keys if key is not None]
        plain_parents = [] if row[6] else self._plain_parents(oid, notes)
        return TableSchema(
            id=self.ids[oid],
            dialect=Dialect.POSTGRES,
            columns=tuple(self._column(oid, column) for column in self.columns[oid]),
            primary_key=next((key for key in present if key.primary), None),
            indexes=tuple(key for key in present if not key.primary),
            foreign_keys=tuple(
                self._foreign_key(oid, k) for k in self.constraints[oid] if k[3] == "f"
            ),
            checks=tuple(self._check(k, notes) for k in self.constraints[oid] if k[3] == "c"),
            exclusions=tuple(
                Exclusion(k[2], Expression(k[15], Dialect.POSTGRES), k[16])
                for k in self.constraints[oid]
                if k[3] == "x"
            ),
            partitioning=self._partitioning(oid, by_oid) if kind == "p" else None,
            inherits=tuple(plain_parents),
            comment=row[9],
            unlogged=row[4] == "u",
            estimated_rows=self._rows(oid, by_oid),
            bytes=self._bytes(oid, by_oid),
            options=tuple(row[11] or ()),
            types=self.types.user_types([column[2] for column in self.columns[oid]]),
            extensions=tuple(self._extensions(oid)),
            source_notes=tuple(notes),
            oid=oid,
            storage=tuple(self._storage(row, by_oid)),
            links=tuple((part, self.links[part]) for part in sorted(self._leaves(oid)[1:]))
            if kind == "p"
            else (),
        )

    def _extensions(self, oid: int) -> Iterator[Extension]:
        """Yield the extensions that a table needs."""
        relations = set(self._leaves(oid))
        types = self.types.built_from(column[2] for column in self.columns[oid])
        own = {e for e, relation, _ in self.extensions if relation in relations}
        of_types = {e for e, _, type_ in self.extensions if type_ in types}
        for extension in sorted(own | of_types, key=lambda e: e.name):
            yield extension if extension in own else replace(extension, for_types=True)

    def _storage(self, row: Any, by_oid: dict[int, Any]) -> Iterator[tuple[int, int]]:
        """Yield (oid, relfilenode) of all that holds rows of a table."""
        leaves = self._leaves(row[0])[1:] if row[3] == "p" else [row[0]]
        for oid in sorted(leaves):
            if oid in by_oid and by_oid[oid][3] == "r":
                yield oid, by_oid[oid][13]

    def _plain_parents(self, oid: int, notes: list[str]) -> list[TableId]:
        """Return the tables that a table inherits from; none where a parent is not moved, for a
        child cannot be created without it."""
        parents = [p for p in self.parents[oid] if p in self.ids]
        missing = [self.ids[p] for p in parents if not self._by_name and p not in self.oids]
        if missing:
            notes.append(
                f"The table inherits from {', '.join(map(str, missing))}, which is not moved: on "
                "the target it is a separate table."
            )
            return []
        return [self.ids[p] for p in parents]

    def _leaves(self, oid: int) -> list[int]:
        return [oid, *(leaf for child in self.children[oid] for leaf in self._leaves(child))]

    def _rows(self, oid: int, by_oid: dict[int, Any]) -> int | None:
        """Return the planner's estimate; None if it is -1, which means that nothing has counted
        yet."""
        whole = by_oid[oid][3] == "p"
        oids = self._leaves(oid)[1:] if whole else [oid]
        counts = [by_oid[leaf][5] for leaf in oids if leaf in by_oid]
        return None if any(count < 0 for count in counts) else sum(counts)

    def _bytes(self, oid: int, by_oid: dict[int, Any]) -> int | None:
        """Return the size of a table with its indexes; None where it was asked for by name."""
        if self._by_name:
            return None
        return sum(self.sizes.get(leaf, 0) for leaf in self._leaves(oid) if leaf in by_oid)

    def _partitioning(self, oid: int, by_oid: dict[int, Any]) -> Partitioning:
        parts = []
        for child in self.children[oid]:
            row = by_oid.get(child)
            if row is None:  # a foreign table: its rows are elsewhere
                continue
            parts.append(
                Partition(
                    self.ids[child],
                    row[8],
                    self._partitioning(child, by_oid) if row[3] == "p" else None,
                    checks=tuple(
                        check
                        for k in self.constraints[child]
                        if k[3] == "c" and (check := self._check(k, [])).local
                    ),
                    indexes=tuple(
                        index
                        for row_ in self.indexes[child]
                        if row_[17] != "x" and (index := self._index(child, row_, []))
                    ),
                    foreign_keys=tuple(
                        self._foreign_key(child, k) for k in self.constraints[child] if k[3] == "f"
                    ),
                    columns=tuple(self._own_columns(child, oid)),
                    unlogged=row[4] == "u",
                    options=tuple(row[11] or ()),
                    inherited=tuple((whole, own) for _, whole, own in self.inherited[child]),
                )
            )
        needs = (*self.functions.get(("pg_class", oid), ()), *self.operator_classes.get(oid, ()))
        return Partitioning(by_oid[oid][7], Dialect.POSTGRES, tuple(parts), tuple(needs))

    def _column(self, oid: int, row: Any) -> Column:
        native = self.types.native(row[2], row[3], row[4])
        functions = self.functions.get(("pg_attrdef", row[12]), ())
        value = _expression(row[6], functions)
        return Column(
            name=row[1],
            type=native,
            arrow=arrow_type(native),
            nullable=not row[5],
            unproved=row[15],
            default=None if row[8] else value,
            identity=self._identity(oid, row[1], row[7]) if row[7] and not self._looking else None,
            generated=value if row[8] else None,
            stored=row[8] != "v",
            collation=row[9],
            comment=row[10],
            local=row[13],
            number=row[11],
            written=row[14],
        )

    def _own_columns(self, oid: int, parent: int) -> Iterator[Column]:
        """Yield the columns of a partition that have a default or NOT NULL of their own."""
        above = {row[1]: (row[5], row[6]) for row in self.leaf_columns[parent]}
        for row in self.leaf_columns[oid]:
            plain = not (row[7] or row[8])
            if plain and row[1] in above and above[row[1]] != (row[5], row[6]):
                yield self._column(oid, row)

    def _identity(self, oid: int, column: str, rule: str) -> Identity:
        row = self.identities[oid, column]
        value, called = self._value(row)
        return Identity(
            always=rule == "a",
            start=row[4],
            increment=row[5],
            minimum=row[6],
            maximum=row[7],
            cache=row[8],
            cycle=row[9],
            next_value=value + row[5] if called else value,
            sequence=TableId(row[1], row[2]),
        )

    def _value(self, row: Any) -> tuple[int, bool]:
        """Return (last_value, is_called) of a sequence; its start if the role may not read it."""
        if not row[14]:
            return row[4], False
        name = psycopg.sql.Identifier(row[1], row[2])
        query = psycopg.sql.SQL("SELECT last_value, is_called FROM {}").format(name)
        try:
            with self._connection.transaction():  # its failure ends nothing else
                values = self._connection.execute(query).fetchone()
        except psycopg.errors.UndefinedTable:  # dropped meanwhile
            values = None
        return (row[4], False) if values is None else (values[0], values[1])

    # Keys and constraints

    def _index(self, oid: int, row: Any, notes: list[str]) -> Index | None:
        if not row[19]:
            notes.append(f"The index {row[1]} is invalid on the source and is left out.")
            return None
        keys, total, numbers, options = row[7], row[8], row[9], row[10]
        functions = self.functions.get(("pg_class", row[2]), ())
        parts = []
        for i in range(keys):
            descending, nulls_first = bool(options[i] & 1), bool(options[i] & 2)
            plain = numbers[i] > 0
            parts.append(
                IndexPart(
                    column=self.numbers[oid, numbers[i]] if plain else None,
                    expression=None if plain else _expression(row[20][i], functions),
                    descending=descending,
                    nulls_first=None if nulls_first == descending else nulls_first,
                    opclass=row[21][i],
                    collation=row[22][i],
                )
            )
        return Index(
            name=row[1],
            parts=tuple(parts),
            unique=row[3],
            primary=row[4],
            constraint=row[17] in ("p", "u"),
            method=row[6],
            include=tuple(self.numbers[oid, n] for n in numbers[keys:total]),
            where=_expression(row[11], functions),
            nulls_distinct=not row[18],
            deferrable=bool(row[15]),
            deferred=bool(row[16]),
            options=tuple(row[12] or ()),
            comment=row[13],
            clustered=row[5],
            needs=tuple(self.operator_classes.get(row[2], ())),
        )

    def _foreign_key(self, oid: int, row: Any) -> ForeignKey:
        return ForeignKey(
            name=row[2],
            columns=tuple(self.numbers[oid, n] for n in row[4]),
            referenced=self.ids.get(row[5], TableId(row[17], row[18])),
            referenced_columns=tuple(row[22]),
            on_delete=ACTIONS[row[7]],
            on_update=ACTIONS[row[8]],
            set_columns=tuple(self.numbers[oid, n] for n in row[19] or ()),
            match=MATCHES[row[9]],
            deferrable=row[10],
            deferred=row[11],
            validated=row[12],
            enforced=row[21],
            comment=row[16],
            period=row[23],
            referenced_oid=row[5],
        )

    def _check(self, row: Any, notes: list[str]) -> Check:
        functions = self.functions.get(("pg_constraint", row[1]), ())
        sql = row[14] or check_condition(row[15])
        return Check(
            row[2],
            Expression(sql, Dialect.POSTGRES, tuple(functions)),
            validated=row[12],
            enforced=row[21],
            inherit=not row[13],
            comment=row[16],
            local=row[20],
        )

    # The rest

    def _sequences(self, tables: Sequence[TableId] | None) -> tuple[SequenceSchema, ...]:
        """Return the sequences that chosen columns own or call; if all tables are in scope, those
        without owner too."""
        needed = {row[0] for row in self._about_all(queries.SEQUENCES_NEEDED)}
        owners = set(self.oids)
        schemas = {self.ids[oid].schema for oid in self.oids}
        if tables is not None:
            schemas = self._schemas(schemas | {table.schema for table in tables})
        sequences = []
        for row in self._every_sequence:
            owned = row[10] in owners
            free = row[10] is None and row[1] in schemas
            if row[12] == "i" or not (owned or free or row[0] in needed):
                continue
            value, called = self._value(row)
            sequences.append(
                SequenceSchema(
                    TableId(row[1], row[2]),
                    type=row[3],
                    start=row[4],
                    increment=row[5],
                    minimum=row[6],
                    maximum=row[7],
                    cache=row[8],
                    cycle=row[9],
                    last_value=_last_value(row, value, called),
                    owner=(self.ids[row[10]], row[11]) if owned else None,
                    comment=row[13],
                )
            )
        return tuple(sequences)

    def _skipped(self, scope: Scope) -> tuple[SkippedObject, ...]:
        return tuple(
            SkippedObject(kind, f"{schema}.{name}")
            for kind, schema, name in self._all(queries.LEFT_BEHIND)
            if scope.schema is None or schema == scope.schema
        )


def _last_value(row: Any, value: int, called: bool) -> int | None:
    """Return the last value of a sequence; if RESTART or setval() set it and it was not called
    since, the value before, which gives the same next value."""
    if called:
        return value
    before: int = value - row[5]
    return before if value != row[4] and row[6] <= before <= row[7] else None


def _doubled(name: str) -> str:
    return name.replace('"', '""')


def _group(rows: list[Any]) -> dict[int, list[Any]]:
    grouped: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        grouped[row[0]].append(row)
    return grouped
