"""Compute the effect of a DDL statement on the known tables. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from streams_engine.adapters.mysql.binlog.ddl_columns import (
    DdlContext,
    Known,
    TextDefaults,
    column_of,
    converted,
    default_of,
    names_charset,
    text_defaults,
    with_plain_default,
)
from streams_engine.adapters.mysql.binlog.ddl_constraints import (
    add_foreign_keys,
    drop_constraint,
    drop_foreign_key,
    drop_index,
    rename_index,
    with_keys,
)
from streams_engine.adapters.mysql.binlog.ddl_lexer import (
    Token,
    TokenStream,
    UnparsedStatementError,
    split,
    tokenize,
    without_settings,
)
from streams_engine.adapters.mysql.binlog.events import ANSI_QUOTES, NO_BACKSLASH_ESCAPES
from streams_engine.adapters.mysql.binlog.server_defaults import charset_name, charset_of
from streams_engine.adapters.mysql.catalog.reader import SECONDARY
from streams_engine.model import Column, Dialect, ForeignKey, Index, IndexPart, TableId, TableSchema

__all__ = [
    "STORES_NOTHING",
    "DdlOutcome",
    "TableChange",
    "database_collation",
    "schema_of_statement",
]


@dataclass(frozen=True, slots=True)
class TableChange:
    """One table before and after. ``after`` of another id: it was renamed."""

    table: TableId
    """Its name before; of a new table its new name."""
    before: TableSchema | None
    after: TableSchema | None
    renamed: Mapping[str, str] = field(default_factory=dict)
    unknown: TableId | None = None
    """The table whose structure cannot be computed from the statement; None: it can."""
    rewritten: bool = False
    """Existing rows were removed, replaced or given values without being logged."""
    filled: bool = False
    """It is new, and has rows that are not logged."""
    replaces: bool = False
    """A table of this name, if there was one, is dropped with its rows."""
    like: TableId | None = None
    """The table that it was made like (CREATE TABLE ... LIKE)."""

    @property
    def names(self) -> tuple[TableId, ...]:
        """Return the names that it has before and after."""
        after = self.unknown if self.after is None else self.after.id
        return (self.table,) if after is None else (self.table, after)


@dataclass(frozen=True, slots=True)
class DdlOutcome:
    """Effect of a statement; none if both fields are empty."""

    emptied: tuple[TableId, ...] = ()
    changes: tuple[TableChange, ...] = ()


def schema_of_statement(statement: str, context: DdlContext) -> DdlOutcome:
    """Compute the effect of a statement.

    Raises `UnparsedStatementError` for DDL of tables in a form that is not known.
    """
    words = TokenStream(without_settings(tokens_of(statement, context.sql_mode)))
    first = words.any(*_STATEMENTS)
    return _STATEMENTS[first](words, context) if first else DdlOutcome()


def tokens_of(statement: str, sql_mode: int) -> list[Token]:
    """Return a statement's tokens as a session of this sql_mode reads them."""
    return tokenize(
        statement,
        ansi_quotes=bool(sql_mode & ANSI_QUOTES),
        backslash=not sql_mode & NO_BACKSLASH_ESCAPES,
    )


def database_collation(statement: str, context: DdlContext) -> tuple[str, str] | None:
    """Return the database that a statement gives a default collation, and that; None for any other
    statement."""
    words = TokenStream(tokens_of(statement, context.sql_mode))
    if not (words.any("CREATE", "ALTER") and words.any("DATABASE", "SCHEMA")):
        return None
    words.accept("IF", "NOT", "EXISTS")
    options = {"", "DEFAULT", "CHARACTER", "CHARSET", "COLLATE"}
    schema = context.schema if words.peek() in options - {""} else words.name()
    texts = _texts_of(words.rest(), TextDefaults(), context)
    return (schema, texts.collation) if texts and texts.collation else None


def _truncate(words: TokenStream, context: DdlContext) -> DdlOutcome:
    words.accept("TABLE")
    return DdlOutcome(emptied=(words.table(context.schema),))


