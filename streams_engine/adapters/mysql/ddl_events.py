"""What a DDL statement of the log makes of the tables that are known. Pure.

A structure is only ever changed by what the statement says: today's catalog may be another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from streams_engine.adapters.mysql.column_words import column_of, default_of
from streams_engine.adapters.mysql.foreign_key_words import add_foreign_keys, drop_foreign_key
from streams_engine.adapters.mysql.sqlwords import (
    NotUnderstoodError,
    Word,
    Words,
    split,
    words_of,
)
from streams_engine.model import Column, Dialect, Index, IndexPart, TableId, TableSchema

__all__ = ["Change", "Outcome", "schema_of_statement"]

Known = Callable[[TableId], "TableSchema | None"]
"""A table's structure where the statement stands; None: it is not known."""


@dataclass(frozen=True, slots=True)
class Change:
    """One table before and after. ``after`` of another id: it was renamed."""

    table: TableId
    """By its name before, or its new one where it is new."""
    before: TableSchema | None
    after: TableSchema | None
    renamed: Mapping[str, str] = field(default_factory=dict)
    unknown: TableId | None = None
    """Its structure afterwards cannot be told from the statement: that of this table."""

    @property
    def names(self) -> tuple[TableId, ...]:
        """Return the names that it has before and after."""
        after = self.unknown if self.after is None else self.after.id
        return (self.table,) if after is None else (self.table, after)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a statement does: nothing, where both are empty."""

    emptied: tuple[TableId, ...] = ()
    changes: tuple[Change, ...] = ()


def schema_of_statement(
    statement: str,
    schema: str,
    known: Known,
    *,
    ansi_quotes: bool = False,
    backslash: bool = True,
    foreign_keys: bool = False,
) -> Outcome:
    """What a statement does. ``schema``: the session's database. ``foreign_keys``: tell also those
    that change rows.

    Raises `NotUnderstoodError` for DDL of tables in a form that is not known.
    """
    words = Words(words_of(statement, ansi_quotes=ansi_quotes, backslash=backslash))
    first = words.any("ALTER", "CREATE", "DROP", "RENAME", "TRUNCATE")
    if not first:
        return Outcome()
    if first in ("ALTER", "CREATE"):
        return _STATEMENTS[first](words, schema, known, foreign_keys)
    return _OTHERS[first](words, schema, known)


def _truncate(words: Words, schema: str, known: Known) -> Outcome:
    words.accept("TABLE")
    return Outcome(emptied=(words.table(schema),))


def _drop(words: Words, schema: str, known: Known) -> Outcome:
    if words.any("DATABASE", "SCHEMA"):
        words.accept("IF", "EXISTS")
        return Outcome(changes=(Change(TableId(words.name(), ""), None, None),))
    if not words.any("TABLE", "TABLES"):
        return Outcome()  # DROP TEMPORARY TABLE, DROP VIEW, ...
    words.accept("IF", "EXISTS")
    changes = []
    while True:
        table = words.table(schema)
        changes.append(Change(table, known(table), None))
        if not words.accept(","):
            return Outcome(changes=tuple(changes))


def _rename(words: Words, schema: str, known: Known) -> Outcome:
    if not words.any("TABLE", "TABLES"):
        return Outcome()
    words.accept("IF", "EXISTS")
    pairs = []
    for item in split(words.rest()):
        one = Words(item)
        old = one.table(schema)
        if one.any("WAIT", "NOWAIT"):
            one.any("0")
        while one and one.peek() != "TO":
            one.next()
        one.expect("TO")
        pairs.append((old, one.table(schema)))
    return _renamed(pairs, known)


def _renamed(pairs: Sequence[tuple[TableId, TableId]], known: Known) -> Outcome:
    """Each table's way through a statement that renames several, perhaps in a circle."""
    origin: dict[TableId, TableId] = {}
    for old, new in pairs:
        origin[new] = origin.pop(old, old)
    changes = []
    for new, old in origin.items():
        if new == old:
            continue
        before = known(old)
        after = replace(before, id=new) if before else None
        changes.append(Change(old, before, after, unknown=None if before else new))
    return Outcome(changes=tuple(changes))


# CREATE TABLE


