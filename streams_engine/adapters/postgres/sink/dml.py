"""Write net changes as statements: a few rows each by itself, many through a staging table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.types.string import StrDumperUnknown

from streams_engine.adapters.postgres.connection import pipelined
from streams_engine.adapters.postgres.sink import copy_text
from streams_engine.adapters.postgres.sink.bulk_load import PostgresBulkLoad
from streams_engine.adapters.postgres.snapshot.select import own_rows
from streams_engine.adapters.sql.change_writer import change_table
from streams_engine.contracts import WritePlan
from streams_engine.errors import RowRejected
from streams_engine.model import Column, Dialect, NativeType, NetChanges, TableId, Truncation

__all__ = ["FEW", "FEW_BYTES", "MARK", "PostgresDml"]

FEW = 24
FEW_BYTES = 1 << 20
"""Up to so many rows a statement for each, sent together, is faster than a stage; parameters of
many megabytes would be copied five times on their way."""

COPIES = Column("streams_engine_copies", NativeType(Dialect.POSTGRES, "bigint", "int8"), pa.int64())

SIMPLE = {"int2", "int4", "int8", "text", "varchar", "uuid", "bool", "timestamp", "timestamptz"}
"""Types where equal texts mean equal values: an index may find them."""

WHOLE = {"int2", "int4", "int8"}

MARK = sql.SQL("\0")
"""Where a parameter of a statement for one row goes: the one character that no name holds."""

WRITABLE = """
SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid = %s::regclass
AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""

ALWAYS = """
SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid = %s::regclass
AND attnum > 0 AND NOT attisdropped AND attidentity = 'a'
"""

HAS_KEY = """
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = %s::regclass AND i.indisunique
  AND (%s OR i.indpred IS NULL AND i.indimmediate AND NOT i.indisexclusion)
  AND ARRAY(
    SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid
    AND a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1]) ORDER BY 1) {} %s::text[])
"""


COMPOSITES = """
SELECT a.attname, pg_catalog.format_type(a.atttypid, NULL) FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
AND 'c' IN (t.typtype, b.typtype)
"""
"""The columns whose values are rows, with their types."""

REFERRING = """
SELECT c.conname, n.nspname, r.relname,
  ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k(num, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num
        ORDER BY k.place),
  ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY k(num, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.num
        ORDER BY k.place)
FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
WHERE c.contype = 'f' AND c.confrelid = %s::regclass AND c.conparentid = 0
AND c.confdeltype IN ('c', 'n', 'd') ORDER BY 2, 3, 1
"""
"""The foreign keys that do something to rows when one goes that they refer to."""


@dataclass(frozen=True, slots=True)
class ReferringKey:
    """A foreign key: its name, its table, its columns, and those they refer to."""

    name: str
    table: TableId
    columns: tuple[str, ...]
    referenced: tuple[str, ...]


