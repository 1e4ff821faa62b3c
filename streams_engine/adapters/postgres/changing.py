"""Net changes as statements on PostgreSQL: a few rows each by itself, many through a stage.

A stage is a temporary table with the columns of a batch, filled by COPY; one statement then
changes all its rows. Inserts go straight into the table where none of them is there yet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.types.string import StrDumperUnknown

from streams_engine.adapters.postgres import copy_text
from streams_engine.adapters.postgres.loading import Loader
from streams_engine.adapters.postgres.selecting import own_rows
from streams_engine.changes import Emptied, NetChanges
from streams_engine.errors import RowRejected
from streams_engine.model import Column, Dialect, NativeType, TableId
from streams_engine.protocols import Load

__all__ = ["Changer"]

FEW = 24
"""Up to so many rows a statement for each, sent together, is faster than a stage."""

COPIES = Column("streams_engine_copies", NativeType(Dialect.POSTGRES, "bigint", "int8"), pa.int64())

SIMPLE = {"int2", "int4", "int8", "text", "varchar", "uuid", "bool", "timestamp", "timestamptz"}
"""Types where equal texts mean equal values: an index may find them."""

MARK = sql.SQL("\0")
"""Where a parameter of `Changer._each` goes: the one character that no name holds."""

WRITABLE = """
SELECT attname FROM pg_catalog.pg_attribute WHERE attrelid = %s::regclass
AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""