def _create(words: Words, schema: str, known: Known, foreign_keys: bool) -> Outcome:
    replacing = words.accept("OR", "REPLACE")
    if not words.accept("TABLE"):
        return Outcome()  # TEMPORARY, VIEW, INDEX, USER, ...
    careful = words.accept("IF", "NOT", "EXISTS")
    table = words.table(schema)
    before = known(table)
    if careful and before is not None and not replacing:
        return Outcome()
    like = words.accept("LIKE") or words.accept("(", "LIKE")
    if like:
        model = words.table(schema)
        found = known(model)
        after = replace(found, id=table, foreign_keys=()) if found else None
        return Outcome(changes=(Change(table, before, after, unknown=None if found else table),))
    try:
        items = split(words.brackets())
        options = words.rest()
        versioned = any(map(_versions, (options, *items)))
        after = replace(_table(table, items, _collation(options)), versioned=versioned)
        if foreign_keys:
            after = add_foreign_keys(after, items, schema, known)
    except NotUnderstoodError:
        return Outcome(changes=(Change(table, before, None, unknown=table),))
    return Outcome(changes=(Change(table, before, after),))


def _versions(words: Sequence[Word]) -> bool:
    """Whether WITH SYSTEM VERSIONING stands there, of a table or of a column."""
    upper = [word.upper for word in words if word.kind == "word"]
    return any(upper[i : i + 3] == ["WITH", "SYSTEM", "VERSIONING"] for i in range(len(upper)))


def _collation(options: Sequence[Word]) -> str | None:
    """The table's default collation, or its character set with a bar after it."""
    words = Words(options)
    found = None
    while words:
        if words.accept("COLLATE"):
            words.accept("=")
            return words.name()
        if words.accept("CHARSET") or words.accept("CHARACTER", "SET"):
            words.accept("=")
            found = words.name() + "_"
        else:
            words.next()
    return found


def _table(table: TableId, items: Sequence[Sequence[Word]], collation: str | None) -> TableSchema:
    columns: list[Column] = []
    keys: list[Index] = []
    for item in items:
        words = Words(item)
        index = _index(words)
        if index is not None:
            keys.append(index)
            continue
        if words.peek() in _NO_COLUMNS and item[0].kind == "word":
            continue
        column, extra = column_of(words, collation)
        columns.append(column)
        keys += _own_keys(column, extra)
    return _with_keys(
        TableSchema(
            id=table,
            dialect=Dialect.MYSQL,
            columns=tuple(columns),
            engine="InnoDB",
            options=(f"COLLATE={collation}",) if collation else (),
        ),
        keys,
    )


def _own_keys(column: Column, extra: set[str]) -> list[Index]:
    found = []
    if "primary" in extra:
        found.append(_key("PRIMARY", [column.name], primary=True))
    if "unique" in extra:
        found.append(_key(column.name, [column.name]))
    return found


def _with_keys(table: TableSchema, keys: Sequence[Index]) -> TableSchema:
    primary = next((key for key in keys if key.primary), table.primary_key)
    names = set(primary.columns) if primary else set()
    columns = tuple(
        replace(c, nullable=False) if c.name in names and c.nullable else c for c in table.columns
    )
    others = (*table.indexes, *(key for key in keys if not key.primary))
    return replace(table, columns=columns, primary_key=primary, indexes=others)