def _drop(words: TokenStream, context: DdlContext) -> DdlOutcome:
    if words.any("DATABASE", "SCHEMA"):
        words.accept("IF", "EXISTS")
        return DdlOutcome(changes=(TableChange(TableId(words.name(), ""), None, None),))
    if words.accept("INDEX"):
        return _drop_index(words, context)
    if not words.any("TABLE", "TABLES"):
        return DdlOutcome()  # DROP TEMPORARY TABLE, DROP VIEW, ...
    words.accept("IF", "EXISTS")
    changes = []
    while True:
        table = words.table(context.schema)
        changes.append(TableChange(table, context.known(table), None))
        if not words.accept(","):
            return DdlOutcome(changes=tuple(changes))


def _drop_index(words: TokenStream, context: DdlContext) -> DdlOutcome:
    """DROP INDEX i ON t: rows that a unique key refused may follow."""
    words.accept("IF", "EXISTS")
    index = words.name()
    words.expect("ON")
    table = words.table(context.schema)
    before = context.known(table)
    after = before and drop_index(before, index)
    return DdlOutcome(changes=(TableChange(table, before, after),) if after != before else ())


def _rename(words: TokenStream, context: DdlContext) -> DdlOutcome:
    if not words.any("TABLE", "TABLES"):
        return DdlOutcome()
    words.accept("IF", "EXISTS")
    pairs = []
    for item in split(words.rest()):
        one = TokenStream(item)
        old = one.table(context.schema)
        if one.any("WAIT", "NOWAIT"):
            one.any("0")
        while one and one.peek() != "TO":
            one.next()
        one.expect("TO")
        pairs.append((old, one.table(context.schema)))
    return _renamed(pairs, context.known)


def _renamed(pairs: Sequence[tuple[TableId, TableId]], known: Known) -> DdlOutcome:
    """Follow each table through a statement that renames several, perhaps in a circle."""
    origin: dict[TableId, TableId] = {}
    for old, new in pairs:
        origin[new] = origin.pop(old, old)
    changes = []
    for new, old in origin.items():
        if new == old:
            continue
        before = known(old)
        after = replace(before, id=new) if before else None
        changes.append(TableChange(old, before, after, unknown=None if before else new))
    return DdlOutcome(changes=tuple(changes))


# CREATE TABLE


def _create(words: TokenStream, context: DdlContext) -> DdlOutcome:
    replacing = words.accept("OR", "REPLACE")
    if not words.accept("TABLE"):
        return DdlOutcome()  # TEMPORARY, VIEW, INDEX, USER, ...
    careful = words.accept("IF", "NOT", "EXISTS")
    table = words.table(context.schema)
    before = context.known(table)
    if careful and before is not None and not replacing:
        return DdlOutcome()
    like = words.accept("LIKE") or words.accept("(", "LIKE")
    rest = words.rest()
    words = TokenStream(rest)
    if not like and _makes_sequence(rest):
        return DdlOutcome(changes=(TableChange(table, before, None),) if before else ())
    named = words.table(context.schema) if like else None
    if named is not None:
        model = context.known(named)
        after = replace(model, id=table, foreign_keys=()) if model else None
    else:
        after = _created(table, words, context)
    unknown = None if after else table
    return DdlOutcome(
        changes=(
            TableChange(table, before, after, unknown=unknown, replaces=replacing, like=named),
        )
    )


def _created(table: TableId, words: TokenStream, context: DdlContext) -> TableSchema | None:
    """Return the table that CREATE TABLE makes; None if it has a form that is not known."""
    try:
        items = split(words.brackets())
        options = words.rest()
        versioned = any(map(_versions, (options, *items)))
        created = replace(_table(table, items, options, context), versioned=versioned)
        return add_foreign_keys(created, items, context) if context.foreign_keys else created
    except UnparsedStatementError:
        return None


def _makes_sequence(words: Sequence[Token]) -> bool:
    """Return whether the option SEQUENCE=1 is among them: MariaDB then creates a sequence."""
    upper = [word.raw.upper() for word in words]
    return any(upper[i : i + 3] == ["SEQUENCE", "=", "1"] for i in range(len(upper)))