HAS_KEY = """
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = %s::regclass AND i.indisunique
  AND (%s OR i.indpred IS NULL AND i.indimmediate)
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
class Referring:
    """A foreign key: its name, its table, its columns, and those they refer to."""

    name: str
    table: TableId
    columns: tuple[str, ...]
    referenced: tuple[str, ...]


class Changer:
    """Changes the rows of tables within the caller's transactions. Used by one thread.

    ``acting``: foreign keys cannot rest, so that no row may go in order to come back.
    """

    def __init__(self, connection: psycopg.Connection, *, acting: bool = False) -> None:
        self._connection = connection
        self._acting = acting
        self._referring: dict[TableId, list[Referring]] = {}
        # The server knows the type of a parameter by where it stands.
        connection.adapters.register_dumper(str, StrDumperUnknown)
        self._stages: dict[tuple[TableId, tuple[str, ...]], TableId] = {}
        self._filled: set[TableId] = set()
        self._made = 0
        self._own: dict[tuple[TableId, tuple[str, ...]], bool] = {}
        self._alone: dict[TableId, sql.Composable] = {}
        self._casts: dict[TableId, dict[str, sql.Composable]] = {}
        self.bytes = 0

    def ended(self, *, committed: bool) -> None:
        """The transaction is over: stages are empty, or gone with it."""
        self._filled.clear()
        if not committed:
            self._stages.clear()

    def forget(self) -> None:
        """Tables may have other columns and keys from here on: stages are made anew."""
        for stage in self._stages.values():
            self._connection.execute(sql.SQL("DROP TABLE {}").format(_name(stage)))
        self._stages.clear()
        self._filled.clear()
        self._own.clear()
        self._alone.clear()
        self._casts.clear()
        self._referring.clear()

    def empty(self, step: Emptied) -> None:
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
        changed = wanted = 0
        if net.deletes is not None:
            wanted += net.deletes.num_rows if net.copies is None else int(net.copies.sum())
            changed += self._delete(net, net.deletes)
        for old, new in net.moves:
            wanted += 1
            changed += self._move(net, old, new)
        if net.updates:
            wanted += sum(batch.num_rows for batch in net.updates)
            changed += self._update(net)
        if net.inserts is not None:
            wanted += net.inserts.num_rows
            changed += self._insert(net, net.inserts)
        return changed, wanted - changed

    # Foreign keys that act

    def demand_spared(self, net: NetChanges) -> None:
        """Raise `RowRejected` where the deletes would change rows that are to be spared."""
        if net.deletes is None or not net.spares:
            return
        for key in self._referring_to(net.table):
            if key.table not in net.spares:
                continue
            stage = self._stage(net, net.deletes)
            found = "t" if net.key else "s"
            used = sql.SQL(" AND ").join(
                sql.SQL("c.{} = {}").format(sql.Identifier(column), sql.Identifier(found, other))
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

    def _demand_unused(self, table: TableId, emptied: Sequence[TableId]) -> None:
        for key in self._referring_to(table) if self._acting else ():
            query = sql.SQL("SELECT FROM {} WHERE {} LIMIT 1").format(
                self._own_rows(key.table),
                _conditions(
                    key.columns, lambda c: sql.SQL("{} IS NOT NULL").format(sql.Identifier(c))
                ),
            )
            if key.table not in emptied and self._connection.execute(query).fetchone() is not None:
                raise _refused(key)

    def _referring_to(self, table: TableId) -> list[Referring]:
        found = self._referring.get(table)
        if found is None:
            rows = self._connection.execute(REFERRING.encode(), (_literal(table),)).fetchall()
            found = self._referring[table] = [
                Referring(row[0], TableId(row[1], row[2]), tuple(row[3]), tuple(row[4]))
                for row in rows
            ]
        return found

    # Deletes

    def _delete(self, net: NetChanges, rows: pa.RecordBatch) -> int:
        if not net.key:
            return self._delete_copies(net, rows)
        table, key = self._own_rows(net.table), net.key
        # Of rows that refer to each other none may go before the others.
        if rows.num_rows <= (1 if net.spares else FEW):
            query = sql.SQL("DELETE FROM {} WHERE {}").format(table, self._equal_to(net))
            return self._each(query, [self._texts(net, rows, key)])
        stage = self._stage(net, rows)
        query = sql.SQL("DELETE FROM {} AS t USING {} AS s WHERE {}").format(
            table, stage, _matching(key)
        )
        return self._connection.execute(query).rowcount

    def _delete_copies(self, net: NetChanges, rows: pa.RecordBatch) -> int:
        """Of equal rows exactly as many as the log says: they are told apart by their place."""
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
        query = sql.SQL("UPDATE {} SET {} WHERE {}").format(
            self._own_rows(net.table), _set_to(new.schema.names), self._equal_to(net)
        )
        texts = self._texts(net, new, new.schema.names)
        return self._each(query, [texts, self._texts(net, old, net.key)])

    def _update(self, net: NetChanges) -> int:
        if not self._has_other_unique(net):
            return self._update_in_place(net)
        try:
            with self._savepoint():
                return self._update_in_place(net)
        except psycopg.errors.UniqueViolation:
            if self._acting and self._referring_to(net.table):
                raise
            # Rows that exchange a unique value: all of them leave before any comes back.
            return self._rewrite(net)

    def _update_in_place(self, net: NetChanges) -> int:
        changed = 0
        for batch in net.updates:
            others = [name for name in batch.schema.names if name not in net.key]
            if not others:  # nothing but a key: it is there, or it is not
                others = list(net.key)
            if batch.num_rows <= FEW:
                query = sql.SQL("UPDATE {} SET {} WHERE {}").format(
                    self._own_rows(net.table), _set_to(others), self._equal_to(net)
                )
                texts = self._texts(net, batch, others)
                changed += self._each(query, [texts, self._texts(net, batch, net.key)])
                continue
            stage = self._stage(net, batch)
            query = sql.SQL("UPDATE {} AS t SET {} FROM {} AS s WHERE {}").format(
                self._own_rows(net.table), _set_from(others), stage, _matching(net.key)
            )
            changed += self._connection.execute(query).rowcount
        return changed

    def _rewrite(self, net: NetChanges) -> int:
        """Take the rows out, change them aside, and put them back: other columns are kept."""
        connection, table = self._connection, self._own_rows(net.table)
        aside = sql.Identifier("pg_temp", "streams_engine_aside")
        names = [row[0] for row in connection.execute(WRITABLE, (_literal(net.table),)).fetchall()]
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        made = False
        for batch in net.updates:
            stage = self._stage(net, batch)
            chosen = sql.SQL("SELECT {} FROM {} AS t JOIN {} AS s ON {}").format(
                _listed(names, "t"), table, stage, _matching(net.key)
            )
            head = "INSERT INTO {} {}" if made else "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS {}"
            target = aside if made else sql.Identifier("streams_engine_aside")
            connection.execute(sql.SQL(head).format(target, chosen))
            made = True
            others = [name for name in batch.schema.names if name not in net.key]
            connection.execute(
                sql.SQL("UPDATE {} AS t SET {} FROM {} AS s WHERE {}").format(
                    aside, _set_from(others), stage, _matching(net.key)
                )
            )
        connection.execute(
            sql.SQL("DELETE FROM {} AS t USING {} AS s WHERE {}").format(
                table, aside, _matching(net.key)
            )
        )
        changed = connection.execute(
            sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}").format(
                _name(net.table), columns, columns, aside
            )
        ).rowcount
        connection.execute(sql.SQL("DROP TABLE {}").format(aside))
        return changed

    # Inserts

    def _insert(self, net: NetChanges, rows: pa.RecordBatch) -> int:
        names = rows.schema.names
        if not net.key or rows.num_rows > FEW:
            try:
                with self._savepoint():
                    self._copy(net.table, rows, net.columns)
                    return int(rows.num_rows)
            except psycopg.errors.UniqueViolation:
                if not self._is_own_key(net):
                    raise
        if rows.num_rows <= FEW:
            marks = sql.SQL(", ").join(MARK for _ in names)
            query = self._insertion(net, names, sql.SQL("VALUES ({})").format(marks))
            return self._each(query, [self._texts(net, rows, names)])
        stage = self._stage(net, rows)
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        source = sql.SQL("SELECT {} FROM {}").format(columns, stage)
        return self._connection.execute(self._insertion(net, names, source)).rowcount

    def _insertion(
        self, net: NetChanges, names: Sequence[str], source: sql.Composed
    ) -> sql.Composed:
        """An INSERT that also takes the place of a row that is there already."""
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

    def _own_rows(self, table: TableId) -> sql.Composable:
        """The table in a FROM, UPDATE or DELETE: without the rows of children by INHERITS."""
        if table not in self._alone:
            self._alone[table] = own_rows(self._connection, table)
        return self._alone[table]

    def _has_other_unique(self, net: NetChanges) -> bool:
        return self._keys(net, "<>")

    def _is_own_key(self, net: NetChanges) -> bool:
        """True where a unique index of the table has just the columns of the key."""
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
        """The key's columns equal to parameters; beside a composite value the server would take
        its parameter for any record, which has no input."""
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
                cursor.executemany(text, rows)
            return cursor.rowcount

    def _texts(
        self, net: NetChanges, batch: pa.RecordBatch, names: Sequence[str]
    ) -> list[tuple[str | None, ...]]:
        """The rows as texts that the types read back exactly."""
        columns = _columns(net, names)
        fields = copy_text.texts(batch.select(list(names)), columns)
        self.bytes += batch.nbytes
        return list(zip(*(field.to_pylist() for field in fields), strict=True))

    def undoing(self, wanted: bool) -> AbstractContextManager[None]:
        """Undo what fails inside where that is wanted, and go on."""
        return self._savepoint() if wanted else contextlib.nullcontext()

    @contextlib.contextmanager
    def _savepoint(self) -> Iterator[None]:
        """What fails inside is undone, and the transaction goes on.

        The driver's own would commit where no transaction has begun yet.
        """
        self._connection.execute("SAVEPOINT streams_engine")
        stages, filled = dict(self._stages), set(self._filled)
        try:
            yield
        except psycopg.Error:
            # One around it may have the same name.
            self._connection.execute("ROLLBACK TO SAVEPOINT streams_engine")
            self._connection.execute("RELEASE SAVEPOINT streams_engine")
            # Stages that were made or filled inside are not any more.
            self._stages, self._filled = stages, filled
            raise
        self._connection.execute("RELEASE SAVEPOINT streams_engine")

    def _stage(self, net: NetChanges, batch: pa.RecordBatch) -> sql.Identifier:
        """A temporary table that holds the batch, and nothing else."""
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
        loader = Loader(self._connection, Load(table, tuple(columns)))
        loader.run(iter((batch,)))
        self.bytes += loader.bytes


def _columns(net: NetChanges, names: Sequence[str]) -> list[Column]:
    by_name = {column.name: column for column in (*net.columns, COPIES)}
    return [by_name[name] for name in names]


def _name(table: TableId) -> sql.Identifier:
    return sql.Identifier(table.schema, table.name)


def _literal(table: TableId) -> str:
    return _name(table).as_string(None)


def _listed(names: Sequence[str], alias: str) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(alias, name) for name in names)


def _refused(key: Referring) -> RowRejected:
    return RowRejected(
        f"The foreign key {key.name} of {key.table} would delete or change rows there of which the "
        "log says nothing.",
        remedy="Let foreign keys rest on the target: GRANT SET ON PARAMETER "
        "session_replication_role TO the account (PostgreSQL 15), or use a superuser.",
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