class PostgresDml:
    """Changes the rows of tables within the caller's transactions. Used by one thread.

    ``enforced``: foreign keys stay on, so that no row may be deleted to be inserted again.
    """

    def __init__(self, connection: psycopg.Connection, *, enforced: bool = False) -> None:
        self._connection = connection
        self._enforced = enforced
        self._referring: dict[TableId, list[ReferringKey]] = {}
        # The server knows the type of a parameter by where it stands.
        connection.adapters.register_dumper(str, StrDumperUnknown)
        self._stages: dict[tuple[TableId, tuple[str, ...]], TableId] = {}
        self._filled: set[TableId] = set()
        self._made = 0
        self._own: dict[tuple[TableId, tuple[str, ...]], bool] = {}
        self._alone: dict[TableId, sql.Composable] = {}
        self._numbered: dict[TableId, set[str]] = {}
        self._casts: dict[TableId, dict[str, sql.Composable]] = {}
        self.bytes = 0

    def ended(self, *, committed: bool) -> None:
        """End the transaction: staging tables are empty, or gone if it was rolled back."""
        self._filled.clear()
        if not committed:
            self._stages.clear()

    def forget(self) -> None:
        """Drop the staging tables, because tables may have other columns and keys from here on."""
        for stage in self._stages.values():
            self._connection.execute(sql.SQL("DROP TABLE {}").format(_name(stage)))
        self._stages.clear()
        self._filled.clear()
        self._own.clear()
        self._alone.clear()
        self._numbered.clear()
        self._casts.clear()
        self._referring.clear()

    def empty(self, step: Truncation) -> None:
        """TRUNCATE; DELETE where foreign keys of other tables forbid that."""
        names = sql.SQL(", ").join(self._own_rows(table) for table in step.tables)
        tail = sql.SQL(" RESTART IDENTITY" if step.restart_identity else "")
        try:
            with self._savepoint():
                self._connection.execute(sql.SQL("TRUNCATE {}{}").format(names, tail))
        except psycopg.errors.FeatureNotSupported:
            for table in step.tables:
                self._demand_unused(table, step.tables)
                self._connection.execute(sql.SQL("DELETE FROM {}").format(self._own_rows(table)))

    def change(self, net: NetChanges) -> tuple[int, int]:
        """Apply one table's changes. Returns (rows changed, rows that were not there)."""
        return change_table(
            net, delete=self._delete, move=self._move, update=self._update, insert=self._insert
        )

    # Foreign keys that act

    def check_protected(self, net: NetChanges) -> None:
        """Raise `RowRejected` if the deletes would change rows that are to be spared."""
        if net.deletes is None or not net.protected_tables:
            return
        for key in self._referring_to(net.table):
            if key.table not in net.protected_tables:
                continue
            stage = self._stage(net, net.deletes)
            alias = "t" if net.key else "s"
            used = sql.SQL(" AND ").join(
                sql.SQL("c.{} = {}").format(sql.Identifier(column), sql.Identifier(alias, other))
                for column, other in zip(key.columns, key.referenced, strict=True)
            )
            query = sql.SQL("SELECT FROM {} AS s").format(stage)
            if net.key:
                query += sql.SQL(" JOIN {} AS t ON {}").format(
                    self._own_rows(net.table), _matching(net.key)
                )
            query += sql.SQL(" JOIN {} AS c ON {}").format(self._own_rows(key.table), used)
            if key.table == net.table and net.key:  # rows that go too need not be spared
                query += sql.SQL(" WHERE NOT EXISTS (SELECT FROM {} AS s WHERE {})").format(
                    stage,
                    _conditions(
                        net.key,
                        lambda k: sql.SQL("s.{0} = c.{0}").format(sql.Identifier(k)),
                    ),
                )
            if self._connection.execute(query + sql.SQL(" LIMIT 1")).fetchone() is not None:
                raise _refused(key)

    def _demand_unused(self, table: TableId, truncated: Sequence[TableId]) -> None:
        for key in self._referring_to(table) if self._enforced else ():
            query = sql.SQL("SELECT FROM {} WHERE {} LIMIT 1").format(
                self._own_rows(key.table),
                _conditions(
                    key.columns, lambda c: sql.SQL("{} IS NOT NULL").format(sql.Identifier(c))
                ),
            )
            if (
                key.table not in truncated
                and self._connection.execute(query).fetchone() is not None
            ):
                raise _refused(key)

    def _referring_to(self, table: TableId) -> list[ReferringKey]:
        referring = self._referring.get(table)
        if referring is None:
            rows = self._connection.execute(REFERRING.encode(), (_literal(table),)).fetchall()
            referring = self._referring[table] = [
                ReferringKey(row[0], TableId(row[1], row[2]), tuple(row[3]), tuple(row[4]))
                for row in rows
            ]
        return referring

    # Deletes

    def _delete(self, net: NetChanges, rows: pa.RecordBatch) -> int:
        if not net.key:
            return self._delete_copies(net, rows)
        table, key = self._own_rows(net.table), net.key
        # Of rows that refer to each other none may go before the others.
        if rows.num_rows <= (1 if net.protected_tables else FEW) and rows.nbytes <= FEW_BYTES:
            return self._each(self.deletion(net), [self._texts(net, rows, key)])
        if (listed := self._list(net, rows)) is not None:
            return self._connection.execute(*listed).rowcount
        stage = self._stage(net, rows)
        query = sql.SQL("DELETE FROM {} AS t USING {} AS s WHERE {}").format(
            table, stage, _matching(key)
        )
        return self._connection.execute(query).rowcount

    def _list(self, net: NetChanges, rows: pa.RecordBatch) -> tuple[sql.Composed, list[str]] | None:
        """Return a DELETE of all keys in one array, and its parameter, where the key is one whole
        number: a fifth cheaper than a stage."""
        (kind, *more) = [column.type.name for column in _columns(net, net.key)]
        if more or kind not in WHOLE:
            return None
        keys = ",".join(text or "NULL" for (text,) in self._texts(net, rows, net.key))
        query = sql.SQL("DELETE FROM {} WHERE {} = ANY(%s::{})").format(
            self._own_rows(net.table), sql.Identifier(net.key[0]), sql.SQL(f"{kind}[]")
        )
        return query, [f"{{{keys}}}"]

    def _delete_copies(self, net: NetChanges, rows: pa.RecordBatch) -> int:
        """Delete exactly as many of equal rows as the log says; they are told apart by their
        ctid."""
        copies = net.copies if net.copies is not None else [1] * rows.num_rows
        counted = pa.RecordBatch.from_arrays(
            [*rows.columns, pa.array(copies, pa.int64())],
            names=[*rows.schema.names, COPIES.name],
        )
        stage = self._stage(net, counted)
        # A row's text shows each value exactly, with the session's settings, and NULL apart.
        row = [sql.SQL("ROW({})::text COLLATE \"C\"").format(_listed(rows.schema.names, alias))
               for alias in ("t", "s")]  # fmt: skip
        simple = [
            c.name
            for c in net.columns
            if not c.nullable and c.type.name in SIMPLE and c.collation is None
        ]
        conditions = [sql.SQL("{} = {}").format(*row)]
        conditions += [_matching((name,)) for name in simple]
        query = sql.SQL(
            "WITH chosen AS (SELECT part, place FROM (SELECT t.tableoid AS part, t.ctid AS place,"
            " s.{copies} AS copies, row_number() OVER (PARTITION BY s.ctid) AS number"
            " FROM {table} AS t JOIN {stage} AS s ON {match}) AS found WHERE number <= copies)"
            " DELETE FROM {table} AS t USING chosen WHERE t.ctid = chosen.place"
            " AND t.tableoid = chosen.part"
        ).format(
            copies=sql.Identifier(COPIES.name),
            table=self._own_rows(net.table),
            stage=stage,
            match=sql.SQL(" AND ").join(conditions),
        )
        return self._connection.execute(query).rowcount

    # Updates

    def _move(self, net: NetChanges, old: pa.RecordBatch, new: pa.RecordBatch) -> int:
        texts = self._texts(net, new, new.schema.names)
        return self._each(
            self.update(net, new.schema.names), [texts, self._texts(net, old, net.key)]
        )

    def _update(self, net: NetChanges) -> int:
        if not self._has_other_unique(net):
            return self._update_in_place(net)
        try:
            with self._savepoint():
                return self._update_in_place(net)
        except psycopg.errors.UniqueViolation:
            if self._enforced and self._referring_to(net.table):
                raise
            # Rows that exchange a unique value: all of them leave before any comes back.
            return self._rewrite(net)

    def _update_in_place(self, net: NetChanges) -> int:
        changed = 0
        for batch in net.updates:
            others = [name for name in batch.schema.names if name not in net.key]
            if not others:  # nothing but a key: it is there, or it is not
                others = list(net.key)
            if always := self.always(net.table) & set(others):
                changed += self._update_numbered(net, batch, others, always)
                continue
            if _is_few(batch):
                texts = self._texts(net, batch, others)
                keys = self._texts(net, batch, net.key)
                changed += self._each(self.update(net, others), [texts, keys])
                continue
            stage = self._stage(net, batch)
            query = sql.SQL("UPDATE {} AS t SET {} FROM {} AS s WHERE {}").format(
                self._own_rows(net.table), _set_from(others), stage, _matching(net.key)
            )
            changed += self._connection.execute(query).rowcount
        return changed

    def _update_numbered(
        self, net: NetChanges, batch: pa.RecordBatch, others: list[str], always: set[str]
    ) -> int:
        """Update rows with columns that are GENERATED ALWAYS AS IDENTITY, which no UPDATE may set:
        where they are others, the rows leave and come back."""
        stage, table = self._stage(net, batch), self._own_rows(net.table)
        same = sql.SQL(" AND ").join(
            sql.SQL("t.{0} IS NOT DISTINCT FROM s.{0}").format(sql.Identifier(name))
            for name in sorted(always)
        )
        match = sql.SQL("{} AND {}").format(_matching(net.key), same)
        names = [name for name in others if name not in always] or list(net.key)[:1]
        query = sql.SQL("UPDATE {} AS t SET {} FROM {} AS s WHERE {}").format(
            table, _set_from(names), stage, match
        )
        changed = self._connection.execute(query).rowcount
        if changed == batch.num_rows:
            return changed
        return self._rewrite(replace(net, updates=(batch,)))

    def _rewrite(self, net: NetChanges) -> int:
        """Take the rows out, change them aside, and put them back: other columns are kept."""
        connection, table = self._connection, self._own_rows(net.table)
        changed_rows = sql.Identifier("pg_temp", "streams_engine_aside")
        names = [row[0] for row in connection.execute(WRITABLE, (_literal(net.table),)).fetchall()]
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        made = False
        for batch in net.updates:
            stage = self._stage(net, batch)
            chosen = sql.SQL("SELECT {} FROM {} AS t JOIN {} AS s ON {}").format(
                _listed(names, "t"), table, stage, _matching(net.key)
            )
            head = "INSERT INTO {} {}" if made else "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS {}"
            target = changed_rows if made else sql.Identifier("streams_engine_aside")
            connection.execute(sql.SQL(head).format(target, chosen))
            made = True
            others = [name for name in batch.schema.names if name not in net.key]
            connection.execute(
                sql.SQL("UPDATE {} AS t SET {} FROM {} AS s WHERE {}").format(
                    changed_rows, _set_from(others), stage, _matching(net.key)
                )
            )
        connection.execute(
            sql.SQL("DELETE FROM {} AS t USING {} AS s WHERE {}").format(
                table, changed_rows, _matching(net.key)
            )
        )
        changed = connection.execute(
            sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}").format(
                _name(net.table), columns, columns, changed_rows
            )
        ).rowcount
        connection.execute(sql.SQL("DROP TABLE {}").format(changed_rows))
        return changed

    # Inserts

    def _insert(self, net: NetChanges, rows: pa.RecordBatch) -> int:
        names = rows.schema.names
        few = _is_few(rows)
        numbered = self.numbered_beside(net.table, net.key)
        if not net.key or not few or numbered:
            try:
                with self._savepoint():
                    self._copy(net.table, rows, net.columns)
                    return int(rows.num_rows)
            except psycopg.errors.UniqueViolation:
                if not self._is_own_key(net):
                    raise
        if numbered:
            return self._insert_numbered(net, rows)
        if few:
            return self._each(self.insertion(net, names), [self._texts(net, rows, names)])
        stage = self._stage(net, rows)
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        source = sql.SQL("SELECT {} FROM {}").format(columns, stage)
        return self._connection.execute(self._insertion(net, names, source)).rowcount

    def _insert_numbered(self, net: NetChanges, rows: pa.RecordBatch) -> int:
        """Insert rows with columns that are GENERATED ALWAYS AS IDENTITY, which ON CONFLICT may not
        set: rows whose keys are there leave and come back."""
        self._rewrite(replace(net, updates=(rows,)))
        columns = sql.SQL(", ").join(map(sql.Identifier, rows.schema.names))
        self._connection.execute(
            sql.SQL(
                "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS s"
                " WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {})"
            ).format(
                _name(net.table),
                columns,
                columns,
                self._stage(net, rows),
                self._own_rows(net.table),
                _matching(net.key),
            )
        )
        return int(rows.num_rows)

    # One row: statements with `MARK` in the place of each parameter

    def deletion(self, net: NetChanges) -> sql.Composed:
        """Build the statement that deletes the row of a key."""
        return sql.SQL("DELETE FROM {} WHERE {}").format(
            self._own_rows(net.table), self._equal_to(net)
        )

    def update(self, net: NetChanges, names: Sequence[str]) -> sql.Composed:
        """Build the statement that changes these columns of the row of a key."""
        return sql.SQL("UPDATE {} SET {} WHERE {}").format(
            self._own_rows(net.table), _set_to(names), self._equal_to(net)
        )

    def insertion(self, net: NetChanges, names: Sequence[str]) -> sql.Composed:
        """Build the statement that inserts a row, or replaces the row of its key."""
        marks = sql.SQL(", ").join(MARK for _ in names)
        return self._insertion(net, names, sql.SQL("VALUES ({})").format(marks))

    def _insertion(
        self, net: NetChanges, names: Sequence[str], source: sql.Composed
    ) -> sql.Composed:
        """Build an INSERT that also replaces a row that exists already."""
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        query = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE {}").format(
            _name(net.table), columns, source
        )
        if not net.key or not self._is_own_key(net):
            return query
        others = [name for name in names if name not in net.key]
        action = (
            sql.SQL("UPDATE SET {}").format(
                sql.SQL(", ").join(
                    sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in others
                )
            )
            if others
            else sql.SQL("NOTHING")
        )
        key = sql.SQL(", ").join(map(sql.Identifier, net.key))
        return sql.SQL("{} ON CONFLICT ({}) DO {}").format(query, key, action)

    # What the catalog says of the table and its keys

    def always(self, table: TableId) -> set[str]:
        """Return the columns that are GENERATED ALWAYS AS IDENTITY."""
        if table not in self._numbered:
            rows = self._connection.execute(ALWAYS, (_literal(table),)).fetchall()
            self._numbered[table] = {row[0] for row in rows}
        return self._numbered[table]

    def numbered_beside(self, table: TableId, key: Sequence[str]) -> set[str]:
        """Return the columns beside a key that are GENERATED ALWAYS AS IDENTITY: where there is a
        key, an INSERT cannot be one that replaces the row."""
        return self.always(table) - set(key) if key else set()

    def _own_rows(self, table: TableId) -> sql.Composable:
        """Return the table for FROM, UPDATE or DELETE, without the rows of child tables
        (INHERITS)."""
        if table not in self._alone:
            self._alone[table] = own_rows(self._connection, table)
        return self._alone[table]

    def _has_other_unique(self, net: NetChanges) -> bool:
        return self._keys(net, "<>")

    def _is_own_key(self, net: NetChanges) -> bool:
        """Return True if a unique index of the table has exactly the columns of the key."""
        return self._keys(net, "=")

    def _keys(self, net: NetChanges, sign: str) -> bool:
        known = (net.table, (sign, *net.key))
        if known not in self._own:
            row = self._connection.execute(
                HAS_KEY.format(sign).encode(),
                (_literal(net.table), sign == "<>", sorted(net.key)),
            ).fetchone()
            self._own[known] = bool(row and row[0])
        return self._own[known]

    def _equal_to(self, net: NetChanges) -> sql.Composed:
        """Build the comparison of the key's columns with parameters.

        A parameter compared with a composite value needs a cast: the server would take it for any
        record, which has no input.
        """
        casts = self._casts.get(net.table)
        if casts is None:
            rows = self._connection.execute(COMPOSITES, (_literal(net.table),)).fetchall()
            casts = self._casts[net.table] = {row[0]: sql.SQL("::" + row[1]) for row in rows}
        return _conditions(
            net.key,
            lambda k: sql.SQL("{} = {}{}").format(
                sql.Identifier(k), MARK, casts.get(k, sql.SQL(""))
            ),
        )

    # Sending

    def _each(self, query: sql.Composed, parts: Sequence[Sequence[tuple[Any, ...]]]) -> int:
        """Run a statement for each row, all sent before the first answer is waited for."""
        text = query.as_string(self._connection).replace("%", "%%").replace("\0", "%s").encode()
        rows = [sum(several, ()) for several in zip(*parts, strict=True)]
        with self._connection.cursor() as cursor:
            if len(rows) == 1:
                cursor.execute(text, rows[0])
            else:
                with pipelined(self._connection):
                    cursor.executemany(text, rows)
            return cursor.rowcount

    def _texts(
        self, net: NetChanges, batch: pa.RecordBatch, names: Sequence[str]
    ) -> list[tuple[str | None, ...]]:
        """Return the rows as texts that the types read back exactly."""
        columns = _columns(net, names)
        fields = copy_text.texts(batch.select(list(names)), columns)
        self.bytes += batch.nbytes
        return list(zip(*(field.to_pylist() for field in fields), strict=True))

    def undoing(self, wanted: bool) -> AbstractContextManager[None]:
        """Undo what fails inside where that is wanted, and go on."""
        return self._savepoint() if wanted else contextlib.nullcontext()

    @contextlib.contextmanager
    def _savepoint(self) -> Iterator[None]:
        """Undo what fails inside; the transaction goes on.

        The driver's own would commit where no transaction has begun yet.
        """
        self._connection.execute("SAVEPOINT streams_engine")
        stages, filled = dict(self._stages), set(self._filled)
        try:
            yield
        except (psycopg.Error, RowRejected):
            # One around it may have the same name.
            self._connection.execute("ROLLBACK TO SAVEPOINT streams_engine")
            self._connection.execute("RELEASE SAVEPOINT streams_engine")
            # Stages that were made or filled inside are not any more.
            self._stages, self._filled = stages, filled
            raise
        self._connection.execute("RELEASE SAVEPOINT streams_engine")

    def _stage(self, net: NetChanges, batch: pa.RecordBatch) -> sql.Identifier:
        """Fill a temporary table with exactly the rows of the batch."""
        names = tuple(batch.schema.names)
        stage = self._stages.get((net.table, names))
        if stage is None:
            stage = self._stages[net.table, names] = self._make_stage(net, names)
        elif stage in self._filled:
            self._connection.execute(sql.SQL("TRUNCATE {}").format(_name(stage)))
        self._filled.add(stage)
        self._copy(stage, batch, _columns(net, names))
        return _name(stage)

    def _make_stage(self, net: NetChanges, names: Sequence[str]) -> TableId:
        self._made += 1
        stage = TableId("pg_temp", f"streams_engine_stage_{self._made}")
        copies = sql.SQL("0::bigint AS {}").format(sql.Identifier(COPIES.name))
        columns = [copies if c == COPIES.name else sql.Identifier(c) for c in names]
        self._connection.execute(
            sql.SQL(
                "CREATE TEMPORARY TABLE {} ON COMMIT DELETE ROWS AS SELECT {} FROM {} WITH NO DATA"
            ).format(sql.Identifier(stage.name), sql.SQL(", ").join(columns), _name(net.table))
        )
        return stage

    def _copy(self, table: TableId, batch: pa.RecordBatch, columns: Sequence[Column]) -> None:
        loader = PostgresBulkLoad(self._connection, WritePlan(table, tuple(columns)))
        loader.run(iter((batch,)))
        self.bytes += loader.bytes