def _versions(words: Sequence[Token]) -> bool:
    """Return whether WITH SYSTEM VERSIONING is declared, of a table or of a column."""
    upper = [word.upper for word in words if word.kind == "word"]
    return any(upper[i : i + 3] == ["WITH", "SYSTEM", "VERSIONING"] for i in range(len(upper)))


STORES_NOTHING = "BLACKHOLE"
"""The engine of tables whose rows are logged, for replicas, and kept nowhere."""

ENGINES: Mapping[str, str] = {
    "INNODB": "InnoDB", "MYISAM": "MyISAM", "MERGE": "MRG_MyISAM", "MRG_MYISAM": "MRG_MyISAM",
    "HEAP": "MEMORY", "ARIA": "Aria",
}  # fmt: skip
"""The catalog's spelling, if that is not in capitals."""


def _engine_of(options: Sequence[Token]) -> str | None:
    """Return the engine among a table's options."""
    words = TokenStream(options)
    while words:
        if words.accept("ENGINE"):
            words.accept("=")
            name = words.next().text.upper()
            return ENGINES.get(name, name)
        words.next()
    return None


def _names_secondary(options: Sequence[Token]) -> bool:
    return any(word.upper == "SECONDARY_ENGINE" for word in options)


def _texts_of(
    options: Sequence[Token], before: TextDefaults, context: DdlContext
) -> TextDefaults | None:
    """Return what the options of a table or database say about its texts; None if nothing."""
    words = TokenStream(options)
    charset = collation = None
    while words:
        if words.accept("COLLATE"):
            words.accept("=")
            collation = words.next().text
        elif names_charset(words):
            words.accept("=")
            charset = words.next().text
        else:
            words.next()
    if charset is None and collation is None:
        return None
    return text_defaults(charset, collation, before.charset, context)


def _table(
    table: TableId,
    items: Sequence[Sequence[Token]],
    options: Sequence[Token],
    context: DdlContext,
) -> TableSchema:
    inherited = context.defaults.of_database(table.schema)
    around = text_defaults(None, inherited, None, context) if inherited else TextDefaults()
    texts = _texts_of(options, around, context) or around
    columns: list[Column] = []
    keys: list[Index] = []
    periods = dict(filter(None, (_period(TokenStream(item)) for item in items)))
    for item in items:
        words = TokenStream(item)
        index = _index(words, periods)
        if index is not None:
            keys.append(index)
            continue
        if item[0].upper in {*_NO_COLUMNS, "UNIQUE"} and item[0].kind == "word":
            continue  # the catalog tells of it, or it changes no row
        column, extra = column_of(words, texts, context)
        columns.append(column)
        keys += _own_keys(column, extra)
    return with_keys(
        TableSchema(
            id=table,
            dialect=Dialect.MYSQL,
            columns=tuple(columns),
            engine=_engine_of(options) or "InnoDB",
            options=(f"COLLATE={texts.collation}",) if texts.collation else (),
            source_notes=(SECONDARY,) if _names_secondary(options) else (),
        ),
        keys,
    )


def _period(words: TokenStream) -> tuple[str, tuple[str, ...]] | None:
    """Parse PERIOD FOR p (s, e), whose name may stand in a key."""
    if not words.accept("PERIOD", "FOR"):
        return None
    name = words.name().lower()
    return name, tuple(TokenStream(part).name() for part in split(words.brackets()))


def _own_keys(column: Column, extra: set[str]) -> list[Index]:
    indexes = []
    if "primary" in extra:
        indexes.append(_key("PRIMARY", [IndexPart(column.name)], primary=True))
    if "unique" in extra:
        indexes.append(_key("", [IndexPart(column.name)]))
    return indexes