_NO_COLUMNS = {"KEY", "INDEX", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK", "CONSTRAINT", "PERIOD"}


def _key(name: str, columns: Sequence[str], *, primary: bool = False) -> Index:
    parts = tuple(IndexPart(column) for column in columns)
    return Index(name, parts, unique=True, primary=primary, constraint=primary)


def _index(words: Words) -> Index | None:
    """PRIMARY KEY (...) or UNIQUE (...), which tell rows apart; None for anything else."""
    name = ""
    near = {words.peek(1), words.peek(2)}
    if words.peek() == "CONSTRAINT" and not near & {"PRIMARY", "UNIQUE"}:
        return None
    if words.accept("CONSTRAINT") and words.peek() not in ("PRIMARY", "UNIQUE"):
        name = words.name()
    primary = words.accept("PRIMARY", "KEY")
    if not primary and not words.accept("UNIQUE"):
        return None
    words.any("KEY", "INDEX")
    while words and words.peek() != "(":
        name = words.next().text
    columns, whole = [], True
    for part in split(words.brackets()):
        one = Words(part)
        if one.peek() == "(":
            return None
        columns.append(one.name())
        whole = whole and one.peek() != "("
    index = _key("PRIMARY" if primary else name or columns[0], columns, primary=primary)
    return index if whole or primary else None


# ALTER TABLE


def _alter(words: Words, schema: str, known: Known, foreign_keys: bool) -> Outcome:
    while words.any("ONLINE", "OFFLINE", "IGNORE"):
        pass
    if not words.accept("TABLE"):
        return Outcome()
    words.accept("IF", "EXISTS")
    table = words.table(schema)
    before = known(table)
    altering = _Altering(before, schema)
    added: list[Sequence[Word]] = []
    for item in split(words.rest()):
        altering.apply(Words(item), item)
        added += _added(item)
    new = altering.name
    if before is None:
        return Outcome(changes=(Change(table, None, None, unknown=new),)) if new else Outcome()
    if foreign_keys:
        altering.add_foreign_keys(added, known)
    after = replace(altering.table(), id=new or table)
    if after == before:
        return Outcome()
    return Outcome(changes=(Change(table, before, after, altering.renamed),))


def _added(item: Sequence[Word]) -> list[list[Word]]:
    """What ADD adds: several columns may stand in brackets."""
    words = Words(item)
    if not words.accept("ADD"):
        return []
    words.accept("COLUMN")
    words.accept("IF", "NOT", "EXISTS")
    return split(words.brackets()) if words.peek() == "(" else [words.rest()]


class _Altering:
    """The columns and keys of a table while the actions of one ALTER are done to it."""

    def __init__(self, table: TableSchema | None, schema: str) -> None:
        self._table = table
        self._schema = schema
        self._columns = list(table.columns) if table else []
        self._keys: list[Index] = []
        self._collation = next(
            (o.split("=", 1)[1] for o in (table.options if table else ()) if "COLLATE=" in o), None
        )
        self.name: TableId | None = None
        self.renamed: dict[str, str] = {}

    def table(self) -> TableSchema:
        """The table as it is now."""
        if self._table is None:
            raise NotUnderstoodError
        there = {column.name.lower() for column in self._columns}
        keep = [i for i in self._table.indexes if {c.lower() for c in i.columns} <= there]
        found = replace(self._table, columns=tuple(self._columns), indexes=tuple(keep))
        return _with_keys(found, self._keys)

    def apply(self, words: Words, item: Sequence[Word]) -> None:
        """One action. Those that no row image shows are left alone."""
        action = words.any("ADD", "DROP", "MODIFY", "CHANGE", "RENAME", "ALTER", "CONVERT")
        if action:
            getattr(self, f"_{action.lower()}")(words)

    def add_foreign_keys(self, items: Sequence[Sequence[Word]], known: Known) -> None:
        """Those that are added and change rows."""
        if self._table is not None:
            self._table = add_foreign_keys(self._table, items, self._schema, known)

    def _find(self, name: str) -> int:
        for i, column in enumerate(self._columns):
            if column.name.lower() == name.lower():
                return i
        if self._table is None:
            return -1
        raise NotUnderstoodError

    def _place(self, column: Column, words: Words, at: int) -> None:
        """Put a column where FIRST or AFTER says, else at ``at``."""
        if words.accept("FIRST"):
            at = 0
        elif words.accept("AFTER"):
            at = self._find(words.name()) + 1
        self._columns.insert(at, column)

    def _add(self, words: Words) -> None:
        explicit = words.accept("COLUMN")
        careful = words.accept("IF", "NOT", "EXISTS")
        if words.peek() == "(":
            for item in split(words.brackets()):
                self._define(Words(item), careful, explicit)
            return
        self._define(words, careful, explicit)

    def _define(self, words: Words, careful: bool, explicit: bool) -> None:
        if not explicit:
            index = _index(words) if words.peek() in ("PRIMARY", "UNIQUE", "CONSTRAINT") else None
            if index is not None:
                self._keys.append(index)
                return
            self._version(words, versioned=True)
            if words.peek() in {*_NO_COLUMNS, "PRIMARY", "UNIQUE", "PARTITION", "SYSTEM"}:
                return
        if self._table is None:
            return
        column, extra = column_of(words, self._collation)
        if any(c.name.lower() == column.name.lower() for c in self._columns):
            if careful:
                return
            raise NotUnderstoodError
        self._keys += _own_keys(column, extra)
        self._place(column, words, len(self._columns))

    def _drop(self, words: Words) -> None:
        explicit = words.accept("COLUMN")
        careful = words.accept("IF", "EXISTS")
        if not explicit and words.accept("PRIMARY", "KEY"):
            if self._table is not None:
                self._table = replace(self._table, primary_key=None)
            return
        if not explicit and self._table is not None and words.accept("FOREIGN", "KEY"):
            words.accept("IF", "EXISTS")
            self._table = drop_foreign_key(self._table, words.name())
            return
        if not explicit and self._table is not None and words.accept("CONSTRAINT"):
            words.accept("IF", "EXISTS")
            self._table = drop_foreign_key(self._table, words.name())
            return
        if not explicit and words.any("KEY", "INDEX"):
            words.accept("IF", "EXISTS")
            self._drop_index(words.name())
            return
        if not explicit:
            self._version(words, versioned=False)
        if not explicit and words.peek() in {*_NO_COLUMNS, "PARTITION", "SYSTEM"} and words.peek(1):
            return
        if not explicit and words.peek() in ("FOREIGN", "CHECK", "CONSTRAINT", "PARTITION"):
            return
        name = words.name()
        if careful and not any(c.name.lower() == name.lower() for c in self._columns):
            return
        if (at := self._find(name)) >= 0:
            del self._columns[at]

    def _version(self, words: Words, *, versioned: bool) -> None:
        """ADD or DROP SYSTEM VERSIONING."""
        if words.peek() == "SYSTEM" and words.peek(1) == "VERSIONING" and self._table is not None:
            self._table = replace(self._table, versioned=versioned)

    def _drop_index(self, name: str) -> None:
        if self._table is not None:
            keep = tuple(i for i in self._table.indexes if i.name.lower() != name.lower())
            self._table = replace(self._table, indexes=keep)

    def _modify(self, words: Words) -> None:
        words.accept("COLUMN")
        words.accept("IF", "EXISTS")
        self._redefine(words, None)

    def _change(self, words: Words) -> None:
        words.accept("COLUMN")
        words.accept("IF", "EXISTS")
        self._redefine(words, words.name())

    def _redefine(self, words: Words, old: str | None) -> None:
        if self._table is None:
            return
        column, extra = column_of(words, self._collation)
        at = self._find(old or column.name)
        before = self._columns.pop(at)
        if before.name != column.name:
            self._rename_column(before.name, column.name)
        primary = self._table.primary_key
        if primary and column.name in primary.columns:
            column = replace(column, nullable=False)
        self._keys += _own_keys(column, extra)
        self._place(column, words, at)

    def _rename(self, words: Words) -> None:
        if words.accept("COLUMN"):
            words.accept("IF", "EXISTS")
            old = words.name()
            words.expect("TO")
            new = words.name()
            if (at := self._find(old)) >= 0:
                old = self._columns[at].name
                self._columns[at] = replace(self._columns[at], name=new)
                self._rename_column(old, new)
            return
        if words.peek() in ("INDEX", "KEY"):
            return
        words.any("TO", "AS", "=")
        self.name = words.table(self._schema)

    def _rename_column(self, old: str, new: str) -> None:
        self.renamed[old] = new
        if self._table is None:
            return

        def follow(index: Index) -> Index:
            parts = tuple(replace(p, column=new) if p.column == old else p for p in index.parts)
            return replace(index, parts=parts)

        primary = self._table.primary_key
        self._table = replace(
            self._table,
            primary_key=follow(primary) if primary else None,
            indexes=tuple(map(follow, self._table.indexes)),
        )

    def _alter(self, words: Words) -> None:
        """ALTER COLUMN: its default, which a partial row image relies on. Whether it shows, and
        what is said of indexes and checks, no row image depends on."""
        if words.any("INDEX", "KEY", "CHECK", "CONSTRAINT"):
            return
        words.accept("COLUMN")
        words.accept("IF", "EXISTS")
        name = words.name()
        if words.accept("DROP", "DEFAULT"):
            default = None
        elif words.accept("SET", "DEFAULT"):
            default = default_of(words)
        else:
            return
        at = self._find(name)
        if at >= 0:
            self._columns[at] = replace(self._columns[at], default=default)

    def _convert(self, words: Words) -> None:
        """CONVERT TO CHARACTER SET: every text of the table."""
        words.expect("TO")
        if not (words.accept("CHARSET") or words.accept("CHARACTER", "SET")):
            raise NotUnderstoodError
        charset = words.name().lower()
        if charset == "default":
            raise NotUnderstoodError
        charset = {"utf8": "utf8mb3"}.get(charset, charset)
        collation = words.name() if words.accept("COLLATE") else None
        for i, column in enumerate(self._columns):
            if column.charset is not None:
                self._columns[i] = replace(column, charset=charset, collation=collation)
        if self._table is not None and collation:
            others = tuple(o for o in self._table.options if not o.startswith("COLLATE="))
            self._table = replace(self._table, options=(f"COLLATE={collation}", *others))


_STATEMENTS: Mapping[str, Callable[[Words, str, Known, bool], Outcome]] = {
    "ALTER": _alter,
    "CREATE": _create,
}

_OTHERS: Mapping[str, Callable[[Words, str, Known], Outcome]] = {
    "DROP": _drop,
    "RENAME": _rename,
    "TRUNCATE": _truncate,
}