def _is_few(rows: pa.RecordBatch) -> bool:
    return bool(rows.num_rows <= FEW and rows.nbytes <= FEW_BYTES)


def _columns(net: NetChanges, names: Sequence[str]) -> list[Column]:
    by_name = {column.name: column for column in (*net.columns, COPIES)}
    return [by_name[name] for name in names]


def _name(table: TableId) -> sql.Identifier:
    return sql.Identifier(table.schema, table.name)


def _literal(table: TableId) -> str:
    return _name(table).as_string(None)


def _listed(names: Sequence[str], alias: str) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(alias, name) for name in names)


def _refused(key: ReferringKey) -> RowRejected:
    return RowRejected(
        f"The foreign key {key.name} of {key.table} would delete or change rows that the log "
        "does not mention.",
        remedy=(
            "Allow the stream to turn foreign keys off on the target: GRANT SET ON PARAMETER "
            "session_replication_role TO the account (PostgreSQL 15), or use a superuser."
        ),
        table=str(key.table),
        sqlstate=psycopg.errors.RestrictViolation.sqlstate,
    )


def _conditions(names: Sequence[str], build: Callable[[str], sql.Composed]) -> sql.Composed:
    return sql.SQL(" AND ").join(build(name) for name in names)


def _matching(key: Sequence[str]) -> sql.Composed:
    return _conditions(
        key, lambda k: sql.SQL("{} = {}").format(sql.Identifier("t", k), sql.Identifier("s", k))
    )


def _set_to(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), MARK) for name in names
    )


def _set_from(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL("{0} = s.{0}").format(sql.Identifier(name)) for name in names)