_NO_COLUMNS = {"KEY", "INDEX", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK", "CONSTRAINT", "PERIOD"}


def _key(name: str, parts: Sequence[IndexPart], *, primary: bool = False) -> Index:
    return Index(name, tuple(parts), unique=True, primary=primary, constraint=primary)


def _index(words: TokenStream, periods: Mapping[str, tuple[str, ...]] = {}) -> Index | None:
    """Parse PRIMARY KEY (...) or UNIQUE (...), which identify rows; return None for anything
    else."""
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
    words.accept("IF", "NOT", "EXISTS")
    while words and words.peek() != "(":
        if words.accept("USING") or words.accept("TYPE"):
            words.next()
        else:
            name = words.next().text
    parts: list[IndexPart] = []
    for part in split(words.brackets()):
        one = TokenStream(part)
        if one.peek() == "(":
            return None
        column = one.name()
        length = int(one.brackets()[0].text) if one.peek() == "(" else None
        if one.peek() == "WITHOUT":  # OVERLAPS: of a period, whose ends the key holds
            parts += map(IndexPart, reversed(periods.get(column.lower(), (column,))))
            continue
        parts.append(IndexPart(column, descending=one.accept("DESC"), length=length))
    whole = all(part.length is None for part in parts)
    index = _key("PRIMARY" if primary else name, parts, primary=primary)
    return index if whole or primary else None


# ALTER TABLE


def _alter(words: TokenStream, context: DdlContext) -> DdlOutcome:
    modifiers = set()
    while modifier := words.any("ONLINE", "OFFLINE", "IGNORE"):
        modifiers.add(modifier)
    if not words.accept("TABLE"):
        return DdlOutcome()
    words.accept("IF", "EXISTS")
    table = words.table(context.schema)
    if words.any("WAIT"):
        words.next()
    words.any("NOWAIT")
    before = context.known(table)
    altering = _Altering(before, context)
    altering.rewritten = "IGNORE" in modifiers  # rows that break a new unique key are deleted
    added: list[Sequence[Token]] = []
    for item in split(words.rest()):
        altering.apply(TokenStream(item), item)
        added += _added(item)
    new = altering.name
    if before is None:
        renamed = (TableChange(table, None, None, unknown=new),) if new else ()
        # It may still exchange rows with a table that is known, perhaps of another database.
        swapped = [other for other in altering.others() if other.before or other.unknown]
        return DdlOutcome(changes=(*renamed, *swapped))
    if context.foreign_keys:
        altering.add_foreign_keys(added)
    after = replace(altering.table(), id=new or table)
    others = tuple(altering.others())
    if after == before and not altering.rewritten:
        return DdlOutcome(changes=others)
    change = TableChange(table, before, after, altering.renamed, rewritten=altering.rewritten)
    gone = tuple(other for other in others if other.after is None and other.unknown is None)
    rest = tuple(other for other in others if other not in gone)
    # A table goes first: where DDL commits by itself, no rows may have come before it.
    return DdlOutcome(changes=(*gone, change, *rest))


def _added(item: Sequence[Token]) -> list[list[Token]]:
    """Parse what ADD adds: several columns may stand in brackets."""
    words = TokenStream(item)
    if not words.accept("ADD"):
        return []
    words.accept("COLUMN")
    words.accept("IF", "NOT", "EXISTS")
    return split(words.brackets()) if words.peek() == "(" else [words.rest()]


PADDED = {"bit", "binary"}
"""Types whose values get other bits or bytes with another length."""


class _Altering:
    """The columns and keys of a table while the actions of one ALTER are done to it."""

    def __init__(self, table: TableSchema | None, context: DdlContext) -> None:
        self._table = table
        self._context, self._schema = context, context.schema
        self._columns = list(table.columns) if table else []
        self._keys: list[Index] = []
        self._texts = _texts_of_table(table, context) if table else TextDefaults()
        self.name: TableId | None = None
        self.renamed: dict[str, str] = {}
        self.rewritten = False
        """Existing rows were removed, replaced or given values that no row image shows."""
        self._renames: dict[str, str] = {}
        """New names by those before the statement, of columns that are renamed alone."""
        self._dropped: set[str] = set()
        self._redefined: list[Column] = []
        self._filled: list[TableId] = []
        self._swapped: list[TableId] = []
        self._taken_in: list[TableId] = []

    def table(self) -> TableSchema:
        """Return the table as altered so far."""
        if self._table is None:
            raise UnparsedStatementError
        columns = [
            replace(c, name=self._renames[c.name]) if c.name in self._renames else c
            for c in self._columns
        ]
        there = {column.name.lower() for column in columns}
        primary = self._table.primary_key
        indexes = tuple(map(self._followed, self._table.indexes))
        altered = replace(
            self._table,
            columns=tuple(columns),
            primary_key=self._followed(primary) if primary else None,
            indexes=tuple(i for i in indexes if {c.lower() for c in i.columns} <= there),
            foreign_keys=tuple(map(self._referring, self._table.foreign_keys)),
        )
        return with_keys(altered, self._keys)

    def _followed(self, index: Index) -> Index:
        """Return an index on the columns by their new names; all are renamed at once."""
        parts = tuple(
            replace(p, column=self.renamed.get(p.column or "", p.column)) for p in index.parts
        )
        return replace(index, parts=parts)

    def _referring(self, key: ForeignKey) -> ForeignKey:
        """Return a foreign key of the columns by their new names."""
        own = self._table is not None and key.referenced == self._table.id
        theirs = key.referenced_columns
        return replace(
            key,
            columns=tuple(self.renamed.get(c) or c for c in key.columns),
            referenced_columns=tuple(self.renamed.get(c) or c for c in theirs) if own else theirs,
        )

    def others(self) -> Iterator[TableChange]:
        """Yield the changes of other tables that give or take whole partitions."""
        known = self._context.known
        for table in self._swapped:
            yield TableChange(table, known(table), known(table), rewritten=True)
        for table in self._filled:
            yield TableChange(table, None, None, unknown=table, filled=True)
        for table in self._taken_in:
            # Its rows are another table's now, and are read with that.
            yield TableChange(table, known(table), None, rewritten=True)

    def _partitions(self, item: Sequence[Token]) -> bool:
        """Apply an action on whole partitions or tablespaces; return whether it is one."""
        words = TokenStream(item)
        action = words.any("DROP", "TRUNCATE", "EXCHANGE", "CONVERT", "DISCARD", "IMPORT")
        if not action:
            return False
        if action == "CONVERT" and words.accept("TABLE"):
            self._taken_in.append(words.table(self._schema))
        elif words.accept("PARTITION"):
            rest = words.rest()
            upper = [word.upper for word in rest]
            for mark, tables in (("WITH", self._swapped), ("TO", self._filled)):
                if action in ("EXCHANGE", "CONVERT") and mark in upper:
                    other = TokenStream(rest[upper.index(mark) + 1 :])
                    other.expect("TABLE")
                    tables.append(other.table(self._schema))
                    break
        elif not (action in ("DISCARD", "IMPORT") and words.accept("TABLESPACE")):
            return False
        self.rewritten = True
        return True

    def apply(self, words: TokenStream, item: Sequence[Token]) -> None:
        """Apply one action of ALTER TABLE; ignore those that no row image shows."""
        if self._partitions(item):
            return
        action = words.any("ADD", "DROP", "MODIFY", "CHANGE", "RENAME", "ALTER", "CONVERT")
        if action:
            getattr(self, f"_{action.lower()}")(words)
        elif self._table is not None:
            self._set_options(self._table, item)

    def _set_options(self, table: TableSchema, item: Sequence[Token]) -> None:
        """Apply the engine and the default collation, which stand among a table's options."""
        engine = _engine_of(item) or table.engine
        self.rewritten |= engine == STORES_NOTHING != table.engine
        self._table = replace(table, engine=engine)
        if texts := _texts_of(item, self._texts, self._context):
            self._texts = texts
            self._collate(texts.collation)

    def _collate(self, collation: str | None) -> None:
        if self._table is not None and collation:
            others = tuple(o for o in self._table.options if not o.startswith("COLLATE="))
            self._table = replace(self._table, options=(f"COLLATE={collation}", *others))

    def add_foreign_keys(self, items: Sequence[Sequence[Token]]) -> None:
        """Add the foreign keys with referential actions."""
        if self._table is not None:
            self._table = replace(self._table, columns=tuple(self._columns))
            self._table = add_foreign_keys(self._table, items, self._context)

    def _there(self, name: str) -> bool:
        """Return whether the table has the column; True where the table is not known."""
        return self._table is None or any(c.name.lower() == name.lower() for c in self._columns)

    def _find(self, name: str) -> int:
        """Return the place of a column by its name before the statement."""
        for i, column in enumerate(self._columns):
            if column.name.lower() == name.lower() and not any(
                column is new for new in self._redefined
            ):
                return i
        if self._table is None:
            return -1
        raise UnparsedStatementError

    def _place(self, column: Column, words: TokenStream, at: int) -> None:
        """Put a column at the place that FIRST or AFTER names, else at ``at``."""
        if words.accept("FIRST"):
            at = 0
        elif words.accept("AFTER"):
            at = self._find(words.name()) + 1
        self._columns.insert(at, column)

    def _add(self, words: TokenStream) -> None:
        explicit = words.accept("COLUMN")
        careful = words.accept("IF", "NOT", "EXISTS")
        if words.peek() == "(":
            for item in split(words.brackets()):
                self._define(TokenStream(item), careful, explicit)
            return
        self._define(words, careful, explicit)

    def _define(self, words: TokenStream, careful: bool, explicit: bool) -> None:
        if not explicit:
            wanted = "IF" in (words.peek(ahead) for ahead in range(5))  # NOT EXISTS; it is reserved
            first = words.peek()
            index = _index(words) if first in ("PRIMARY", "UNIQUE", "CONSTRAINT") else None
            if index is not None:
                if not (wanted and self._has(index)):
                    self._keys.append(index)
                return
            self._version(words, versioned=True)
            if first in {*_NO_COLUMNS, "PRIMARY", "UNIQUE", "PARTITION", "SYSTEM"}:
                return
        if self._table is None:
            return
        column, extra = column_of(words, self._texts, self._context)
        if any(c.name.lower() == column.name.lower() for c in self._columns):
            if careful:
                return
            raise UnparsedStatementError
        self.rewritten |= column.name.lower() in self._dropped
        self._keys += _own_keys(column, extra)
        self._place(column, words, len(self._columns))

    def _has(self, index: Index) -> bool:
        """Return whether the table has a primary key already, or an index of this name."""
        if self._table is None or index.primary:
            return self._table is not None and self._table.primary_key is not None
        return any(one.name.lower() == index.name.lower() for one in self._table.indexes)

    def _drop(self, words: TokenStream) -> None:
        explicit = words.accept("COLUMN")
        careful = words.accept("IF", "EXISTS")
        if not explicit and words.accept("PRIMARY", "KEY"):
            if self._table is not None:
                self._table = replace(self._table, primary_key=None)
            return
        if not explicit and self._table is not None and self._drop_object(self._table, words):
            return
        if not explicit:
            self._version(words, versioned=False)
        if not explicit and words.peek() in {*_NO_COLUMNS, "PARTITION", "SYSTEM"} and words.peek(1):
            return
        if not explicit and words.peek() in ("FOREIGN", "CHECK", "CONSTRAINT", "PARTITION"):
            return
        name = words.name()
        if careful and not self._there(name):
            return
        if (at := self._find(name)) >= 0:
            self._forget_check(self._columns[at].name)
            self._dropped.add(self._columns[at].name.lower())
            del self._columns[at]

    def _drop_object(self, table: TableSchema, words: TokenStream) -> bool:
        """Drop a key, an index or a check; return whether the action is that."""
        foreign = words.accept("FOREIGN", "KEY")
        if not foreign and not (kind := words.any("CONSTRAINT", "CHECK", "KEY", "INDEX")):
            return False
        words.accept("IF", "EXISTS")
        drop = drop_foreign_key if foreign else _DROPS[kind]
        self._table = drop(table, words.name())
        return True

    def _forget_check(self, column: str) -> None:
        """Drop the check that MariaDB keeps as a part of a column's definition."""
        if self._table is not None:
            kept = tuple(c for c in self._table.checks if c.name.lower() != column.lower())
            self._table = replace(self._table, checks=kept)

    def _version(self, words: TokenStream, *, versioned: bool) -> None:
        """ADD or DROP SYSTEM VERSIONING."""
        if words.peek() == "SYSTEM" and words.peek(1) == "VERSIONING" and self._table is not None:
            self._table = replace(self._table, versioned=versioned)

    def _modify(self, words: TokenStream) -> None:
        words.accept("COLUMN")
        self._redefine(words, None, careful=words.accept("IF", "EXISTS"))

    def _change(self, words: TokenStream) -> None:
        words.accept("COLUMN")
        careful = words.accept("IF", "EXISTS")
        self._redefine(words, words.name(), careful=careful)

    def _redefine(self, words: TokenStream, old: str | None, *, careful: bool) -> None:
        if self._table is None:
            return
        column, extra = column_of(words, self._texts, self._context)
        if careful and not self._there(old or column.name):
            return
        at = self._find(old or column.name)
        before = self._columns.pop(at)
        self._forget_check(before.name)
        if before.name != column.name:
            self._rename_column(before.name, column.name)
        padded = before.type.name in PADDED or column.type.name in PADDED
        self.rewritten |= padded and before.type != column.type
        self._keys += _own_keys(column, extra)
        self._redefined.append(column)
        self._place(column, words, at)

    def _rename(self, words: TokenStream) -> None:
        if words.accept("COLUMN"):
            careful = words.accept("IF", "EXISTS")
            old = words.name()
            words.expect("TO")
            new = words.name()
            if careful and not self._there(old):
                return
            if (at := self._find(old)) >= 0:
                self._renames[self._columns[at].name] = new
                self._rename_column(self._columns[at].name, new)
            return
        if words.any("INDEX", "KEY"):
            words.accept("IF", "EXISTS")
            old = words.name()
            words.expect("TO")
            if self._table is not None:
                self._table = rename_index(self._table, old, words.name())
            return
        words.any("TO", "AS", "=")
        self.name = words.table(self._schema)

    def _rename_column(self, old: str, new: str) -> None:
        self.renamed[old] = new

    def _alter(self, words: TokenStream) -> None:
        """Apply ALTER COLUMN: a default, which partial row images rely on.

        Visibility and indexes do not affect row images. A check that is enforced no more lets rows
        in that it refused.
        """
        if words.any("CHECK", "CONSTRAINT"):
            name = words.name()
            if words.accept("NOT", "ENFORCED") and self._table is not None:
                self._table = drop_constraint(self._table, name)
            return
        if words.any("INDEX", "KEY"):
            return
        words.accept("COLUMN")
        careful = words.accept("IF", "EXISTS")
        name = words.name()
        if words.accept("DROP", "DEFAULT"):
            default = None
        elif words.accept("SET", "DEFAULT"):
            default = default_of(words, self._context)
        else:
            return
        if careful and not self._there(name):
            return
        at = self._find(name)
        if at >= 0:
            self._columns[at] = with_plain_default(replace(self._columns[at], default=default))

    def _convert(self, words: TokenStream) -> None:
        """CONVERT TO CHARACTER SET: every text of the table."""
        words.expect("TO")
        if not names_charset(words):
            raise UnparsedStatementError
        charset = charset_name(words.next().text)
        if charset in ("default", "binary"):
            raise UnparsedStatementError
        collation = words.next().text if words.accept("COLLATE") else None
        self._texts = text_defaults(charset, collation, None, self._context)
        for i, column in enumerate(self._columns):
            if column.charset is not None:
                self._columns[i] = converted(column, self._texts, self._context)
        self._collate(self._texts.collation)


def _texts_of_table(table: TableSchema, context: DdlContext) -> TextDefaults:
    """Return a table's default character set and collation."""
    collation = next((o.split("=", 1)[1] for o in table.options if "COLLATE=" in o), None)
    return TextDefaults(collation and charset_of(collation, None), collation)


_DROPS: Mapping[str, Callable[[TableSchema, str], TableSchema]] = {
    "CONSTRAINT": drop_constraint, "CHECK": drop_constraint, "KEY": drop_index,
    "INDEX": drop_index,
}  # fmt: skip

_STATEMENTS: Mapping[str, Callable[[TokenStream, DdlContext], DdlOutcome]] = {
    "ALTER": _alter,
    "CREATE": _create,
    "DROP": _drop,
    "RENAME": _rename,
    "TRUNCATE": _truncate,
}
